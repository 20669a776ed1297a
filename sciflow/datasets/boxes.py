"""Lognormal boxes of many cosmologies: a density whose power spectrum follows from drawn parameters.

```
(seed, number) ─▶ Omega_m, sigma_8, n_s ─▶ P(k) ─ F⁻¹ ─▶ ξ ─ ln(1 + ξ) ─ F ─▶ P_G ─▶ g ─▶ exp(g - var g / 2)
```
P(k) = A k^n_s T(k)², with A from sigma_8. T is the transfer function without wiggles of Eisenstein and Hu,
"Baryonic features in the matter transfer function", ApJ 496, 1998 (astro-ph/9709112), equations 26 and 28 to
31. The step by way of ln(1 + ξ) gives the density itself the spectrum P: Coles and Jones, "A lognormal model
for the cosmological mass distribution", MNRAS 248, 1991, section 2. The ranges of the parameters are those of
the latin hypercubes of Villaescusa-Navarro et al., "The Quijote simulations", ApJS 250, 2020
(arXiv:1909.05273), table 1.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets import sampling
from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["NAMES", "Parameters", "density", "draw", "power", "simulate", "template", "transfer"]

Real = NDArray[np.float64]

NAMES = ("Omega_m", "sigma_8", "n_s")
"""What is drawn, in the order of the file."""

CMB_TEMPERATURE = 2.7255
"""Kelvin: Fixsen, ApJ 707, 2009."""

TOP_HAT = 8.0
"""Radius that sigma_8 belongs to, Mpc/h."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the boxes depend on; every value is checked when the object is made.

    Attributes
    ----------
    samples : int
        Boxes.
    size : int
        Cells a side, even, at least 8.
    box : float
        Side in Mpc/h.
    lowest_matter, highest_matter : float
        Matter's share of the critical density: drawn evenly between the two for each box.
    lowest_sigma, highest_sigma : float
        Standard deviation of the linear density in spheres of 8 Mpc/h: likewise.
    lowest_tilt, highest_tilt : float
        Primeval slope n_s of the spectrum: likewise.
    baryons : float
        Their share of the critical density, below that of matter.
    hubble : float
        Hubble's constant in 100 km/s/Mpc.
    seed : int
        Of all samples.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    samples: int
    size: int
    box: float
    lowest_matter: float
    highest_matter: float
    lowest_sigma: float
    highest_sigma: float
    lowest_tilt: float
    highest_tilt: float
    baryons: float
    hubble: float
    seed: int

    def __post_init__(self) -> None:
        sampling.numbers(self)
        require(self.size >= 8 and self.size % 2 == 0, "size", self.size, "an even number, at least 8")
        require(0 < self.box < np.inf, "box", self.box, "a finite number above 0")
        require(0 < self.baryons < 1, "baryons", self.baryons, "above 0, below 1")
        require(0.1 <= self.hubble <= 2, "hubble", self.hubble, "from 0.1 to 2")
        self._ordered("matter", self.baryons, 1)
        self._ordered("sigma", 0, 2)
        self._ordered("tilt", 0, 2)

    def _ordered(self, name: str, above: float, most: float) -> None:
        low, high = getattr(self, f"lowest_{name}"), getattr(self, f"highest_{name}")
        require(above < low <= most, f"lowest_{name}", low, f"above {above:g}, at most {most:g}")
        require(low <= high <= most, f"highest_{name}", high, f"from lowest_{name} to {most:g}")


def transfer(k: Real, matter: float, baryons: float, hubble: float) -> Real:
    """Return the transfer function of Eisenstein and Hu without wiggles.

    Parameters
    ----------
    k : ndarray, float64
        Wave number in h/Mpc, not negative.
    matter, baryons : float
        Shares of the critical density.
    hubble : float
        In 100 km/s/Mpc.
    """
    share, physical = baryons / matter, matter * hubble**2
    sound = 44.5 * np.log(9.83 / physical) / np.sqrt(1 + 10 * (baryons * hubble**2) ** 0.75)
    alpha = 1 - 0.328 * np.log(431 * physical) * share + 0.38 * np.log(22.3 * physical) * share**2
    gamma = matter * hubble * (alpha + (1 - alpha) / (1 + (0.43 * k * hubble * sound) ** 4))
    q = k * (CMB_TEMPERATURE / 2.7) ** 2 / gamma
    logarithm = np.log(2 * math.e + 1.8 * q)
    found: Real = logarithm / (logarithm + (14.2 + 731 / (1 + 62.5 * q)) * q**2)
    return found


def power(k: Real, cosmology: Real, parameters: Parameters) -> Real:
    """Return the linear power spectrum in (Mpc/h)³, 0 at wave number 0.

    Parameters
    ----------
    k : ndarray, float64
        Wave number in h/Mpc.
    cosmology : ndarray, float64, shape (3,)
        Values of `NAMES`.
    parameters : Parameters
        Baryons and Hubble's constant.
    """
    matter, sigma, tilt = (float(value) for value in cosmology)

    def unscaled(waves: Real) -> Real:
        shape: Real = waves**tilt * transfer(waves, matter, parameters.baryons, parameters.hubble) ** 2
        return shape

    fine = np.geomspace(1e-5, 50, 4000)
    x = fine * TOP_HAT
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(fine**3 * unscaled(fine) * window**2, np.log(fine)) / (2 * np.pi**2)
    found: Real = np.where(k > 0, unscaled(np.maximum(k, 1e-12)), 0.0) * (sigma**2 / variance)
    return found


@lru_cache(maxsize=2)
def _waves(size: int, box: float) -> Real:
    """Return the wave numbers of the grid's modes in h/Mpc, shape (z, y, x // 2 + 1)."""
    full, half = (2 * np.pi * size / box * f(size) for f in (np.fft.fftfreq, np.fft.rfftfreq))
    k: Real = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    return k


def density(parameters: Parameters, cosmology: Real, rng: np.random.Generator) -> Real:
    """Return a lognormal density over its mean, float64, shape (z, y, x), of the spectrum `power`."""
    n = parameters.size
    cells, volume = n**3, parameters.box**3
    linear = power(_waves(n, parameters.box), cosmology, parameters)
    correlation = np.fft.irfftn(linear, s=(n,) * 3, axes=(0, 1, 2)) * cells / volume
    gaussian = np.fft.rfftn(np.log1p(np.maximum(correlation, -0.99))).real / cells
    gaussian = np.maximum(gaussian, 0.0)  # what no Gaussian field can have; it is little
    gaussian[0, 0, 0] = 0.0
    noise = np.fft.rfftn(rng.standard_normal((n,) * 3)) / np.sqrt(cells)
    field = np.fft.irfftn(noise * np.sqrt(gaussian), s=(n,) * 3, axes=(0, 1, 2)) * cells
    variance = float(np.fft.irfftn(gaussian, s=(n,) * 3, axes=(0, 1, 2))[0, 0, 0]) * cells
    found: Real = np.exp(field - variance / 2)
    return found


def draw(parameters: Parameters, number: int) -> dict[str, NDArray[np.float32]]:
    """Return sample ``number``: density, float32 (z, y, x), and the values of `NAMES`, float32 (3,)."""
    rng = sampling.generator(parameters, number)
    ranges = [
        (getattr(parameters, f"lowest_{name}"), getattr(parameters, f"highest_{name}"))
        for name in ("matter", "sigma", "tilt")
    ]
    cosmology = np.array([rng.uniform(low, high) for low, high in ranges])
    box = density(parameters, cosmology, rng)
    return {"density": box.astype(np.float32), "parameters": cosmology.astype(np.float32)}


def template(parameters: Parameters) -> xr.Dataset:
    """Return the data set without its boxes."""
    import xarray as xr

    coordinates: dict[str, Any] = {}
    for name in ("z", "y", "x"):
        about = {"units": "Mpc", "long_name": f"comoving distance along {name} times h", "axis": name.upper()}
        coordinates |= axis(name, np.linspace(0.0, parameters.box, parameters.size + 1), about)
    coordinates["parameter"] = ("parameter", np.array(NAMES), {"long_name": "name of the parameter"})
    boxes = np.empty((0, *(parameters.size,) * 3), np.float32)
    drawn = np.empty((0, len(NAMES)), np.float32)
    variables = {
        "density": (("sample", "z", "y", "x"), boxes, describe("1", "density of matter over its mean")),
        "parameters": (("sample", "parameter"), drawn, describe("1", "parameters of the cosmology")),
    }
    return xr.Dataset(variables, coordinates, {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT})


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return all boxes as a CF data set, float32: density (sample, z, y, x), parameters (sample, parameter).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every box.
    """
    return sampling.in_memory(sys.modules[__name__], parameters, progress)


_SOURCE = "sciflow.datasets.boxes: lognormal fields of Eisenstein-Hu spectra without wiggles"
_COMMENT = "parameters are Omega_m, sigma_8 and n_s, drawn evenly for each box; distances are in Mpc/h."
