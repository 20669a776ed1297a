"""Section 8 of docs/aesz-format.md, for the reference decoder: a linear model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias

import numpy as np

from tests.reference_reader import Axes, Reader, Truncated, Unsupported, Values, require

BITS = 13
ORDER = (1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15)
Shift = tuple[int, int, int, int]


class Level(Protocol):
    """A level of the block: which axes it halves, and the positions of a class."""

    @property
    def active(self) -> int: ...

    def part(self, odd: int) -> Values: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """By class the cells, as their class and shift; by set, level and class the weights."""

    mask: int
    cells: dict[int, list[tuple[int, Shift]]]
    sets: list[list[dict[int, list[int]]]]

    def opening(self, reader: Reader) -> tuple[int, int]:
        """The set, and the byte that a plan begins with."""
        number, head = reader.u8(), reader.u8()
        require(number < len(self.sets) and head & 63 == self.mask, "set and axes are the model's")
        return number, head

    def predict(self, level: Level, number: int, depth: int, odd: int) -> Values | None:
        """What a class is predicted as; None at a level that does not halve the mask's axes."""
        if level.active != self.mask:
            return None
        levels, part = self.sets[number], level.part
        weights = levels[min(depth, len(levels) - 1)][odd]
        made = np.zeros_like(part(odd))
        for row in product(*map(range, made.shape[:3])):
            total: dict[tuple[int, Axes, int], int] = {}
            for (source, shift), weight in zip(self.cells[odd], weights, strict=True):
                lengths = part(source).shape
                ways = [folded(row[a] + shift[a], lengths[a]) for a in range(3)]
                for chosen in product(*ways):
                    key = source, tuple(place for place, _ in chosen), shift[3]
                    total[key] = total.get(key, 0) + weight * int(np.prod([factor for _, factor in chosen]))
            for (source, place, away), weight in total.items():
                values = stretched(part(source)[place])[2 + away :][: made.shape[3]]
                made[row] += made.dtype.type(weight / 2**BITS) * values
        return made


Model: TypeAlias = Weights | None


def folded(place: int, length: int) -> list[tuple[int, int]]:
    """Rows and factors that stand for a row: itself, or the line through the last two."""
    if 0 <= place < length:
        return [(place, 1)]
    if length == 1:
        return [(0, 1)]
    beyond = -place if place < 0 else place - length + 1
    end, before = (0, 1) if place < 0 else (length - 1, length - 2)
    return [(end, 1 + beyond), (before, -beyond)]


def stretched(r: Values) -> Values:
    """A row with two values more on each side."""
    n = len(r)
    if n == 1:
        return np.repeat(r, 5)
    low = 3 * (r[0] - r[1]) + r[2] if n > 2 else 2 * r[0] - r[1]
    high = 2 * r[n - 1] - r[n - 2]
    return np.array([2 * low - r[0], low, *r, high, 2 * high - r[n - 1]], r.dtype)


def read(data: bytes) -> Weights:
    """The array `weights` of a linear model."""
    reader = Reader(data)
    if reader.u8() != 1:
        raise Unsupported("a newer layout of weights")
    axes, sets, levels, taps = (reader.u8() for _ in range(4))
    require(1 <= axes <= 3 and 1 <= sets <= 16 and 1 <= levels <= 4 and 1 <= taps <= 32, "numbers")
    mask = (1 << axes) - 1 << 4 - axes
    classes = [each for each in ORDER if each & ~mask == 0]
    cells: dict[int, list[tuple[int, Shift]]] = {}
    for place, odd in enumerate(classes):
        cells[odd] = [read_cell(reader, axes, odd) for _ in range(taps)]
        known = {0, *classes[:place]}
        require(all(source in known for source, _ in cells[odd]), "cells are known before")
        require(len(set(cells[odd])) == taps, "cells are named once")
    found = [
        [{odd: reader.array("<i2", taps).tolist() for odd in classes} for _ in range(levels)]
        for _ in range(sets)
    ]
    if reader.left:
        raise Truncated("bytes are left over")
    return Weights(mask, cells, found)


def read_cell(reader: Reader, axes: int, odd: int) -> tuple[int, Shift]:
    away = [0] * (4 - axes) + [int(each) for each in reader.array("i1", axes)]
    require(max(map(abs, away)) <= 3, "cells are three away at most")
    source = odd ^ sum((each & 1) << axis for axis, each in enumerate(away))
    a, b, c, d = (((odd >> k & 1) + away[k] - (source >> k & 1)) // 2 for k in range(4))
    return source, (a, b, c, d)
