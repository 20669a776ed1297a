"""Arrays of several files, one after the other along the sample axis."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciflow.datasets.sources.array import ReadFailed, StoredArray, Want
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

__all__ = ["JoinedArray", "join_files"]


def join_files(arrays: Sequence[StoredArray]) -> StoredArray:
    """All rows of all arrays, in order; the array itself if there is one.

    Raises
    ------
    InvalidArgument
        If their rows differ in shape or dtype.
    """
    first = arrays[0]
    for array in arrays[1:]:
        if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            raise InvalidArgument(
                f"{array.name}: rows are {array.dtype}{list(array.shape[1:])}, expected {first.dtype}"
                f"{list(first.shape[1:])} as in {first.name}; read such files as sources of their own"
            )
    return first if len(arrays) == 1 else JoinedArray(tuple(arrays))


@dataclass(slots=True)
class JoinedArray:
    """Rows of several arrays; see `StoredArray`."""

    arrays: tuple[StoredArray, ...]

    @property
    def name(self) -> str:
        """First and last file."""
        return f"{self.arrays[0].name} ... {self.arrays[-1].name}"

    @property
    def shape(self) -> tuple[int, ...]:
        """All rows."""
        return (sum(array.shape[0] for array in self.arrays), *self.arrays[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all of them."""
        return self.arrays[0].dtype

    @property
    def chunk_rows(self) -> int:
        """The most that come together in one of the files."""
        return max(array.chunk_rows for array in self.arrays)

    @property
    def encoded(self) -> bool:
        """Whether any of them is."""
        return any(array.encoded for array in self.arrays)

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`."""
        each = [array.identity() for array in self.arrays]
        tables = hashlib.sha256("".join(str(one.get("table")) for one in each).encode())
        return {
            **each[0],
            "name": self.name,
            "shape": list(self.shape),
            "files": [file for one in each for file in one["files"]],
            "table": tables.hexdigest(),
        }

    def stored_bytes(self) -> int | None:
        """See `StoredArray.stored_bytes`."""
        each = [array.stored_bytes() for array in self.arrays]
        known = [size for size in each if size is not None]
        return sum(known) if len(known) == len(each) else None

    def check(self) -> None:
        """See `StoredArray.check`."""
        for array in self.arrays:
            array.check()

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        first = 0
        for array in self.arrays:
            stop = first + array.shape[0]
            mine = [part for want in wants if (part := _between(want, first, stop)) is not None]
            try:
                if mine:
                    array.read(mine, reading)
            except ReadFailed as failed:
                raise ReadFailed((failed.rows[0] + first, failed.rows[1] + first), failed.cause) from failed
            first = stop


def _between(want: Want, first: int, stop: int) -> Want | None:
    lo, hi = np.searchsorted(want.rows, [first, stop])
    if lo == hi:
        return None
    return Want(want.rows[lo:hi] - first, want.into, want.at[lo:hi], want.box)
