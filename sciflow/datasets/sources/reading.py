"""Bytes from files: opened late, read by position, counted.

```
Array.read ─▶ Reading.fetch(file, offset, length) ─▶ File.read_into ─▶ preadv, or a store's ranged get
                    └─ counts operations and bytes; an emulated storage sleeps here
```

A `LocalFile` holds no lock and no position, so that it may be used from any thread and after a fork; after
pickling it opens its file anew.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import SourceChanged, Truncated

__all__ = ["File", "LocalFile", "Reading", "StoreFile"]

_MAX_OPEN = 64
_PIECE = 1 << 30  # Linux reads at most 2 GiB in one call


class File(Protocol):
    """Bytes with a name, read by position."""

    @property
    def name(self) -> str:
        """Path or key, for messages."""

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill `buffer` from `offset` on.

        Raises
        ------
        Truncated
            If the file ends before the buffer is full.
        SourceChanged
            If the file is not the one that was opened first.
        FileNotFoundError
            If there is no such file.
        """

    def size(self) -> int:
        """Bytes in the file."""

    def stamp(self) -> dict[str, Any]:
        """What tells this file from a changed one: name, bytes and time of change where one is known."""


class _Handle:
    """A file descriptor that closes when the last reader lets go of it."""

    __slots__ = ("fd",)

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError, AttributeError):
            # The plan knows what comes next; the kernel's read-ahead would fetch megabytes beyond each
            # sample.
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.fd)


class _Handles:
    """Open files of this process, the least recently used closed first."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.open: OrderedDict[str, _Handle] = OrderedDict()


_handles = _Handles()


def _handle(path: str, check: Callable[[int], None]) -> _Handle:
    global _handles
    if _handles.pid != os.getpid():  # a lock that was held at the fork would never be released here
        _handles = _Handles()
    pool = _handles
    with pool.lock:
        found = pool.open.get(path)
        if found is not None:
            pool.open.move_to_end(path)
            return found
    opened = _Handle(path)
    check(opened.fd)
    with pool.lock:
        pool.open[path] = opened
        while len(pool.open) > _MAX_OPEN:
            pool.open.popitem(last=False)
    return opened


def _forget(path: str) -> None:
    if _handles.pid == os.getpid():
        with _handles.lock:
            _handles.open.pop(path, None)


@dataclass(slots=True)
class LocalFile:
    """A file on a mounted file system; the first look at it is what later looks must find.

    Parameters
    ----------
    path : str
        Where it is.
    seen : tuple of (int, int), optional
        Bytes and nanoseconds of last change at the first look.
    """

    path: str
    seen: tuple[int, int] | None = None

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> LocalFile:
        """Look at the file, so that a later change is noticed.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        stat = Path(path).stat()
        _forget(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links that may move
        return cls(os.path.abspath(path), (stat.st_size, stat.st_mtime_ns))  # noqa: PTH100

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    def size(self) -> int:
        """Bytes at the first look, or at this one."""
        return self.seen[0] if self.seen else Path(self.path).stat().st_size

    def stamp(self) -> dict[str, Any]:
        """Path, bytes and time of change."""
        stat = self.seen or _size_and_time(Path(self.path).stat())
        return {"path": self.path, "size": stat[0], "mtime_ns": stat[1]}

    def check(self) -> None:
        """Compare the file with the first look at it.

        Raises
        ------
        SourceChanged
            If its size or time of change is another one, or it is gone.
        """
        try:
            stat = Path(self.path).stat()
        except FileNotFoundError:
            raise SourceChanged(
                f"{self.path}: was there when the source was opened and is gone; put it back, or make the "
                "source "
                "and the plan anew"
            ) from None
        self._compare(stat)

    def _compare(self, stat: os.stat_result) -> None:
        found = _size_and_time(stat)
        if self.seen is not None and found != self.seen:
            raise SourceChanged(
                f"{self.path}: changed since the source was opened: found {found[0]} bytes, changed at "
                f"{found[1]} ns; expected {self.seen[0]} bytes, changed at {self.seen[1]} ns; make the "
                "source and "
                "the plan anew"
            )

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill `buffer` from `offset` on, with the GIL released; see `File.read_into`."""
        handle = _handle(self.path, lambda fd: self._compare(os.fstat(fd)))
        done = 0
        while done < buffer.size:
            got = os.preadv(handle.fd, [buffer[done : done + _PIECE].data], offset + done)
            if got == 0:
                self.check()
                raise Truncated(
                    f"{self.path}: ends at byte {offset + done}, expected {buffer.size - done} bytes more; "
                    "the file was cut short: copy it again"
                )
            done += got

    def read_each(self, offset: int, buffers: list[NDArray[np.uint8]]) -> None:
        """Fill buffers one after the other from `offset` on, in one operation where the system lets it."""
        handle = _handle(self.path, lambda fd: self._compare(os.fstat(fd)))
        got = os.preadv(handle.fd, [each.data for each in buffers], offset)
        for buffer in buffers:
            if got < buffer.size:
                self.read_into(offset + max(got, 0), buffer[max(got, 0) :])
            got, offset = got - buffer.size, offset + buffer.size


def _size_and_time(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


@dataclass(slots=True)
class StoreFile:
    """A key of a Zarr store that is not a local folder: object storage, a zip file, memory.

    Parameters
    ----------
    store : zarr.abc.store.Store
        Where the key is.
    key : str
        Which one.
    bytes : int, optional
        Its size, if known.
    """

    store: Any
    key: str
    bytes: int | None = None

    @property
    def name(self) -> str:
        """Store and key."""
        return f"{self.store}/{self.key}"

    def size(self) -> int:
        """Bytes of the object, asked for once."""
        from zarr.core.sync import sync

        if self.bytes is None:
            self.bytes = int(sync(self.store.getsize(self.key)))
        return self.bytes

    def stamp(self) -> dict[str, Any]:
        """The name alone: a store does not say when a key changed."""
        return {"path": self.name}

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill `buffer` from `offset` on; see `File.read_into`."""
        from zarr.abc.store import RangeByteRequest
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        request = RangeByteRequest(offset, offset + buffer.size)
        found = sync(self.store.get(self.key, default_buffer_prototype(), byte_range=request))
        if found is None:
            raise FileNotFoundError(self.name)
        content = found.as_numpy_array().view(np.uint8)
        if content.size != buffer.size:
            raise Truncated(
                f"{self.name}: found {content.size} bytes from byte {offset} on, expected {buffer.size}; "
                "the object was cut short: copy it again"
            )
        buffer[:] = content


class Reading:
    """What one thread needs to read: a scratch buffer, limits, counters.

    Parameters
    ----------
    gap_bytes : int
        Two reads with at most so many bytes between them become one. Latency times bandwidth of the storage
        is best: below it, reading the gap is cheaper than another operation.
    run_bytes : int
        A merged read is at most so long, unless one piece of it is longer.
    on_read : callable, optional
        Called with the bytes of each operation before it is done; an emulated storage sleeps in it.

    Attributes
    ----------
    ops, bytes, decodes : int
        Read operations, bytes that they brought, chunks that were decoded.
    """

    def __init__(
        self,
        *,
        gap_bytes: int = 64 << 10,
        run_bytes: int = 8 << 20,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        self.gap_bytes = gap_bytes
        self.run_bytes = run_bytes
        self.ops = self.bytes = self.decodes = 0
        self._on_read = on_read
        self._scratch: NDArray[np.uint8] = np.empty(0, np.uint8)

    def fetch(self, file: File, offset: int, length: int) -> NDArray[np.uint8]:
        """Bytes ``[offset, offset + length)`` of `file`; good until the next call.

        Raises
        ------
        Truncated
            If the file ends before.
        """
        self._expect(file, offset, length)
        if self._scratch.size < length:
            self._scratch = np.empty(length, np.uint8)
        buffer = self._scratch[:length]
        self.count(length)
        file.read_into(offset, buffer)
        return buffer

    def fetch_rows(
        self,
        file: LocalFile,
        starts: NDArray[np.int64],
        rows: NDArray[np.uint8],
        at: NDArray[np.int64],
    ) -> None:
        """Read pieces of a file straight into their rows, in one operation, over the gaps between them.

        Parameters
        ----------
        file : LocalFile
            Where they are.
        starts : ndarray, int64, shape (k,)
            Offsets, ascending; pieces do not overlap. At most 512.
        rows : ndarray, uint8, shape (slots, bytes)
            ``rows[at[i]]`` becomes the bytes from ``starts[i]`` on.
        at : ndarray, int64, shape (k,)
            Which rows.

        Raises
        ------
        Truncated
            If the file ends before.
        """
        first, position = int(starts[0]), int(starts[0])
        stop = int(starts[-1]) + rows.shape[1]
        self._expect(file, first, stop - first)
        widest = int(np.diff(starts).max(initial=0)) - rows.shape[1]
        if self._scratch.size < widest:
            self._scratch = np.empty(widest, np.uint8)
        buffers = []
        for start, row in zip(starts.tolist(), at.tolist(), strict=True):
            if start > position:
                buffers.append(self._scratch[: start - position])
            buffers.append(rows[row])
            position = start + rows.shape[1]
        self.count(stop - first)
        file.read_each(first, buffers)

    def _expect(self, file: File, offset: int, length: int) -> None:
        """Before memory is asked for: a corrupt table may say anything."""
        if offset + length > file.size():
            raise Truncated(
                f"{file.name}: holds {file.size()} bytes, expected {length} bytes from byte {offset} on; "
                "the file was cut short: copy it again"
            )

    def count(self, length: int, ops: int = 1) -> None:
        """Note operations that are done elsewhere, as by h5py."""
        if self._on_read is not None:
            self._on_read(length)
        self.ops += ops
        self.bytes += length
