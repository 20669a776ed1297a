"""Bodies of kind 4, from docs/gwlz-format.md section 9 alone: `enhance`."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference_network
from tests.reference_reader import Truncated, Unsupported, require

Values = NDArray[Any]


def enhance(body: bytes, y: Values) -> tuple[Values, bytes]:
    """The values behind the network, and the body that is left."""
    if len(body) < 9:
        raise Truncated("lengths")
    sizes = struct.unpack_from("<II", body, 1)
    ends = 9 + sizes[0], 9 + sizes[0] + sizes[1]
    if len(body) < ends[1]:
        raise Truncated("network")
    h, unit = corrections(body[9 : ends[0]], y)
    out = y.reshape(-1).copy()
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (out.astype(np.float64) + h * (unit / 4)).astype(y.dtype)
    touched = h != 0
    if sizes[1]:
        bits = np.frombuffer(zlib.decompress(body[ends[0] : ends[1]]), np.uint8)
        require(bits.size == (y.size + 7) // 8, "marks")
        touched &= np.unpackbits(bits, count=y.size) == 0
    out[touched] = moved[touched]
    return out.reshape(y.shape), body[ends[1] :]


def corrections(data: bytes, y: Values) -> tuple[Values, float]:
    if len(data) < 12:
        raise Truncated("head")
    version, axes, groups, reach, unit, origin = struct.unpack_from("<BBBBff", data)
    if version > 1:
        raise Unsupported
    require(version == 1 and 1 <= axes <= 3 and 1 <= groups <= 64 and reach <= 16, "head")
    require(math.isfinite(unit) and unit > 0 and math.isfinite(origin), "unit and origin")
    if len(data) < 12 + 4 * (groups - 1):
        raise Truncated("edges")
    edges = np.frombuffer(data, "<i4", groups - 1, 12).astype(np.int64)
    require(bool((np.diff(edges) > 0).all()), "edges")
    network = reference_network.read(data[12 + 4 * (groups - 1) :])
    inner = [n for n in y.shape if n != 1][-3:]
    require(axes == max(len(inner), 1), "axes")
    volume = y.reshape(-1, *[1] * (3 - len(inner)), *inner)
    t, hole = integers(volume, unit, origin)
    blocks = around(t, axes, reach)
    found = reference_network.run(network, blocks).astype(np.int64)
    require(found.shape == (*volume.shape, groups), "shape")
    group = np.searchsorted(edges, t, side="right")
    h = np.take_along_axis(found, group[..., None], -1)[..., 0]
    return np.where(hole, 0, h).reshape(-1), unit


def integers(volume: Values, unit: float, origin: float) -> tuple[Values, NDArray[np.bool_]]:
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint((volume.astype(np.float64) - origin) * (1.0 / unit))
        hole = ~(np.abs(scaled) < 2.0**30) | ((volume == 0) & np.signbit(volume))
    return np.where(hole, 0, scaled).astype(np.int64), hole


def around(t: Values, axes: int, reach: int) -> Values:
    """The two channels, end cells repeated `reach` times."""
    total = t
    for axis in range(4 - axes, 4):
        n = t.shape[axis]
        at = np.arange(n)
        total = np.sum([np.take(total, np.clip(at + d, 0, n - 1), axis) for d in (-1, 0, 1)], axis=0)
    local = np.clip(3**axes * t - total, -8191, 8191)
    value = np.sign(t) * (4096 * np.abs(t) // (np.abs(t) + 1024))
    both = np.stack([local, value], -1)
    for axis in range(4 - axes, 4):
        n = both.shape[axis]
        both = np.take(both, np.clip(np.arange(-reach, n + reach), 0, n - 1), axis)
    return np.asarray(both)
