"""Decaying three-dimensional turbulence: incompressible Navier-Stokes in a periodic box, pseudo-spectral.

```
noise ─ spectrum ─▶ û on n/2 ── spin-up ──▶ û on n/2 ── pad ──▶ û on n ── run ──▶ snapshots of u, v, w, p, |ω|
                    (n/2^halvings, then each finer grid up to n/2)
```
The equation in rotational form, projected on divergence-free fields (P), cut at two thirds of the modes:

    dû/dt = P F[u x ω] - visc k² û,      ω = F⁻¹[i k x û],      p = F⁻¹[-i k·F[u x ω] / k²] - |u|²/2

Time: fourth-order Runge-Kutta with the viscous term integrated exactly, steps from the Courant number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe, times
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Parameters", "Snapshot", "simulate", "snapshots"]

Real = NDArray[np.float64]
Spectral = NDArray[np.complex128]

BOX = 2 * np.pi
"""Side of the box in metres, so that wave numbers are integers."""

COURANT = 2.0
"""Largest sum of |u_i| k_max dt; RK4 is stable up to 2.8 on the imaginary axis."""

PEAK_WAVE_NUMBER = 3.0
SPIN_UP_SHARE = 0.1
"""Of the whole work, for the progress."""

FINER_SHARE = 0.25
"""Of the spin-up's seconds on a grid, those on the next finer one."""

THREADS = 2


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a run depends on; every value is checked when the object is made.

    Attributes
    ----------
    size : int
        Grid points a side, a multiple of 4, at least 16.
    snapshots : int
        Instants that are kept, evenly spaced, the first at the end of the spin-up; at least 2.
    spin_up, duration : float
        Seconds before the first snapshot (on coarser grids), and from the first to the last.
    halvings : int
        Coarser grids of the spin-up, each of half the points a side; at least 1. Each runs for a quarter of
        the seconds of the one before.
    viscosity : float
        Kinematic viscosity, m2 s-1.
    speed : float
        Root mean square of one velocity component at the start, m s-1.
    seed : int
        Of the initial random phases.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    size: int
    snapshots: int
    spin_up: float
    duration: float
    halvings: int
    viscosity: float
    speed: float
    seed: int

    def __post_init__(self) -> None:
        require(self.size >= 16 and self.size % 4 == 0, "size", self.size, "a multiple of 4, at least 16")
        require(self.snapshots >= 2, "snapshots", self.snapshots, "at least 2")
        require(0 <= self.spin_up < np.inf, "spin_up", self.spin_up, "a finite number of seconds, at least 0")
        require(0 < self.duration < np.inf, "duration", self.duration, "a finite number of seconds above 0")
        coarsest = self.size % 2 ** (self.halvings + 1) == 0 and self.size >> self.halvings >= 8
        require(
            self.halvings >= 1 and coarsest,
            "halvings",
            self.halvings,
            "at least 1, leaving an even number of points, at least 8",
        )
        require(0 < self.viscosity < np.inf, "viscosity", self.viscosity, "a finite number above 0")
        require(0 < self.speed < np.inf, "speed", self.speed, "a finite number above 0")
        require(self.seed >= 0, "seed", self.seed, "an integer, at least 0")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant.

    Attributes
    ----------
    seconds : float
        Since the first snapshot.
    velocity : ndarray, float64, shape (3, z, y, x)
    vorticity : ndarray, float64, shape (3, z, y, x)
    pressure : ndarray, float64, shape (z, y, x)
        Kinematic pressure, its mean 0.
    energy, dissipation : float
        Of unit mass: mean |u|²/2 in m2 s-2 and visc mean |ω|² in m2 s-3.
    """

    seconds: float
    velocity: Real
    vorticity: Real
    pressure: Real
    energy: float
    dissipation: float


class Box:
    """The spectral grid of ``size`` points a side: transforms, derivatives, projection, a step in time."""

    def __init__(self, size: int, viscosity: float, pool: Executor) -> None:
        full = np.fft.fftfreq(size, 1 / size)
        half = np.fft.rfftfreq(size, 1 / size)
        self.size = size
        self.viscosity = viscosity
        self.k = (half[None, None, :], full[None, :, None], full[:, None, None])
        self.k2 = self.k[0] ** 2 + self.k[1] ** 2 + self.k[2] ** 2
        self.inverse_k2 = np.divide(1.0, self.k2, out=np.zeros_like(self.k2), where=self.k2 > 0)
        self.cutoff = size / 3
        self.kept = np.all([np.abs(k) < self.cutoff for k in np.broadcast_arrays(*self.k)], axis=0)
        self._pool = pool

    def to_space(self, spectral: Spectral) -> Real:
        """Return the real fields of ``spectral``, shape (c, z, y, x // 2 + 1), component by component."""
        return np.stack(list(self._pool.map(self._inverse, spectral)))

    def to_spectrum(self, fields: Real) -> Spectral:
        """Return the transforms of ``fields``, shape (c, z, y, x), without the modes above the cut."""
        return np.stack(list(self._pool.map(self._forward, fields)))

    def curl(self, u: Spectral) -> Real:
        """Return F⁻¹[i k x ``u``]."""
        return np.stack(list(self._pool.map(lambda c: self._inverse(1j * _cross(self.k, u, c)), range(3))))

    def divergence(self, u: Spectral) -> Spectral:
        """Return i k · ``u``."""
        divergence: Spectral = 1j * (self.k[0] * u[0] + self.k[1] * u[1] + self.k[2] * u[2])
        return divergence

    def gradient(self, scalar: Spectral) -> Spectral:
        """Return i k ``scalar``."""
        return np.stack([1j * k * scalar for k in self.k])

    def project(self, u: Spectral) -> Spectral:
        """Return the divergence-free part of ``u``."""
        projected: Spectral = u + self.gradient(self.divergence(u) * self.inverse_k2)
        return projected

    def lamb(self, u: Spectral) -> tuple[Spectral, Real, Real]:
        """Return F[u x ω], and the velocity and the vorticity in space."""
        velocity, vorticity = self.to_space(u), self.curl(u)
        products = self._pool.map(lambda c: self._forward(_cross(velocity, vorticity, c)), range(3))
        return np.stack(list(products)), velocity, vorticity

    def advance(self, u: Spectral, dt: float) -> Spectral:
        """Return ``u`` after one step of ``dt`` seconds."""
        half = np.exp(-self.viscosity * self.k2 * dt / 2)
        a = self.project(self.lamb(u)[0])
        b = self.project(self.lamb(half * (u + dt / 2 * a))[0])
        c = self.project(self.lamb(half * u + dt / 2 * b)[0])
        d = self.project(self.lamb(half * (half * u + dt * c))[0])
        after: Spectral = half * half * (u + dt / 6 * a) + dt / 3 * half * (b + c) + dt / 6 * d
        return after

    def step_limit(self, u: Spectral) -> float:
        """Return the largest stable step in seconds."""
        fastest = float(np.abs(self.to_space(u)).sum(axis=0).max())
        return COURANT / (fastest * self.cutoff)

    def snapshot(self, u: Spectral, seconds: float) -> Snapshot:
        """Return the fields and the energy budget of ``u``."""
        lamb, velocity, vorticity = self.lamb(u)
        speed2 = np.square(velocity).sum(axis=0)
        head = self.to_space((-self.divergence(lamb) * self.inverse_k2)[None])[0]
        pressure = head - speed2 / 2
        dissipation = self.viscosity * float(np.square(vorticity).sum(axis=0).mean())
        centred = pressure - pressure.mean()
        return Snapshot(seconds, velocity, vorticity, centred, float(speed2.mean()) / 2, dissipation)

    def _inverse(self, component: Spectral) -> Real:
        return np.fft.irfftn(component, s=(self.size,) * 3, axes=(0, 1, 2))

    def _forward(self, component: Real) -> Spectral:
        cut: Spectral = np.fft.rfftn(component) * self.kept
        return cut


def snapshots(parameters: Parameters) -> Iterator[tuple[float, Snapshot | None]]:
    """Run, and yield the fraction done after every step, with a `Snapshot` where one is due."""
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = [parameters.size >> halvings for halvings in range(parameters.halvings, 0, -1)]
        coarse = Box(sizes[0], parameters.viscosity, pool)
        u = _initial(coarse, parameters)
        before = 0.0
        for size, seconds in zip(sizes, _shares(parameters), strict=True):
            u, coarse = _on(u, coarse, Box(size, parameters.viscosity, pool))
            for state, elapsed in _run(coarse, u, seconds):
                u = state
                yield min(SPIN_UP_SHARE, SPIN_UP_SHARE * (before + elapsed) / parameters.spin_up), None
            before += seconds
        u, fine = _on(u, coarse, Box(parameters.size, parameters.viscosity, pool))
        yield SPIN_UP_SHARE, fine.snapshot(u, 0.0)
        intervals = parameters.snapshots - 1
        interval = parameters.duration / intervals
        for index in range(intervals):
            for state, elapsed in _run(fine, u, interval):
                u = state
                yield SPIN_UP_SHARE + (1 - SPIN_UP_SHARE) * (index + elapsed / interval) / intervals, None
            yield (
                SPIN_UP_SHARE + (1 - SPIN_UP_SHARE) * (index + 1) / intervals,
                fine.snapshot(u, (index + 1) * interval),
            )


def _shares(parameters: Parameters) -> list[float]:
    """Return the seconds of the spin-up on each of its grids, the coarsest first; their sum is `spin_up`."""
    weights = [FINER_SHARE**grid for grid in range(parameters.halvings)]
    return [parameters.spin_up * weight / sum(weights) for weight in weights]


def _on(u: Spectral, coarse: Box, fine: Box) -> tuple[Spectral, Box]:
    """Return ``u`` on ``fine``, and ``fine``; the same where the two have one size."""
    return (u, coarse) if fine.size == coarse.size else (_refine(u, coarse, fine), fine)


def _run(box: Box, u: Spectral, duration: float) -> Iterator[tuple[Spectral, float]]:
    """Yield the state and the seconds elapsed after every step, in equal steps, up to ``duration``."""
    steps = int(np.ceil(duration / box.step_limit(u)))
    for step in range(1, steps + 1):
        u = box.advance(u, duration / steps)
        yield u, duration * step / steps


def _initial(box: Box, parameters: Parameters) -> Spectral:
    """Return random divergence-free modes of ``speed`` with the spectrum E(k) ~ k^4 exp(-2 (k / k0)^2)."""
    noise = np.random.default_rng(parameters.seed).standard_normal((3, box.size, box.size, box.size))
    amplitude = np.sqrt(box.k2) * np.exp(-box.k2 / PEAK_WAVE_NUMBER**2)
    u = box.project(box.to_spectrum(noise) * amplitude)
    mean_square = float(np.square(box.to_space(u)).mean())
    scaled: Spectral = u * (parameters.speed / np.sqrt(mean_square))
    return scaled


def _refine(u: Spectral, coarse: Box, fine: Box) -> Spectral:
    """Return ``u`` on the fine grid: the same modes, and zeros above them."""
    half, columns = coarse.size // 2, coarse.size // 2
    refined = np.zeros((3, fine.size, fine.size, fine.size // 2 + 1), dtype=np.complex128)
    for z in (slice(0, half), slice(-half + 1, None)):
        for y in (slice(0, half), slice(-half + 1, None)):
            refined[:, z, y, :columns] = u[:, z, y, :columns]
    return refined * (fine.size / coarse.size) ** 3


def _cross(a: Sequence[NDArray[Any]] | NDArray[Any], b: NDArray[Any], component: int) -> NDArray[Any]:
    """Return one component of a x b."""
    i, j = (component + 1) % 3, (component + 2) % 3
    product: NDArray[Any] = a[i] * b[j] - a[j] * b[i]
    return product


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return the run as a CF data set: u, v, w, pressure, vorticity_magnitude (time, z, y, x) in float32.

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every step.

    Returns
    -------
    xarray.Dataset
        And the energy budget, float64, shape (time,).
    """
    import xarray as xr

    kept: list[dict[str, Any]] = []
    for fraction, snapshot in snapshots(parameters):
        progress(fraction)
        if snapshot is not None:
            kept.append(_columns(snapshot))
    data = {name: (_FIELD, np.stack([each[name] for each in kept]), _FIELDS[name]) for name in _FIELDS}
    budget = {name: (_SERIES, np.array([each[name] for each in kept]), _BUDGET[name]) for name in _BUDGET}
    coordinates = times(np.array([each["seconds"] for each in kept]))
    step = BOX / parameters.size
    for name, letter in (("z", "Z"), ("y", "Y"), ("x", "X")):
        attributes = {"units": "m", "long_name": f"{name} of the collocation point", "axis": letter}
        if letter == "Z":
            attributes["positive"] = "up"
        edges = np.linspace(-step / 2, BOX - step / 2, parameters.size + 1)
        coordinates |= axis(name, edges, attributes)
    return xr.Dataset(
        data | budget, coordinates, {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT}
    )


def _columns(snapshot: Snapshot) -> dict[str, Any]:
    u, v, w = snapshot.velocity.astype(np.float32)
    return {
        "seconds": snapshot.seconds,
        "u": u,
        "v": v,
        "w": w,
        "pressure": snapshot.pressure.astype(np.float32),
        "vorticity_magnitude": np.sqrt(np.square(snapshot.vorticity).sum(axis=0)).astype(np.float32),
        "kinetic_energy": snapshot.energy,
        "dissipation": snapshot.dissipation,
    }


_SOURCE = "sciflow.datasets.navier_stokes: pseudo-spectral incompressible Navier-Stokes, RK4, 2/3 dealiasing"
_COMMENT = "Decaying isotropic turbulence in a periodic box of side 2 pi m; density 1 kg m-3 is divided out."
_FIELD, _SERIES = ("time", "z", "y", "x"), ("time",)
_MEAN = "time: point x: y: z: mean"
_FIELDS = {
    "u": describe("m s-1", "velocity along x", methods="time: point"),
    "v": describe("m s-1", "velocity along y", methods="time: point"),
    "w": describe("m s-1", "velocity along z", methods="time: point"),
    "pressure": describe("m2 s-2", "pressure over density", methods="time: point"),
    "vorticity_magnitude": describe("s-1", "magnitude of the vorticity", methods="time: point"),
}
_BUDGET = {
    "kinetic_energy": describe("m2 s-2", "mean kinetic energy of unit mass", methods=_MEAN),
    "dissipation": describe("m2 s-3", "mean viscous dissipation of unit mass", methods=_MEAN),
}
