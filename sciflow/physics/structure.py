"""Structural similarity of planes: as images (SSIM), and as data (DSSIM)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sciflow.errors import InvalidArgument
from sciflow.physics.cells import Floats, arrays, load, pairs, planes

__all__ = ["dssim", "ssim"]

_SIGMA, _RADIUS = 1.5, 5
"""Of the Gaussian window of 11 x 11 cells that both use, in cells."""

_SMALL = 1e-8
"""The constants of DSSIM, which keep quotients finite."""


def ssim(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    data_range: float | None = None,
) -> float:
    """Mean structural similarity of the planes over the last two axes, -1 to 1; 1 where they agree.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape (..., y, x), 11 x 11 cells or more
        Windows with a missing cell in either do not count.
    weights : array_like, optional
        Of the windows' middles, broadcast against the arrays.
    data_range : float, optional
        Span of values; by default that of the reference.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    Unsupported
        If scikit-image or SciPy is not installed.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Processing 13(4):600, 2004, section III-B.
    """
    similarity = load("skimage.metrics").structural_similarity
    widest = load("scipy.ndimage").maximum_filter
    x, y = _planes(reference, candidate)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return math.nan
    span = float(x[known].max() - x[known].min()) if data_range is None else float(data_range)
    if span <= 0.0:
        return 1.0 if np.array_equal(x[known], y[known]) else math.nan
    maps = np.full(x.shape, np.nan)
    filled = x[known].mean()
    for place, here in enumerate(known):
        a, b = (np.where(here, each[place], filled) for each in (x, y))
        _, found = similarity(
            a, b, data_range=span, gaussian_weights=True, sigma=_SIGMA, use_sample_covariance=False, full=True
        )
        maps[place] = np.where(widest(~here, size=2 * _RADIUS + 1), np.nan, found)
    return _mean(_cropped(maps, np.shape(reference)), weights)


def dssim(reference: ArrayLike, candidate: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Data SSIM of the planes over the last two axes, the smallest of them; 1 where they agree.

    Both planes are scaled to 0..1 by their common range and rounded to 256 levels; the constants are 1e-8, so
    that smooth regions count as well.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape (..., y, x), 11 x 11 cells or more
        Missing cells in either have no part in a window.
    weights : array_like, optional
        Of the windows' middles, broadcast against the arrays; the paper has none.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    Unsupported
        If SciPy is not installed.

    References
    ----------
    Baker, Pinard & Hammerling, On a structural similarity index approach for floating-point data, IEEE Trans.
    Visualization and Computer Graphics 30(9):6261, 2024; arXiv:2202.02616.
    """
    x, y = _planes(reference, candidate)
    whole = np.shape(reference)
    given = None if weights is None else np.broadcast_to(np.asarray(weights, np.float64), whole)
    of_planes = None if given is None else planes(np.asarray(given), 2)
    found = [
        _mean(
            _cropped(_data_similarity(a, b)[None], a.shape), None if of_planes is None else of_planes[place]
        )
        for place, (a, b) in enumerate(zip(x, y, strict=True))
    ]
    known = [each for each in found if not math.isnan(each)]
    return min(known, default=math.nan)


def _data_similarity(x: Floats, y: Floats) -> Floats:
    """The map of a plane; NaN where the middle is missing."""
    smooth = load("scipy.ndimage").gaussian_filter
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return np.full(x.shape, np.nan)
    low, high = min(x[known].min(), y[known].min()), max(x[known].max(), y[known].max())
    shift, scale = (low, high - low) if high > low else (0.0, high or 1.0)
    a, b = (np.where(known, np.rint((each - shift) / scale * 255.0) / 255.0, 0.0) for each in (x, y))

    def around(values: Floats) -> Floats:
        return np.asarray(smooth(values, _SIGMA, radius=_RADIUS, mode="constant"))

    share = np.where(known, around(known.astype(np.float64)), 1.0)
    mean_a, mean_b = around(a) / share, around(b) / share
    var_a, var_b = around(a * a) / share - mean_a**2, around(b * b) / share - mean_b**2
    both = around(a * b) / share - mean_a * mean_b
    light = (2.0 * mean_a * mean_b + _SMALL) / (mean_a**2 + mean_b**2 + _SMALL)
    shape = (2.0 * both + _SMALL) / (var_a + var_b + _SMALL)
    return np.where(known, light * shape, np.nan)


def _planes(reference: ArrayLike, candidate: ArrayLike) -> tuple[Floats, Floats]:
    x, y = arrays(reference, candidate)
    if x.ndim < 2 or min(x.shape[-2:]) < 2 * _RADIUS + 1:
        raise InvalidArgument(
            f"shape {x.shape}: expected planes of 11 x 11 cells or more as the last two axes"
        )
    return planes(x, 2), planes(y, 2)


def _cropped(maps: Floats, shape: tuple[int, ...]) -> Floats:
    """The maps in their first shape, missing where the window goes beyond the border."""
    inner = np.full(maps.shape, np.nan)
    inside = (slice(None), slice(_RADIUS, -_RADIUS), slice(_RADIUS, -_RADIUS))
    inner[inside] = maps[inside]
    return inner.reshape(shape)


def _mean(maps: Floats, weights: ArrayLike | None) -> float:
    cells = pairs(maps, maps, weights)
    return cells.mean(cells.reference)
