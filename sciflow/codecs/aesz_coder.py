"""The streams that a KLT or an autoencoder makes of an array, and which of them are worth making.

```
blocks ─ sample ─▶ gains ─▶ latents ─▶ SZ ─▶ latents' ─ model ─▶ residual ─▶ SZ ─▶ compared, kept or not
```
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.codecs.aesz_blocks import Grid, bits_of_latents, bits_of_residual, interpolated
from sciflow.codecs.aesz_model import LATENT_FRACTION, Predictor
from sciflow.codecs.aesz_stream import MAX_GAIN, Modelled, write_marks, write_modelled
from sciflow.codecs.aesz_values import checksum, read_latents, reconstruct
from sciflow.codecs.base import as_stored
from sciflow.codecs.sentinels import sentinel_bits
from sciflow.codecs.sz import Level, SZConfig
from sciflow.errors import Corrupt

__all__ = ["ORDINARY", "Coder"]

_GAINS = (1.0, 1.5, 3.0, 8.0, 24.0)
"""Steps that a latent of 1 stands for: from a transform to a coarse predictor."""
_TRIED, _CLOSE = 2, 1.2
"""Of them, those that are coded in full: the cheapest, and one that is estimated to cost little more."""
_SAMPLE, _LEAST_SAMPLE = 256, 32
"""Blocks that a gain is chosen on: a quarter of them, at least and at most so many."""
_REHEARSAL = 1.15
"""What a stream at level balanced may cost, over the plain one at level max, to be made at level max."""
_FEWEST = 0.01
"""Share of blocks that must be cheaper with the model, or it is left out."""
_HOPE, _MIXED = 1.25, 0.7
"""What all blocks, and those chosen, may be estimated to cost, over the plain stream, to be coded at all."""
_MARGIN = 0.25
"""Share of the bound that rounding to the dtype may take, or the model is left out."""
ORDINARY = (1e-200, 1e200)
"""Least bound and largest value for which no sum and no product leaves binary64."""
_RETRIES = 2
_ANY_BITS = 1 << 50
_LARGEST = 1 << 24
"""Latents of this magnitude and more are not coded."""


class Coder:
    """One array, and the streams that a model makes of it."""

    def __init__(self, array: NDArray[Any], config: SZConfig, predictor: Predictor, bound: float) -> None:
        self._array, self._config, self._predictor, self._bound = array, config, predictor, bound
        self._stored, _ = as_stored(array)
        self._grid = Grid(self._stored.shape, predictor.block)
        self._step = 2 * bound
        blocks = self._grid.cut(self._stored)
        self._allowed = _plain_values(blocks, sentinel_bits(config.preserve, self._stored.dtype))
        self._blocks: NDArray[np.float64] = blocks[self._allowed].astype(np.float64)
        least = float(self._blocks.min(initial=math.inf))
        most = float(self._blocks.max(initial=-math.inf))
        self._middle, self._half_range = (most + least) / 2, (most - least) / 2

    def smallest(self, plain: bytes) -> bytes:
        """Return the smallest stream: the plain one, all blocks modelled that may be, or those chosen."""
        if not self._can_serve():
            return plain
        moved = self._moved()
        gains, promising = self._choose(moved, 8 * len(plain))
        if not promising:
            return plain
        latents = self._latents(moved)
        if np.abs(latents).max(initial=0) / min(gains) >= _LARGEST:
            return plain
        tries = [(gain, np.ones(len(moved), np.bool_)) for gain in gains] if "all" in promising else []
        if "chosen" in promising:
            modelled = np.add(*self._with(moved, latents, gains[0]))
            cheaper = modelled < self._without(self._blocks, 8 * len(plain))
            tries.append((gains[0], cheaper))
        streams = [
            self._tried(latents / gain, gain, served, len(plain))
            for gain, served in tries
            if served.mean() >= _FEWEST
        ]
        return min([plain, *(each for each in streams if each is not None)], key=len)

    def modelled(self) -> bytes | None:
        """Return the stream in which all blocks are modelled that may be; None where none may be."""
        if not self._can_serve():
            return None
        moved = self._moved()
        gains, _ = self._choose(moved, _ANY_BITS)
        gain = gains[0] if gains else _GAINS[0]
        every = np.ones(len(moved), np.bool_)
        return self._coded(self._latents(moved) / gain, gain, every, self._config.level)

    def _can_serve(self) -> bool:
        return bool(len(self._blocks)) and 0 < self._half_range < math.inf and self._within_reach()

    def _moved(self) -> NDArray[np.float64]:
        """Blocks less what the model does not predict."""
        offset = self._middle if self._predictor.scaled else float(self._blocks.mean())
        return self._blocks - offset

    def _tried(
        self, latents: NDArray[np.float64], gain: float, served: NDArray[np.bool_], plain: int
    ) -> bytes | None:
        """Return the stream in which blocks are modelled; None where it is likely to be no smaller."""
        level = self._config.level
        if level == "max":
            rehearsal = self._coded(latents, gain, served, "balanced")
            if rehearsal is None or len(rehearsal) > _REHEARSAL * plain:
                return None
        return self._coded(latents, gain, served, level)

    def _within_reach(self) -> bool:
        """Whether rounding leaves most of the bound, and predictions stay exact in 1/256 of a step."""
        most = abs(self._middle) + self._half_range
        if most > ORDINARY[1] or self._bound < ORDINARY[0]:
            return False
        return self._rounding(2 * most) < _MARGIN * self._bound and most / self._step < 1 << 20

    def _rounding(self, most: float) -> float:
        return 1.01 * float(np.finfo(self._stored.dtype).eps) * (most + self._step)

    def _choose(self, moved: NDArray[np.float64], plain_bits: int) -> tuple[list[float], list[str]]:
        """Return the gains that are cheapest on a sample of blocks, and which ways are worth coding."""
        wanted = max(_LEAST_SAMPLE, min(_SAMPLE, len(moved) // 4))
        some = slice(None, None, max(1, len(moved) // wanted))
        latents = self._latents(moved[some])
        without = self._without(self._blocks[some], plain_bits)
        plain = float(without.sum())
        left = self._with(moved[some], latents, _GAINS[0])[1]  # no coarser gain leaves less
        if left.sum() >= _HOPE * plain and np.minimum(left, without).sum() >= _MIXED * plain:
            return [], []
        costs = [np.add(*self._with(moved[some], latents, gain)) for gain in _GAINS]
        totals = [float(np.sum(cost)) for cost in costs]
        order = [int(at) for at in np.argsort(totals, kind="stable")[:_TRIED]]
        best = order[0]
        order = [at for at in order if totals[at] <= _CLOSE * totals[best]]
        mixed = float(np.minimum(costs[best], without).sum())
        promising = ["all"] if totals[best] < _HOPE * plain else []
        if mixed < _MIXED * min(totals[best], plain):
            promising.append("chosen")
        return [_GAINS[at] for at in order], promising

    def _latents(self, moved: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._predictor.encode(moved, step=self._step, half_range=self._half_range)

    def _without(self, blocks: NDArray[np.float64], plain_bits: int) -> NDArray[np.float64]:
        """Bits of each block in the plain stream: by what interpolation leaves, in sum their share of it."""
        left = bits_of_residual(interpolated(blocks) / self._step)
        return left * (plain_bits * len(blocks) / self._grid.size / max(float(left.sum()), 1e-9))

    def _with(
        self, moved: NDArray[np.float64], latents: NDArray[np.float64], gain: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bits of each block's latents, and of what the model leaves of it."""
        coded = np.rint(latents / gain)
        coded = coded[:, : _count_used(coded)]
        integers = np.clip(coded * LATENT_FRACTION, -(2**30), 2**30).astype(np.int32)
        try:
            made = self._predict(integers, gain)
        except Corrupt:
            never = np.full(len(moved), np.inf)
            return never, never
        return bits_of_latents(coded), bits_of_residual(moved / self._step - made / 256)

    def _predict(self, latents: NDArray[np.int32], gain: float) -> NDArray[np.int64]:
        return self._predictor.decode(latents, gain=_gain_of(gain), ratio=self._ratio)

    @property
    def _ratio(self) -> float:
        return self._step / self._half_range / 256 if self._predictor.scaled else 0.0

    def _coded(
        self, latents: NDArray[np.float64], gain: float, served: NDArray[np.bool_], level: Level
    ) -> bytes | None:
        """Return the stream in which the blocks that `served` names are modelled; None where none is."""
        for _ in range(_RETRIES + 1):
            marks = np.zeros(self._grid.size, np.bool_)
            marks[np.flatnonzero(self._allowed)[served]] = True
            wrong = self._try(latents[served], gain, marks, level)
            if not isinstance(wrong, np.ndarray):
                return wrong
            served = served & ~wrong[self._allowed]
            if not served.any():
                return None
        return None

    def _try(
        self, latents: NDArray[np.float64], gain: float, marks: NDArray[np.bool_], level: Level
    ) -> bytes | NDArray[np.bool_] | None:
        """Return a finished stream; or which blocks break the promise; or None where none can be made."""
        coded = self._code_latents(latents, marks, level)
        integers = read_latents(coded, self._grid, marks, self._config.threads)
        try:
            predicted = self._predict(integers, gain)
        except Corrupt:
            return None
        residual = self._residual(predicted, marks)
        most = float(np.abs(residual[np.isfinite(residual)]).max(initial=0.0))
        margin = self._rounding(most + abs(self._middle) + self._half_range)
        if margin > _MARGIN * self._bound:
            return None
        inner = replace(self._config, bound=Bound.abs(self._bound - margin), level=level)
        body = sz.encode(_like(self._array, residual), inner)
        back, _ = as_stored(sz.decode(body, threads=self._config.threads))
        values = reconstruct(self._grid, marks, predicted, back, self._bound)
        wrong = self._wrong(values, marks)
        if wrong.any():
            return wrong
        return write_modelled(
            Modelled(
                digest=self._predictor.digest,
                gain=_gain_of(gain),
                bound=self._bound,
                ratio=self._ratio,
                output_crc=checksum(values),
                marks=write_marks(marks),
                latents=coded,
                residual=body,
            )
        )

    def _code_latents(self, latents: NDArray[np.float64], marks: NDArray[np.bool_], level: Level) -> bytes:
        count = _count_used(latents)
        field = np.zeros((count, self._grid.size), np.float32)
        field[:, marks] = latents[:, :count].T
        return sz.encode(
            field.reshape(count, *self._grid.counts),
            SZConfig(Bound.abs(0.5), level=level, threads=self._config.threads),
        )

    def _residual(self, predicted: NDArray[np.int64], marks: NDArray[np.bool_]) -> NDArray[Any]:
        blocks = self._grid.cut(self._stored)
        left = blocks[marks].astype(np.float64) - predicted * (self._bound / 128)
        with np.errstate(over="ignore"):  # such a block is found to be wrong
            blocks[marks] = left.astype(blocks.dtype)
        return self._grid.join(blocks)

    def _wrong(self, values: NDArray[Any], marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which modelled blocks hold a value beyond the bound, on the dtype that comes out."""
        wide = np.float64 if self._stored.dtype.itemsize == 4 else np.longdouble
        with np.errstate(invalid="ignore"):
            error = np.abs(values.astype(wide) - self._stored.astype(wide))
        beyond = self._grid.cut(~(error <= self._bound)).reshape(self._grid.size, -1).any(axis=1)
        return beyond & marks


def _count_used(latents: NDArray[np.float64]) -> int:
    """How many latents, shape (n, latents), there are up to the last that is not 0 everywhere; at least 1."""
    used = np.flatnonzero(np.abs(latents).max(axis=0, initial=0.0) >= 0.5)
    return int(used[-1]) + 1 if len(used) else 1


def _gain_of(gain: float) -> int:
    return min(int(gain * 256 / LATENT_FRACTION), MAX_GAIN)


def _plain_values(blocks: NDArray[Any], sentinels: list[int]) -> NDArray[np.bool_]:
    """Which blocks hold finite values alone, no sentinel and no -0.0."""
    bits = blocks.view(f"u{blocks.dtype.itemsize}")
    marks = np.array([*sentinels, 1 << (8 * blocks.dtype.itemsize - 1)], bits.dtype)
    bad = ~np.isfinite(blocks)
    for mark in marks:
        bad |= bits == mark
    good: NDArray[np.bool_] = ~bad.reshape(len(blocks), -1).any(axis=1)
    return good


def _like(array: NDArray[Any], stored: NDArray[Any]) -> NDArray[Any]:
    """Give cells in stored order the layout and byte order of an array; moves bytes only."""
    if not array.dtype.isnative:
        stored = stored.byteswap().view(array.dtype)
    order_f = array.flags.f_contiguous and not array.flags.c_contiguous
    return stored.T if order_f else stored
