"""Lossless packing of weights: each tensor by what makes it smallest, never larger than it is.

```
float: sign exponent mantissa ─ rotate ─▶ exponent mantissa sign ─▶ planes of bytes ─▶ raw | zstd | huffman
dense: float32, float64 ─────────────────▶ SZ at a bound of 0, where that is smaller on a part of the tensor
```
The weights of a network have a dozen exponents that matter and mantissas like noise, so that nearly all that
can be saved is in the plane of exponents, and an order-0 code gets most of it: Hershcovitch et al., "ZipNN:
Lossless Compression for AI Models", arXiv:2411.05239, section 3. Moving the sign behind the mantissa makes
the exponents of float32 and bfloat16 a plane of their own. SZ also sees how exponents follow one another.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.errors import Corrupt, InvalidArgument, Truncated

__all__ = ["METHODS", "Packed", "Part", "pack", "unpack"]

Method = Literal["raw", "zstd", "huffman", "sz"]
METHODS: tuple[Method, ...] = ("raw", "zstd", "huffman", "sz")
"""How a part may be stored; "sz" is that of a whole tensor."""
_LEVEL = 1
_MOST_RATIO = 40_000
"""Zstandard writes a block of 128 KiB in 4 bytes at least; what claims more is hostile."""
_TRIAL = 1 << 16
"""Items that are packed to see what all of them are worth."""
_WORTH = 0.99
_EVERY_BIT = sz.SZConfig(Bound.abs(0))
_FLOATS: dict[int, np.dtype[Any]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class Part:
    """A plane of bytes, or a whole tensor.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    data : bytes
        As it is stored.
    """

    method: Method
    data: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor, packed.

    Parameters
    ----------
    rotated : bool
        Whether the sign is behind the mantissa.
    parts : tuple of Part
        One for each byte of an item, lowest first; or one for the whole tensor.
    """

    rotated: bool
    parts: tuple[Part, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(len(part.data) for part in self.parts)


def pack(data: NDArray[np.uint8], *, is_float: bool, dense: bool = False) -> Packed:
    """Pack the bytes of an array, in no more bytes than it has, and check that they come back.

    Parameters
    ----------
    data : ndarray, uint8, shape (items, bytes of an item), C-contiguous
        Little-endian items, 1, 2, 4 or 8 bytes each.
    is_float : bool
        Whether items are IEEE floats or bfloat16.
    dense : bool
        Whether to try SZ as well: a few percent smaller, several times slower.

    Raises
    ------
    Corrupt
        If the bytes do not come back: faulty memory, or our bug.
    """
    packed = _by_planes(data, rotated=is_float and data.shape[1] > 1)
    if dense and is_float and data.shape[1] in _FLOATS and _is_worth_sz(data):
        whole = Packed(False, (Part("sz", sz.encode(_floats(data), _EVERY_BIT)),))
        packed = min(packed, whole, key=lambda each: each.nbytes)
    if packed.nbytes >= data.nbytes:
        return Packed(False, (Part("raw", data.tobytes()),))
    if not np.array_equal(unpack(packed, *data.shape), data):
        raise Corrupt("packed weights do not come back; check the machine's memory, and report this")
    return packed


def unpack(packed: Packed, items: int, size: int) -> NDArray[np.uint8]:
    """Return the bytes that were packed, uint8, shape (items, size).

    Raises
    ------
    Truncated, Corrupt
        If parts are missing, or do not hold so many bytes.
    """
    if len(packed.parts) == 1 and (size > 1 or packed.parts[0].method == "sz"):
        return _unpacked(packed.parts[0], items * size).reshape(items, size)
    if len(packed.parts) != size:
        raise Corrupt(f"packed weights of {len(packed.parts)} planes: expected {size}")
    planes = [_unpacked(part, items) for part in packed.parts]
    return _joined(planes, packed.rotated)


def _by_planes(data: NDArray[np.uint8], *, rotated: bool) -> Packed:
    parts = tuple(_smallest(plane) for plane in _planes(data, rotated))
    if data.shape[1] > 1 and all(part.method == "raw" for part in parts):
        return Packed(False, (Part("raw", data.tobytes()),))
    return Packed(rotated, parts)


def _planes(data: NDArray[np.uint8], rotated: bool) -> Sequence[NDArray[np.uint8]]:
    if rotated:
        words = data.view(f"<u{data.shape[1]}").reshape(-1)
        bits = np.array(8 * data.shape[1] - 1, words.dtype)
        data = ((words << np.array(1, words.dtype)) | (words >> bits)).view(np.uint8).reshape(data.shape)
    return [np.ascontiguousarray(data[:, place]) for place in range(data.shape[1])]


def _joined(planes: Sequence[NDArray[np.uint8]], rotated: bool) -> NDArray[np.uint8]:
    data: NDArray[np.uint8] = np.stack(planes, axis=1)
    if not rotated:
        return data
    words = data.view(f"<u{data.shape[1]}").reshape(-1)
    bits = np.array(8 * data.shape[1] - 1, words.dtype)
    found: NDArray[np.uint8] = ((words >> np.array(1, words.dtype)) | (words << bits)).view(np.uint8)
    return found.reshape(data.shape)


def _smallest(plane: NDArray[np.uint8]) -> Part:
    """Return a plane by the method that is smallest on a part of it."""
    some = _some(plane)
    sizes = {method: len(_coded(method, some)) for method in ("zstd", "huffman")}
    method: Any = min(sizes, key=lambda each: sizes[each])
    if sizes[method] > _WORTH * some.size:
        return Part("raw", plane.tobytes())
    found = _coded(method, plane)
    return Part(method, found) if len(found) < plane.size else Part("raw", plane.tobytes())


def _is_worth_sz(data: NDArray[np.uint8]) -> bool:
    some = np.ascontiguousarray(_some(data))
    found = len(sz.encode(_floats(some), _EVERY_BIT))
    return found < _by_planes(some, rotated=True).nbytes


def _some(items: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle, or all where there are few."""
    begin = max(0, (len(items) - _TRIAL) // 2)
    return items[begin : begin + _TRIAL]


def _coded(method: str, plane: NDArray[np.uint8]) -> bytes:
    if method == "zstd":
        return bytes(Zstd(level=_LEVEL).encode(plane))
    coder = zlib.compressobj(1, wbits=-zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return coder.compress(plane.tobytes()) + coder.flush()


def _floats(data: NDArray[np.uint8]) -> NDArray[Any]:
    values: NDArray[Any] = data.view(_FLOATS[data.shape[1]])
    return values.reshape(-1)


def _unpacked(part: Part, nbytes: int) -> NDArray[np.uint8]:
    if part.method == "raw":
        if len(part.data) != nbytes:
            raise Truncated(f"packed weights: found {len(part.data)} bytes, expected {nbytes}")
        return np.frombuffer(part.data, np.uint8).copy()  # what torch is to hold can be written
    if nbytes > _MOST_RATIO * len(part.data):
        raise Corrupt(f"packed weights: {len(part.data)} bytes cannot hold {nbytes}")
    out = np.empty(nbytes, np.uint8)
    try:
        found = _decoded(part, out)
    except (RuntimeError, ValueError, zlib.error, InvalidArgument) as error:
        raise Corrupt(f"packed weights: {error}") from error
    if found != nbytes:
        raise Corrupt(f"packed weights: found {found} bytes, expected {nbytes}")
    return out


def _decoded(part: Part, out: NDArray[np.uint8]) -> int:
    """Fill `out`; return how many bytes there were, at most one more than it takes."""
    if part.method == "sz":
        sz.decode(part.data, out)
        return out.nbytes
    if part.method == "zstd":
        return int(np.asarray(Zstd().decode(part.data, out)).nbytes)
    found = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(part.data, out.nbytes + 1)
    out[: len(found)] = np.frombuffer(found, np.uint8)[: out.nbytes]
    return len(found)
