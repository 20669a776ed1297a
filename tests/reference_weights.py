"""Section 10 of docs/format.md, for the reference decoder: integers predicted by weights along an axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.reference_reader import Reader, Values, require


class Weights(NamedTuple):
    """The weights as sent, of the integer before first."""

    axis: int
    shift: int
    w: list[int]

    def undo(self, rests: Values) -> Values:
        """The integers of a block's four axes, in their own word."""
        lines = np.moveaxis(rests, self.axis, -1)
        shape, bits, before = lines.shape, 8 * rests.itemsize, 0
        values = lines.reshape(-1, shape[-1]).tolist()
        for line in values:
            for i, rest in enumerate(line):
                v = rest + (before if i == 0 else line[i - 1] if i < len(self.w) else self.weighted(line, i))
                line[i] = (v + (1 << bits >> 1)) % (1 << bits) - (1 << bits >> 1)
            before = line[0]
        return np.moveaxis(np.array(values, rests.dtype).reshape(shape), -1, self.axis)

    def weighted(self, line: list[int], i: int) -> int:
        total = sum(w * line[i - 1 - k] for k, w in enumerate(self.w))
        return total + (1 << self.shift >> 1) >> self.shift


def read_weights(reader: Reader) -> Weights:
    axis, order, shift = reader.u8(), reader.u8(), reader.u8()
    require(axis <= 3 and 1 <= order <= 32 and shift <= 24, "axis, order and shift are in their ranges")
    w = [(v := reader.varint()) >> 1 ^ -(v & 1) for _ in range(order)]
    require(all(abs(each) < 1 << 26 for each in w), "a weight is below 2^26")
    return Weights(axis, shift, w)
