"""What the figures of a variable are drawn from: one slice, and a sample of its errors."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciflow.store.plan import sentinels_of
from sciflow.store.results import Report, Row
from sciflow.store.source import open_source, open_variables

__all__ = ["Sample", "samples_of"]

_MOST = 1 << 22
"""Values of a sample, and of a slice."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A part of a variable, twice; cells that are no data are NaN.

    Parameters
    ----------
    row : Row
        What was measured over all of it.
    original, decoded : ndarray, float64, shape (y, x) or (x,)
        The middle slice, in the unit of the stored values.
    dims : tuple of str
        Of the slice.
    where : str
        Which slice: ``"time=3, level=7"``; empty where it is all.
    upside_down : bool
        Whether the coordinate of y falls, as latitudes often do.
    errors : ndarray, float64, shape (n,)
        Decoded minus original, of cells all over the variable that are data.
    """

    row: Row
    original: Floats
    decoded: Floats
    dims: tuple[str, ...]
    where: str
    upside_down: bool
    errors: Floats


def samples_of(original: xr.Dataset | str | os.PathLike[str], store: str, report: Report) -> Iterator[Sample]:
    """Read the samples of all variables that were compressed with a bound, one at a time.

    Parameters
    ----------
    original : Dataset or path or URL
        As given to `sciflow.verify`.
    store : str
        Likewise.
    report : Report
        What it returned.

    Raises
    ------
    StoreError, FileNotFoundError, InvalidArgument
        If one of the two cannot be opened.
    """
    with open_source(original) as source, open_variables(store) as stored:
        for row in report.rows:
            drawable = row.bound is not None and len(row.shape) > 0 and min(row.shape) > 0
            if drawable and row.max_error is not None:
                yield _sample(row, source.variables[row.variable], stored.variables[row.variable], stored)


def _sample(row: Row, original: xr.Variable, decoded: xr.Variable, stored: xr.Dataset) -> Sample:
    pick = _middle(original)
    slices = [_values(v, original, pick) for v in (original, decoded)]
    spread = _spread(original)
    first, second = (_values(v, original, spread) for v in (original, decoded))
    errors = (second - first).reshape(-1)
    dims = [str(dim) for dim in original.dims]
    shown = dims[-2:]
    return Sample(
        row=row,
        original=slices[0],
        decoded=slices[1],
        dims=tuple(shown),
        where=", ".join(f"{dim}={pick[dim]}" for dim in dims[:-2]),
        upside_down=len(shown) == 2 and _falls(stored, shown[0]),
        errors=errors[np.isfinite(errors)],
    )


def _middle(variable: xr.Variable) -> dict[Hashable, int | slice]:
    """Pick the middle of leading axes and the middle of the last two, where they are long."""
    most = int(_MOST ** (1.0 / min(2, variable.ndim)))
    pick: dict[Hashable, int | slice] = {}
    for dim, size in zip(variable.dims, variable.shape, strict=True):
        start = max(0, (size - most) // 2)
        pick[dim] = size // 2 if dim in variable.dims[:-2] else slice(start, start + most)
    return pick


def _spread(variable: xr.Variable) -> dict[Hashable, int | slice]:
    """Pick every n-th index of the first axis, and cut the others in the middle where that is not enough."""
    inner = int(np.prod(variable.shape[1:], dtype=np.int64))
    step = max(1, -(-variable.size // _MOST))
    pick: dict[Hashable, int | slice] = {variable.dims[0]: slice(0, None, min(step, variable.shape[0]))}
    for dim, size in zip(variable.dims[1:], variable.shape[1:], strict=True):
        if inner <= _MOST:
            break
        keep = max(1, size * _MOST // inner)
        pick[dim] = slice((size - keep) // 2, (size - keep) // 2 + keep)
        inner = inner // size * keep
    return pick


def _values(variable: xr.Variable, original: xr.Variable, pick: dict[Hashable, int | slice]) -> Floats:
    raw = np.asarray(variable.isel(pick).values)
    values = raw.astype(np.float64)
    for sentinel in sentinels_of(original.attrs, raw.dtype):
        values[raw == sentinel] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _falls(stored: xr.Dataset, dim: str) -> bool:
    if dim not in stored.variables or stored.variables[dim].dtype.kind not in "fiu":
        return False
    ends = np.asarray(stored.variables[dim].isel({dim: [0, -1]}).values)
    return bool(ends[0] > ends[1])
