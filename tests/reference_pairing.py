"""Codes by context mixing, of both kinds: sections 14 and 15 in docs/format-max.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.reference_mixing import Decisions, Here, Level, Mixer, Model, decode_grid, go_on, walk
from tests.reference_reader import Axes, Reader, Values, require

PAIRED = 1 << 32  # added to the number of bytes
PAIR_FROM = 32768  # codes of a grid


@dataclass(slots=True)
class Forecast:
    rows: list[list[int]]
    shares: list[int]

    def end(self, symbol: int) -> int:
        return 1 << 15 if symbol == 14 else sum(self.shares[: symbol + 1])


def saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def power(d: int) -> int:
    x, k = (d & 2047) << 4, max((d >> 11) + 15, 0)
    mantissa = 16384 + 2 * (x * ((x * 11256 >> 16) + 10757) >> 16)
    return mantissa << k >> 16 if k else 0


@dataclass(slots=True)
class Symbols:
    """Each context's 15 logits, and how often they were used."""

    rows: dict[tuple[bool, int, int], list[int]] = field(default_factory=dict)
    dither: int = 0

    def forecast(self, here: Here) -> Forecast:
        rows = [
            self.rows.setdefault((here.start > 0, i, context), [0] * 16)
            for i, context in enumerate(here.contexts)
        ]
        logits = rows[0][:15]
        for row in rows[1:]:
            logits = [saturate(a + b) for a, b in zip(logits, row[:15], strict=True)]
        most = max(logits)
        powers = [power(saturate(logit - most)) for logit in logits]
        by = (32752 << 14) // sum(powers)
        return Forecast(rows, [(4 * p * by >> 16) + 1 for p in powers])

    def learn(self, forecast: Forecast, symbol: int) -> None:
        self.dither = (self.dither + 40503) % 65536
        for row in forecast.rows:
            shift = 4 + sum(row[15] >= uses for uses in (2, 6, 16, 48, 200))
            for k, share in enumerate(forecast.shares):
                error = min(32767 * (k == symbol) - share + (self.dither >> 16 - shift), 32767)
                row[k] = saturate(row[k] + (error >> shift))
            row[15] = min(row[15] + 1, 255)


class Pair:
    """Two lanes of a grid: what they learn of symbols is shared, what they learn of neighbours is not."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer
        self.first, self.second = Model(mixer), Model(mixer)
        self.symbols = Symbols()

    def decode_grid(self, axes: Axes, level: Level) -> tuple[Values, Values]:
        codes, known = np.zeros(axes, object), np.zeros(axes, np.int64)
        rows = math.prod(axes[:3]) if axes[3] else 0
        half, longer = rows, [n for n in axes[:3] if n > 1]
        if rows * axes[3] >= PAIR_FROM and longer:
            half = rows // longer[0] * ((longer[0] + 1) // 2)
        lanes = [
            walk(model, codes, known, level, part)
            for model, part in ((self.first, range(half)), (self.second, range(half, rows)))
        ]
        here = [next(lane, None) for lane in lanes]
        while any(here):
            on = [(lane, place) for lane, place in zip(lanes, here, strict=True) if place]
            decoded = iter(self.decode_codes([place for _, place in on]))
            here = [
                go_on(lane, next(decoded)) if place else None for lane, place in zip(lanes, here, strict=True)
            ]
        return codes, known

    def decode_codes(self, places: Sequence[Here]) -> list[int]:
        forecasts = [self.symbols.forecast(here) for here in places]
        symbols = [self.decode_symbol(forecast) for forecast in forecasts]
        for forecast, symbol in zip(forecasts, symbols, strict=True):
            self.symbols.learn(forecast, symbol)
        return [self.rest(here, symbol) for here, symbol in zip(places, symbols, strict=True)]

    def decode_symbol(self, forecast: Forecast) -> int:
        share, symbol = self.mixer.decisions.share(), 0
        while forecast.end(symbol) <= share:
            symbol += 1
        self.mixer.decisions.take(forecast.end(symbol - 1) if symbol else 0, forecast.end(symbol))
        return symbol

    def rest(self, here: Here, symbol: int) -> int:
        mixer = self.mixer
        mixer.energy, mixer.lean = here.energy, here.lean
        if symbol == 0:
            return 0
        if here.start:
            c, last, negative = symbol, 14, mixer.alone("sign", here.lean, here.energy) == 1
        else:
            c, last, negative = (symbol + 1) // 2, 7, symbol % 2 == 0
        while last <= c < 65 and mixer.alone("longer", min(c - last, 8), here.energy):
            c += 1
        return -mixer.magnitude(c) if negative else mixer.magnitude(c)


def decode_mixed(reader: Reader, grids: Sequence[tuple[Axes, bool]], word: str = "<i4") -> list[Values]:
    """The codes of each grid, given its axes and whether the grid before it is its reference."""
    require(sum(math.prod(axes) for axes, _ in grids) >= 256, "no fewer than 256 codes are mixed")
    size = reader.varint()
    decisions = Decisions(reader.take(size % PAIRED if size >= PAIRED else size))
    mixer = Mixer(decisions)
    pair = Pair(mixer)
    decoded, known, first, bits = list[Values](), list[Values](), 0, 8 * np.dtype(word).itemsize
    for k, (axes, refers) in enumerate(grids):
        first = first if refers else k
        reference, second = (
            known[j] if j >= first and known[j].size and axes[3] <= known[j].shape[3] + 2 else None
            for j in (k - 1, k - 2)
        )
        parent = known[first - 1] if first and known[first - 1].size else None
        level = Level(reference, second, parent, min(k - first, 7))
        codes, values = (
            pair.decode_grid(axes, level) if size >= PAIRED else decode_grid(pair.first, axes, level)
        )
        known.append(values)
        wrapped = [(code + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1) for code in codes.ravel()]
        decoded.append(np.array(wrapped, word).reshape(axes))
    require(decisions.at >= len(decisions.data), "all bytes are used")
    return decoded
