"""Section 11 of docs/format-max.md, for the reference decoder: values predicted by least squares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
Axes: TypeAlias = tuple[int, ...]
Tap: TypeAlias = tuple[int, int, int, int]


class Plan(NamedTuple):
    """What is sent beside the codes."""

    every: int  # 0: dense
    step: float
    centre: Values  # of type T, as are the others
    low: Values
    high: Values

    def is_sound(self) -> bool:
        rounded = self.centre.dtype.type(self.step)
        finite = np.isfinite([rounded, np.divide(1.0, self.step), self.centre, self.low, self.high])
        return bool(finite.all() and rounded > 0)


def row_taps(d0: int, d1: int, d2: int, first: int, last: int) -> list[Tap]:
    return [(d0, d1, d2, dx) for dx in range(first, last + 1)]


def taps_of(axes: Axes) -> list[Tap]:
    n0, n1, n2, _ = axes
    if n2 == 1:
        return [(0, 0, 0, -dx) for dx in range(1, 15)]
    taps = [(0, 0, -1, 0)]
    if n1 == 1:
        taps += row_taps(0, 0, -1, -3, -1) + row_taps(0, 0, -1, 1, 4) + row_taps(0, 0, -2, -3, 3)
        return taps + row_taps(0, 0, -3, -1, 1) + row_taps(0, 0, 0, -4, -1)
    taps += row_taps(0, 0, -1, -2, -1) + row_taps(0, 0, -1, 1, 2) + row_taps(0, 0, -2, -2, 2)
    for d2, reach in ((-2, 1), (-1, 2), (0, 2), (1, 2), (2, 1)):
        taps += row_taps(0, -1, d2, -reach, reach)
    taps += row_taps(0, -2, -1, 0, 0) + row_taps(0, -2, 0, -1, 1) + row_taps(0, -2, 1, 0, 0)
    if n0 > 1:
        taps += row_taps(-1, -1, 0, 0, 0) + row_taps(-1, 0, -1, 0, 0) + row_taps(-1, 0, 0, -1, 1)
        taps += row_taps(-1, 0, 1, 0, 0) + row_taps(-1, 1, 0, 0, 0) + row_taps(-2, 0, 0, 0, 0)
    return taps + row_taps(0, 0, 0, -2, -1)


class Tiling:
    """How the rows of a block are cut, and which of them count for a fit."""

    def __init__(self, axes: Axes, every: int) -> None:
        n0, n1, n2, n3 = axes
        few = every >= 4
        self.plane = n0 == n1 == 1
        self.series = self.plane and n2 < 16
        self.width = 64 if self.series else 64 * math.ceil(n3 / 64 / 64)
        self.tiles = 1 if self.series else math.ceil(n3 / self.width)
        self.height = (
            1 if self.plane else max(8 if few and n2 >= 64 else 4, math.ceil(n2 * self.tiles / 1024))
        )
        self.keep = 15 / 16 if self.series else 29 / 32 if self.plane else 7 / 8 if few else 1 / 2
        self.keep_of_plane = 3 / 4 if few else 3 / 8
        self.rows_a_fit = max(1, 64 // n3)

    def around(self, tile: int) -> range:
        return range(max(tile - 1, 0), min(tile + 2, self.tiles))


class Statistics:
    """Sums of products, and the weights that follow from them."""

    def __init__(self, tiling: Tiling, taps: int, rows: int) -> None:
        self.tiling, self.taps, self.rows = tiling, taps, rows

        def zeros() -> Values:
            return np.zeros((taps + 2, taps + 2))

        self.all = zeros()  # A
        self.fresh = defaultdict[int, Values](zeros)  # X and C of a tile
        self.columns = self.fresh.copy()
        self.kept = defaultdict[tuple[int, int], Values](zeros)  # S of group and tile

    def begins(self, i2: int) -> bool:
        return i2 % self.tiling.height == 0

    def ends(self, i2: int) -> bool:
        return i2 + 1 == self.rows or (i2 + 1) % self.tiling.height == 0

    def learn(self, tile: int, v: Values) -> None:
        self.fresh[tile] = self.fresh[tile] + v[:, None] * v

    def fold(self, tile: int, i2: int) -> None:
        """What follows once a tile of a group is complete."""
        X = self.fresh.pop(tile, np.zeros_like(self.all))
        self.columns[tile] = self.tiling.keep * self.columns[tile] + X
        self.all = self.all + X
        if not self.tiling.plane:
            at = i2 // self.tiling.height, tile
            self.kept[at] = self.tiling.keep_of_plane * self.kept[at] + X
            if i2 + 1 == self.rows:
                self.columns.pop(tile)

    def fit(self, tile: int, i2: int) -> Values:
        K = self.taps
        M = self.all * (2 / max(float(self.all[K + 1, K + 1]), 1.0))
        for each in self.tiling.around(tile):
            M = M + self.columns[each]
        group = i2 // self.tiling.height
        for at in group, group + 1:
            for each in self.tiling.around(tile):
                M = M + self.kept[at, each]
        for k in range(K):
            M[k, k] = M[k, k] * (1 + 2**-30) + M[K + 1, K + 1] * 2**-12
        for k in range(K):
            if not M[k, k] > 0:
                return np.zeros(K)
            ratio = M[k] / M[k, k]
            M[k + 1 : K] = M[k + 1 : K] - ratio[k + 1 : K, None] * M[k]
        weights = np.zeros(K)
        for k in range(K)[::-1]:
            weights[k] = M[k, K] / M[k, k]
            M[:k, K] = M[:k, K] - M[:k, k] * weights[k]
        return weights


class Rows:
    """Reconstructed rows, each extended at either end."""

    def __init__(self, axes: Axes, centre: Values) -> None:
        self.axes, self.margin = axes, 14
        self.known = np.empty((*axes[:3], axes[3] + 28), centre.dtype)
        self.first = np.full(axes[3] + 28, centre)

    def substitute(self, row: Axes) -> Values:
        for axis in (2, 1, 0):
            if row[axis] > 0:
                before = np.array(row)
                before[axis] -= 1
                return np.asarray(self.known[tuple(before)])
        return self.first

    def tap(self, row: Axes, tap: Tap) -> Values:
        """A view or copy of the tap's row in which the value at x is the tap of x."""
        at = tuple(np.clip(np.add(row, tap[:3]), 0, np.subtract(self.axes[:3], 1)).tolist())
        found = self.known[at] if at < row or not any(tap[:3]) else self.substitute(row)
        return found[self.margin + tap[3] :]

    def open(self, row: Axes) -> Values:
        self.known[row][: self.margin] = self.substitute(row)[self.margin]
        return np.asarray(self.known[row][self.margin : -self.margin])

    def close(self, row: Axes) -> None:
        self.known[row][-self.margin :] = self.known[row][-self.margin - 1]


class Bias(NamedTuple):
    total: Values
    counted: Values
    correction: Values

    def learn(self, context: int, error: float) -> None:
        self.total[context] += error
        self.counted[context] += 1
        if self.counted[context] == 64:
            self.total[context] /= 2
            self.counted[context] /= 2
        self.correction[context] = self.total[context] / (self.counted[context] + 4)


class Rules:
    """What a value is predicted to be, and what it teaches: dense in binary64, thinned in ``T``."""

    def __init__(self, plan: Plan, digits: list[int]) -> None:
        self.plan, self.T, self.digits = plan, plan.centre.dtype.type, np.array(digits)
        self.kind = self.T if plan.every else np.float64
        self.scale = np.float64(1 / plan.step) if plan.every == 0 else self.kind(1)
        self.step = self.kind(plan.step)
        self.half = self.step / 2 if plan.every else self.kind(0.5)
        self.bias = Bias(*np.zeros((3, 243), self.kind))

    def features(self, near: Values) -> Values:
        """Differences of the taps from the first, in steps."""
        return np.asarray(self.differences(near.astype("<f8")) * (1 / self.plan.step))

    def differences(self, near: Values) -> Values:
        f: Values = near - near[0]
        f[0] = near[0] - self.plan.centre.astype(near.dtype)
        return f

    def value(self, near: Values, weights: Values, code: int) -> tuple[Values, int, float]:
        """A value, its context, and how far the prediction was off without its correction."""
        kind, base = self.kind, near[0].astype(self.kind)
        f = self.differences(near.astype(kind)) * self.scale
        s = np.add.accumulate(np.append(kind(0), weights.astype(kind) * f))[-1]
        e = np.where(self.digits == 0, base - base, f[self.digits]) - s
        context = int(((e > self.half) + 2 * (e < -self.half)) @ 3 ** np.arange(5)[::-1])
        correction = self.bias.correction[context]
        p = base + (s + correction * self.step if self.plan.every else (s + correction) * self.step)
        p = p if p > self.plan.low else self.plan.low.astype(kind)
        p = p if p < self.plan.high else self.plan.high.astype(kind)
        value = self.T(p) + self.T(code) * self.T(self.plan.step)
        if self.plan.every:
            return value, context, kind(code) + correction
        return value, context, (value.astype("<f8") - base) * self.scale - s

    def teaches(self, row: int, x: int) -> bool:
        return self.plan.every == 0 or (row + x) % self.plan.every == 0


def reconstruct(codes: Values, exact: NDArray[np.bool_] | None, plan: Plan) -> Values:
    """The values of a block, shape (N,), of which those marked `exact` teach nothing."""
    axes = codes.shape
    taps, tiling, rows = taps_of(axes), Tiling(axes, plan.every), Rows(axes, plan.centre)
    statistics = Statistics(tiling, len(taps), axes[2])
    weights = np.zeros((tiling.tiles, len(taps)))
    learns = np.ones(axes, np.bool_) if exact is None else ~exact.reshape(axes)
    looked_at = [(0, 0, -1, 0), (0, 0, -1, -1), (0, 0, -1, 1), (0, 0, 0, -2), (0, 0, 0, -1)]
    rules = Rules(plan, [taps.index(tap) for tap in (looked_at if axes[2] > 1 else taps[:5])])
    due = 0  # the row from which on weights are fitted again
    for number, row in enumerate(np.ndindex(axes[:3])):
        fits = number >= due and statistics.begins(row[2])
        due = number + tiling.rows_a_fit if fits else due
        values = rows.open(row)
        neighbours = [rows.tap(row, tap) for tap in taps]
        for x, tile, begins, ends in walk(axes[3], tiling):
            if begins and fits:
                weights[tile] = statistics.fit(tile, row[2])
            near = np.array([each[x] for each in neighbours])
            values[x], context, error = rules.value(near, weights[tile], codes[row][x])
            if learns[row][x]:
                rules.bias.learn(context, error)
                if rules.teaches(number, x):
                    y = (values[x].astype("<f8") - near[0]) * (1 / plan.step)
                    statistics.learn(tile, np.array([*rules.features(near), y, 1.0]))
            if ends and statistics.ends(row[2]):
                statistics.fold(tile, row[2])
        rows.close(row)
    return rows.known[..., rows.margin : -rows.margin].ravel()


def walk(n3: int, tiling: Tiling) -> Iterator[tuple[int, int, bool, bool]]:
    """Each x with its tile, and whether it begins and ends the tile's row."""
    for x in range(n3):
        ends = x + 1 == n3 or (x + 1) % tiling.width == 0
        yield x, 0 if tiling.series else x // tiling.width, x % tiling.width == 0, ends
