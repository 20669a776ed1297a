"""Bounds of regions in a store: which mask, what is asked of each label, where it is recorded.

```
{"t": (mask, {1: Bound.abs(0.01)})} ─ the mask, as a variable of the store ─▶ RegionPlan ─▶ labels of a chunk
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from sciflow.bounds import Bound, Resolved, ValueRange, resolve
from sciflow.codecs.regions import check_region_bounds
from sciflow.errors import InvalidArgument
from sciflow.store.source import Source

__all__ = [
    "REGION_ATTRS",
    "RegionPlan",
    "RegionRequest",
    "check_mask",
    "mask_of",
    "recorded_regions",
    "region_attrs",
    "with_masks",
]

_MASK, _LABELS, _ASKED, _ABS = (
    "lossy_region_mask",
    "lossy_region_labels",
    "lossy_region_bounds",
    "lossy_region_bounds_abs",
)
REGION_ATTRS = frozenset({_MASK, _LABELS, _ASKED, _ABS})
"""Attributes of a variable with regions."""

_EVERY_BIT = "lossless"


@dataclass(frozen=True, slots=True)
class RegionRequest:
    """What the caller asked for in the regions of one variable.

    Parameters
    ----------
    mask : str or DataArray
        Labels of the cells: a variable of the input by name, or an array with some of the variable's
        dimensions.
    bounds : mapping of int to (Bound or None)
        By label.
    """

    mask: str | xr.DataArray
    bounds: Mapping[int, Bound | None]

    def __post_init__(self) -> None:
        if not isinstance(self.mask, str | xr.DataArray):
            raise InvalidArgument(
                f"mask of regions is {type(self.mask).__name__}: expected an xarray.DataArray or the name of "
                "a variable"
            )
        object.__setattr__(self, "bounds", check_region_bounds(self.bounds))


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """The regions of one variable.

    Parameters
    ----------
    mask : str
        The variable of the store that holds the labels.
    asked : tuple of (int, Bound or None)
        By label.
    values : tuple of float
        The same bounds in the unit of the data, 0 for every bit; empty until they are resolved.
    """

    mask: str
    asked: tuple[tuple[int, Bound | None], ...]
    values: tuple[float, ...] = ()

    @property
    def needs_range(self) -> bool:
        """Whether a bound refers to the range of the data."""
        return any(bound is not None and bound.kind == "rel" for _, bound in self.asked)

    def resolved(self, value_range: ValueRange) -> RegionPlan:
        """The same with its bounds in the unit of the data."""
        values = (0.0 if bound is None else resolve(bound, value_range).value for _, bound in self.asked)
        return replace(self, values=tuple(values))

    def promises(self) -> dict[int, Resolved]:
        """What holds in each region, by label."""
        return {
            label: Resolved("abs", value) for (label, _), value in zip(self.asked, self.values, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Everything that decides the bytes that are written, but for the labels themselves."""
        asked = [[label, bound.to_json() if bound else None] for label, bound in self.asked]
        return {"mask": self.mask, "asked": asked, "values": list(self.values)}


def with_masks(source: Source, requests: Mapping[str, RegionRequest]) -> tuple[Source, dict[str, RegionPlan]]:
    """Make every mask a variable of the source, so that the store can be verified by itself.

    Returns
    -------
    Source
        With a variable ``<name>_regions`` for each mask that was given as an array.
    dict of str to RegionPlan
        By variable.

    Raises
    ------
    InvalidArgument
        If there is no such variable, or a name is taken.
    """
    variables, plans = dict(source.variables), dict[str, RegionPlan]()
    for name, request in requests.items():
        mask = request.mask
        if isinstance(mask, xr.DataArray):
            made = f"{name}_regions"
            if made in source.variables:
                raise InvalidArgument(
                    f"variable {made!r} is in the way of the regions of {name!r}: rename it, or name it"
                    " as the mask"
                )
            labels = mask.variable.to_base_variable()
            labels = labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
            variables[made], mask = (
                xr.Variable(labels.dims, labels.data, {"long_name": f"regions of {name}"}),
                made,
            )
        if mask not in variables:
            raise InvalidArgument(f"regions of {name!r}: there is no variable {mask!r} to take them from")
        plans[name] = RegionPlan(mask, tuple(request.bounds.items()))
    return replace(source, variables=variables), plans


def check_mask(name: str, variable: xr.Variable, mask: xr.Variable) -> None:
    """Refuse a mask that does not lie on the grid of its variable.

    Raises
    ------
    InvalidArgument
        If it has other dimensions, or another size along one.
    """
    wrong = {str(dim): size for dim, size in mask.sizes.items() if variable.sizes.get(dim) != size}
    if wrong or mask.dtype.kind not in "biuf":
        have = {str(dim): size for dim, size in variable.sizes.items()}
        raise InvalidArgument(
            f"regions of {name!r}: the mask ({mask.dtype}) has {wrong or 'no numbers'}, the variable {have}; "
            "expected whole numbers or booleans along some of these dimensions"
        )


def mask_of(variable: xr.Variable, mask: xr.Variable) -> xr.Variable:
    """The labels of every cell of a variable, without a copy for each."""
    spread: xr.Variable = mask.to_base_variable().set_dims(dict(variable.sizes))  # type: ignore[no-untyped-call]
    return spread.transpose(*variable.dims)


def region_attrs(regions: RegionPlan) -> dict[str, Any]:
    """Attributes of a variable that say which bounds hold in its regions."""
    texts = [_EVERY_BIT if bound is None else f"{bound.kind}:{bound.value!r}" for _, bound in regions.asked]
    labels = [label for label, _ in regions.asked]
    return {_MASK: regions.mask, _LABELS: labels, _ASKED: texts, _ABS: list(regions.values)}


def recorded_regions(attrs: Mapping[str, Any]) -> RegionPlan | None:
    """Read what `region_attrs` wrote.

    Raises
    ------
    InvalidArgument
        If the attributes are there, but make no regions.
    """
    if _MASK not in attrs:
        return None
    try:
        labels, values = (np.asarray(attrs[key]).reshape(-1) for key in (_LABELS, _ABS))
        texts = [str(text) for text in _listed(attrs[_ASKED])]
        bounds = [None if text == _EVERY_BIT else Bound.parse(text) for text in texts]
        asked = zip(map(int, labels), bounds, strict=True)
        plan = RegionPlan(str(attrs[_MASK]), tuple(asked), tuple(map(float, values)))
        if len(plan.values) != len(plan.asked):
            raise ValueError("as many labels as bounds")
        return plan
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"attributes {', '.join(sorted(REGION_ATTRS))} make no regions: {error}"
        ) from error


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)
