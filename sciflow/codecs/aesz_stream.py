"""The stream of a modelled array, and of one that no model served (docs/aesz-format.md).

```
plain:    0x00 | SZ stream
modelled: "AE" version flags | model | gain, bound, ratio, values' checksum | lengths
          | marks | latents | checksum | residual
linear:   "AE" version | model | checksum | SZ stream with blocks that the model's weights predict
```
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, Truncated, Unsupported

__all__ = [
    "PLAIN",
    "Modelled",
    "Weighted",
    "read_marks",
    "read_modelled",
    "read_weighted",
    "write_marks",
    "write_modelled",
    "write_weighted",
]

PLAIN = b"\x00"
"""The one byte before an SZ stream of the array itself."""

MAX_GAIN = (1 << 20) - 1
_MAGIC = b"AE"
_MAJOR, _MODELLED, _WEIGHTED = 0, 1, 2
_VERSION = struct.Struct("<2sBB")
_OPENING = struct.Struct("<2sBB32s")
_HAS_RATIO = 1
_HEAD = struct.Struct("<2sBBB32sIddIIQ")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelled:
    """What a modelled stream says.

    Parameters
    ----------
    digest : str
        Of the model, 64 hexadecimal digits.
    gain : int
        What a latent of 1/16 is worth, in 1/256 of a step; the step is twice the bound.
    bound : float
        The absolute bound that holds for every value.
    ratio : float
        A step's worth of half the field's range, over 256; 0 for a model that does not need it.
    output_crc : int
        CRC-32C of the values that must come out, as stored, little-endian.
    marks : bytes or memoryview
        Which blocks are modelled, as `write_marks` packs them; empty where all are.
    latents, residual : bytes or memoryview
        SZ streams.
    """

    digest: str
    gain: int
    bound: float
    ratio: float
    output_crc: int
    marks: bytes | memoryview
    latents: bytes | memoryview
    residual: bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """What a stream says whose blocks the weights of a linear model predict.

    Parameters
    ----------
    digest : str
        Of the model, 64 hexadecimal digits.
    body : bytes or memoryview
        An SZ stream.
    """

    digest: str
    body: bytes | memoryview


def write_weighted(stream: Weighted) -> bytes:
    """Return the bytes of a stream with weights."""
    opening = _OPENING.pack(_MAGIC, _MAJOR, _WEIGHTED, bytes.fromhex(stream.digest))
    return b"".join([opening, _CRC.pack(zlib.crc32(opening)), stream.body])


def read_weighted(view: memoryview) -> Weighted | None:
    """Read what `write_weighted` wrote; None where the stream is a modelled one.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        As `read_modelled`.
    """
    _check_version(view)
    if len(view) >= _VERSION.size and view[3] == _MODELLED:
        return None
    if len(view) < _OPENING.size + _CRC.size:
        raise Truncated(f"at byte {len(view)}: the stream ends in its header; fetch or copy it again")
    digest = _OPENING.unpack_from(view)[-1]
    (crc,) = _CRC.unpack_from(view, _OPENING.size)
    if zlib.crc32(view[: _OPENING.size]) != crc:
        raise Corrupt(f"at byte {_OPENING.size}: the checksum of the header fails; the stream was damaged")
    return Weighted(digest=digest.hex(), body=view[_OPENING.size + _CRC.size :])


def _check_version(view: memoryview) -> None:
    if view[:2] != _MAGIC[: len(view)]:
        raise Corrupt(f"at byte 0: found {bytes(view[:2])!r}: no AESZ stream begins like this")
    if len(view) < _VERSION.size:
        return
    _, major, minor = _VERSION.unpack_from(view)
    if (major, minor) > (_MAJOR, _WEIGHTED):
        raise Unsupported(
            f"AESZ stream version {major}.{minor}: this release reads up to {_MAJOR}.{_WEIGHTED}; "
            "pip install --upgrade sciflow"
        )
    if minor not in (_MODELLED, _WEIGHTED):
        raise Corrupt(f"AESZ stream version {major}.{minor}: no release wrote that")


def write_modelled(stream: Modelled) -> bytes:
    """Return the bytes of a modelled stream."""
    head = _HEAD.pack(
        _MAGIC,
        _MAJOR,
        _MODELLED,
        _HAS_RATIO if stream.ratio else 0,
        bytes.fromhex(stream.digest),
        stream.gain,
        stream.bound,
        stream.ratio,
        stream.output_crc,
        len(stream.marks),
        len(stream.latents),
    )
    front = b"".join([head, stream.marks, stream.latents])
    crc = zlib.crc32(stream.residual, zlib.crc32(front))
    return b"".join([front, _CRC.pack(crc), stream.residual])


def read_modelled(view: memoryview) -> Modelled:
    """Read what `write_modelled` wrote.

    Raises
    ------
    Truncated
        If a field is cut off.
    Corrupt
        If a field holds what no encoder writes, or the checksum fails.
    Unsupported
        If a newer release wrote it.
    """
    _check_version(view)
    if len(view) < _HEAD.size:
        raise Truncated(f"at byte {len(view)}: the stream ends in its header; fetch or copy it again")
    _, _, _, flags, digest, gain, bound, ratio, output, marks, latents = _HEAD.unpack_from(view)
    if flags & ~_HAS_RATIO:
        raise Corrupt(f"at byte 4: flags {flags:#x} hold bits that no encoder sets")
    good = math.isfinite(bound) and bound > 0 and math.isfinite(ratio)
    if not good or not 1 <= gain <= MAX_GAIN or (ratio > 0) != bool(flags & _HAS_RATIO):
        raise Corrupt(
            f"the header holds gain {gain}, bound {bound!r}, ratio {ratio!r}: no encoder writes these"
        )
    ends = (_HEAD.size + marks, _HEAD.size + marks + latents)
    if len(view) < ends[1] + _CRC.size:
        raise Truncated(f"at byte {len(view)}: the stream ends in its latents; fetch or copy it again")
    residual = view[ends[1] + _CRC.size :]
    (crc,) = _CRC.unpack_from(view, ends[1])
    if zlib.crc32(residual, zlib.crc32(view[: ends[1]])) != crc:
        raise Corrupt(f"at byte {ends[1]}: the checksum fails; the stream was damaged or cut off")
    return Modelled(
        digest=digest.hex(),
        gain=gain,
        bound=bound,
        ratio=ratio,
        output_crc=output,
        marks=view[_HEAD.size : ends[0]],
        latents=view[ends[0] : ends[1]],
        residual=residual,
    )


def write_marks(modelled: NDArray[np.bool_]) -> bytes:
    """Pack which blocks are modelled, shape (n,): a bit each, deflated; nothing where all are."""
    if modelled.all():
        return b""
    return zlib.compress(np.packbits(modelled, bitorder="little").tobytes(), 9)


def read_marks(data: bytes | memoryview, count: int) -> NDArray[np.bool_]:
    """Read what `write_marks` packed of `count` blocks.

    Raises
    ------
    Truncated, Corrupt
        If it is cut off, or holds another number of blocks.
    """
    if not len(data):
        return np.ones(count, np.bool_)
    size = -(-count // 8)
    inflate = zlib.decompressobj()
    try:
        packed = inflate.decompress(data, size + 1)
    except zlib.error as error:
        raise Corrupt(f"the marks of blocks are no deflated bytes: {error}") from error
    if len(packed) < size and not inflate.eof:
        raise Truncated("the marks of blocks are cut off")
    if len(packed) != size or not inflate.eof or inflate.unused_data:
        raise Corrupt(f"the marks of blocks hold other than {size} bytes")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    if bits[count:].any():
        raise Corrupt("the marks of blocks hold bits behind the last block")
    return bits[:count].astype(np.bool_)
