"""Bounds of their own for parts of an array: the eye of a storm, a boundary layer, the land.

```
labels ── one a cell ──┐
{label: Bound} ────────┴─ resolve ─▶ region of each cell, bound of each region ─▶ engine
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound, ValueRange, resolve
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow._native import EncodeOptions

__all__ = ["MAX_REGIONS", "Regions", "as_labels", "check_region_bounds", "with_regions"]

MAX_REGIONS = 255
"""As many bounds of regions as a stream holds."""

_LARGEST_LABEL = 2**53


@dataclass(frozen=True, eq=False)
class Regions:
    """Cells whose label is named here keep the bound of that label, all others that of the codec.

    A bound may be tighter than the codec's, looser, or None for every bit.

    Parameters
    ----------
    labels : ndarray, integer or bool, of the array's shape or one that broadcasts to it
        Of every cell; floats that are whole numbers are taken too, and NaN is no label. True is 1.
    bounds : mapping of int to (Bound or None)
        By label, at most 255; ``abs`` or ``rel``. A label may be absent from the array.

    Raises
    ------
    InvalidArgument
        If the labels are something else, or a bound is of another kind.

    Examples
    --------
    >>> from sciflow.codecs import sz
    >>> field = np.linspace(0.0, 9.0, 1000).reshape(20, 50)
    >>> eye = np.zeros((20, 50), bool)
    >>> eye[5:9, 10:20] = True
    >>> config = sz.SZConfig(Bound.abs(0.1))
    >>> decoded = sz.decode(sz.encode(field, config, regions=Regions(eye, {1: Bound.abs(1e-4)})))
    >>> error = abs(decoded - field)
    >>> bool(error[eye].max() <= 1e-4), bool(error.max() <= 0.1)
    (True, True)
    """

    labels: NDArray[Any]
    bounds: Mapping[int, Bound | None]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", as_labels(self.labels))
        object.__setattr__(self, "bounds", check_region_bounds(self.bounds))


def as_labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels as whole numbers; NaN becomes one that no bound can name.

    Raises
    ------
    InvalidArgument
        If they are no numbers, or not whole.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind in "bi" or (labels.dtype.kind == "u" and labels.dtype.itemsize < 8):
        return labels.astype(np.int64)
    if labels.dtype.kind not in "fu":
        raise InvalidArgument(f"labels of regions are {labels.dtype}: expected whole numbers or booleans")
    known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(labels.shape, np.bool_)
    whole = np.where(known, labels, 0)
    if not (np.abs(whole) <= _LARGEST_LABEL).all() or (whole != np.rint(whole)).any():
        raise InvalidArgument(
            f"labels of regions ({labels.dtype}): expected whole numbers up to 2**53, or NaN"
        )
    return np.where(known, whole.astype(np.int64), np.iinfo(np.int64).min)


def check_region_bounds(bounds: Mapping[int, Bound | None]) -> dict[int, Bound | None]:
    """Return the bounds by label as plain integers.

    Raises
    ------
    InvalidArgument
        If there is none or are too many, a label is no whole number, or a bound is neither abs nor rel.
    """
    if not 1 <= len(bounds) <= MAX_REGIONS:
        raise InvalidArgument(
            f"bounds of regions {bounds!r}: expected 1 to {MAX_REGIONS} of them by label, for example "
            "{1: Bound.abs(0.01)}"
        )
    return {_label(label): _region_bound(label, bound) for label, bound in bounds.items()}


def with_regions(options: EncodeOptions, regions: Regions, value_range: ValueRange, *, order_f: bool) -> None:
    """Add to what the engine is asked what the regions ask; labels that do not occur ask nothing.

    Parameters
    ----------
    options : EncodeOptions
        Changed in place; `eb` is what holds outside the regions.
    regions : Regions
        Of the array.
    value_range : ValueRange
        Of the array; ``rel`` bounds refer to it.
    order_f : bool
        Whether the array is stored transposed.
    """
    labels = regions.labels.T if order_f else regions.labels
    of, found = np.zeros(labels.shape, np.uint8), list[int]()
    values = [options["eb"]]
    for label, bound in regions.bounds.items():
        here = labels == label
        if here.any():
            found.append(label)
            values.append(resolve(bound, value_range).value if bound is not None else 0.0)
            of[here] = len(found)
    if not found:
        return
    in_use = values[1:] if of.all() else values
    options["eb"] = max(in_use)
    if min(in_use) < max(in_use):
        options["regions"] = of.reshape(-1)
        options["region_labels"] = found
        options["region_bounds"] = [min(value, options["eb"]) for value in values]


def _label(label: object) -> int:
    if not isinstance(label, int | np.integer | np.bool_) or abs(int(label)) > _LARGEST_LABEL:
        raise InvalidArgument(f"label {label!r} of a region: expected a whole number up to 2**53")
    return int(label)


def _region_bound(label: object, bound: object) -> Bound | None:
    if bound is None:
        return None
    if isinstance(bound, Bound) and bound.kind in ("abs", "rel") and bound.mse is None:
        return bound
    raise InvalidArgument(
        f"region {label!r}: bound {bound!r}; expected Bound.abs(...) or Bound.rel(...), or None for every bit"
    )
