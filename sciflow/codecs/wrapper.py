"""The stream of a wrapped codec: what was added to the base stream, and both together (docs/gwlz-format.md).

```
plain:    0x00 | base stream
measured: 0x01 | error, MSE, checksum | base stream
enhanced: "GW" version flags | bound, aux, error, MSE | dtype, shape | body | checksums | base stream
```
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sciflow.bounds import Bound
from sciflow.errors import Corrupt, Truncated, Unsupported

__all__ = ["PLAIN", "Enhanced", "Plain", "read_enhanced", "read_plain", "write_enhanced", "write_measured"]

PLAIN = b"\x00"
"""The one byte before a base stream that nothing was added to."""
SHARED, NETWORK, INTEGER_NETWORK = 2, 3, 4
"""Kinds of bodies: those that need a shared enhancer, and those that begin with a network."""

_MAGIC = b"GW"
_MEASURED = b"\x01"
_MAJOR, _MINOR = 0, 2
_FIRST_WITH_AUX = _FIRST_WITH_INTEGERS = 2
_HAS_BOUND, _NETWORK, _TUNED, _AUX = 1, 2, 4, 8
_FLAGS = _HAS_BOUND | _NETWORK | _TUNED | _AUX
_MAX_AUX = 3
_WIDE, _BIG_ENDIAN, _ORDER_F = 1, 2, 4
_MAX_NDIM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhanced:
    """What an enhanced stream says; `error` and `mse` were measured by its encoder.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64, in the byte order that `decode` returns.
    shape : tuple of int
        Of the array that `decode` returns.
    order : {"C", "F"}
        Its memory layout.
    bound : Bound or None
        What every value was held to; None where only the mean square error was.
    error : float
        The largest |x - x'| among values that are data, rounded up.
    mse : float
        The mean of its square, rounded up.
    tuned : float or None
        The parameter of the base codec that the encoder moved, where decoding needs to know.
    network : bool
        Whether floats of a network make the values: another machine may round them otherwise.
    body : bytes
        The enhancement.
    output_crc : int
        CRC-32C of the values that must come out.
    base : memoryview
        The base stream.
    aux : tuple of int
        CRC-32C of each other array that the enhancer reads.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    bound: Bound | None
    error: float
    mse: float
    tuned: float | None
    network: bool
    body: bytes
    output_crc: int
    base: memoryview
    aux: tuple[int, ...] = ()

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in C order of what the stream holds: reversed for layout F."""
        return self.shape if self.order == "C" else self.shape[::-1]

    @property
    def native_dtype(self) -> np.dtype[Any]:
        """The dtype in this machine's byte order."""
        return self.dtype.newbyteorder("=")

    @property
    def reproducible(self) -> bool:
        """Whether every machine gives the same bits."""
        return not self.network


@dataclass(frozen=True, slots=True)
class Plain:
    """A base stream that nothing was added to; `error` and `mse` where its encoder measured them."""

    base: memoryview
    error: float | None = None
    mse: float | None = None


def write_measured(base: bytes, *, error: float, mse: float) -> bytes:
    """Return the bytes of a base stream alone, and what its encoder measured."""
    front = _MEASURED + struct.pack("<ff", _up(error), _up(mse))
    return b"".join([front, struct.pack("<I", _checksum(front, memoryview(base))), base])


def read_plain(view: memoryview) -> Plain | None:
    """Return the base stream of one that nothing was added to; None of another.

    Raises
    ------
    Truncated, Corrupt
        If what was measured is cut off or damaged.
    """
    if view[:1] == PLAIN:
        return Plain(view[1:])
    if view[:1] != _MEASURED:
        return None
    read = _Reader(view)
    read.take(1, "kind")
    error, mse = read.number("<f", "error"), read.number("<f", "mse")
    front = read.at
    (crc,) = struct.unpack("<I", read.take(4, "checksum"))
    base = view[read.at :]
    if _checksum(view[:front], base) != crc:
        raise Corrupt(f"at byte {front}: the checksum of the stream fails; it was damaged")
    return Plain(base, error, mse)


def write_enhanced(stream: Enhanced) -> bytes:
    """Return the bytes of an enhanced stream."""
    flags = (_HAS_BOUND if stream.bound else 0) | (_NETWORK if stream.network else 0)
    flags |= (0 if stream.tuned is None else _TUNED) | (_AUX if stream.aux else 0)
    minor = _FIRST_WITH_AUX if stream.aux else 1
    minor = max(minor, _FIRST_WITH_INTEGERS if stream.body[:1] == bytes((INTEGER_NETWORK,)) else 1)
    kind = (_WIDE if stream.dtype.itemsize == 8 else 0) | (_ORDER_F if stream.order == "F" else 0)
    kind |= 0 if stream.dtype.newbyteorder("<") == stream.dtype else _BIG_ENDIAN
    head = [_MAGIC, bytes((_MAJOR, minor, flags))]
    if stream.bound:
        head.append(struct.pack("<d", stream.bound.value))
    if stream.tuned is not None:
        head.append(struct.pack("<d", stream.tuned))
    if stream.aux:
        head.append(struct.pack(f"<B{len(stream.aux)}I", len(stream.aux), *stream.aux))
    head.append(struct.pack("<ff", _up(stream.error), _up(stream.mse)))
    head.append(bytes((kind, len(stream.shape))))
    head += [_varint(length) for length in stream.stored_shape]
    head += [_varint(len(stream.body)), stream.body, struct.pack("<I", stream.output_crc)]
    front = b"".join(head)
    return b"".join([front, struct.pack("<I", _checksum(front, stream.base)), stream.base])


def read_enhanced(view: memoryview) -> Enhanced:
    """Read what `write_enhanced` wrote.

    Raises
    ------
    Truncated
        If a field is cut off.
    Corrupt
        If a field holds what no encoder writes, or the checksum of enhancement and base fails.
    Unsupported
        If a newer release wrote it.
    """
    read = _Reader(view)
    if read.take(2, "magic") != _MAGIC:
        raise Corrupt(f"at byte 0: found {bytes(view[:2])!r}: no GWLZ stream begins like this")
    major, minor, flags = read.take(3, "version")
    if (major, minor) > (_MAJOR, _MINOR):
        raise Unsupported(
            f"GWLZ stream version {major}.{minor}: this release reads up to {_MAJOR}.{_MINOR}; "
            "pip install --upgrade sciflow"
        )
    if flags & ~_FLAGS or (flags & _AUX and minor < _FIRST_WITH_AUX):
        raise Corrupt(f"at byte 4: flags {flags:#x} hold bits that no encoder sets")
    value = read.number("<d", "bound") if flags & _HAS_BOUND else 0.0
    tuned = read.number("<d", "tuned parameter") if flags & _TUNED else None
    aux = _read_aux(read) if flags & _AUX else ()
    error, mse = read.number("<f", "error"), read.number("<f", "mse")
    kind, ndim = read.take(2, "dtype")
    if kind & ~(_WIDE | _BIG_ENDIAN | _ORDER_F) or ndim > _MAX_NDIM:
        raise Corrupt(f"at byte {read.at - 2}: dtype {kind:#x}, {ndim} dimensions: no encoder writes these")
    stored = tuple(read.varint("shape") for _ in range(ndim))
    if math.prod(length for length in stored if length) > 1 << 56:
        raise Corrupt(f"the header holds shape {stored}: more than a stream can hold")
    body = bytes(read.take(read.varint("body length"), "body"))
    if body[:1] == bytes((INTEGER_NETWORK,)) and minor < _FIRST_WITH_INTEGERS:
        raise Corrupt(
            f"a network of integers in version {major}.{minor}: expected 0.{_FIRST_WITH_INTEGERS} or above"
        )
    (output_crc,) = struct.unpack("<I", read.take(4, "checksum of the values"))
    front = read.at
    (crc,) = struct.unpack("<I", read.take(4, "checksum"))
    base = view[read.at :]
    if _checksum(view[:front], base) != crc:
        raise Corrupt(
            f"at byte {front}: the checksum of enhancement and base stream fails; the stream was damaged, "
            "or the enhancement belongs to another base stream"
        )
    dtype = np.dtype("f8" if kind & _WIDE else "f4").newbyteorder(">" if kind & _BIG_ENDIAN else "<")
    order: Literal["C", "F"] = "F" if kind & _ORDER_F else "C"
    return Enhanced(
        dtype=dtype,
        shape=stored if order == "C" else stored[::-1],
        order=order,
        bound=_bound(value) if flags & _HAS_BOUND else None,
        error=error,
        mse=mse,
        tuned=tuned,
        network=bool(flags & _NETWORK),
        body=body,
        output_crc=output_crc,
        base=base,
        aux=aux,
    )


def _read_aux(read: _Reader) -> tuple[int, ...]:
    count = read.take(1, "number of other variables")[0]
    if not 1 <= count <= _MAX_AUX:
        raise Corrupt(f"at byte {read.at - 1}: {count} other variables: expected 1 to {_MAX_AUX}")
    return struct.unpack(f"<{count}I", read.take(4 * count, "checksums of other variables"))


def _checksum(front: bytes | memoryview, base: memoryview) -> int:
    # Q: why not CRC-32C? A: SZ seals its blocks with one, and the CRC of data with their own CRC is constant:
    # it would not see one sealed base stream put in place of another.
    return zlib.crc32(base, zlib.crc32(front))


class _Reader:
    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.at = 0

    def take(self, count: int, what: str) -> memoryview:
        if count > len(self._view) - self.at:
            raise Truncated(f"at byte {self.at}: the stream ends in its {what}; fetch or copy it again")
        self.at += count
        return self._view[self.at - count : self.at]

    def number(self, form: str, what: str) -> float:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form), what))
        if not (math.isfinite(value) and value >= 0):
            raise Corrupt(f"at byte {self.at}: {what} {value!r}, expected a finite number of 0 or more")
        return float(value)

    def varint(self, what: str) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    break
                return value
        raise Corrupt(f"at byte {self.at}: {what} is no varint")


def _bound(value: float) -> Bound:
    if value == 0.0:
        raise Corrupt("the header holds a bound of 0: no encoder writes that")
    return Bound.abs(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _up(value: float) -> float:
    """The smallest binary32 that is not below a value."""
    with np.errstate(over="ignore"):
        rounded = np.float32(value)
    if not np.isfinite(rounded):
        return float(np.finfo(np.float32).max)
    return float(rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf)))
