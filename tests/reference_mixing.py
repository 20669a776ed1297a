"""Codes by context mixing: section 14 in docs/format-max.md."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from tests.reference_reader import Axes, Values, require

Logits: TypeAlias = list[int]


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
LINE = [PROBABILITY[max(1, min(6143, 256 * k))] for k in range(25)]


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
        self.refill()
        return int(bit)

    def even(self, count: int) -> int:
        self.range >>= count
        bits = min(self.value // self.range, (1 << count) - 1)
        self.value -= bits * self.range
        self.refill()
        return bits

    def share(self) -> int:
        """Which of 2^15 shares is next, to be taken by :meth:`take`."""
        return min(self.value // (self.range >> 15), (1 << 15) - 1)

    def take(self, low: int, end: int) -> None:
        share = self.range >> 15
        self.value -= share * low
        self.range = share * (end - low) if end < 1 << 15 else self.range - share * low
        self.refill()

    def refill(self) -> None:
        if self.range < 1 << 32:
            self.range <<= 32
            self.fetch()


# Mixing
@dataclass(slots=True)
class Mixer:
    decisions: Decisions
    contexts: Sequence[int] = ()
    energy: int = 0
    lean: int = 0
    counters: dict[tuple[int | str, ...], tuple[int, int]] = field(default_factory=dict)
    weights: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)
    knots: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)

    def decide(self, kind: str, t: int) -> int:
        cells = [(kind, t, i, context) for i, context in enumerate(self.contexts)]
        inputs = [LOGIT[self.counters.setdefault(cell, (1 << 21, 0))[0] >> 10] for cell in cells] + [256]
        weights = self.weights.setdefault((kind, t, self.energy // 2), [3800] * 6)
        logit = clamp(sum(x * w for x, w in zip(inputs, weights, strict=True)) >> 14, 3071)
        k, f = divmod(logit + 3072, 256)
        line = self.knots.setdefault((kind, t, self.energy), LINE.copy())
        refined = line[k] * (256 - f) + line[k + 1] * f >> 8
        p = PROBABILITY[logit + 3072]
        bit = self.decisions.decide(max(1, min(65535, p + refined >> 1)))
        error = 65535 * bit - p >> 1
        weights[:] = [
            max(-32768, min(32767, w + (x * error + 16384 >> 15)))
            for x, w in zip(inputs, weights, strict=True)
        ]
        nearest = k + (f > 128)
        line[nearest] += 65535 * bit - line[nearest] >> 6
        for cell in cells:
            self.count(cell, bit)
        return bit

    def count(self, cell: tuple[int | str, ...], bit: int) -> None:
        p, n = self.counters[cell]
        step = ((2**22 - 1) * bit - p) * (131072 // (2 * n + 3)) >> 16
        self.counters[cell] = p + step, min(n + 1, 255)

    def alone(self, *cell: int | str) -> int:
        p, _ = self.counters.setdefault(cell, (1 << 21, 0))
        bit = self.decisions.decide(max(1, p >> 6))
        self.count(cell, bit)
        return bit

    def code(self, start: int) -> int:
        c = self.magnitude_class(start)
        if c == 0:
            return 0
        negative = self.decide("sign", c) if c < 3 else self.alone("sign", self.lean, self.energy)
        return -self.magnitude(c) if negative else self.magnitude(c)

    def magnitude(self, c: int) -> int:
        """The member of class ``c``."""
        if c < 3:
            return c
        prefix, low, left = 0, 0, c - 2
        for _ in range(min(left, 2)):
            bit = self.alone("leaf", min(c, 20), prefix, self.energy)
            prefix, low, left = 1 + bit, 2 * low + bit, left - 1
        while left > 0:
            some = min(left, 16)
            low, left = low << some | self.decisions.even(some), left - some
        return (1 << c - 2) + 1 + low

    def magnitude_class(self, t: int) -> int:
        if t > 0:
            if not self.decide("first", min(t, 12)):
                while t > 0 and not self.decide("down", min(t, 12)):
                    t -= 1
                return t
            t += 1
        while t < 65 and self.decide("up", min(t, 12)):
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


class Coarse(NamedTuple):
    row: Row
    shift: int
    last: int

    def at(self, x: int) -> int:
        return self.row[min(x >> self.shift, self.last)]


class Around(NamedTuple):
    """The rows around one."""

    n: Row
    nn: Row
    p: Row
    pn: Row
    ps: Row
    r: Row
    rs: Row
    r2: Row
    coarse: Coarse
    series: bool

    def energy(self, x: int, w: Row, alone: bool, refers: bool) -> int:
        n, p, r = self.n, self.p, self.r
        same = 2 * abs(w[x - 1]) + 2 * abs(n[x]) + abs(n[x - 1]) + abs(n[x + 1])
        if self.series:
            same = 3 * abs(w[x - 1]) + 2 * abs(w[x - 2]) + abs(w[x - 3])
        plane = 2 * abs(p[x]) + abs(p[x - 1]) + abs(p[x + 1]) + abs(self.pn[x]) + abs(self.ps[x])
        other = 2 * abs(r[x]) + abs(r[x + 1]) + abs(r[x - 1]) + abs(self.rs[x]) + abs(self.r2[x])
        wider = abs(w[x - 2]) + abs(self.nn[x]) + abs(self.coarse.at(x)) + abs(n[x + 2])
        return 2 * same + (same if alone else plane) + (other if refers else same) + wider


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


class Here(NamedTuple):
    """What a code's decisions are told apart by."""

    contexts: tuple[int, ...]
    energy: int
    lean: int
    start: int


@dataclass(slots=True)
class Model:
    """What one lane learns of neighbours."""

    mixer: Mixer
    weights: dict[int, list[int]] = field(default_factory=dict)
    runs: int = 0  # whether each of the last three runs was broken


Lane: TypeAlias = Generator[Here, int, None]


def walk(model: Model, codes: Values, known: Values, level: Level, rows: range) -> Lane:
    """Fill in codes of some rows of a grid and what is known of them; ask for those that are in no run."""
    mixer, axes = model.mixer, codes.shape
    series = math.prod(axes[:3]) < 16
    weights = model.weights.setdefault(8 if series else level.order, [0] * 16)
    first = np.unravel_index(rows[0], axes[:3]) if rows else (0, 0, 0)
    for row in rows:
        i0, i1, i2 = (int(i) for i in np.unravel_index(row, axes[:3]))
        w, nothing = Row(known[i0, i1, i2]), Row(None)
        before = (i0, i1 - 1) if i1 > first[1] else (i0 - 1, i1) if i0 > first[0] else None
        north = i2 > first[2]
        n = Row(known[i0, i1, i2 - 1]) if north else Row(known[(*before, i2)]) if before else nothing
        nn = Row(known[i0, i1, i2 - 2]) if i2 > first[2] + 1 else n
        p, pn, ps = n, nn, n
        if before:
            p = Row(known[(*before, i2)])
            pn = Row(known[(*before, i2 - 1)]) if north else p
            ps = Row(known[(*before, i2 + 1)]) if i2 + 1 < axes[2] else p
        r, rs = (nearest_row(level.reference, (i0, i1, i2 + south)) for south in (0, 1))
        r2 = nearest_row(level.second, (i0, i1, i2))
        coarse, shift, last = nothing, 0, 0
        if level.parent is not None:
            halves = [int(a > 1 and 2 * b <= a + 1) for a, b in zip(axes, level.parent.shape, strict=True)]
            coarse = nearest_row(level.parent, (i0 >> halves[0], i1 >> halves[1], i2 >> halves[2]))
            shift, last = halves[3], level.parent.shape[3] - 1

        about = Around(n, nn, p, pn, ps, r, rs, r2, Coarse(coarse, shift, last), series)
        alone, refers = not north and not before, level.reference is not None
        quiet = [0] * (axes[3] + 1)
        for x in reversed(range(axes[3])):
            quiet[x] = 0 if about.energy(x, nothing, alone, refers) else quiet[x + 1] + 1
        resume, skipping = 0, False  # where the next run may begin, whether the last one is zero
        for x in range(axes[3]):
            run = min(16, axes[3] - x)
            if x < resume and skipping:
                continue
            if x >= resume and 4 <= run <= quiet[x] and not (w[x - 1] or w[x - 2] or w[x - 3]):
                wide = quiet[x] >= 2 * run
                broken = mixer.alone("run", level.order, run.bit_length(), wide, model.runs)
                model.runs, resume, skipping = (2 * model.runs + broken) % 8, x + run, not broken
                if skipping:
                    continue
            W, WW, N, NW, NE, NN, P = w[x - 1], w[x - 2], n[x], n[x - 1], n[x + 1], nn[x], p[x]
            R, R2, C, energy = r[x], r2[x], about.coarse.at(x), about.energy(x, w, alone, refers)
            taps = [W, WW, N, NW, NE, NN, P, p[x - 1], p[x + 1], pn[x], ps[x], R, r[x + 1], r[x - 1]]
            taps += [rs[x], R2]
            if series:
                taps = [*(w[x - k] for k in range(1, 9)), N, NW, NE, P, R, r[x + 1], r[x - 1], R2]
            taps = [clamp(tap, 1023) for tap in taps]
            guess = clamp(sum(a * b >> 4 for a, b in zip(weights, taps, strict=True)) >> 4, 1 << 20)
            guess = guess if energy else 0
            e = quarter_octave(energy)
            step = sum(abs(guess) >= end for end in (24, 64, 112, 176, 288, 448, 768))
            lean = held(guess >> e // 4 + 3, 7)
            g = lean if energy >= 56 else 7 - step if guess < 0 else 7 + step
            contexts = (
                ((held(W, 1) * 3 + held(N, 1)) * 5 + held(P, 2)) * 5 + held(R, 2),
                ((held(P, 2) * 5 + held(p[x - 1], 2)) * 3 + held(p[x + 1], 1)) * 3 + held(pn[x], 1),
                ((held(R2, 2) * 5 + held(C, 2)) * 3 + held(R, 1)) * 3 + held(NN, 1),
                48 * g + e,
                (g * 5 + held(W, 2)) * 5 + held(N, 2),
            )
            mean = energy // 28
            code = yield Here(contexts, e, lean, mean.bit_length() if mean >= 4 else 0)
            codes[i0, i1, i2, x] = code
            known[i0, i1, i2, x] = value = clamp(code, 16000)
            if energy == 0:
                continue
            error = clamp(clamp(value, 1023) * 256 - guess, 1 << 18)
            scaled = error * 4096 >> (64 + sum(tap * tap for tap in taps)).bit_length() - 1
            weights[:] = [
                clamp(a + (scaled * b >> 10), 2**18 - 1) for a, b in zip(weights, taps, strict=True)
            ]


def decode_grid(model: Model, axes: Axes, level: Level) -> tuple[Values, Values]:
    mixer, codes, known = model.mixer, np.zeros(axes, object), np.zeros(axes, np.int64)
    lane = walk(model, codes, known, level, range(math.prod(axes[:3]) if axes[3] else 0))
    here = next(lane, None)
    while here:
        mixer.contexts, mixer.energy, mixer.lean, start = here
        here = go_on(lane, mixer.code(start))
    return codes, known


def go_on(lane: Lane, code: int) -> Here | None:
    try:
        return lane.send(code)
    except StopIteration:
        return None
