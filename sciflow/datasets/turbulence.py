"""Decaying two-dimensional turbulence: trajectories of vorticity in a periodic square, pseudo-spectral.

```
random phases ─ E(k; peak, steepness) ─▶ ω̂ ── spin-up ──▶ ── run ──▶ snapshots of ω
```
The vorticity equation, cut at two thirds of the modes:

    dω̂/dt = -F[u dω/dx + v dω/dy] - visc k² ω̂,      ψ̂ = ω̂ / k²,      u = dψ/dy,      v = -dψ/dx

Time: fourth-order Runge-Kutta with the viscous term integrated exactly. After McWilliams, "The emergence of
isolated coherent vortices in turbulent flow", J. Fluid Mech. 146, 1984, section 2, with plain viscosity;
dealiasing after Canuto et al., "Spectral Methods", 2006, section 3.3.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets import sampling
from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe, times
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Parameters", "Plane", "draw", "initial", "simulate", "template"]

Real = NDArray[np.float64]
Spectral = NDArray[np.complex128]

BOX = 2 * np.pi
"""Side of the square in metres, so that wave numbers are integers."""

COURANT = 2.0
"""Largest (|u| + |v|) k_max dt; RK4 is stable up to 2.8 on the imaginary axis."""

STEEPNESS = (2.0, 6.0)
"""Of the initial spectrum at long waves, drawn evenly for each trajectory."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the trajectories depend on; every value is checked when the object is made.

    Attributes
    ----------
    samples : int
        Trajectories.
    size : int
        Grid points a side, even, at least 16.
    snapshots : int
        Instants of a trajectory, evenly spaced, the first at the end of the spin-up; at least 2.
    spin_up, duration : float
        Seconds before the first snapshot, and from the first to the last.
    viscosity : float
        Kinematic viscosity, m2 s-1.
    speed : float
        Root mean square of the velocity at the start, m s-1.
    lowest_peak, highest_peak : float
        Wave number at which the initial spectrum peaks: drawn evenly between the two for each trajectory.
    seed : int
        Of all trajectories.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    samples: int
    size: int
    snapshots: int
    spin_up: float
    duration: float
    viscosity: float
    speed: float
    lowest_peak: float
    highest_peak: float
    seed: int

    def __post_init__(self) -> None:
        sampling.numbers(self)
        require(self.size >= 16 and self.size % 2 == 0, "size", self.size, "an even number, at least 16")
        require(self.snapshots >= 2, "snapshots", self.snapshots, "at least 2")
        require(0 <= self.spin_up < np.inf, "spin_up", self.spin_up, "a finite number of seconds, at least 0")
        for name in ("duration", "viscosity", "speed"):
            value = getattr(self, name)
            require(0 < value < np.inf, name, value, "a finite number above 0")
        low, high, limit = self.lowest_peak, self.highest_peak, self.size / 3
        require(1 <= low < limit, "lowest_peak", low, f"from 1 to below size / 3 = {limit:g}")
        require(low <= high < limit, "highest_peak", high, f"from lowest_peak to below size / 3 = {limit:g}")


class Plane:
    """The spectral grid of ``size`` points a side: transforms, budgets, a step in time."""

    def __init__(self, size: int, viscosity: float) -> None:
        self.size = size
        self.viscosity = viscosity
        self.ky = np.fft.fftfreq(size, 1 / size)[:, None]
        self.kx = np.fft.rfftfreq(size, 1 / size)[None, :]
        self.k2 = self.kx**2 + self.ky**2
        self.inverse_k2 = np.divide(1.0, self.k2, out=np.zeros_like(self.k2), where=self.k2 > 0)
        self.cutoff = size / 3
        self.kept = (np.abs(self.kx) < self.cutoff) & (np.abs(self.ky) < self.cutoff)
        # ω̂ to the transforms of u, v, dω/dx and dω/dy
        stream = [1j * self.ky * self.inverse_k2, -1j * self.kx * self.inverse_k2]
        slopes = [1j * self.kx + 0 * self.ky, 1j * self.ky + 0 * self.kx]
        self._factors = np.stack([*stream, *slopes])

    def to_space(self, spectral: Spectral) -> Real:
        """Return the real fields of ``spectral``, shape (..., y, x // 2 + 1)."""
        return np.fft.irfft2(spectral, s=(self.size, self.size))

    def to_spectrum(self, field: Real) -> Spectral:
        """Return the transform of ``field``, shape (y, x), without the modes above the cut."""
        cut: Spectral = np.fft.rfft2(field) * self.kept
        return cut

    def velocity(self, w: Spectral) -> Real:
        """Return u and v, shape (2, y, x)."""
        return self.to_space(self._factors[:2] * w)

    def advection(self, w: Spectral) -> Spectral:
        """Return -F[u dω/dx + v dω/dy]."""
        u, v, along, across = self.to_space(self._factors * w)
        return self.to_spectrum(-(u * along + v * across))

    def advance(self, w: Spectral, dt: float) -> Spectral:
        """Return ``w`` after one step of ``dt`` seconds."""
        half = np.exp(-self.viscosity * self.k2 * dt / 2)
        a = self.advection(w)
        b = self.advection(half * (w + dt / 2 * a))
        c = self.advection(half * w + dt / 2 * b)
        d = self.advection(half * (half * w + dt * c))
        after: Spectral = half * half * (w + dt / 6 * a) + dt / 3 * half * (b + c) + dt / 6 * d
        return after

    def run(self, w: Spectral, seconds: float) -> Spectral:
        """Return ``w`` after ``seconds`` in equal steps."""
        if seconds == 0:
            return w
        fastest = float(np.abs(self.velocity(w)).sum(axis=0).max())
        steps = max(1, int(np.ceil(seconds * fastest * self.cutoff / COURANT)))
        for _ in range(steps):
            w = self.advance(w, seconds / steps)
        return w

    def moments(self, w: Spectral) -> tuple[float, float, float]:
        """Return energy, enstrophy and palinstrophy: the means of |u|²/2, ω²/2 and |grad ω|²/2."""
        weight = np.full(self.k2.shape, 2.0)
        weight[:, [0, -1]] = 1.0
        density = weight * np.abs(w) ** 2 / self.size**4 / 2
        moments = [float((density * power).sum()) for power in (self.inverse_k2, 1.0, self.k2)]
        return moments[0], moments[1], moments[2]


@lru_cache(maxsize=2)
def plane(size: int, viscosity: float) -> Plane:
    """Return the grid, the same one at every call."""
    return Plane(size, viscosity)


def initial(parameters: Parameters, number: int) -> Spectral:
    """Return the start of trajectory ``number``: random phases, E(k) ~ (k / k0)^s exp(-s / 2 (k / k0)²)."""
    rng = sampling.generator(parameters, number)
    grid = plane(parameters.size, parameters.viscosity)
    peak = rng.uniform(parameters.lowest_peak, parameters.highest_peak)
    steepness = rng.uniform(*STEEPNESS)
    noise = grid.to_spectrum(rng.standard_normal((parameters.size,) * 2))
    k = np.sqrt(grid.k2)
    # |ω̂|² of a mode is E(k) k² over the 2 pi k modes of its ring.
    spectrum = (k / peak) ** steepness * np.exp(-steepness / 2 * (k / peak) ** 2)
    w = noise * np.sqrt(spectrum * k)
    energy = grid.moments(w)[0]
    scaled: Spectral = w * (parameters.speed / np.sqrt(2 * energy))
    return scaled


def draw(parameters: Parameters, number: int) -> dict[str, NDArray[np.float32]]:
    """Return trajectory ``number``: vorticity, float32, shape (time, y, x)."""
    grid = plane(parameters.size, parameters.viscosity)
    w = grid.run(initial(parameters, number), parameters.spin_up)
    kept = [grid.to_space(w)]
    for _ in range(parameters.snapshots - 1):
        w = grid.run(w, parameters.duration / (parameters.snapshots - 1))
        kept.append(grid.to_space(w))
    return {"vorticity": np.stack(kept).astype(np.float32)}


def template(parameters: Parameters) -> xr.Dataset:
    """Return the data set without its trajectories."""
    import xarray as xr

    coordinates = times(np.linspace(0.0, parameters.duration, parameters.snapshots))
    step = BOX / parameters.size
    for name in ("y", "x"):
        about = {"units": "m", "long_name": f"{name} of the collocation point", "axis": name.upper()}
        coordinates |= axis(name, np.linspace(-step / 2, BOX - step / 2, parameters.size + 1), about)
    shape = (0, parameters.snapshots, parameters.size, parameters.size)
    about = describe("s-1", "vorticity", methods="time: point")
    variables = {"vorticity": (("sample", "time", "y", "x"), np.empty(shape, np.float32), about)}
    attributes: dict[str, Any] = {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT}
    return xr.Dataset(variables, coordinates, attributes)


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return all trajectories as a CF data set: vorticity, float32, (sample, time, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every trajectory.
    """
    return sampling.in_memory(sys.modules[__name__], parameters, progress)


_SOURCE = "sciflow.datasets.turbulence: pseudo-spectral vorticity equation, RK4, 2/3 dealiasing"
_COMMENT = "Decaying turbulence in a periodic square of side 2 pi m; each sample is a trajectory of its own."
