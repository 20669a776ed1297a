"""Packed blocks, section 12 of docs/format.md: fixed widths, patches, running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

GROUP = 64


class Bits(Protocol):
    """What is read from: bytes, or bits of them, from the front."""

    def u8(self) -> int: ...
    def take(self, count: int) -> bytes: ...


def decode_packed(
    reader: Bits,
    axes: tuple[int, ...],
    read_numbers: Callable[[int], NDArray[np.int64]],
    require: Callable[[bool, str], None],
) -> NDArray[Any]:
    """The codes of a block, int32, shape (N,)."""
    N = math.prod(axes)
    groups, byte = -(-N // GROUP), reader.u8()
    orders = [byte >> 2 * axis & 3 for axis in range(4)]
    require(max(orders) <= 2 and sum(orders[:3]) <= 3, "an axis is differenced twice at most, three in all")
    widths, counts = read_numbers(groups), read_numbers(groups)
    require(widths.size == counts.size == groups, "each group has a width and a count")
    require(widths.max() <= 32 and counts.max() <= GROUP, "widths and counts are within a group")
    highs, patched = np.zeros(groups, np.int64), counts > 0
    sent = read_numbers(groups)
    require(sent.size == patched.sum() and not (sent > 32).any(), "each patched group has a high, at most 32")
    highs[patched] = sent
    payload = [reader.take(8 * int(width)) for width in widths]
    words = np.concatenate([unpack(part, int(width)) for part, width in zip(payload, widths, strict=True)])
    lengths = np.repeat(6 + highs, counts)
    bits = int.from_bytes(reader.take(-(-int(lengths.sum()) // 8)), "little")
    at = 0
    for group in np.repeat(np.arange(groups), counts).tolist():
        width, high = int(widths[group]), int(highs[group])
        place, upper = bits >> at & 63, bits >> at + 6 & (1 << high) - 1
        words[group * GROUP + place] += np.uint32(((upper + 1) << width) % (1 << 32))
        at += 6 + high
    return sums(words[:N], axes, orders)


def unpack(part: bytes, width: int) -> NDArray[np.uint32]:
    """The words of a group."""
    if width == 0:
        return np.zeros(GROUP, np.uint32)
    bits = np.unpackbits(np.frombuffer(part, np.uint8), bitorder="little").reshape(GROUP, width)
    return np.asarray(bits @ (1 << np.arange(width, dtype=np.uint64))).astype(np.uint32)


def sums(words: NDArray[np.uint32], axes: tuple[int, ...], orders: list[int]) -> NDArray[Any]:
    d = (words >> np.uint32(1)) ^ (np.uint32(0) - (words & np.uint32(1)))
    for axis, order in enumerate(orders):
        distance = math.prod(axes[axis + 1 :])
        for _ in range(order):
            lines = np.zeros(-(-d.size // distance) * distance, np.uint32)
            lines[: d.size] = d
            d = lines.reshape(-1, distance).cumsum(0, dtype=np.uint32).ravel()[: d.size]
    return d.view(np.int32)
