"""Section 8 of docs/format.md, for the reference decoder: codes whose lowest bits lie apart."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Bytes(Protocol):
    """Where fields are taken from, front to back."""

    def take(self, count: int) -> bytes: ...


class LowBits(NamedTuple):
    """The bits of all codes in order, uint64, and how many of each there are."""

    bits: NDArray[np.uint64]
    low: int

    def join(self, codes: NDArray[Any], first: int) -> NDArray[np.uint64]:
        """The whole codes, modulo 2^64, `first` being the place of the first of them."""
        bits = self.bits[first : first + codes.size].reshape(codes.shape)
        upper = codes.astype("<u8") << np.uint64(self.low)
        return np.asarray(upper + bits - np.uint64(1 << self.low >> 1))


def read_low_bits(reader: Bytes, size: int, word: str) -> LowBits | None:
    """The planes of `size` codes; None where their count breaks the rule."""
    count, low, below = reader.take(1)[0], np.zeros(size, "<u8"), 0
    if not 0 < count <= 8 * np.dtype(word).itemsize - 8:
        return None
    for width in (32, 16, 8, 4, 2, 1):
        if not count & width:
            continue
        if width >= 8:
            parts = [np.frombuffer(reader.take(size), "u1") for _ in range(width // 8)]
        else:
            plane = np.frombuffer(reader.take(-(-size // (8 // width))), "u1")
            pieces = [plane >> shift & (1 << width) - 1 for shift in range(0, 8, width)]
            parts = [np.concatenate(pieces)[:size]]
        for part in parts:
            low += part.astype("<u8") << np.uint64(below)
            below += min(width, 8)
    return LowBits(low, count)
