"""The same for datasets of xarray: area weights and grid spacing come from CF coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sciflow.errors import InvalidArgument
from sciflow.physics.cells import Floats, latitude_weights
from sciflow.physics.comparison import Comparison, compare
from sciflow.physics.spectra import Window

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["area_weights", "compare_datasets"]

_NORTH = {f"degree{plural}_{way}" for plural in ("", "s") for way in ("north", "N")}
_DEGREES = _NORTH | {f"degree{plural}_{way}" for plural in ("", "s") for way in ("east", "E")} | {"degrees"}


def compare_datasets(
    reference: xr.Dataset,
    candidate: xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    vectors: Sequence[Sequence[str]] = (),
    which: Sequence[str] | None = None,
    space: int | None = None,
    window: Window = "hann",
) -> dict[str, Comparison]:
    """Measure every float variable that both have, one at a time in memory.

    Parameters
    ----------
    reference, candidate : Dataset
        Decoded (fill values are NaN).
    variables : sequence of str, optional
        By default all that both have, of one axis or more.
    vectors : sequence of sequence of str
        Components of vector fields, in the order of the axes: ``[("v", "u")]`` on (..., y, x). Adds the
        errors of divergence and vorticity under the joined names, the mean over all other axes.
    which, space, window
        As for `sciflow.physics.compare`.

    Returns
    -------
    dict of str to Comparison

    Raises
    ------
    InvalidArgument
        If there is nothing to compare, a name is missing, or dimensions differ.
    """
    names = list(variables) if variables is not None else _shared(reference, candidate)
    if not names and not vectors:
        raise InvalidArgument("nothing to compare: the datasets have no float variable in common")
    found: dict[str, Comparison] = {}
    for name in names:
        x, y = _pair(reference, candidate, name)
        axes = space if space is not None else min(x.ndim, 2)
        found[name] = compare(
            x.values,
            y.values,
            which=which,
            weights=area_weights(x),
            space=axes,
            spacing=_spacing(x, axes),
            window=window,
            title=name,
            units=str(x.attrs.get("units", "")),
        )
    for components in vectors:
        found[",".join(components)] = _compare_vectors(reference, candidate, components)
    return found


def area_weights(variable: xr.DataArray) -> Floats | None:
    """Cosines of the latitudes of a regular grid, ready to broadcast; None where CF names no such axis.

    Parameters
    ----------
    variable : DataArray
        A 1-D coordinate in ``degrees_north``, or of that standard name, is its latitude.
    """
    for axis, dim in enumerate(variable.dims):
        coordinate = variable.coords.get(dim)
        if coordinate is None or coordinate.ndim != 1:
            continue
        attributes = coordinate.attrs
        if attributes.get("units") in _NORTH or attributes.get("standard_name") == "latitude":
            weights = latitude_weights(coordinate.values)
            return weights.reshape([-1 if each == axis else 1 for each in range(variable.ndim)])
    return None


def _shared(reference: xr.Dataset, candidate: xr.Dataset) -> list[str]:
    return [
        str(name)
        for name, variable in reference.data_vars.items()
        if variable.dtype.kind == "f"
        and variable.ndim
        and name in candidate
        and candidate[name].dtype.kind == "f"
    ]


def _pair(reference: xr.Dataset, candidate: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    for which, dataset in (("reference", reference), ("candidate", candidate)):
        if name not in dataset:
            raise InvalidArgument(
                f"no variable {name!r} in the {which}; it has {', '.join(map(str, dataset))}"
            )
    x, y = reference[name], candidate[name]
    if x.dims != y.dims or x.shape != y.shape:
        raise InvalidArgument(
            f"variable {name!r}: {dict(x.sizes)} and {dict(y.sizes)}, expected the same twice; cut or regrid"
        )
    return x, y


def _compare_vectors(reference: xr.Dataset, candidate: xr.Dataset, components: Sequence[str]) -> Comparison:
    axes = len(components)
    if axes not in (2, 3):
        raise InvalidArgument(f"vector {','.join(components)}: expected 2 or 3 components")
    given = [_pair(reference, candidate, name) for name in components]
    if len({x.dims for x, _ in given}) > 1 or given[0][0].ndim < axes:
        raise InvalidArgument(
            f"vector {','.join(components)}: expected components on one grid of {axes} axes"
        )
    x, y = (np.stack([np.asarray(pair[side].values, np.float64) for pair in given]) for side in (0, 1))
    lead = x.shape[1 : x.ndim - axes]
    spacing = _spacing(given[0][0], axes)
    weights = area_weights(given[0][0])
    names = ["divergence_error", "vorticity_error"]
    parts = [
        compare(
            x[(slice(None), *place)],
            y[(slice(None), *place)],
            which=names,
            weights=None if weights is None else weights.reshape(weights.shape[-axes:]),
            spacing=spacing,
        )
        for place in np.ndindex(*lead)
    ]
    return _mean(parts, ",".join(components))


def _mean(parts: Sequence[Comparison], title: str) -> Comparison:
    from dataclasses import replace

    metrics = tuple(
        replace(each, value=float(np.sqrt(np.mean([part.metrics[place].value ** 2 for part in parts]))))
        for place, each in enumerate(parts[0].metrics)
    )
    return Comparison(metrics, sum(p.cells for p in parts), sum(p.lost for p in parts), title)


def _spacing(variable: xr.DataArray, axes: int) -> tuple[float, ...]:
    """Mean distances of cells along the last axes; 1 (cells) where a coordinate is missing, or an angle."""
    steps = []
    for dim in variable.dims[variable.ndim - axes :]:
        coordinate = variable.coords.get(dim)
        known = coordinate is not None and coordinate.ndim == 1 and coordinate.dtype.kind in "fiu"
        if (
            coordinate is None
            or not known
            or coordinate.size < 2
            or coordinate.attrs.get("units") in _DEGREES
        ):
            return (1.0,) * axes
        values = np.asarray(coordinate.values, np.float64)
        steps.append(abs(float(values[-1] - values[0])) / (len(values) - 1))
    return tuple(steps) if all(step > 0.0 for step in steps) else (1.0,) * axes
