"""Lossless packing of weights: the bytes of equal place together, and of each place what is smaller.

```
float: sign exponent mantissa ─ rotate ─▶ exponent mantissa sign ─▶ planes of bytes ─▶ each: as it is | zstd
```
The weights of a network have a dozen exponents that matter and mantissas like noise, so that nearly all that
can be saved is in the plane of exponents: Hershcovitch et al., "ZipNN: Lossless Compression for AI Models",
arXiv:2411.05239, section 3. Moving the sign behind the mantissa makes the exponents of float32 and bfloat16
a plane of their own. Whatever a tensor holds, its parts are never larger than its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from sciflow.errors import Corrupt, Truncated

__all__ = ["Packed", "Part", "pack", "unpack"]

Method = Literal["raw", "zstd"]
_LEVEL = 1
_MOST_RATIO = 40_000
"""Zstandard writes a block of 128 KiB in 4 bytes at least; what claims more is hostile."""
_TRIAL = 1 << 16
"""Bytes of a plane that are packed to see whether all of it is worth packing."""
_WORTH = 0.99


@dataclass(frozen=True, slots=True)
class Part:
    """A plane of bytes.

    Parameters
    ----------
    method : "raw" or "zstd"
        How it is stored.
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
        One for each byte of an item, lowest first; or one part for all bytes in their own order.
    """

    rotated: bool
    parts: tuple[Part, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(len(part.data) for part in self.parts)


def pack(data: NDArray[np.uint8], *, is_float: bool) -> Packed:
    """Pack the bytes of an array, in no more bytes than it has, and check that they come back.

    Parameters
    ----------
    data : ndarray, uint8, shape (items, bytes of an item), C-contiguous
        Little-endian items, 1, 2, 4 or 8 bytes each.
    is_float : bool
        Whether items are IEEE floats or bfloat16.

    Raises
    ------
    Corrupt
        If the bytes do not come back: faulty memory, or our bug.
    """
    rotated = is_float and data.shape[1] > 1
    planes = _planes(data, rotated)
    packed = Packed(rotated, tuple(_part(plane) for plane in planes))
    if all(part.method == "raw" for part in packed.parts):
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
    if len(packed.parts) == 1 and packed.parts[0].method == "raw" and size > 1:
        return _unpacked(packed.parts[0], items * size).reshape(items, size)
    if len(packed.parts) != size:
        raise Corrupt(f"packed weights of {len(packed.parts)} planes: expected {size}")
    planes = [_unpacked(part, items) for part in packed.parts]
    return _joined(planes, packed.rotated)


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


def _part(plane: NDArray[np.uint8]) -> Part:
    coder = Zstd(level=_LEVEL)
    if plane.size > 2 * _TRIAL:
        middle = plane.size // 2
        some = plane[middle : middle + _TRIAL]
        if len(coder.encode(some)) > _WORTH * _TRIAL and len(coder.encode(plane[:_TRIAL])) > _WORTH * _TRIAL:
            return Part("raw", plane.tobytes())
    found = bytes(coder.encode(plane)) if plane.size else b""
    return Part("zstd", found) if 0 < len(found) < plane.size else Part("raw", plane.tobytes())


def _unpacked(part: Part, nbytes: int) -> NDArray[np.uint8]:
    if part.method == "raw":
        if len(part.data) != nbytes:
            raise Truncated(f"packed weights: found {len(part.data)} bytes, expected {nbytes}")
        return np.frombuffer(part.data, np.uint8).copy()  # what torch is to hold can be written
    if nbytes > _MOST_RATIO * len(part.data):
        raise Corrupt(f"packed weights: {len(part.data)} bytes cannot hold {nbytes}")
    out = np.empty(nbytes, np.uint8)
    try:
        found = Zstd().decode(part.data, out)
    except (RuntimeError, ValueError) as error:
        raise Corrupt(f"packed weights: {error}") from error
    if np.asarray(found).nbytes != nbytes:
        raise Corrupt(f"packed weights: found {np.asarray(found).nbytes} bytes, expected {nbytes}")
    return out
