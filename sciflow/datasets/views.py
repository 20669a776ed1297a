"""Stored arrays seen with other rows: nothing is copied, every read is a ranged read of the array below.

```
Trajectories   (t, ...) in many data sets   ─▶ rows are data sets      (n, t, ...)
Fixed          (n, ..., c)                  ─▶ one index of an axis    (n, ...)
Pairs          (n, t, ...)                  ─▶ rows are (now, later)   (n (t - ahead), 2, ...)
Still          (n, ...)                     ─▶ the same at both times  (n per, 2, ...)
```
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciflow.datasets.sources.array import ReadFailed, StoredArray, Want
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

__all__ = ["Fixed", "Pairs", "Still", "Trajectories"]


class _View(ABC):
    """What a view takes from the array below; see `StoredArray`."""

    __slots__ = ()
    array: StoredArray

    @property
    def name(self) -> str:
        """Of the array below."""
        return self.array.name

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array below."""
        return self.array.dtype

    @property
    def encoded(self) -> bool:
        """Of the array below."""
        return self.array.encoded

    def identity(self) -> dict[str, Any]:
        """Return that of the array below, and what is made of it."""
        return {**self.array.identity(), "shape": list(self.shape), "view": self._view()}

    @abstractmethod
    def _view(self) -> str:
        """Say what is made of the array below."""

    def stored_bytes(self) -> int | None:
        """Return the bytes below, in proportion to the values that are seen here."""
        stored = self.array.stored_bytes()
        return None if stored is None else int(stored * _size(self.shape) / max(1, _size(self.array.shape)))

    def check(self) -> None:
        """See `StoredArray.check`."""
        self.array.check()


@dataclass(frozen=True, slots=True)
class Fixed(_View):
    """Rows of an array at one index of one of their axes; see `StoredArray`.

    Parameters
    ----------
    array : StoredArray
        Below.
    axis : int
        Axis of a row, from 0.
    index : int
        Where on it.
    """

    array: StoredArray
    axis: int
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, without the axis."""
        rows, *row = self.array.shape
        return (rows, *row[: self.axis], *row[self.axis + 1 :])

    @property
    def chunk_rows(self) -> int:
        """Of the array below."""
        return self.array.chunk_rows

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`."""
        found = super(Fixed, self).identity()
        chunks = found.get("chunks", [])
        return {**found, "chunks": [*chunks[: self.axis + 1], *chunks[self.axis + 2 :]]}

    def _view(self) -> str:
        return f"index {self.index} of axis {self.axis}"

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        self.array.read([self._below(want) for want in wants], reading)

    def _below(self, want: Want) -> Want:
        box = (*want.box[: self.axis], (self.index, self.index + 1), *want.box[self.axis :])
        return Want(want.rows, np.expand_dims(want.into, self.axis + 1), want.at, box)


@dataclass(frozen=True, slots=True)
class Pairs(_View):
    """States of trajectories with those that come later; see `StoredArray`.

    Row ``i * (t - ahead) + j`` holds states ``j`` and ``j + ahead`` of trajectory ``i``: none crosses from
    one trajectory to the next.

    Parameters
    ----------
    array : StoredArray, shape (n, t, ...)
        Trajectories.
    ahead : int
        Steps between the two, below ``t``.
    """

    array: StoredArray
    ahead: int = 1

    @property
    def per(self) -> int:
        """Rows of a trajectory."""
        return self.array.shape[1] - self.ahead

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, then now and later, then a state."""
        trajectories, _, *state = self.array.shape
        return (trajectories * self.per, 2, *state)

    @property
    def chunk_rows(self) -> int:
        """Rows that come together, about: those of a chunk's times."""
        if not self.array.encoded:
            return 1
        chunks = self.array.identity().get("chunks", [])
        times = chunks[1] if len(chunks) > 1 else self.per
        return self.array.chunk_rows * self.per if self.array.chunk_rows > 1 else min(int(times), self.per)

    def _view(self) -> str:
        return f"pairs {self.ahead} apart"

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        per = self.per
        try:
            self.array.read([below for want in wants for below in self._below(want)], reading)
        except ReadFailed as failed:
            rows = failed.rows[0] * per, failed.rows[1] * per + per - 1
            raise ReadFailed(rows, failed.cause) from failed

    def _below(self, want: Want) -> list[Want]:
        trajectories, times = np.divmod(want.rows, self.per)
        (first, stop), *state = want.box
        if self.ahead == 1:  # now and later lie end to end: one range
            frames = [(first, stop, want.into)]
        else:
            frames = [
                (k * self.ahead, k * self.ahead + 1, want.into[:, k - first : k - first + 1])
                for k in range(first, stop)
            ]
        found = []
        for time in np.unique(times).tolist():
            mine = np.flatnonzero(times == time)
            for begin, end, into in frames:
                box = ((time + begin, time + end), *state)
                found.append(Want(trajectories[mine], into, want.at[mine], box))
        return found


@dataclass(frozen=True, slots=True)
class Still(_View):
    """What does not change along a trajectory, beside its `Pairs`; see `StoredArray`.

    Parameters
    ----------
    array : StoredArray, shape (n, ...)
        A row for each trajectory.
    per : int
        Rows of a trajectory.
    """

    array: StoredArray
    per: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, then now and later, then what the array below has."""
        trajectories, *state = self.array.shape
        return (trajectories * self.per, 2, *state)

    @property
    def chunk_rows(self) -> int:
        """Rows that come together."""
        return self.array.chunk_rows * self.per if self.array.encoded else 1

    def _view(self) -> str:
        return f"{self.per} times"

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        try:
            self.array.read([below for want in wants for below in self._below(want)], reading)
        except ReadFailed as failed:
            rows = failed.rows[0] * self.per, failed.rows[1] * self.per + self.per - 1
            raise ReadFailed(rows, failed.cause) from failed

    def _below(self, want: Want) -> list[Want]:
        (first, stop), *state = want.box
        rows = want.rows // self.per
        return [Want(rows, want.into[:, k], want.at, tuple(state)) for k in range(stop - first)]


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Arrays of one shape as rows of one array; see `StoredArray`.

    Parameters
    ----------
    arrays : tuple of StoredArray, each of shape (t, ...)
        At least one.

    Raises
    ------
    InvalidArgument
        If they differ in shape or dtype.
    """

    arrays: tuple[StoredArray, ...]

    def __post_init__(self) -> None:
        first = self.arrays[0]
        for array in self.arrays:
            if (array.shape, array.dtype) != (first.shape, first.dtype):
                raise InvalidArgument(
                    f"{array.name}: found {array.dtype}{list(array.shape)}, expected {first.dtype}"
                    f"{list(first.shape)} as in {first.name}; samples are of one shape"
                )

    @property
    def name(self) -> str:
        """First and last."""
        return f"{self.arrays[0].name} ... {self.arrays[-1].name}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Arrays, then the axes of one."""
        return (len(self.arrays), *self.arrays[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first."""
        return self.arrays[0].dtype

    @property
    def chunk_rows(self) -> int:
        """One: no chunk holds two of them."""
        return 1

    @property
    def encoded(self) -> bool:
        """Whether any of them is."""
        return any(array.encoded for array in self.arrays)

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`; a file that holds several is named once."""
        each = [array.identity() for array in self.arrays]
        tables = hashlib.sha256("".join(f"{one['name']} {one.get('table')};" for one in each).encode())
        files = {str(file): file for one in each for file in one["files"]}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "chunks": [1, *each[0].get("chunks", [])],
            "files": list(files.values()),
            "table": tables.hexdigest(),
        }

    def stored_bytes(self) -> int | None:
        """See `StoredArray.stored_bytes`."""
        each = [array.stored_bytes() for array in self.arrays]
        known = [size for size in each if size is not None]
        return sum(known) if len(known) == len(each) else None

    def check(self) -> None:
        """See `StoredArray.check`; they share files, so that one look at each file would do."""
        for array in self.arrays:
            array.check()

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        by_row: dict[int, list[Want]] = {}
        for want in wants:
            (first, stop), *state = want.box
            times = np.arange(first, stop)
            for row, at in zip(want.rows.tolist(), want.at.tolist(), strict=True):
                below = Want(times, want.into[at], times - first, tuple(state))
                by_row.setdefault(row, []).append(below)
        for row, below_row in by_row.items():
            try:
                self.arrays[row].read(below_row, reading)
            except ReadFailed as failed:
                raise ReadFailed((row, row), failed.cause) from failed


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(np.array(shape, np.int64)))
