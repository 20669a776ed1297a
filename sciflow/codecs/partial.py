"""Which blocks of a stream a selection touches, where they lie, and how to decode only those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.codecs.stream import StreamInfo, decode_block
from sciflow.codecs.sz import as_encoded

__all__ = ["BlockRun", "covers", "decode_runs", "runs_of", "touched_blocks"]

Selector = int | slice | EllipsisType | NDArray[Any]
Selection = tuple[Selector, ...] | slice | NDArray[Any]


@dataclass(frozen=True, slots=True)
class BlockRun:
    """Blocks ``first <= i < last`` that lie side by side at bytes ``start <= b < end`` of the stream."""

    first: int
    last: int
    start: int
    end: int


def covers(selection: Selection, shape: tuple[int, ...]) -> bool:
    """Say whether a selection is plainly all of an array of this shape."""
    selectors = _selectors(selection, len(shape))
    if selectors is None:
        return False
    return all(
        isinstance(selector, slice) and selector.indices(length) == (0, length, 1)
        for selector, length in zip(selectors, shape, strict=True)
    )


def touched_blocks(header: StreamInfo, selection: Selection) -> NDArray[np.intp]:
    """Return the ascending numbers of the blocks that hold a selected cell.

    Parameters
    ----------
    header : StreamInfo
        Of the stream.
    selection : tuple of int, slice or integer array, or slice, or ndarray
        As NumPy indexes the decoded array. What is not understood touches every block.

    Returns
    -------
    ndarray, intp, shape (n,)
    """
    selectors = _selectors(selection, len(header.shape))
    if selectors is None or not header.nblocks:
        return np.arange(header.nblocks)
    stored = selectors if header.order == "C" else selectors[::-1]
    depth = header.block_axis + 1
    touched = np.zeros(header.stored_shape[:depth], dtype=bool)
    touched[stored[:depth]] = True
    rows = touched.reshape(-1, touched.shape[-1] if touched.ndim else 1)
    starts = np.arange(0, rows.shape[1], header.block_rows)
    return np.flatnonzero(np.logical_or.reduceat(rows, starts, axis=1))


def runs_of(header: StreamInfo, blocks: NDArray[np.intp]) -> list[BlockRun]:
    """Join neighbouring blocks, so that each run is one read."""
    breaks = np.flatnonzero(np.diff(blocks) > 1) + 1
    offsets = header.block_offsets
    return [
        BlockRun(int(run[0]), int(run[-1]) + 1, offsets[run[0]], offsets[run[-1] + 1])
        for run in np.split(blocks, breaks)
        if run.size
    ]


def decode_runs(
    header: StreamInfo, head: memoryview, runs: list[BlockRun], read: Callable[[BlockRun], memoryview]
) -> NDArray[Any]:
    """Decode the blocks of some runs.

    Parameters
    ----------
    header : StreamInfo
        What `head` says.
    head : memoryview
        The stream's first ``header.header_bytes`` bytes, or more.
    runs : list of BlockRun
        What to decode.
    read : callable
        Gives the bytes of a run.

    Returns
    -------
    ndarray
        With the shape of the whole array; cells of other blocks hold anything. Memory of blocks that are not
        decoded is never touched.

    Raises
    ------
    Truncated, Corrupt
        If a block fails its checks.
    """
    flat = np.empty(header.size, dtype=header.native_dtype)
    for run in runs:
        data = read(run)
        for index in range(run.first, run.last):
            start, end = (header.block_offsets[i] - run.start for i in (index, index + 1))
            first, last = _cells(header, index)
            decode_block(head, data[start:end], index, flat[first:last])
    return as_encoded(header, flat)


def _cells(header: StreamInfo, index: int) -> tuple[int, int]:
    """First and last cell (C order of the stored array) of a block."""
    shape, axis = header.stored_shape, header.block_axis
    along = shape[axis] if shape else 1
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    walk, part = divmod(index, -(-along // header.block_rows))
    row = part * header.block_rows
    rows = min(header.block_rows, along - row)
    first = (walk * along + row) * inner
    return first, first + rows * inner


def _selectors(selection: Selection, ndim: int) -> tuple[int | slice | NDArray[Any], ...] | None:
    """One selector an axis, or None where the selection is of another kind."""
    given = (selection,) if isinstance(selection, slice) else selection
    if not isinstance(given, tuple) or len(given) > ndim:
        return None
    plain = list(_plain(given))
    if len(plain) < len(given):
        return None
    return (*plain, *(slice(None),) * (ndim - len(plain)))


def _plain(given: tuple[Selector, ...]) -> Iterator[int | slice | NDArray[Any]]:
    for selector in given:
        if isinstance(selector, int | np.integer):
            yield int(selector)
        elif isinstance(selector, slice) or (
            isinstance(selector, np.ndarray) and selector.dtype.kind in "iu"
        ):
            yield selector
