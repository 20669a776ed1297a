"""Blocks of sibling snapshots: cut out, those without content dropped, held-out snapshots kept apart.

```
files ─ variable ─▶ snapshots ─ cut ─▶ blocks ─ range < 1e-4 of the field's? drop ─▶ train | held out
```
Liu et al., "Exploring Autoencoder-based Error-bounded Compression for Scientific Data", CLUSTER 2021,
arXiv:2105.11730: one model a field, trained on snapshots that are not compressed with it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Blocks", "cut", "join", "read_blocks"]

_CONSTANT = 1e-4
_FILLS = ("_FillValue", "missing_value")


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """What a model is trained on.

    Parameters
    ----------
    train, held_out : ndarray, float32, shape (blocks, *block)
        In the unit of the data.
    low, high : float
        Least and greatest finite value of the training snapshots.
    source : str
        For the card: variable and files.
    """

    train: NDArray[np.float32]
    held_out: NDArray[np.float32]
    low: float
    high: float
    source: str

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of one."""
        return self.train.shape[1:]

    @property
    def digest(self) -> str:
        """Of the values, so that a training goes on with the data it began with."""
        whole = hashlib.sha256(np.ascontiguousarray(self.train).tobytes())
        whole.update(np.ascontiguousarray(self.held_out).tobytes())
        return whole.hexdigest()

    def normalised(self, which: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values in [-1, 1], by the range of the training snapshots, as in the paper."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return ((which - np.float32(middle)) / np.float32(half)).astype(np.float32)


def cut(field: NDArray[Any], block: Sequence[int]) -> NDArray[Any]:
    """Return the blocks of a field; what is left over behind the last whole block of an axis is dropped.

    Parameters
    ----------
    field : ndarray, any dtype, shape (..., *space)
        As many axes at the end as `block` has are cut; those before are batches.
    block : sequence of int
        Shape of a block.

    Returns
    -------
    ndarray, shape (blocks, *block)
        In C order of their places.

    Raises
    ------
    InvalidArgument
        If the field has fewer axes, or less than one block along one.

    Examples
    --------
    >>> cut(np.arange(12).reshape(3, 4), (2, 2)).tolist()
    [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    n = len(block)
    if field.ndim < n or any(
        size < side for size, side in zip(field.shape[field.ndim - n :], block, strict=True)
    ):
        raise InvalidArgument(f"a field of shape {field.shape}: expected at least a block of {tuple(block)}")
    flat = field.reshape(-1, *field.shape[field.ndim - n :])
    counts = [size // side for size, side in zip(flat.shape[1:], block, strict=True)]
    whole = flat[(slice(None), *(slice(c * side) for c, side in zip(counts, block, strict=True)))]
    pairs = [length for pair in zip(counts, block, strict=True) for length in pair]
    order = [0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2)]
    return np.ascontiguousarray(whole.reshape(len(flat), *pairs).transpose(order).reshape(-1, *block))


def join(blocks: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return the field that `cut` cut, of ``shape``, whose sides are multiples of the block's."""
    block = blocks.shape[1:]
    n = len(block)
    counts = [size // side for size, side in zip(shape[len(shape) - n :], block, strict=True)]
    order = [
        0,
        *(axis for pair in zip(range(1, n + 1), range(n + 1, 2 * n + 1), strict=True) for axis in pair),
    ]
    return blocks.reshape(-1, *counts, *block).transpose(order).reshape(shape)


def read_blocks(
    sources: Sequence[str | os.PathLike[str] | xr.Dataset],
    variable: str,
    block: Sequence[int],
    *,
    limit: int = 20000,
    held_out: float = 0.15,
    seed: int = 0,
) -> Blocks:
    """Read a variable from files of snapshots.

    Parameters
    ----------
    sources : sequence of path, URL or Dataset
        Zarr, NetCDF, HDF5: whatever `sciflow.compress` reads.
    variable : str
        Its name; float32 or float64. Its last axes are the block's, each index of those before is a snapshot.
    block : sequence of int
        Shape of a block.
    limit : int
        At most so many blocks are kept, chosen by `seed` once all are known.
    held_out : float
        Share of the snapshots, the last ones, that judge the training and take no part in it.
    seed : int
        Of the choice.

    Raises
    ------
    FileNotFoundError, InvalidArgument
        If a file is absent or not readable, has no such variable, or nothing is left to train on.
    """
    if not sources:
        raise InvalidArgument("train on: found no file, expected one or more")
    snapshots = [s for source in sources for s in _snapshots(source, variable, len(block))]
    if len(snapshots) == 1:
        raise InvalidArgument(
            f"variable {variable!r}: found one snapshot, expected two; one judges the training"
        )
    last = min(max(1, round(held_out * len(snapshots))), len(snapshots) - 1)
    train, judge = snapshots[:-last], snapshots[-last:]
    low = min((float(s[np.isfinite(s)].min()) for s in train if np.isfinite(s).any()), default=0.0)
    high = max((float(s[np.isfinite(s)].max()) for s in train if np.isfinite(s).any()), default=0.0)
    generator = np.random.default_rng(seed)
    kept = [
        _with_content(part, block, high - low, limit=most, generator=generator)
        for part, most in ((train, limit), (judge, max(1, limit // 4)))
    ]
    if not (high > low) or min(map(len, kept)) == 0:
        raise InvalidArgument(
            f"variable {variable!r}: no block of {tuple(block)} holds content; is it constant?"
        )
    names = ", ".join(
        Path(each).name if isinstance(each, str | os.PathLike) else "a dataset" for each in sources
    )
    return Blocks(kept[0], kept[1], low, high, f"{variable} of {names}, {len(train)} snapshots")


def _snapshots(data: str | os.PathLike[str] | xr.Dataset, variable: str, ndim: int) -> Iterator[NDArray[Any]]:
    from sciflow.store.source import open_source

    with open_source(data) as source:
        if variable not in source.variables:
            known = ", ".join(
                n for n, v in source.variables.items() if v.dtype.kind == "f" and v.ndim >= ndim
            )
            raise InvalidArgument(
                f"{source.name}: found no variable {variable!r}; of float it has {known or 'none'}"
            )
        found = source.variables[variable]
        if found.dtype.kind != "f" or found.ndim < ndim:
            raise InvalidArgument(
                f"variable {variable!r}: found {found.dtype} with {found.ndim} axes, "
                f"expected float with {ndim} or more"
            )
        fills = [float(found.attrs[name]) for name in _FILLS if name in found.attrs]
        for index in np.ndindex(found.shape[: found.ndim - ndim]):
            values = np.asarray(found[index].values, dtype=np.float32)
            for fill in fills:
                values = np.where(values == np.float32(fill), np.float32(np.nan), values)
            yield values


def _with_content(
    snapshots: Sequence[NDArray[Any]],
    block: Sequence[int],
    span: float,
    *,
    limit: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    axes = tuple(range(1, len(block) + 1))
    parts = []
    for snapshot in snapshots:
        blocks = cut(snapshot, block)
        finite = np.isfinite(blocks).all(axes)
        blocks = blocks[finite]
        ranges = blocks.max(axes) - blocks.min(axes) if len(blocks) else np.empty(0)
        parts.append(blocks[ranges >= _CONSTANT * span])
    every = np.concatenate(parts)
    if len(every) <= limit:
        return every
    return every[np.sort(generator.choice(len(every), limit, replace=False))]
