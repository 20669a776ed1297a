"""Flow through a porous square: random permeability, and the pressure that a real solve gives.

```
(seed, number) ─▶ Gaussian field g of (-Δ + τ²)^-s ─▶ a = low | high, or exp(spread g)
                                                         └─ finite volumes, sparse LU ─▶ u
```
    -div(a grad u) = f on the unit square,      u = 0 on its edge

Cells carry a and u; a face between two cells has the harmonic mean of their a, a face on the edge the cell's
own over half a cell. The random fields and the thresholded permeability are those of Li et al., "Fourier
neural operator for parametric partial differential equations", ICLR 2021 (arXiv:2010.08895), section 5.2 and
appendix A.3.2; the scheme is that of Eymard, Gallouët and Herbin, "Finite volume methods", Handbook of
Numerical Analysis VII, 2000, section 3.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets import sampling
from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe
from sciflow.datasets.validate import require
from sciflow.errors import Unsupported

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["FIELDS", "Parameters", "draw", "gaussian_field", "simulate", "solve", "template"]

Real = NDArray[np.float64]

FIELDS = ("thresholded", "lognormal")
"""Kinds of permeability."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the samples depend on; every value is checked when the object is made.

    Attributes
    ----------
    samples : int
        Pairs of permeability and pressure.
    size : int
        Cells a side, at least 8.
    field : str
        ``"thresholded"``: `low` where the Gaussian field is below 0, `high` elsewhere. ``"lognormal"``:
        exp(`spread` times the Gaussian field), whose variance is 1 on average over the square.
    low, high : float
        The two values of the thresholded permeability.
    spread : float
        Standard deviation of the logarithm of the lognormal permeability, at most 5.
    inverse_length : float
        τ of the covariance (-Δ + τ²)^-s: structures are some 1 / τ long.
    smoothness : float
        s of it, above 1.
    source : float
        f, the same everywhere.
    seed : int
        Of all samples.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    samples: int
    size: int
    field: str
    low: float
    high: float
    spread: float
    inverse_length: float
    smoothness: float
    source: float
    seed: int

    def __post_init__(self) -> None:
        sampling.numbers(self)
        require(self.size >= 8, "size", self.size, "at least 8")
        require(self.field in FIELDS, "field", self.field, f"one of {', '.join(FIELDS)}")
        for name in ("low", "high", "spread", "inverse_length", "source"):
            value = getattr(self, name)
            require(0 < value < np.inf, name, value, "a finite number above 0")
        require(self.high >= self.low, "high", self.high, f"at least low = {self.low:g}")
        require(self.spread <= 5, "spread", self.spread, "at most 5, so that the solve keeps its digits")
        require(1 < self.smoothness < np.inf, "smoothness", self.smoothness, "a finite number above 1")


def gaussian_field(parameters: Parameters, rng: np.random.Generator) -> Real:
    """Return a Gaussian field of covariance ~ (-Δ + τ²)^-s, its normal derivative 0 on the edge.

    Returns
    -------
    ndarray, float64, shape (y, x)
        At the middles of the cells; mean 0, and variance 1 on average over the square and all draws.
    """
    from scipy.fft import idctn

    k = np.arange(parameters.size)
    squared = np.pi**2 * (k[:, None] ** 2 + k[None, :] ** 2)
    amplitude = (squared + parameters.inverse_length**2) ** (-parameters.smoothness / 2)
    amplitude[0, 0] = 0.0  # as in the source: no sample is all low or all high
    amplitude *= parameters.size / np.sqrt(np.square(amplitude).sum())
    field: Real = idctn(amplitude * rng.standard_normal(amplitude.shape), norm="ortho")
    return field


def solve(permeability: Real, source: float | Real) -> Real:
    """Return the pressure at the middles of the cells of the unit square, 0 on its edge.

    Parameters
    ----------
    permeability : ndarray, float64, shape (y, x)
        Above 0.
    source : float or ndarray, float64, shape (y, x)
        f.

    Returns
    -------
    ndarray, float64, shape (y, x)
        The error falls with the square of the cell where the permeability is smooth.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    rows, columns = permeability.shape
    across, along = _faces(permeability) * rows**2, _faces(permeability.T).T * columns**2
    diagonal = across[:-1] + across[1:] + along[:, :-1] + along[:, 1:]
    beside = along[:, 1:].copy()
    beside[:, -1] = 0.0  # the next cell in memory is on the next row
    above, next_to = across[1:-1].ravel(), beside.ravel()[:-1]
    matrix = diags_array(
        [diagonal.ravel(), -next_to, -next_to, -above, -above],
        offsets=[0, 1, -1, columns, -columns],
        format="csc",
    )
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    pressure: Real = factors.solve(np.broadcast_to(source, (rows, columns)).ravel())
    return pressure.reshape(rows, columns)


def _faces(permeability: Real) -> Real:
    """Return what conducts through the faces along the first axis, shape (y + 1, x), for cells of side 1."""
    below, above = permeability[:-1], permeability[1:]
    edges = 2 * permeability[[0, -1]]
    between = 2 * below * above / (below + above)
    return np.concatenate([edges[:1], between, edges[1:]])


def draw(parameters: Parameters, number: int) -> dict[str, NDArray[np.float32]]:
    """Return sample ``number``: permeability and pressure, float32, shape (y, x)."""
    field = gaussian_field(parameters, sampling.generator(parameters, number))
    if parameters.field == "thresholded":
        permeability = np.where(field < 0, parameters.low, parameters.high)
    else:
        permeability = np.exp(parameters.spread * field)
    # The pressure is that of the permeability as it is stored.
    stored = permeability.astype(np.float32)
    pressure = solve(stored.astype(np.float64), parameters.source)
    return {"permeability": stored, "pressure": pressure.astype(np.float32)}


def template(parameters: Parameters) -> xr.Dataset:
    """Return the data set without its samples.

    Raises
    ------
    Unsupported
        SciPy is not installed.
    """
    import xarray as xr

    try:
        import scipy.sparse.linalg  # noqa: F401
    except ImportError as error:
        raise Unsupported("darcy is solved with SciPy: pip install 'sciflow[surrogates]'") from error
    coordinates: dict[str, Any] = {}
    for name in ("y", "x"):
        about = {"units": "1", "long_name": f"{name} over the side of the square", "axis": name.upper()}
        coordinates |= axis(name, np.linspace(0.0, 1.0, parameters.size + 1), about)
    empty = np.empty((0, parameters.size, parameters.size), np.float32)
    variables = {
        "permeability": (("sample", "y", "x"), empty, describe("1", "permeability")),
        "pressure": (("sample", "y", "x"), empty, describe("1", "pressure")),
    }
    return xr.Dataset(variables, coordinates, {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT})


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return all samples as a CF data set: permeability and pressure, float32, (sample, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every sample.
    """
    return sampling.in_memory(sys.modules[__name__], parameters, progress)


_SOURCE = "sciflow.datasets.darcy: finite volumes with harmonic means, sparse LU"
_COMMENT = "-div(permeability grad pressure) = source on the unit square, pressure 0 on its edge; no units."
