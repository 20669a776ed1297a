"""A lognormal density of matter with its siblings: a Gaussian field of a spectrum, and what follows from it.

```
noise ─ F ─ √P(k) ─▶ δ(k) ─┬─ F⁻¹ ─▶ g ──▶ log density, density = exp(g), temperature ~ density^0.6
                           ├─ -1/k² ─▶ potential
                           └─ i k/k² ─▶ velocity
```
The spectrum is P(k) ~ k / (1 + (k/k_t)²)²: a primeval slope of 1 that bends to -3 beyond `turn_over`, as cold
dark matter has it but for a logarithm. After Coles and Jones, "A lognormal model for the cosmological mass
distribution", MNRAS 248, 1991.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Parameters", "fields", "simulate"]

MEAN_TEMPERATURE = 1e4
"""Kelvin at the mean density."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the fields depend on; every value is checked when the object is made.

    Attributes
    ----------
    size : int
        Cells a side, even, at least 8.
    box : float
        Side of the box in megaparsecs.
    turn_over : float
        Wave number at which the spectrum bends, in 1/Mpc.
    smoothing : float
        Radius in cells of the Gaussian that the field is smoothed with; 0: the spectrum reaches to the grid.
    spread : float
        Standard deviation of the logarithm of the density.
    adiabatic_index : float
        Of the temperature's power law.
    scatter : float
        Standard deviation of the logarithm of the temperature around that.
    speed : float
        Root mean square of a component of the velocity, km/s.
    seed : int
        Of the random modes.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    size: int
    box: float
    turn_over: float
    smoothing: float
    spread: float
    adiabatic_index: float
    scatter: float
    speed: float
    seed: int

    def __post_init__(self) -> None:
        require(self.size >= 8 and self.size % 2 == 0, "size", self.size, "an even number, at least 8")
        for name in ("box", "turn_over", "spread", "adiabatic_index", "speed"):
            value = getattr(self, name)
            require(0 < value < np.inf, name, value, "a finite number above 0")
        require(self.spread <= 10, "spread", self.spread, "at most 10, so that a float32 holds the density")
        for name in ("smoothing", "scatter"):
            value = getattr(self, name)
            require(0 <= value < np.inf, name, value, "a finite number, at least 0")
        require(self.seed >= 0, "seed", self.seed, "an integer, at least 0")


def fields(parameters: Parameters, *, progress: Progress) -> dict[str, NDArray[np.float32]]:
    """Return the fields by name, shape (z, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every field.
    """
    rng = np.random.default_rng(parameters.seed)
    n = parameters.size
    waves = _modes(parameters, rng)
    log_density = np.float32(parameters.spread) * _unit(_space(waves, n))
    progress(0.3)
    k = _wave_numbers(parameters)
    k2 = _square(k)
    k2[0, 0, 0] = np.inf
    potential = _unit(_space(-waves / k2, n))
    progress(0.5)
    velocity = np.float32(parameters.speed) * _unit(_space(waves * (1j * k[2]) / k2, n))
    progress(0.7)
    density = np.exp(log_density - np.float32(parameters.spread**2 / 2))
    own = _unit(_space(_modes(parameters, rng), n)) if parameters.scatter > 0 else np.float32(0)
    slope = np.float32(parameters.adiabatic_index - 1)
    around = np.exp(slope * np.log(density) + np.float32(parameters.scatter) * own)
    temperature = (np.float32(MEAN_TEMPERATURE) * around).astype(np.float32)
    progress(0.9)
    return {
        "density": density,
        "log_density": np.log(density),
        "temperature": temperature,
        "velocity_x": velocity,
        "potential": potential,
    }


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return the fields as a CF data set, float32, dimensions (z, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every field.
    """
    import xarray as xr

    progress(0.0)
    made = fields(parameters, progress=progress)
    edges = np.linspace(0.0, parameters.box, parameters.size + 1)
    coordinates: dict[str, Any] = {}
    for name in ("z", "y", "x"):
        about = {"units": "Mpc", "long_name": f"comoving distance along {name}", "axis": name.upper()}
        coordinates.update(axis(name, edges, about))
    variables = {name: (("z", "y", "x"), values, _FIELDS[name]) for name, values in made.items()}
    dataset = xr.Dataset(
        {**variables, **{name: value for name, value in coordinates.items() if name.endswith("_bnds")}},
        {name: value for name, value in coordinates.items() if not name.endswith("_bnds")},
        {**GLOBAL_ATTRIBUTES, "source": _SOURCE},
    )
    progress(1.0)
    return dataset


def _modes(parameters: Parameters, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Random modes of the spectrum, shape (z, y, x // 2 + 1)."""
    noise = rng.standard_normal((parameters.size,) * 3, dtype=np.float32)
    k2 = _square(_wave_numbers(parameters))
    cell = parameters.box / parameters.size
    power = np.sqrt(k2) / np.square(1 + k2 / parameters.turn_over**2)
    amplitude = np.sqrt(power) * np.exp(-k2 * (parameters.smoothing * cell) ** 2 / 2)
    modes: NDArray[np.complex64] = np.fft.rfftn(noise).astype(np.complex64) * amplitude.astype(np.float32)
    return modes


def _wave_numbers(parameters: Parameters) -> tuple[NDArray[np.float32], ...]:
    """In 1/Mpc along z, y and x, ready to broadcast."""
    cell = parameters.box / parameters.size
    full = (2 * np.pi * np.fft.fftfreq(parameters.size, cell)).astype(np.float32)
    half = (2 * np.pi * np.fft.rfftfreq(parameters.size, cell)).astype(np.float32)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def _square(k: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    total: NDArray[np.float32] = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    return total


def _space(modes: NDArray[Any], n: int) -> NDArray[np.float64]:
    return np.fft.irfftn(modes, s=(n, n, n), axes=(0, 1, 2))


def _unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean 0 and standard deviation 1."""
    scaled: NDArray[np.float64] = (values - values.mean()) / values.std()
    return scaled.astype(np.float32)


_SOURCE = "sciflow.datasets.cosmology: lognormal field of a power spectrum, by fast Fourier transforms"
_FIELDS = {
    "density": describe("1", "density of matter over its mean"),
    "log_density": describe("1", "natural logarithm of the density over its mean"),
    "temperature": describe("K", "temperature of a gas that follows the density"),
    "velocity_x": describe("km s-1", "velocity along x, of linear theory"),
    "potential": describe("1", "gravitational potential over its standard deviation"),
}
