"""How far two fields are apart, cell by cell: bias, RMSE, largest error, correlation.

All take ``f(reference, candidate, *, weights=None)``, count the cells that are finite in both, sum in float64
and give NaN where no cell counts. Definitions as in Wilks, Statistical Methods in the Atmospheric Sciences,
3rd ed., chapters 3 and 8.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sciflow.physics.cells import Pairs, load, pairs

__all__ = ["bias", "max_error", "pearson", "rmse", "spearman"]


def bias(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Weighted mean of candidate - reference, in the unit of the data.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape
        NaN and infinite cells of either are left out.
    weights : array_like, optional
        Areas or the like, broadcast against them.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, or a weight is negative.

    Examples
    --------
    >>> bias([1.0, 2.0, np.nan], [1.5, 2.0, 3.0])
    0.25
    """
    cells = pairs(reference, candidate, weights)
    return cells.mean(cells.candidate - cells.reference)


def rmse(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Root of the weighted mean of (candidate - reference)**2, in the unit of the data.

    Parameters
    ----------
    reference, candidate, weights
        As for `bias`.

    Raises
    ------
    InvalidArgument
        As for `bias`.

    Examples
    --------
    >>> rmse([0.0, 0.0], [3.0, 1.0], weights=[1.0, 8.0])  # sqrt((9 + 8) / 9)
    1.374...
    """
    cells = pairs(reference, candidate, weights)
    return math.sqrt(cells.mean((cells.candidate - cells.reference) ** 2))


def max_error(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Largest |candidate - reference|, in the unit of the data; a weight of 0 leaves a cell out.

    Parameters
    ----------
    reference, candidate, weights
        As for `bias`.

    Raises
    ------
    InvalidArgument
        As for `bias`.
    """
    cells = pairs(reference, candidate, weights)
    error = np.abs(cells.candidate - cells.reference)
    return float(error.max()) if len(error) else math.nan


def pearson(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Linear correlation, -1 to 1; 1 of two constants that agree, NaN of other constants.

    Parameters
    ----------
    reference, candidate, weights
        As for `bias`.

    Raises
    ------
    InvalidArgument
        As for `bias`.
    """
    return _correlation(pairs(reference, candidate, weights))


def spearman(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Correlation of ranks, -1 to 1; ties share the mean of their ranks.

    Parameters
    ----------
    reference, candidate, weights
        As for `bias`. Weights count in the correlation, ranks are of cells.

    Raises
    ------
    InvalidArgument
        As for `bias`.
    Unsupported
        If SciPy is not installed.
    """
    rank = load("scipy.stats").rankdata
    cells = pairs(reference, candidate, weights)
    return _correlation(Pairs(rank(cells.reference), rank(cells.candidate), cells.weights))


def _correlation(cells: Pairs) -> float:
    if np.array_equal(cells.reference, cells.candidate) and len(cells.reference):
        return 1.0
    dx = cells.reference - cells.mean(cells.reference)
    dy = cells.candidate - cells.mean(cells.candidate)
    scale = math.sqrt(cells.mean(dx**2)) * math.sqrt(cells.mean(dy**2))
    return min(1.0, max(-1.0, cells.mean(dx * dy) / scale)) if scale > 0.0 else math.nan
