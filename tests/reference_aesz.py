"""A decoder of AESZ streams with models of kind klt, from docs/aesz-format.md alone: `decode`."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference_decoder
from tests.reference_gwlz import crc32c
from tests.reference_reader import Truncated, Unsupported, require


class OtherModel(ValueError):
    """The stream was made with a model that is not at hand."""


HEAD = struct.Struct("<2sBBB32sIddIIQ")


def decode(data: bytes, model: bytes) -> NDArray[Any]:
    """Sections 1 and 2."""
    if data[:1] == b"\0":
        return reference_decoder.decode(data[1:])
    require(data[:2] == b"AE"[: len(data)], "magic")
    if len(data) < HEAD.size:
        raise Truncated("the header is cut off")
    _, major, minor, flags, digest, gain, bound, ratio, output, marks_size, latents_size = HEAD.unpack_from(
        data
    )
    if (major, minor) > (0, 1):
        raise Unsupported("a newer version")
    require(flags <= 1 and 1 <= gain < 1 << 20 and 0 < bound < math.inf, "header")
    require(0 < ratio < math.inf if flags else ratio == 0, "ratio")
    at = HEAD.size + marks_size + latents_size
    if len(data) < at + 4:
        raise Truncated("the latents are cut off")
    require(zlib.crc32(data[at + 4 :], zlib.crc32(data[:at])) == struct.unpack_from("<I", data, at)[0], "crc")
    if hashlib.sha256(model).digest() != digest:
        raise OtherModel(digest.hex())
    block, basis = klt(model)
    require(flags == 0, "ratio of a klt")
    array = reference_decoder.decode(data[at + 4 :])
    order_f = array.flags.f_contiguous and not array.flags.c_contiguous
    stored = array.T if order_f else array
    stored = stored.astype(stored.dtype.newbyteorder("="))
    require(stored.size > 0 and stored.ndim >= len(block), "shape")
    ahead = stored.ndim - len(block)
    counts = [-(-n // side) for n, side in zip(stored.shape[ahead:], block, strict=True)]
    before = math.prod(stored.shape[:ahead])
    marks = read_marks(data[HEAD.size : HEAD.size + marks_size], before * math.prod(counts))
    field = reference_decoder.decode(data[at - latents_size : at])
    require(field.dtype == np.dtype("<f4") and field.shape[1:] == (before, *counts), "latents")
    require(1 <= len(field) <= len(basis), "number of latents")
    values = stored.reshape(before, *stored.shape[ahead:])
    for index, place in enumerate(product(range(before), *map(range, counts))):
        if not marks[index]:
            continue
        latents = [round(16 * float(field[(j, *place)])) for j in range(len(field))]
        require(max(map(abs, latents)) < 1 << 26 and sum(map(abs, latents)) < 1 << 28, "latents")
        for cell, inside in enumerate(product(*map(range, block))):
            where = (place[0], *(p * s + i for p, s, i in zip(place[1:], block, inside, strict=True)))
            if any(i >= n for i, n in zip(where, values.shape, strict=True)):
                continue
            total = sum(int(basis[j][cell]) * latent for j, latent in enumerate(latents))
            predicted = (gain * total + (1 << 13)) >> 14
            values[where] = float(predicted) * (bound / 128) + float(values[where])
    made = values.reshape(stored.shape)
    require(crc32c(made.astype(made.dtype.newbyteorder("<")).tobytes()) == output, "output")
    made = made.astype(array.dtype)
    return made.T if order_f else made


def read_marks(data: bytes, blocks: int) -> list[bool]:
    """Section 3."""
    if not data:
        return [True] * blocks
    packed = zlib.decompress(data)
    require(len(packed) == -(-blocks // 8), "marks")
    bits = [bool(byte >> i & 1) for byte in packed for i in range(8)]
    require(not any(bits[blocks:]), "bits behind the last block")
    return bits[:blocks]


def klt(model: bytes) -> tuple[tuple[int, ...], NDArray[Any]]:
    """Section 7: the block's shape, and the basis."""
    (size,) = struct.unpack_from("<Q", model)
    head = json.loads(model[8 : 8 + size])
    about, entry = head["__metadata__"], head["basis"]
    require(about["format"] == "1" and about["kind"] == "klt" and entry["dtype"] == "I16", "model")
    begin, end = entry["data_offsets"]
    basis = np.frombuffer(model[8 + size + begin : 8 + size + end], "<i2").reshape(entry["shape"])
    return tuple(int(side) for side in about["block"].split(",")), basis
