"""A decoder of AESZ streams from docs/aesz-format.md alone, beside the pages that it names: `decode`."""

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

from tests import reference_decoder, reference_network, reference_weighted
from tests.reference_reader import Truncated, Unsupported, crc32c, require


class OtherModel(ValueError):
    """The stream was made with a model that is not at hand."""


HEAD = struct.Struct("<2sBBB32sIddIIQ")


def decode(data: bytes, model: bytes) -> NDArray[Any]:
    """Sections 1 and 2."""
    if data[:1] == b"\0":
        return reference_decoder.decode(data[1:])
    require(data[:2] == b"AE"[: len(data)], "magic")
    if data[2:4] == b"\0\2":
        return decode_weighted(data, model)
    if len(data) < HEAD.size:
        raise Truncated("the header is cut off")
    _, major, minor, flags, digest, gain, bound, ratio, output, marks_size, latents_size = HEAD.unpack_from(
        data
    )
    if (major, minor) > (0, 2):
        raise Unsupported("a newer version")
    require(minor == 1, "version")
    require(flags <= 1 and 1 <= gain < 1 << 20 and 0 < bound < math.inf, "header")
    require(0 < ratio < math.inf if flags else ratio == 0, "ratio")
    at = HEAD.size + marks_size + latents_size
    if len(data) < at + 4:
        raise Truncated("the latents are cut off")
    require(zlib.crc32(data[at + 4 :], zlib.crc32(data[:at])) == struct.unpack_from("<I", data, at)[0], "crc")
    if hashlib.sha256(model).digest() != digest:
        raise OtherModel(digest.hex())
    kind, block, arrays = read_model(model)
    require(flags == (kind == "autoencoder"), "ratio")
    most = len(arrays["units" if flags else "basis"])
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
    require(1 <= len(field) <= most, "number of latents")
    values = stored.reshape(before, *stored.shape[ahead:])
    for index, place in enumerate(product(range(before), *map(range, counts))):
        if not marks[index]:
            continue
        latents = [round(16 * float(field[(j, *place)])) for j in range(len(field))]
        latents += [0] * (most - len(latents))
        require(max(map(abs, latents)) < 1 << 26 and sum(map(abs, latents)) < 1 << 28, "latents")
        predicted = predict(arrays, latents, gain, ratio, math.prod(block))
        for cell, inside in enumerate(product(*map(range, block))):
            where = (place[0], *(p * s + i for p, s, i in zip(place[1:], block, inside, strict=True)))
            if any(i >= n for i, n in zip(where, values.shape, strict=True)):
                continue
            values[where] = float(predicted[cell]) * (bound / 128) + float(values[where])
    made = values.reshape(stored.shape)
    require(crc32c(made.astype(made.dtype.newbyteorder("<")).tobytes()) == output, "output")
    made = made.astype(array.dtype)
    return made.T if order_f else made


def decode_weighted(data: bytes, model: bytes) -> NDArray[Any]:
    """Section 8."""
    if len(data) < 40:
        raise Truncated("the header is cut off")
    require(zlib.crc32(data[:36]) == struct.unpack_from("<I", data, 36)[0], "crc")
    if hashlib.sha256(model).digest() != data[4:36]:
        raise OtherModel(data[4:36].hex())
    kind, _, arrays = read_model(model)
    require(kind == "linear", "kind")
    return reference_decoder.decode(data[40:], reference_weighted.read(arrays["weights"].tobytes()))


def read_marks(data: bytes, blocks: int) -> list[bool]:
    """Section 3."""
    if not data:
        return [True] * blocks
    packed = zlib.decompress(data)
    require(len(packed) == -(-blocks // 8), "marks")
    bits = [bool(byte >> i & 1) for byte in packed for i in range(8)]
    require(not any(bits[blocks:]), "bits behind the last block")
    return bits[:blocks]


def predict(
    arrays: dict[str, NDArray[Any]], latents: list[int], gain: int, ratio: float, cells: int
) -> list[int]:
    """Section 5."""
    found = [0] * cells
    if "basis" in arrays:
        for i in range(cells):
            total = sum(int(row[i]) * latent for row, latent in zip(arrays["basis"], latents, strict=True))
            found[i] = (gain * total + (1 << 13)) >> 14
    if ratio:
        units, out = arrays["units"].astype(np.float64), float(arrays["out"][0])
        inputs = [round(float(gain * n) * (u * ratio)) for n, u in zip(latents, units.tolist(), strict=True)]
        cell = np.clip(inputs, -32767, 32767).reshape(1, 1, 1, 1, -1)
        made = reference_network.run(reference_network.read(arrays["decoder"].tobytes()), cell).reshape(-1)
        require(made.size == cells, "what the network makes")
        for i, y in enumerate(made.tolist()):
            found[i] += min(max(round(float(y) * (out / ratio)), -(1 << 30)), 1 << 30)
    return found


def read_model(model: bytes) -> tuple[str, tuple[int, ...], dict[str, NDArray[Any]]]:
    """Section 7: kind, the block's shape, arrays."""
    (size,) = struct.unpack_from("<Q", model)
    head = json.loads(model[8 : 8 + size])
    about = head.pop("__metadata__")
    require(about["format"] == "1" and about["kind"] in ("klt", "autoencoder", "linear"), "model")
    dtypes, arrays = {"I16": "<i2", "U8": "u1", "F32": "<f4"}, {}
    for name, entry in head.items():
        if entry["dtype"] in dtypes:
            begin, end = (8 + size + at for at in entry["data_offsets"])
            arrays[name] = np.frombuffer(model[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return about["kind"], tuple(int(side) for side in about["block"].split(",")), arrays
