"""HDF5's filters, undone without HDF5: no global lock, and the GIL is released where bytes are many.

Deflate, shuffle, Fletcher-32, Zstandard, Blosc, LZ4 and our own. For any other filter `decoder` says None,
and the chunks are read through h5py.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt

__all__ = ["Filter", "decoder"]

Filter = tuple[int, tuple[int, ...]]
"""Registered number and client data, as h5py's ``get_filter`` says them."""

Bytes = NDArray[np.uint8]
Undo = Callable[[Bytes], Bytes]

DEFLATE, SHUFFLE, FLETCHER32, BLOSC, LZ4, ZSTD, SCIFLOW_SZ = 1, 2, 3, 32001, 32004, 32015, 33070


def decoder(filters: Sequence[Filter], *, chunk_bytes: int) -> Callable[[Bytes, int], NDArray[Any]] | None:
    """A function that undoes a filter pipeline.

    Parameters
    ----------
    filters : sequence of (int, tuple of int)
        In the order in which they were applied.
    chunk_bytes : int
        Bytes of a decoded chunk; no filter may give more.

    Returns
    -------
    callable or None
        None if a filter is not one of ours.
    """
    undo = [_undo(number, client, chunk_bytes) for number, client in filters]
    if any(step is None for step in undo):
        return None
    return partial(_decode, tuple(step for step in undo if step is not None))


def _decode(undo: tuple[Undo, ...], data: Bytes, mask: int) -> Bytes:
    for position in reversed(range(len(undo))):
        if not mask >> position & 1:  # a set bit: the filter was skipped for this chunk
            data = undo[position](data)
    return data


def _undo(number: int, client: tuple[int, ...], chunk_bytes: int) -> Undo | None:
    limit = chunk_bytes + 4  # a checksum may stand behind the values
    if number == SHUFFLE:
        return partial(_unshuffle, client[0] if client else 1)
    simple: dict[int, Undo] = {
        DEFLATE: partial(_inflate, limit),
        FLETCHER32: _check_fletcher32,
        BLOSC: partial(_numcodecs, "blosc", limit),
        LZ4: partial(_lz4, limit),
        SCIFLOW_SZ: partial(_sz, limit),
        ZSTD: partial(_numcodecs, "zstd", limit),
    }
    return simple.get(number)


def _sz(limit: int, data: Bytes) -> Bytes:
    from sciflow.codecs import sz

    size = sz.info(data).nbytes
    if size > limit:
        raise Corrupt(f"stream of {size} bytes, expected at most {limit}")
    return np.asarray(sz.decode(data).reshape(-1, order="A").view(np.uint8))


def _inflate(limit: int, data: Bytes) -> Bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data.data, limit)
    if not stream.eof:
        raise Corrupt(f"deflate stream does not end within {limit} bytes")
    return np.frombuffer(found, np.uint8)


def _unshuffle(size: int, data: Bytes) -> Bytes:
    count = data.size // size
    if size < 2 or count < 2:
        return data
    out = np.empty(data.size, np.uint8)
    out[count * size :] = data[count * size :]
    values, planes = out[: count * size].reshape(count, size), data[: count * size].reshape(size, count)
    for byte in range(size):  # plane by plane: three times as fast as a transposed copy
        values[:, byte] = planes[byte]
    return out


def _check_fletcher32(data: Bytes) -> Bytes:
    if data.size < 4:
        raise Corrupt(f"{data.size} bytes, expected a Fletcher-32 checksum of 4")
    values, stored = data[:-4], int.from_bytes(data[-4:].tobytes(), "little")
    found = fletcher32(values)
    if stored not in (found, _bytes_swapped_in_halves(found)):  # HDF5 before 1.6.3 swapped them
        raise Corrupt(f"Fletcher-32 is {found:08x}, stored is {stored:08x}")
    return values


def fletcher32(data: Bytes) -> int:
    """HDF5's Fletcher-32: 16-bit big-endian words, sums modulo 65535 that are never 0 unless all words are.

    Parameters
    ----------
    data : ndarray, uint8, shape (bytes,)

    Returns
    -------
    int
    """
    even = data if data.size % 2 == 0 else np.append(data, np.uint8(0))
    words = even.view(">u2").astype(np.uint64)
    weight = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(65535)
    return _fold(words) | _fold(words * weight) << 16


def _fold(terms: NDArray[np.uint64]) -> int:
    total = int(terms.sum())  # each below 2**32, so 2**32 words fit
    return (total - 1) % 65535 + 1 if total else 0


def _bytes_swapped_in_halves(value: int) -> int:
    return (value & 0x00FF00FF) << 8 | (value & 0xFF00FF00) >> 8


def _numcodecs(name: str, limit: int, data: Bytes) -> Bytes:
    import numcodecs.blosc
    import numcodecs.zstd

    if name == "blosc":
        size = _blosc_size(data)
        decode = numcodecs.blosc.decompress
    else:
        size, decode = 0, numcodecs.zstd.decompress
    if size > limit:
        raise Corrupt(f"{name} frame of {size} bytes, expected at most {limit}")
    return np.frombuffer(decode(data), np.uint8)


def _blosc_size(data: Bytes) -> int:
    if data.size < 16:
        raise Corrupt(f"Blosc frame of {data.size} bytes, expected a header of 16")
    size, _, packed = struct.unpack_from("<III", data.tobytes()[:16], 4)
    if packed > data.size:
        raise Corrupt(f"Blosc frame says {packed} bytes, found {data.size}")
    return int(size)


def _lz4(limit: int, data: Bytes) -> Bytes:
    """Size (8 bytes), block size (4), then blocks, each behind its packed size (4); big-endian."""
    import numcodecs.lz4

    raw = data.tobytes()
    if len(raw) < 12:
        raise Corrupt(f"LZ4 chunk of {len(raw)} bytes, expected a header of 12")
    total, block = struct.unpack_from(">QI", raw)
    if total > limit or (block == 0 and total):
        raise Corrupt(f"LZ4 chunk of {total} bytes in blocks of {block}, expected at most {limit}")
    out, at = [], 12
    for start in range(0, total, block or 1):
        size = min(block, total - start)
        if at + 4 > len(raw):
            raise Corrupt("LZ4 chunk ends before its last block")
        (packed,) = struct.unpack_from(">I", raw, at)
        piece = raw[at + 4 : at + 4 + packed]
        if len(piece) != packed:
            raise Corrupt("LZ4 block ends early")
        # A block that would not shrink is stored as it is; numcodecs wants the size in front of any other.
        out.append(piece if packed == size else numcodecs.lz4.decompress(struct.pack("<i", size) + piece))
        at += 4 + packed
    return np.frombuffer(b"".join(out), np.uint8)
