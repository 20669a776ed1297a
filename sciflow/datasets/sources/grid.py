"""Arrays in a regular grid of chunks, whoever wrote them: HDF5, Zarr, npy (one chunk).

```
wants ─▶ parts of chunks ─▶ pieces of files ─▶ merged runs ─▶ preadv ─▶ decode ─▶ scatter into slots
                            a raw chunk's pieces are rows; an encoded chunk is one piece
```

Axes are those of the stored array with the sample axis moved to the front.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from sciflow.datasets.sources.array import ReadFailed, Want
from sciflow.datasets.sources.reading import File, LocalFile, Reading
from sciflow.datasets.sources.runs import merge_runs
from sciflow.errors import Corrupt, SciflowError

__all__ = ["ChunkTable", "Decode", "GridArray", "Place", "Tabled"]

Index = tuple[int, ...]
_LEAST_STRAIGHT = 16 << 10
"""Bytes of a row from which on a copy costs more than a buffer of its own."""
_MOST_STRAIGHT = 512
"""Rows of an operation; the system takes 1024 buffers, gaps among them."""

Decode = Callable[[NDArray[np.uint8], int], NDArray[Any]]
"""Bytes of a chunk and its filter mask in, its values out, in the order in which they are stored."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a chunk are."""

    file: File
    offset: int
    length: int
    mask: int = 0


class ChunkTable(Protocol):
    """Finds chunks."""

    def find(self, chunk: Index, reading: Reading) -> Place | None:
        """Place of a chunk (indices in stored axis order), None for one that was never written."""

    def files(self) -> list[File]:
        """Files that are known before the first read."""

    def digest(self) -> str:
        """Hash of the places."""

    def stored_bytes(self) -> int | None:
        """Bytes of all chunks, None where that is not known."""


@dataclass(slots=True)
class Tabled:
    """All places in arrays; one file.

    Parameters
    ----------
    file : File
        Where the chunks are.
    grid : tuple of int
        Chunks along each axis.
    offsets, lengths : ndarray, int64, shape (prod(grid),)
        Byte ranges; an offset of -1 for a chunk that was never written.
    masks : ndarray, uint32, shape (prod(grid),), optional
        Filters that were skipped.
    """

    file: File
    grid: tuple[int, ...]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    masks: NDArray[np.uint32] | None = None

    def find(self, chunk: Index, reading: Reading) -> Place | None:
        """See `ChunkTable.find`."""
        flat = 0
        for index, count in zip(chunk, self.grid, strict=True):
            flat = flat * count + index
        offset = int(self.offsets[flat])
        if offset < 0:
            return None
        mask = 0 if self.masks is None else int(self.masks[flat])
        return Place(self.file, offset, int(self.lengths[flat]), mask)

    def files(self) -> list[File]:
        """The one file."""
        return [self.file]

    def digest(self) -> str:
        """Hash of offsets and lengths."""
        found = hashlib.sha256(self.offsets.tobytes())
        found.update(self.lengths.tobytes())
        return found.hexdigest()

    def stored_bytes(self) -> int:
        """Bytes of all chunks."""
        return int(self.lengths.sum())


@dataclass(slots=True)
class _Part:
    """Rows ``[lo, hi)`` of a want, which lie in one chunk."""

    want: Want
    lo: int
    hi: int


@dataclass(slots=True)
class _Pieces:
    """Byte ranges of equal length in one file, and what becomes of them."""

    file: File
    starts: NDArray[np.int64]
    length: int
    chunk: Index
    parts: list[_Part]
    mask: int
    whole: bool


@dataclass(slots=True)
class GridArray:
    """Rows of a chunked array; see `StoredArray`.

    Parameters
    ----------
    name : str
        File and variable.
    stored_shape, stored_chunks : tuple of int
        Of the array as it is stored.
    stored_dtype : dtype
        With its byte order.
    table : ChunkTable
        Finds chunks.
    decode : callable, optional
        Decodes a chunk; None where values lie in C order as they are.
    fill : scalar
        Value of chunks that were never written.
    axis : int
        The sample axis; 0 unless chunks are encoded.
    """

    name: str
    stored_shape: tuple[int, ...]
    stored_chunks: tuple[int, ...]
    stored_dtype: np.dtype[Any]
    table: ChunkTable
    decode: Decode | None = None
    fill: Any = 0
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return _front(self.stored_shape, self.axis)

    @property
    def dtype(self) -> np.dtype[Any]:
        """In the machine's byte order."""
        return self.stored_dtype.newbyteorder("=")

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk, 1 where chunks are raw."""
        return min(self.stored_chunks[self.axis], self.stored_shape[self.axis] or 1) if self.encoded else 1

    @property
    def encoded(self) -> bool:
        """Whether chunks must be decoded."""
        return self.decode is not None

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.stored_dtype.str,
            "chunks": list(_front(self.stored_chunks, self.axis)),
            "files": [file.stamp() for file in self.table.files()],
            "table": self.table.digest(),
        }

    def stored_bytes(self) -> int | None:
        """See `StoredArray.stored_bytes`."""
        return self.table.stored_bytes()

    def check(self) -> None:
        """See `StoredArray.check`."""
        for file in self.table.files():
            if isinstance(file, LocalFile):
                file.check()

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        by_file: dict[str, list[_Pieces]] = defaultdict(list)
        for chunk, parts in self._parts(wants).items():
            with self._blame(chunk):
                place = self.table.find(_back(chunk, self.axis), reading)
            if place is None:
                self._scatter_fill(chunk, parts)
                continue
            for pieces in self._pieces(place, chunk, parts):
                by_file[place.file.name].append(pieces)
        for in_file in by_file.values():
            self._read_file(in_file, reading)

    def _blame(self, chunk: Index) -> _Blame:
        rows = _front(self.stored_chunks, self.axis)[0]
        return _Blame(self.name, chunk, (chunk[0] * rows, chunk[0] * rows + rows - 1))

    def _parts(self, wants: list[Want]) -> dict[Index, list[_Part]]:
        found: dict[Index, list[_Part]] = defaultdict(list)
        rows, *trailing = _front(self.stored_chunks, self.axis)
        for want in wants:
            across = [range(a // c, -(-b // c)) for (a, b), c in zip(want.box, trailing, strict=True)]
            for first, lo, hi in _segments(want.rows // rows):
                for rest in itertools.product(*across):
                    found[(first, *rest)].append(_Part(want, lo, hi))
        return found

    def _pieces(self, place: Place, chunk: Index, parts: list[_Part]) -> Iterator[_Pieces]:
        if self.decode is not None:
            starts = np.array([place.offset], np.int64)
            yield _Pieces(place.file, starts, place.length, chunk, parts, place.mask, whole=True)
            return
        rows, *trailing = self.stored_chunks  # raw chunks have the sample axis in front
        row_bytes = _product(trailing) * self.stored_dtype.itemsize
        for part in parts:
            begin, length = 0, row_bytes
            if trailing:
                start, stop = _overlap(part.want.box[0], chunk[1], trailing[0])
                inner = row_bytes // trailing[0]
                begin, length = start * inner, (stop - start) * inner
            local = part.want.rows[part.lo : part.hi] - chunk[0] * rows
            yield _Pieces(
                place.file,
                place.offset + local * row_bytes + begin,
                length,
                chunk,
                [part],
                place.mask,
                whole=False,
            )

    def _read_file(self, pieces: list[_Pieces], reading: Reading) -> None:
        owner = np.repeat(np.arange(len(pieces)), [len(p.starts) for p in pieces])
        member = np.concatenate([np.arange(len(p.starts)) for p in pieces])
        starts = np.concatenate([p.starts for p in pieces])
        stops = starts + np.repeat([p.length for p in pieces], [len(p.starts) for p in pieces])
        order = np.argsort(starts, kind="stable")
        starts, stops, owner, member = starts[order], stops[order], owner[order], member[order]
        bounds = merge_runs(starts, stops, reading.gap_bytes, reading.run_bytes)
        straight = _straight(pieces, self.stored_dtype)
        for lo, hi in itertools.pairwise(bounds.tolist()):
            base = int(starts[lo])
            if straight is not None and hi - lo <= _MOST_STRAIGHT and _apart(starts[lo:hi], straight):
                with self._blame(pieces[0].chunk):
                    reading.fetch_rows(
                        straight.file, starts[lo:hi], straight.rows, straight.at[member[lo:hi]]
                    )
                continue
            with self._blame(pieces[owner[lo]].chunk):
                run = reading.fetch(pieces[0].file, base, int(stops[lo:hi].max()) - base)
            for which, first, last in _segments(owner[lo:hi]):
                picked = pieces[which]
                with self._blame(picked.chunk):
                    self._scatter(
                        picked,
                        member[lo + first : lo + last],
                        starts[lo + first : lo + last] - base,
                        run,
                        reading,
                    )

    def _scatter(
        self,
        pieces: _Pieces,
        member: NDArray[np.int64],
        offsets: NDArray[np.int64],
        run: NDArray[np.uint8],
        reading: Reading,
    ) -> None:
        if not pieces.whole:
            self._scatter_raw(pieces, member, _rows_at(run, offsets, pieces.length))
            return
        assert self.decode is not None
        chunk = run[offsets[0] : offsets[0] + pieces.length]
        reading.decodes += 1
        values = np.moveaxis(
            _shaped(self.decode(chunk, pieces.mask), self.stored_chunks, self.stored_dtype), self.axis, 0
        )
        rows, *trailing = values.shape
        for part in pieces.parts:
            local = part.want.rows[part.lo : part.hi] - pieces.chunk[0] * rows
            source, target = _slices(part.want.box, pieces.chunk[1:], trailing)
            _put(values[(slice(None), *source)], local, part.want, part.want.at[part.lo : part.hi], target)

    def _scatter_raw(self, pieces: _Pieces, member: NDArray[np.int64], rows: NDArray[np.uint8]) -> None:
        (part,) = pieces.parts
        trailing = self.stored_chunks[1:]
        values = rows.view(self.stored_dtype)
        source, target = _slices(part.want.box, pieces.chunk[1:], trailing)
        if trailing:
            start, stop = _overlap(part.want.box[0], pieces.chunk[1], trailing[0])
            values = values.reshape(len(rows), stop - start, *trailing[1:])
            values = values[(slice(None), slice(None), *source[1:])]
        else:
            values = values.reshape(len(rows))
        at = part.want.at[part.lo : part.hi][member]
        _assign(part.want, at, target, values)

    def _scatter_fill(self, chunk: Index, parts: list[_Part]) -> None:
        _, *trailing = _front(self.stored_chunks, self.axis)
        for part in parts:
            _, target = _slices(part.want.box, chunk[1:], trailing)
            _assign(part.want, part.want.at[part.lo : part.hi], target, self.fill)


@dataclass(frozen=True, slots=True)
class _Straight:
    """Pieces that can be read into their rows as they are."""

    file: LocalFile
    rows: NDArray[np.uint8]
    at: NDArray[np.int64]


def _straight(pieces: list[_Pieces], stored: np.dtype[Any]) -> _Straight | None:
    """Large raw rows of one chunk whose bytes are those of the rows that they become."""
    first = pieces[0]
    if len(pieces) > 1 or first.whole or first.length < _LEAST_STRAIGHT:
        return None
    (part,) = first.parts
    into = part.want.into
    row = into.nbytes // max(len(into), 1)
    same = row == first.length and stored == into.dtype and into.flags.c_contiguous
    if not same or not isinstance(first.file, LocalFile):
        return None
    return _Straight(first.file, into.reshape(len(into), -1).view(np.uint8), part.want.at[part.lo : part.hi])


def _apart(starts: NDArray[np.int64], straight: _Straight) -> bool:
    return bool((np.diff(starts) >= straight.rows.shape[1]).all())


class _Blame:
    """Says which chunk it was, whatever fails inside."""

    __slots__ = ("chunk", "name", "rows")

    def __init__(self, name: str, chunk: Index, rows: tuple[int, int]) -> None:
        self.name, self.chunk, self.rows = name, chunk, rows

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, ReadFailed):
            return
        if isinstance(error, OSError) and error.errno is not None:  # the system's: says nothing of the bytes
            error.add_note(f"while reading {self.name}, chunk {self.chunk}")
            return
        if isinstance(error, SciflowError):
            cause: SciflowError = type(error)(f"{self.name}, chunk {self.chunk}: {error}")
        else:
            cause = Corrupt(
                f"{self.name}, chunk {self.chunk}: cannot be decoded ({type(error).__name__}: {error}); "
                "the file is damaged or its filter is at fault: copy it again, or read it with the library "
                "that wrote it"
            )
        raise ReadFailed(self.rows, cause) from error


def _front(values: Sequence[int], axis: int) -> tuple[int, ...]:
    return (values[axis], *values[:axis], *values[axis + 1 :])


def _back(values: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*values[1 : axis + 1], values[0], *values[axis + 1 :])


def _product(values: Sequence[int]) -> int:
    product = 1
    for value in values:
        product *= value
    return product


def _segments(keys: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Runs of equal keys: key, first, last + 1."""
    if not len(keys):
        return
    cuts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for lo, hi in itertools.pairwise(cuts):
        yield int(keys[lo]), lo, hi


def _overlap(box: tuple[int, int], chunk: int, size: int) -> tuple[int, int]:
    """What of a box lies in a chunk, counted from the chunk's first cell."""
    return max(box[0] - chunk * size, 0), min(box[1] - chunk * size, size)


def _slices(
    box: tuple[tuple[int, int], ...], chunk: Sequence[int], sizes: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The common part of box and chunk: in the chunk, and in the box."""
    source, target = [], []
    for bounds, index, size in zip(box, chunk, sizes, strict=True):
        start, stop = _overlap(bounds, index, size)
        shift = index * size - bounds[0]
        source.append(slice(start, stop))
        target.append(slice(start + shift, stop + shift))
    return tuple(source), tuple(target)


def _rows_at(run: NDArray[np.uint8], offsets: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
    """Byte rows of a run: a view where they lie end to end, a copy elsewhere."""
    count = len(offsets)
    first = int(offsets[0])
    if np.array_equal(offsets, first + np.arange(count) * length):
        return run[first : first + count * length].reshape(count, length)
    windows = as_strided(run, (run.size - length + 1, length), (1, 1), writeable=False)
    return windows[offsets]


def _shaped(values: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype == np.uint8 and values.ndim == 1 and dtype != np.uint8:
        if values.nbytes % dtype.itemsize:
            raise Corrupt(f"decodes to {values.nbytes} bytes, expected whole values of {dtype.itemsize}")
        values = values.view(dtype)
    if values.size != _product(shape):
        raise Corrupt(f"decodes to {values.size} values, expected {_product(shape)}")
    return values.reshape(shape)


def _put(
    values: NDArray[Any],
    local: NDArray[np.int64],
    want: Want,
    at: NDArray[np.int64],
    target: tuple[slice, ...],
) -> None:
    where: tuple[Any, ...]
    if len(local) and values[0].nbytes >= _LEAST_STRAIGHT:  # one copy, not two
        for row, one in zip(at.tolist(), local.tolist(), strict=True):
            where = (row, *target)
            want.into[where] = values[one]
        return
    _assign(want, at, target, values[local])


def _assign(want: Want, at: NDArray[np.int64], target: tuple[slice, ...], values: Any) -> None:
    where: tuple[Any, ...] = (at, *target)
    want.into[where] = values
