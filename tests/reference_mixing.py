"""Codes by context mixing, from docs/format.md section 14 alone and to be read beside it: `decode_mixed`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from tests.reference_reader import Axes, Reader, Values, require

Logits: TypeAlias = list[int]
SIZES = (256, 225, 225, 256, 225, 225, 720, 375, 2048)


def clamp(value: int, end: int) -> int:
    return max(-end, min(end, value))


# The tables
def tables() -> tuple[list[int], Logits]:
    """The probability of each logit from -3072 on, in 65536ths; the logit of each probability in 4096ths."""
    probability, odds = [0] * 6145, 1 << 32
    for x in range(3073):
        p = (1 << 48) // ((1 << 32) + odds)
        probability[3072 + x], probability[3072 - x] = min(p, 65535), max(65536 - p, 1)
        odds = odds * 4278222790 >> 32
    x, logits = -3072, []
    for i in range(4096):
        while x < 3072 and probability[3072 + x] < 16 * i + 8:
            x += 1
        logits.append(x)
    return probability, logits


PROBABILITY, LOGIT = tables()
LINE = [PROBABILITY[max(1, min(6143, 192 * k))] for k in range(33)]


# Binary decisions
@dataclass(slots=True)
class Decisions:
    data: bytes
    at: int = 0  # the next byte
    value: int = 0
    range: int = (1 << 64) - 1

    def __post_init__(self) -> None:
        self.fetch()
        self.fetch()

    def fetch(self) -> None:
        for _ in range(4):
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.value = (self.value << 8 | byte) % (1 << 64)
            self.at += 1
        require(self.at <= len(self.data) + 8, "at most eight bytes of zeros are left out")

    def decide(self, one: int) -> int:
        bound = (self.range >> 16) * one
        bit = self.value < bound
        if not bit:
            self.value -= bound
        self.range = bound if bit else self.range - bound
        if self.range < 1 << 32:
            self.range <<= 32
            self.fetch()
        return int(bit)


# Mixing
@dataclass(slots=True)
class Mixer:
    decisions: Decisions
    contexts: Sequence[int] = ()
    level_class: int = 0
    energy: int = 0
    counters: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)
    weights: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)
    knots: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def decide(self, node: int) -> int:
        cells = [(node, i, context) for i, context in enumerate(self.contexts)]
        inputs = [LOGIT[self.counters.setdefault(cell, (1 << 21, 0))[0] >> 10] for cell in cells] + [256]
        keys = ("class", node, self.level_class), ("energy", node, self.energy // 2)
        sets = [self.weights.setdefault(key, [9000] * 10) for key in keys]
        logits = [clamp(sum(x * w >> 4 for x, w in zip(inputs, ws, strict=True)) >> 12, 3071) for ws in sets]
        logit = sum(logits) >> 1
        k, f = divmod(logit + 3072, 192)
        line = self.knots.setdefault((node, self.energy), LINE.copy())
        refined = (line[k] * (192 - f) + line[k + 1] * f) // 192
        bit = self.decisions.decide(max(1, min(65535, PROBABILITY[logit + 3072] + refined >> 1)))
        for each, ws in zip(logits, sets, strict=True):
            error = (65535 * bit - PROBABILITY[each + 3072]) * 14 >> 4
            ws[:] = [clamp(w + (x * error + 8192 >> 14), 2**18 - 1) for x, w in zip(inputs, ws, strict=True)]
        nearest = k + (f > 96)
        line[nearest] += 65535 * bit - line[nearest] >> 6
        for cell in cells:
            self.count(cell, bit)
        return bit

    def count(self, cell: tuple[int, int, int], bit: int) -> None:
        p, n = self.counters[cell]
        step = ((2**22 - 1) * bit - p) * (131072 // (2 * n + 3)) >> 16
        self.counters[cell] = p + step, min(n + 1, 255)

    def leaf(self, leaf: int) -> int:
        cell = leaf, -1, self.energy
        p, _ = self.counters.setdefault(cell, (1 << 21, 0))
        bit = self.decisions.decide(max(1, p >> 6))
        self.count(cell, bit)
        return bit

    def code(self, start: int) -> int:
        c = self.magnitude_class(0 if start <= 2 else start)
        if c == 0:
            return 0
        negative, magnitude = self.decide(83 + min(c, 3)), c
        if c > 2:
            prefix, low = 0, 0
            for k in range(c - 2):
                bit = self.leaf(3 * min(c, 27) + prefix) if k < 2 else self.decisions.decide(32768)
                prefix, low = 1 + bit, 2 * low + bit
            magnitude = 2 ** (c - 2) + 1 + low
        return -magnitude if negative else magnitude

    def magnitude_class(self, t: int) -> int:
        if t > 0:
            if not self.decide(28 + min(t, 27)):
                while t > 0 and not self.decide(56 + min(t, 27)):
                    t -= 1
                return t
            t += 1
        while t < 65 and self.decide(min(t, 27)):
            t += 1
        return t


# Neighbours
class Row:
    """Values at any column, 0 beyond the ends."""

    def __init__(self, values: Values | None) -> None:
        self.values = values

    def __getitem__(self, x: int) -> int:
        return int(self.values[x]) if self.values is not None and 0 <= x < self.values.size else 0


class Level(NamedTuple):
    reference: Values | None
    second: Values | None  # the grid before the reference
    parent: Values | None
    order: int  # of the grid within its level


def nearest_row(grid: Values | None, row: Axes) -> Row:
    if grid is None:
        return Row(None)
    return Row(grid[tuple(min(i, n - 1) for i, n in zip(row, grid.shape[:3], strict=True))])


def half_octave(m: int) -> int:
    e = (m + 1).bit_length() - 1
    return min(2 * e + ((m + 1) >> (e - 1) & 1 if e else 0), 15)


def quarter_octave(m: int) -> int:
    e = (m + 4).bit_length() - 1
    return min(4 * (e - 2) + (m + 4 >> (e - 2) & 3), 47)


def held(value: int, end: int) -> int:
    return clamp(value, end) + end


def decode_grid(
    mixer: Mixer, axes: Axes, level: Level, all_weights: dict[int, list[int]]
) -> tuple[Values, Values]:
    codes, known, series = np.zeros(axes, object), np.zeros(axes, np.int64), math.prod(axes[:3]) < 16
    weights = all_weights.setdefault(8 if series else level.order, [0] * 16)
    for i0, i1, i2 in np.ndindex(axes[:3]):
        w, nothing = Row(known[i0, i1, i2]), Row(None)
        before = (i0, i1 - 1) if i1 else (i0 - 1, i1) if i0 else None
        n = Row(known[i0, i1, i2 - 1]) if i2 else Row(known[(*before, i2)]) if before else nothing
        nn = Row(known[i0, i1, i2 - 2]) if i2 > 1 else n
        p, pn, ps = n, nn, n
        if before:
            p = Row(known[(*before, i2)])
            pn = Row(known[(*before, i2 - 1)]) if i2 else p
            ps = Row(known[(*before, i2 + 1)]) if i2 + 1 < axes[2] else p
        r, rs = (nearest_row(level.reference, (i0, i1, i2 + south)) for south in (0, 1))
        r2 = nearest_row(level.second, (i0, i1, i2))
        coarse, shift, last = nothing, 0, 0
        if level.parent is not None:
            halves = [int(a > 1 and 2 * b <= a + 1) for a, b in zip(axes, level.parent.shape, strict=True)]
            coarse = nearest_row(level.parent, (i0 >> halves[0], i1 >> halves[1], i2 >> halves[2]))
            shift, last = halves[3], level.parent.shape[3] - 1
        average = 0
        for x in range(axes[3]):
            W, WW, N, NW, NE, NN, P = w[x - 1], w[x - 2], n[x], n[x - 1], n[x + 1], nn[x], p[x]
            R, R2, C = r[x], r2[x], coarse[min(x >> shift, last)]
            same = 2 * abs(W) + 2 * abs(N) + abs(NW) + abs(NE)
            if series:
                same = 3 * abs(W) + 2 * abs(WW) + abs(w[x - 3])
            plane = 2 * abs(P) + abs(p[x - 1]) + abs(p[x + 1]) + abs(pn[x]) + abs(ps[x])
            plane = plane if i2 or before else same
            other = 2 * abs(R) + abs(r[x + 1]) + abs(r[x - 1]) + abs(rs[x]) + abs(R2)
            other = same if level.reference is None else other
            wider = abs(WW) + abs(NN) + abs(C) + abs(n[x + 2])
            every = 2 * same + plane + other + wider
            taps = [
                W,
                WW,
                N,
                NW,
                NE,
                NN,
                P,
                p[x - 1],
                p[x + 1],
                pn[x],
                ps[x],
                R,
                r[x + 1],
                r[x - 1],
                rs[x],
                R2,
            ]
            if series:
                taps = [*(w[x - k] for k in range(1, 9)), N, NW, NE, P, R, r[x + 1], r[x - 1], R2]
            taps = [clamp(tap, 1023) for tap in taps]
            guess = clamp(sum(a * b >> 4 for a, b in zip(weights, taps, strict=True)) >> 4, 1 << 20)
            step = sum(abs(guess) >= end for end in (24, 64, 112, 176, 288, 448, 768))
            g = 7 - step if guess < 0 else 7 + step
            near = (W, N, NW, NE, WW, NN, n[x + 2], n[x - 2], P, p[x + 1], ps[x])
            mixer.energy, mixer.level_class = quarter_octave(every), level.order
            mixer.contexts = (
                16 * half_octave(same) + half_octave(plane),
                ((held(W, 2) * 5 + held(N, 2)) * 3 + held(NW, 1)) * 3 + held(NE, 1),
                ((held(W, 1) * 3 + held(N, 1)) * 5 + held(P, 2)) * 5 + held(R, 2),
                16 * half_octave(wider + (average >> 4)) + half_octave(other),
                ((held(P, 2) * 5 + held(p[x - 1], 2)) * 3 + held(p[x + 1], 1)) * 3 + held(pn[x], 1),
                ((held(R2, 2) * 5 + held(C, 2)) * 3 + held(R, 1)) * 3 + held(NN, 1),
                48 * g + mixer.energy,
                (g * 5 + held(W, 2)) * 5 + held(N, 2),
                sum(1 << bit for bit, value in enumerate(near) if value),
            )
            mean = every // 28
            codes[i0, i1, i2, x] = code = mixer.code(mean.bit_length() if mean >= 3 else 0)
            known[i0, i1, i2, x] = value = clamp(code, 16000)
            average += abs(value) * 256 - average >> 4
            error = clamp(clamp(value, 1023) * 256 - guess, 1 << 18)
            scaled = error * 4096 >> (64 + sum(tap * tap for tap in taps)).bit_length() - 1
            weights[:] = [
                clamp(a + (scaled * b >> 10), 2**18 - 1) for a, b in zip(weights, taps, strict=True)
            ]
    return codes, known


def decode_mixed(reader: Reader, grids: Sequence[tuple[Axes, bool]], word: str = "<i4") -> list[Values]:
    """The codes of each grid, given its axes and whether the grid before it is its reference."""
    require(sum(math.prod(axes) for axes, _ in grids) >= 256, "no fewer than 256 codes are mixed")
    decisions = Decisions(reader.take(reader.varint()))
    mixer, weights = Mixer(decisions), dict[int, list[int]]()
    decoded, known, first, bits = list[Values](), list[Values](), 0, 8 * np.dtype(word).itemsize
    for k, (axes, refers) in enumerate(grids):
        first = first if refers else k
        reference, second = (
            known[j] if j >= first and known[j].size and axes[3] <= known[j].shape[3] + 2 else None
            for j in (k - 1, k - 2)
        )
        parent = known[first - 1] if first and known[first - 1].size else None
        codes, values = decode_grid(mixer, axes, Level(reference, second, parent, min(k - first, 7)), weights)
        known.append(values)
        wrapped = [(code + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1) for code in codes.ravel()]
        decoded.append(np.array(wrapped, word).reshape(axes))
    require(decisions.at >= len(decisions.data), "all bytes are used")
    return decoded
