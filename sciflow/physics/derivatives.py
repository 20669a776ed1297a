"""Divergence and vorticity of vector fields: what an error does to what a model conserves.

Differences are central and of second order, one-sided at the border unless the grid is periodic. The i-th
component points along the i-th axis of space: (v, u) on a grid (y, x), (w, v, u) on (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sciflow.errors import InvalidArgument
from sciflow.physics.cells import Floats, arrays
from sciflow.physics.differences import rmse

__all__ = ["divergence", "divergence_error", "vorticity", "vorticity_error"]


def divergence(field: ArrayLike, *, spacing: float | Sequence[float] = 1.0, periodic: bool = False) -> Floats:
    """Sum of the derivatives of components along their own axes.

    Parameters
    ----------
    field : array_like, any real dtype, shape (2, y, x) or (3, z, y, x)
        Components in the order of the axes. A missing cell makes its neighbours missing.
    spacing : float or sequence of float
        Distance of cells along each axis.
    periodic : bool
        Whether the grid goes on at its other side.

    Returns
    -------
    ndarray, float64, shape ([z,] y, x)
        In the unit of the data over that of the spacing.

    Raises
    ------
    InvalidArgument
        If there are not as many components as axes, or an axis has less than 3 cells.

    Examples
    --------
    >>> y, x = np.mgrid[:5, :5].astype(float)
    >>> np.unique(divergence(np.stack([2 * y, 3 * x]))).tolist()
    [5.0]
    """
    components, steps = _vector(field, spacing)
    parts = [_slope(part, axis, steps[axis], periodic=periodic) for axis, part in enumerate(components)]
    return np.asarray(sum(parts[1:], parts[0]))


def vorticity(field: ArrayLike, *, spacing: float | Sequence[float] = 1.0, periodic: bool = False) -> Floats:
    """Curl of a vector field.

    Parameters
    ----------
    field, spacing, periodic
        As for `divergence`.

    Returns
    -------
    ndarray, float64, shape (y, x), or (3, z, y, x) with components as the field's
        In the unit of the data over that of the spacing. In 2-D it is dv/dx - du/dy for (v, u) on (y, x).

    Raises
    ------
    InvalidArgument
        As for `divergence`.
    """
    components, steps = _vector(field, spacing)

    def slope(component: int, axis: int) -> Floats:
        return _slope(components[component], axis, steps[axis], periodic=periodic)

    if len(components) == 2:
        return slope(0, 1) - slope(1, 0)
    # Axes z, y, x with components w, v, u: the curl's own order is reversed with them, and its sign stays.
    return np.stack([slope(1, 2) - slope(2, 1), slope(2, 0) - slope(0, 2), slope(0, 1) - slope(1, 0)])


def divergence_error(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    spacing: float | Sequence[float] = 1.0,
    periodic: bool = False,
) -> float:
    """RMSE of the divergence, in the unit of the data over that of the spacing.

    Parameters
    ----------
    reference, candidate : array_like, same shape (2, y, x) or (3, z, y, x)
        Vector fields.
    weights : array_like, optional
        Broadcast against one component.
    spacing, periodic
        As for `divergence`.
    """
    x, y = arrays(reference, candidate)
    made = (divergence(each, spacing=spacing, periodic=periodic) for each in (x, y))
    return rmse(*made, weights=weights)


def vorticity_error(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    spacing: float | Sequence[float] = 1.0,
    periodic: bool = False,
) -> float:
    """RMSE of the vorticity (of all its components), in the unit of the data over that of the spacing.

    Parameters
    ----------
    reference, candidate, weights, spacing, periodic
        As for `divergence_error`.
    """
    x, y = arrays(reference, candidate)
    made = (vorticity(each, spacing=spacing, periodic=periodic) for each in (x, y))
    return rmse(*made, weights=weights)


def _vector(field: ArrayLike, spacing: float | Sequence[float]) -> tuple[Floats, tuple[float, ...]]:
    values = np.asarray(field, np.float64)
    axes = values.ndim - 1
    if axes not in (2, 3) or len(values) != axes:
        raise InvalidArgument(
            f"shape {values.shape}: expected (2, y, x) or (3, z, y, x), a component an axis"
        )
    if min(values.shape[1:]) < 3:
        raise InvalidArgument(f"shape {values.shape}: expected 3 cells or more along each axis of space")
    steps = (float(spacing),) * axes if isinstance(spacing, int | float) else tuple(map(float, spacing))
    if len(steps) != axes or min(steps) <= 0.0:
        raise InvalidArgument(f"spacing {spacing}: expected one number above 0, or {axes} of them")
    return values, steps


def _slope(part: Floats, axis: int, step: float, *, periodic: bool) -> Floats:
    if periodic:
        return np.asarray((np.roll(part, -1, axis) - np.roll(part, 1, axis)) / (2.0 * step))
    return np.asarray(np.gradient(part, step, axis=axis, edge_order=2))
