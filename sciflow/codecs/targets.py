"""The bound that meets a target: a size in bytes or a PSNR, found by encoding a few times.

```
sample of the array ── some encodes ─▶ curve: bytes against bound ─┐
target ────────────────────────────────────────────────────────────┴─▶ guess ─ encode ─ correct ─▶ bound
```
Sizes of the whole array follow those of its sample up to a factor, so that each encode of all of it corrects
the next guess; the steps are those of regula falsi, on logarithms.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from sciflow.bounds import PSNR_PEAK

__all__ = ["MAX_ENCODES", "Found", "SizeCurve", "crops", "loosest_for_psnr", "tightest_for_size"]

MAX_ENCODES = 4
"""Of the whole array; more only while none has met the target."""

_SAMPLE_ENCODES = 8
_CROPS = 4
_SAMPLE_SHARE, _MOST_SHARE = 1 / 16, 1 / 2
_SAMPLE_BYTES = 5000.0  # smaller samples, once encoded, are mostly headers and tables
_SMALL = 1 << 15
_NEAR = math.log2(1.015)  # a stream this near below its limit will do
_AIM = math.log2(1.005)
_POOR = math.log2(0.9)  # so far below the limit, the last encode had better meet it
_SAMPLE_NEAR = math.log2(1.02)
_FIRST_SLOPE = 1.5  # octaves of the bound for one of the size, while a single point is known
_OCTAVES = 80  # below the range of the data: no float is that fine
_LOSSLESS_FROM = 0.2
"""Streams shorter than this part of the array do not hold every bit of it: not worth a try."""
_DECIBEL_NEAR = 1.0
_DECIBEL_AIM = 0.06


@dataclass(frozen=True, slots=True)
class Found:
    """The best that was met.

    Parameters
    ----------
    bound : float
        Absolute; 0 for every bit.
    size : int
        Bytes of the streams at that bound.
    met : bool
        Whether the target was met.
    """

    bound: float
    size: int
    met: bool


@dataclass(slots=True)
class SizeCurve:
    """Bytes of a sample against the bound, both as log2, in between and beyond by straight lines.

    Parameters
    ----------
    size_of : callable
        Bytes at an absolute bound.
    """

    size_of: Callable[[float], int]
    _bounds: list[float] = field(default_factory=list)
    _sizes: list[float] = field(default_factory=list)

    def add(self, log_bound: float) -> float:
        """Encode once; the log2 of the bytes."""
        size = math.log2(max(1, self.size_of(2.0**log_bound)))
        at = bisect_left(self._bounds, log_bound)
        self._bounds.insert(at, log_bound)
        self._sizes.insert(at, size)
        return size

    def approach(self, size: float, *, start: float, low: float, high: float) -> None:
        """Encode until some bound gives nearly that size, or there is none in [low, high]."""
        at = min(max(start, low), high)
        for _ in range(_SAMPLE_ENCODES):
            if abs(self.add(at) - size) < _SAMPLE_NEAR:
                break
            at = min(max(self.bound_for(size), low), high)
            if any(abs(at - seen) < 1e-3 for seen in self._bounds):
                break
        if len(self._bounds) == 1:  # its slope there
            self.add(self._bounds[0] - 1.0 if self._bounds[0] - 1.0 >= low else self._bounds[0] + 1.0)

    def bound_for(self, size: float) -> float:
        """The log2 of the bound that has this size on the curve."""
        if len(self._sizes) == 1:
            return self._bounds[0] + _FIRST_SLOPE * (self._sizes[0] - size)
        saved: list[float] = [-s for s in accumulate(self._sizes, min)]  # never falling with the bound
        right = min(max(bisect_left(saved, -size), 1), len(saved) - 1)
        left = right - 1
        slope = (saved[right] - saved[left]) / (self._bounds[right] - self._bounds[left])
        inside = saved[left] <= -size <= saved[right]
        return self._bounds[left] + (-size - saved[left]) / max(slope, 0.02 if inside else 0.1)


def crops(shape: Sequence[int], limit: float) -> list[tuple[slice, ...]]:
    """Where to take a sample of an array: a few boxes of its proportions, the whole where it is small.

    Parameters
    ----------
    shape : sequence of int
        Of the array.
    limit : float
        Bytes that the array is to take: of a smaller part of so few bytes little could be told.
    """
    if math.prod(shape) <= _SMALL or not shape:
        return [tuple(slice(None) for _ in shape)]
    longer = sum(n > 1 for n in shape)
    part = min(max(_SAMPLE_SHARE, _SAMPLE_BYTES / limit), _MOST_SHARE)
    share = (part / _CROPS) ** (1.0 / longer)
    lengths = [max(1, min(n, max(8, round(n * share)))) for n in shape]
    found = []
    for k in range(_CROPS):
        # Along each axis another order of places, so that the boxes are spread over all of them.
        places = [((k * (2 * axis + 1) + axis) % _CROPS + 0.5) / _CROPS for axis in range(len(shape))]
        firsts = [round((n - length) * p) for n, length, p in zip(shape, lengths, places, strict=True)]
        found.append(
            tuple(slice(first, first + length) for first, length in zip(firsts, lengths, strict=True))
        )
    return found


def tightest_for_size(
    size_of: Callable[[float], int],
    sample_size_of: Callable[[float], int],
    *,
    limit: float,
    sample_share: float,
    nbytes: int,
    width: float,
) -> Found:
    """Find the smallest bound whose streams are not larger than `limit`, within some per cent of it.

    Parameters
    ----------
    size_of, sample_size_of : callable
        Bytes of the whole, and of a sample, encoded at an absolute bound; 0 asks for every bit.
    limit : float
        Bytes.
    sample_share : float
        Of the sample in the whole.
    nbytes : int
        Of the whole before it is encoded.
    width : float
        Range of the data; no larger bound is tried.

    Returns
    -------
    Found
        `met` is False where no bound up to `width` suffices; `size` is then the smallest that was reached.
    """
    tries = _Tries(lambda bound: math.log2(max(1, size_of(bound)) / limit))
    if width == 0.0 or limit >= _LOSSLESS_FROM * nbytes:
        excess = math.log2(max(1, sample_size_of(0.0)) / (limit * sample_share)) if width else 0.0
        if excess < 0.1 and (tries.add(0.0) <= 0.0 or width == 0.0):
            return tries.found(limit)
    high = min(math.log2(width), 1023.9)
    low = max(high - _OCTAVES, -1022.0)
    curve = SizeCurve(sample_size_of)
    wanted = math.log2(max(1.0, limit * sample_share))
    curve.approach(wanted, start=high - 10.0, low=low, high=high)
    aim, seen = wanted - _AIM, list[tuple[float, float]]()
    while len(tries.all) < MAX_ENCODES or tries.best is None:
        at = min(max(curve.bound_for(aim), low), high)
        excess = tries.add(2.0**at)
        if -_NEAR <= excess <= 0.0 or (excess > 0.0 and at == high):
            break
        seen.append((aim, excess))
        if excess <= 0.0 and at == low:
            break
        poor = tries.best is None or tries.best[0] < _POOR
        aim = _next(seen, _AIM * (6.0 if poor and len(tries.all) + 1 >= MAX_ENCODES else 1.0))
        if len(tries.all) >= MAX_ENCODES:
            aim = min(aim, seen[-1][0] - 1.0)
        if any(abs(aim - known) < 1e-4 for known, _ in seen):
            break
    return tries.found(limit)


def loosest_for_psnr(
    reached: Callable[[float], tuple[int, float]], *, decibel: float, amplitude: float, start: float
) -> Found:
    """Find the loosest bound at which the PSNR is not below `decibel`, within a decibel of it.

    Parameters
    ----------
    reached : callable
        Bytes, and PSNR in dB, at an absolute bound.
    decibel : float
        The target.
    amplitude : float
        The RMS error that it allows; a bound that small cannot miss.
    start : float
        Tried first.
    """
    best: tuple[int, float] | None = None
    bound, seen = start, list[tuple[float, float]]()
    for _ in range(MAX_ENCODES):
        size, psnr = reached(bound)
        excess = decibel - psnr
        if excess <= 0.0 and (best is None or size < best[0]):
            best = size, bound
        if -_DECIBEL_NEAR <= excess <= 0.0 or not math.isfinite(psnr):
            break
        seen.append((20.0 * math.log10(bound), excess))
        beyond = (_next(seen, _DECIBEL_AIM) - 20.0 * math.log10(amplitude)) / 20.0
        bound = amplitude * 10.0 ** min(max(beyond, 0.0), math.log10(PSNR_PEAK))
        if bound == math.inf or any(abs(20.0 * math.log10(bound) - known) < 1e-3 for known, _ in seen):
            break
    if best is None:
        best = reached(amplitude)[0], amplitude
    return Found(best[1], best[0], met=True)


def _next(seen: Sequence[tuple[float, float]], caution: float) -> float:
    """Where the excess should be `caution` below 0, given positions with excess that rises with them."""
    below = max((p for p in seen if p[1] <= 0.0), default=None)
    above = min((p for p in seen if p[1] > 0.0), default=None)
    near = min(seen, key=lambda p: abs(p[1]))
    slope = 1.0
    if below and above and above[0] > below[0]:
        slope = (above[1] - below[1]) / (above[0] - below[0])
        at = below[0] + (-caution - below[1]) / slope
        margin = 0.05 * (above[0] - below[0])
        return min(max(at, below[0] + margin), above[0] - margin)
    if len(seen) > 1 and seen[-1][0] != seen[-2][0]:
        slope = (seen[-1][1] - seen[-2][1]) / (seen[-1][0] - seen[-2][0])
    return near[0] - (near[1] + caution) / min(max(slope, 0.25), 4.0)


@dataclass(slots=True)
class _Tries:
    """Every encode of the whole, and the largest stream that is not too large."""

    excess_of: Callable[[float], float]
    all: list[tuple[float, float]] = field(default_factory=list)
    best: tuple[float, float] | None = None  # excess, bound

    def add(self, bound: float) -> float:
        excess = self.excess_of(bound)
        self.all.append((excess, bound))
        if excess <= 0.0 and (self.best is None or excess > self.best[0]):
            self.best = excess, bound
        return excess

    def found(self, limit: float) -> Found:
        excess, bound = self.best or min(self.all)
        return Found(bound, round(limit * 2.0**excess), met=self.best is not None)
