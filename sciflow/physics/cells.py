"""Which cells of two arrays count, and how much: what every metric begins with.

A cell counts where both arrays are finite. What is not finite in the reference is no data; what is finite
there and not in the candidate was lost, and `lost` counts it, so that no metric gets better unseen by losing
cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciflow.errors import InvalidArgument, Unsupported

__all__ = ["Floats", "Pairs", "arrays", "latitude_weights", "load", "lost", "pairs", "planes"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The cells that count.

    Parameters
    ----------
    reference, candidate : ndarray, float64, shape (n,)
        Their values.
    weights : ndarray, float64, shape (n,)
        Sum to 1.
    """

    reference: Floats
    candidate: Floats
    weights: Floats

    def mean(self, values: Floats) -> float:
        """Weighted mean, NaN of no cell."""
        return float(np.sum(self.weights * values)) if len(values) else float("nan")


def arrays(reference: ArrayLike, candidate: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 of one shape.

    Raises
    ------
    InvalidArgument
        If the shapes differ, or they are no real numbers.
    """
    x, y = np.asarray(reference), np.asarray(candidate)
    if x.shape != y.shape:
        raise InvalidArgument(f"shapes {x.shape}, {y.shape}: expected the same twice; cut or regrid one")
    for array in (x, y):
        if array.dtype.kind not in "fiub":
            raise InvalidArgument(
                f"dtype {array.dtype}: expected real numbers; compare parts of complex ones"
            )
    return x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)


def pairs(reference: ArrayLike, candidate: ArrayLike, weights: ArrayLike | None = None) -> Pairs:
    """Pick the cells that are finite in both arrays and have a weight.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape
        NaN and infinite cells of either are left out.
    weights : array_like, optional
        Not negative; broadcast against the arrays, as ``latitude_weights(lat)[:, None]`` against
        (..., lat, lon).

    Raises
    ------
    InvalidArgument
        If shapes do not fit, or a weight is negative or not finite.
    """
    x, y = arrays(reference, candidate)
    counted = np.isfinite(x) & np.isfinite(y)
    if weights is None:
        chosen = x[counted]
        return Pairs(chosen, y[counted], np.full(len(chosen), 1.0 / max(len(chosen), 1)))
    wide = _broadcast(weights, x.shape)
    counted &= wide > 0.0
    used = wide[counted]
    return Pairs(x[counted], y[counted], used / used.sum() if len(used) else used)


def lost(reference: ArrayLike, candidate: ArrayLike) -> int:
    """Count the cells that are finite in the reference and not in the candidate."""
    x, y = arrays(reference, candidate)
    return int(np.count_nonzero(np.isfinite(x) & ~np.isfinite(y)))


def latitude_weights(latitude: ArrayLike) -> Floats:
    """Area of the cells of a regular grid, up to a factor: the cosine of the latitude.

    Parameters
    ----------
    latitude : array_like, degrees north, shape (n,)
        Of the middles of cells.

    Returns
    -------
    ndarray, float64, shape (n,)
        Not negative, the mean is 1.

    Raises
    ------
    InvalidArgument
        If one is beyond a pole.

    Examples
    --------
    >>> latitude_weights([-60.0, 0.0, 60.0]).round(3).tolist()
    [0.75, 1.5, 0.75]
    """
    degrees = np.asarray(latitude, np.float64)
    if degrees.ndim != 1 or not np.all(np.abs(degrees) <= 90.0):
        raise InvalidArgument(f"latitudes of shape {degrees.shape}: expected one axis of -90 to 90 degrees")
    weights = np.clip(np.cos(np.deg2rad(degrees)), 0.0, None)
    return np.asarray(weights / weights.mean(), np.float64)


def planes(array: Floats, space: int) -> Floats:
    """The fields over the last `space` axes as a stack, shape (n, [[z,] y,] x).

    Raises
    ------
    InvalidArgument
        If there are fewer axes.
    """
    if array.ndim < space:
        raise InvalidArgument(f"shape {array.shape}: expected {space} axes of space or more")
    return array.reshape(-1, *array.shape[array.ndim - space :])


def load(name: str) -> Any:
    """Import a package that is an extra.

    Raises
    ------
    Unsupported
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise Unsupported(f"{name} is not installed: pip install 'sciflow[surrogates]'") from error


def _broadcast(weights: ArrayLike, shape: tuple[int, ...]) -> Floats:
    given = np.asarray(weights, np.float64)
    if not np.all(given >= 0.0) or not np.all(np.isfinite(given)):
        raise InvalidArgument("weights: found negative or missing ones, expected areas or the like")
    try:
        return np.broadcast_to(given, shape)
    except ValueError as error:
        raise InvalidArgument(f"weights of shape {given.shape} do not broadcast to {shape}") from error
