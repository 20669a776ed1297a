"""Zarr 2 and 3, shards too: metadata through zarr, chunks by position.

```
array ─▶ chunk key ─▶ file                     no shards: a file is a chunk
array ─▶ shard key ─▶ index at one end ─▶ range of the file     index: (offset, length) pairs, crc32c
```
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.grid import GridArray, Index, Place
from sciflow.datasets.sources.hdf5 import same_length
from sciflow.datasets.sources.pipelines import v2_decoder, v3_decoder
from sciflow.datasets.sources.reading import File, LocalFile, Reading, StoreFile
from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported

if TYPE_CHECKING:
    import zarr
    from zarr.codecs import ShardingCodec

__all__ = ["KeyTable", "ShardTable", "ZarrSource", "open_array"]

_MAX_INDEXES = 4096
"""Shard indexes that are kept at once."""

_MAX_LOOKS = 1024
"""Chunk files whose size and time of change are part of the fingerprint; of more, none are."""


class ZarrSource(Source):
    """Samples of Zarr arrays, of either format, sharded or not, local or in any store that zarr opens.

    Local stores are read by position, inner chunks of shards without the rest of the shard. Codecs of
    numcodecs and sciflow are undone here; for any other codec zarr's own pipeline decodes the chunk.

    Parameters
    ----------
    store : path or URL or zarr store
        An array or a group.
    keys : str or sequence of str or mapping of str to str, optional
        Arrays of the group that make a sample; a mapping gives them other names. None where `store` is an
        array, which is called ``"x"``.
    axis : int
        Which axis counts the samples, in every array.

    Raises
    ------
    InvalidArgument
        If an array is missing, lengths differ, or a group is given without `keys`.
    Unsupported
        If values have no fixed size.

    Examples
    --------
    >>> import zarr
    >>> array = zarr.create_array({}, shape=(4, 3), chunks=(2, 3), dtype="f4")
    >>> array[:] = np.arange(12).reshape(4, 3)
    >>> ZarrSource(array.store).take([3])["x"]
    array([[ 9., 10., 11.]], dtype=float32)
    """

    def __init__(
        self, store: Any, keys: str | Sequence[str] | Mapping[str, str] | None = None, *, axis: int = 0
    ) -> None:
        arrays = {name: open_array(found, axis=axis) for name, found in _arrays(store, keys).items()}
        super().__init__({name: Field(array) for name, array in same_length(arrays).items()})


def _arrays(store: Any, keys: str | Sequence[str] | Mapping[str, str] | None) -> dict[str, zarr.Array[Any]]:
    import zarr

    opened = zarr.open(os.fspath(store) if isinstance(store, os.PathLike) else store, mode="r")
    if isinstance(opened, zarr.Array):
        if keys is not None:
            raise InvalidArgument(f"keys={keys!r}: {store} is one array; leave keys out")
        return {"x": opened}
    wanted = {keys: keys} if isinstance(keys, str) else keys
    if wanted is None:
        raise InvalidArgument(
            f"{store} is a group of {', '.join(sorted(opened))}: name the arrays to read in keys="
        )
    pairs = wanted.items() if isinstance(wanted, Mapping) else [(key, key) for key in wanted]
    found = {}
    for name, key in pairs:
        member = opened.get(key)
        if not isinstance(member, zarr.Array):
            raise InvalidArgument(f"{store}: no array {key!r}; it has {', '.join(sorted(opened)) or 'none'}")
        found[name] = member
    return found


def open_array(array: zarr.Array[Any], *, axis: int = 0) -> GridArray:
    """Rows of an opened array.

    Raises
    ------
    InvalidArgument
        If it has no such axis.
    Unsupported
        If values have no fixed size, or the chunk grid is not regular.
    """
    name = f"{array.store}/{array.path}" if array.path else str(array.store)
    if array.ndim == 0 or not -array.ndim <= axis < array.ndim:
        raise InvalidArgument(f"{name}: axis {axis} of an array with {array.ndim} axes")
    if array.dtype.hasobject:
        raise Unsupported(f"{name}: values of {array.dtype} have no fixed size; store numbers")
    keys = _Keys(array.store, array.path, array.metadata)
    keys.look_at_all(array.shape, array.shards or array.chunks)
    table: KeyTable | ShardTable
    sharding = _sharding(array)
    dtype = np.dtype(array.dtype)
    if array.metadata.zarr_format == 2:
        table, chunks = KeyTable(keys), array.chunks
        decode, dtype = v2_decoder(array.metadata)
    elif sharding is None:
        table, chunks = KeyTable(keys), array.chunks
        decode, dtype = v3_decoder(array.metadata.codecs, array, chunks)
    else:
        table, chunks = ShardTable(keys, _layout(sharding, array)), sharding.chunk_shape
        decode, dtype = v3_decoder(sharding.codecs, array, chunks)
    fill = array.metadata.fill_value
    axis %= array.ndim
    if decode is None and axis != 0:
        decode = _as_it_is
    return GridArray(
        name, array.shape, tuple(chunks), dtype, table, decode, 0 if fill is None else fill, axis
    )


def _as_it_is(data: NDArray[np.uint8], _: int) -> NDArray[Any]:
    return data


def _sharding(array: zarr.Array[Any]) -> ShardingCodec | None:
    from zarr.codecs import ShardingCodec

    codecs = getattr(array.metadata, "codecs", ())
    sharded = [codec for codec in codecs if isinstance(codec, ShardingCodec)]
    if not sharded:
        return None
    if len(codecs) > 1 or any(isinstance(codec, ShardingCodec) for codec in sharded[0].codecs):
        raise Unsupported(
            f"{array.store}/{array.path}: shards inside of other codecs or of shards; expected "
            "sharding_indexed alone"
        )
    return sharded[0]


@dataclass(slots=True)
class _Keys:
    """Names of the chunks of an array in a store."""

    store: Any
    path: str
    metadata: Any
    complete: bool = False
    _files: dict[Index, File | None] = field(default_factory=dict, repr=False)

    def file(self, chunk: Index) -> File | None:
        """The file of a chunk or shard as it was when it was first asked for; None where there is none."""
        if chunk not in self._files:
            key = self.metadata.encode_chunk_key(chunk)
            self._files[chunk] = self._look(f"{self.path}/{key}" if self.path else key)
        return self._files[chunk]

    def _look(self, key: str) -> File | None:
        from zarr.core.sync import sync
        from zarr.storage import LocalStore

        if isinstance(self.store, LocalStore):
            try:
                return LocalFile.at(Path(self.store.root) / key)
            except FileNotFoundError:
                return None
        return StoreFile(self.store, key) if sync(self.store.exists(key)) else None

    def look_at_all(self, shape: tuple[int, ...], pieces: tuple[int, ...]) -> None:
        """Note what all files are like if they are few, so that a later change is noticed."""
        from zarr.storage import LocalStore

        grid = [-(-n // piece) for n, piece in zip(shape, pieces, strict=True)]
        if isinstance(self.store, LocalStore) and int(np.prod(grid, dtype=np.int64)) <= _MAX_LOOKS:
            self.complete = True
            for chunk in np.ndindex(*grid):
                self.file(chunk)

    def files(self) -> list[File]:
        """All files, where they were all looked at; none otherwise."""
        return [file for file in self._files.values() if file is not None] if self.complete else []

    def metadata_file(self) -> File | None:
        """The file that describes the array."""
        name = ".zarray" if self.metadata.zarr_format == 2 else "zarr.json"
        return self._look(f"{self.path}/{name}" if self.path else name)

    def digest(self) -> str:
        """Hash of the metadata: what chunks are called and how they are coded."""
        return hashlib.sha256(
            json.dumps(self.metadata.to_dict(), sort_keys=True, default=str).encode()
        ).hexdigest()


class _Table:
    """What both tables have in common."""

    __slots__ = ("_described", "keys")

    def __init__(self, keys: _Keys) -> None:
        self.keys = keys
        self._described = keys.metadata_file()

    def files(self) -> list[File]:
        """The metadata, and the chunk files if they are not too many; see `_Keys.look_at_all`."""
        described = [self._described] if self._described is not None else []
        return [*described, *self.keys.files()]

    def digest(self) -> str:
        """Hash of the metadata."""
        return self.keys.digest()

    def stored_bytes(self) -> int | None:
        """Bytes of all chunk files, None where they are too many to look at."""
        return sum(file.size() for file in self.keys.files()) if self.keys.complete else None


class KeyTable(_Table):
    """A file for each chunk."""

    __slots__ = ()

    def find(self, chunk: Index, reading: Reading) -> Place | None:
        """See `ChunkTable.find`."""
        file = self.keys.file(chunk)
        return None if file is None else Place(file, 0, file.size())


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How shards are laid out.

    Parameters
    ----------
    inner : tuple of int
        Chunks along each axis of a shard.
    at_end : bool
        Whether the index stands behind the chunks.
    checked : bool
        Whether a crc32c stands behind the index.
    """

    inner: tuple[int, ...]
    at_end: bool
    checked: bool

    @property
    def index_bytes(self) -> int:
        """Bytes of the index."""
        return 16 * int(np.prod(self.inner)) + 4 * self.checked


def _layout(sharding: ShardingCodec, array: zarr.Array[Any]) -> ShardLayout:
    from zarr.codecs import BytesCodec, Crc32cCodec

    *codecs, last = sharding.index_codecs
    checked = isinstance(last, Crc32cCodec)
    first = codecs[0] if codecs else last
    if not isinstance(first, BytesCodec) or len(codecs) > 1 or (codecs and not checked) or _big_endian(first):
        raise Unsupported(
            f"{array.store}/{array.path}: shard index coded by {sharding.index_codecs}; expected "
            "little-endian bytes, "
            "with or without crc32c"
        )
    shards = array.shards
    assert shards is not None
    inner = tuple(s // c for s, c in zip(shards, sharding.chunk_shape, strict=True))
    return ShardLayout(inner, str(sharding.index_location).endswith("end"), checked)


def _big_endian(codec: Any) -> bool:
    return codec.endian is not None and str(codec.endian).endswith("big")


class ShardTable(_Table):
    """Several chunks in a file, with an index of them at one end."""

    __slots__ = ("_indexes", "_lock", "layout")

    def __init__(self, keys: _Keys, layout: ShardLayout) -> None:
        super().__init__(keys)
        self.layout = layout
        self.__setstate__((None, {"keys": keys, "_described": self._described, "layout": layout}))

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        return None, {"keys": self.keys, "_described": self._described, "layout": self.layout}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self._indexes: OrderedDict[Index, NDArray[np.uint64]] = OrderedDict()
        self._lock: tuple[int, threading.Lock] = (os.getpid(), threading.Lock())

    def find(self, chunk: Index, reading: Reading) -> Place | None:
        """See `ChunkTable.find`."""
        inner = self.layout.inner
        shard = tuple(c // n for c, n in zip(chunk, inner, strict=True))
        file = self.keys.file(shard)
        if file is None:
            return None
        flat = 0
        for index, count in zip(chunk, inner, strict=True):
            flat = flat * count + index % count
        offset, length = (int(value) for value in self._index(shard, file, reading)[flat])
        if offset == length == 2**64 - 1:
            return None
        if offset + length > file.size():
            raise Truncated(
                f"{file.name}: index says bytes {offset}..{offset + length}, found {file.size()}; copy it "
                "again"
            )
        return Place(file, offset, length)

    def _index(self, shard: Index, file: File, reading: Reading) -> NDArray[np.uint64]:
        with self._held():
            found = self._indexes.get(shard)
        if found is None:
            found = self._read_index(file, reading)
            with self._held():
                self._indexes[shard] = found
                while len(self._indexes) > _MAX_INDEXES:
                    self._indexes.popitem(last=False)
        return found

    def _held(self) -> threading.Lock:
        if self._lock[0] != os.getpid():  # a lock that was held at the fork would never be released here
            self._lock = (os.getpid(), threading.Lock())
        return self._lock[1]

    def _read_index(self, file: File, reading: Reading) -> NDArray[np.uint64]:
        size = self.layout.index_bytes
        if file.size() < size:
            raise Truncated(
                f"{file.name}: holds {file.size()} bytes, expected a shard index of {size}; copy it again"
            )
        raw = reading.fetch(file, file.size() - size if self.layout.at_end else 0, size).copy()
        if self.layout.checked:
            raw = _checked(raw, file)
        return raw.view("<u8").reshape(-1, 2)


def _checked(raw: NDArray[np.uint8], file: File) -> NDArray[np.uint8]:
    import google_crc32c

    found, stored = google_crc32c.value(raw[:-4].tobytes()), int.from_bytes(raw[-4:].tobytes(), "little")
    if found != stored:
        raise Corrupt(
            f"{file.name}: crc32c of the shard index is {found:08x}, stored is {stored:08x}; copy it again"
        )
    return raw[:-4]
