"""How far two distributions of values are apart, and their tails: quantiles, extremes, return levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sciflow.errors import InvalidArgument
from sciflow.physics.cells import Floats, Pairs, arrays, load, pairs

__all__ = [
    "QUANTILES",
    "histogram_distance",
    "kolmogorov_smirnov",
    "maximum_change",
    "minimum_change",
    "quantile_error",
    "quantiles",
    "return_level_error",
    "return_levels",
    "wasserstein",
]

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""Bulk and tails."""

_LEAST_BLOCKS = 8
"""Maxima below which a distribution with three parameters says nothing."""


def wasserstein(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Area between the two cumulative distributions, in the unit of the data (Wasserstein-1).

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    Unsupported
        If SciPy is not installed.

    References
    ----------
    Ramdas, Garcia Trillos & Cuturi, Entropy 19(2):47, 2017.
    """
    distance = load("scipy.stats").wasserstein_distance
    cells = pairs(reference, candidate, weights)
    if not len(cells.weights):
        return math.nan
    shared = None if weights is None else cells.weights
    return float(distance(cells.reference, cells.candidate, shared, shared))


def kolmogorov_smirnov(
    reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None
) -> float:
    """Largest distance of the two cumulative distributions, 0 to 1.

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`; with weights, of weighted distributions.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.

    References
    ----------
    Smirnov, Annals of Mathematical Statistics 19(2):279, 1948.
    """
    cells = pairs(reference, candidate, weights)
    if not len(cells.weights):
        return math.nan
    at = np.concatenate([cells.reference, cells.candidate])
    gap = _cumulative(cells.reference, cells.weights, at) - _cumulative(cells.candidate, cells.weights, at)
    return float(np.abs(gap).max())


def histogram_distance(
    reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None, bins: int = 100
) -> float:
    """Part of all weight that lies in another bin, 0 to 1: half the sum of |p - q| (total variation).

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`.
    bins : int
        Of equal width, over the range of both arrays.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    """
    cells = pairs(reference, candidate, weights)
    if not len(cells.weights):
        return math.nan
    low = min(cells.reference.min(), cells.candidate.min())
    high = max(cells.reference.max(), cells.candidate.max())
    if low == high:
        return 0.0
    p, _ = np.histogram(cells.reference, bins, (low, high), weights=cells.weights)
    q, _ = np.histogram(cells.candidate, bins, (low, high), weights=cells.weights)
    return float(0.5 * np.abs(p - q).sum())


def quantiles(
    values: ArrayLike, at: Sequence[float] = QUANTILES, *, weights: ArrayLike | None = None
) -> Floats:
    """Smallest values below or at which the given parts of all weight lie, in the unit of the data.

    Parameters
    ----------
    values : array_like, any real dtype
        NaN and infinite cells are left out.
    at : sequence of float
        Parts, 0 to 1.
    weights : array_like, optional
        Areas or the like, broadcast against them.

    Returns
    -------
    ndarray, float64, shape (len(at),)
        NaN where no cell counts.

    References
    ----------
    Hyndman & Fan, The American Statistician 50(4):361, 1996, definition 1.
    """
    cells = pairs(values, values, weights)
    return _quantiles(cells.reference, cells.weights, at)


def quantile_error(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    at: Sequence[float] = QUANTILES,
) -> float:
    """Largest difference of two quantiles, in the unit of the data.

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`.
    at : sequence of float
        Parts, 0 to 1; by default from a thousandth to 999 of them.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    """
    cells = pairs(reference, candidate, weights)
    change = _of(cells, cells.candidate, at) - _of(cells, cells.reference, at)
    return float(np.abs(change).max())


def maximum_change(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Largest value of the candidate less that of the reference, in the unit of the data.

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`; a weight of 0 leaves a cell out.
    """
    cells = pairs(reference, candidate, weights)
    return float(cells.candidate.max() - cells.reference.max()) if len(cells.weights) else math.nan


def minimum_change(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Smallest value of the candidate less that of the reference, in the unit of the data.

    Parameters
    ----------
    reference, candidate, weights
        As for `sciflow.physics.bias`; a weight of 0 leaves a cell out.
    """
    cells = pairs(reference, candidate, weights)
    return float(cells.candidate.min() - cells.reference.min()) if len(cells.weights) else math.nan


def return_levels(values: ArrayLike, periods: Sequence[float] = (2, 10, 50), *, block: int = 1) -> Floats:
    """Values that maxima of a block exceed once in so many blocks, for each cell, in the unit of the data.

    A generalised extreme value distribution is fitted to the maxima of blocks by L-moments.

    Parameters
    ----------
    values : array_like, any real dtype, shape (time, ...)
        NaN are left out of maxima; a cell with a block of nothing else gets NaN.
    periods : sequence of float, above 1
        In blocks.
    block : int
        Steps of a block (365 of daily values: annual maxima); what is left over at the end is dropped.

    Returns
    -------
    ndarray, float64, shape (len(periods), ...)

    Raises
    ------
    InvalidArgument
        If there are fewer than 8 blocks, or a period is 1 or less.

    References
    ----------
    Hosking, Wallis & Wood, Technometrics 27(3):251, 1985; Coles, An Introduction to
    Statistical Modeling of Extreme Values, section 3.1.3.
    """
    series = np.asarray(values, np.float64)
    blocks = len(series) // block if series.ndim and block > 0 else 0
    if blocks < _LEAST_BLOCKS:
        raise InvalidArgument(
            f"{blocks} blocks of {block}: expected {_LEAST_BLOCKS} or more along the first axis"
        )
    if min(periods) <= 1.0:
        raise InvalidArgument(f"periods {tuple(periods)}: expected more than 1 block each")
    whole = series[: blocks * block].reshape(blocks, block, *series.shape[1:])
    maxima = np.where(np.isfinite(whole), whole, -np.inf).max(axis=1)
    maxima[np.isinf(maxima)] = np.nan
    location, scale, shape = _fit_maxima(maxima)
    rate = -np.log1p(-1.0 / np.asarray(periods, np.float64)).reshape(-1, *[1] * (series.ndim - 1))
    straight = np.abs(shape) < 1e-6  # a Gumbel distribution
    safe = np.where(straight, 1.0, shape)
    return np.asarray(location + scale * np.where(straight, -np.log(rate), (1.0 - rate**safe) / safe))


def return_level_error(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    period: float = 10.0,
    block: int = 1,
) -> float:
    """Root of the weighted mean square difference of the cells' return levels, in the unit of the data.

    Parameters
    ----------
    reference, candidate : array_like, shape (time, ...)
        Fields.
    weights : array_like, optional
        Broadcast against one field, without the axis of time.
    period, block
        As for `return_levels`.

    Raises
    ------
    InvalidArgument
        As for `return_levels`.
    """
    x, y = arrays(reference, candidate)
    cells = pairs(
        return_levels(x, [period], block=block)[0], return_levels(y, [period], block=block)[0], weights
    )
    return math.sqrt(cells.mean((cells.candidate - cells.reference) ** 2))


def _of(cells: Pairs, values: Floats, at: Sequence[float]) -> Floats:
    return _quantiles(values, cells.weights, at)


def _quantiles(values: Floats, weights: Floats, at: Sequence[float]) -> Floats:
    if not len(values):
        return np.full(len(at), np.nan)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    wanted = np.asarray(at, np.float64) * reached[-1] * (1.0 - 1e-12)  # a sum of n parts may miss by n ulp
    places: Floats = values[order[np.clip(np.searchsorted(reached, wanted), 0, len(values) - 1)]]
    return places


def _cumulative(values: Floats, weights: Floats, at: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(reached[np.searchsorted(values[order], at, side="right")])


def _fit_maxima(maxima: Floats) -> tuple[Floats, Floats, Floats]:
    """Location, scale and shape k of Hosking's F(x) = exp(-(1 - k (x - location) / scale)^(1 / k))."""
    gamma = np.vectorize(math.gamma, otypes=[np.float64])
    ordered = np.sort(maxima, axis=0)
    n = len(ordered)
    rank = np.arange(n, dtype=np.float64).reshape(-1, *[1] * (ordered.ndim - 1))
    b0 = ordered.mean(axis=0)
    b1 = (ordered * rank).mean(axis=0) / (n - 1)
    b2 = (ordered * rank * (rank - 1)).mean(axis=0) / ((n - 1) * (n - 2))
    l2 = 2 * b1 - b0
    constant = np.abs(l2) <= 1e-12 * np.maximum(np.abs(b0), 1e-300)
    spread = np.where(constant, 1.0, l2)
    skew = np.where(constant, 0.169925, (6 * b2 - 6 * b1 + b0) / spread)
    c = 2.0 / (3.0 + skew) - math.log(2) / math.log(3)
    k = 7.8590 * c + 2.9554 * c**2
    k = np.where(np.abs(k) < 1e-6, 1e-6, k)
    of_one = gamma(1.0 + k)
    scale = np.where(constant, 0.0, spread * k / ((1.0 - 2.0**-k) * of_one))
    return b0 + scale * (of_one - 1.0) / k, scale, k
