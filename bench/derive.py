"""What the page says of a run: bytes against the reference and against the oracle, speeds, equal PSNR.

Notation: B(codec) are the bytes of a field at a bound. Every mean is geometric, over the fields that have
both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.measure import Row
from bench.results import LOSSLESS, REFERENCE, Results, geometric_mean


@dataclass(frozen=True, slots=True)
class Mean:
    """A geometric mean and over how many fields."""

    value: float
    fields: int


@dataclass(frozen=True, slots=True)
class Worst:
    """The field on which a codec does worst: bytes over those of the best peer, and that peer's name."""

    field: str
    factor: float
    peer: str


def bytes_over(results: Results, codec: str, bound: float, *, reference: str = REFERENCE) -> Mean:
    """Return the mean of B(``codec``) / B(``reference``)."""
    return _mean(results, codec, bound, lambda field: results.at(reference, field, bound))


def bytes_over_oracle(results: Results, codec: str, bound: float) -> Mean:
    """Return the mean of B(``codec``) / B(`oracle`)."""
    return _mean(results, codec, bound, lambda field: oracle(results, field, bound))


def oracle(results: Results, field: str, bound: float) -> Row | None:
    """Return the smallest row of a peer that kept ``bound`` on ``field``, lossless ones included."""
    kept = [row for peer in results.peers if (row := results.at(peer, field, bound)) and row.violations == 0]
    return min(kept, key=lambda row: row.bytes, default=None)


def worst(results: Results, codec: str, bound: float) -> Worst | None:
    """Return where ``codec`` does worst against `oracle` at ``bound``."""
    found = []
    for field in results.fields:
        row, best = results.at(codec, field, bound), oracle(results, field, bound)
        if row and best:
            found.append(Worst(field, row.bytes / best.bytes, best.codec))
    return max(found, key=lambda each: each.factor, default=None)


def fields_lost(results: Results, codec: str, bound: float) -> Mean:
    """Return the share of the fields on which ``codec`` is larger than `oracle`, and of how many."""
    pairs = [(results.at(codec, field, bound), oracle(results, field, bound)) for field in results.fields]
    lost = [row.bytes > best.bytes for row, best in pairs if row and best]
    return Mean(sum(lost) / len(lost) if lost else math.nan, len(lost))


@dataclass(frozen=True, slots=True)
class Speed:
    """Compress and decompress speeds by CPU time: MB/s, over those of the reference, over that of memcpy."""

    mbs: tuple[float, float]
    over_reference: tuple[float, float]
    over_memcpy: tuple[float, float]
    fields: int


def speed(results: Results, codec: str, bound: float) -> Speed:
    """Return the speeds of ``codec`` at ``bound``, means over the large fields."""
    pairs = [
        (row, results.at(REFERENCE, field, bound))
        for field in results.large_fields()
        if (row := results.at(codec, field, bound))
    ]
    copied = [row for row, _ in pairs if row.memcpy_mbs]
    both = [(row, other) for row, other in pairs if other]
    return Speed(
        (
            geometric_mean(row.comp_cpu_mbs for row, _ in pairs),
            geometric_mean(row.decomp_cpu_mbs for row, _ in pairs),
        ),
        (
            geometric_mean(row.comp_cpu_mbs / other.comp_cpu_mbs for row, other in both),
            geometric_mean(row.decomp_cpu_mbs / other.decomp_cpu_mbs for row, other in both),
        ),
        (
            geometric_mean(row.comp_cpu_mbs / row.memcpy_mbs for row in copied),
            geometric_mean(row.decomp_cpu_mbs / row.memcpy_mbs for row in copied),
        ),
        len(pairs),
    )


@dataclass(frozen=True, slots=True)
class Roofline:
    """Bytes a value that have to move, and nanoseconds: of that at the speed of memcpy, and of the codec."""

    moved: float
    least: float
    compress: float
    decompress: float


def roofline(results: Results, codec: str, bound: float) -> Roofline:
    """Return the floor of memory and the times of ``codec`` at ``bound``, means over the large fields.

    ``moved`` are the bytes a value of the field and of the stream, each read or written once. memcpy reads
    and writes: at its MB/s twice as many bytes move.
    """
    moved, least, compress, decompress = [], [], [], []
    for name in results.large_fields():
        row = results.at(codec, name, bound)
        if row and row.memcpy_mbs:
            width = np.dtype(row.dtype).itemsize
            moved.append(width + row.bits_per_value / 8)
            least.append(1e3 * moved[-1] / (2 * row.memcpy_mbs))
            compress.append(1e3 * width / row.comp_cpu_mbs)
            decompress.append(1e3 * width / row.decomp_cpu_mbs)
    means = (geometric_mean(values) for values in (moved, least, compress, decompress))
    return Roofline(*means)


def memcpy_mbs(results: Results) -> float:
    """Return the mean speed of copying the large fields, NaN where it was not measured."""
    large = set(results.large_fields())
    return geometric_mean(row.memcpy_mbs for row in results.rows if row.memcpy_mbs and row.field in large)


def bits_at(points: Sequence[tuple[float, float]], psnr: float) -> float:
    """Return the bits a value at ``psnr``: log(bits) interpolated between (psnr, bits) ``points``.

    NaN outside of the points: nothing is extrapolated. Where a codec spends more bits on a lower PSNR, its
    better point counts.

    Examples
    --------
    >>> round(bits_at([(40.0, 1.0), (60.0, 4.0)], 50.0), 6)
    2.0
    """
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda each: (-each[0], each[1])):
        if math.isfinite(point[0]) and (not front or point[1] < front[-1][1]):
            front.append(point)
    front.reverse()
    for (low, few), (high, many) in itertools.pairwise(front):
        if low <= psnr <= high:
            share = (psnr - low) / (high - low)
            return math.exp((1 - share) * math.log(few) + share * math.log(many))
    return math.nan


def rate_points(results: Results, codec: str, field: str) -> list[tuple[float, float]]:
    """Return (PSNR in dB, bits a value) of ``codec`` on ``field``, a point a bound."""
    rows = [row for bound in results.bounds if (row := results.at(codec, field, bound)) and row.bound]
    return [(row.psnr, row.bits_per_value) for row in rows]


def bits_at_equal_psnr(results: Results, codec: str, anchor: str, bound: float) -> Mean:
    """Return the mean of bits(``codec``) / bits(``anchor``) at the PSNR that ``anchor`` has at ``bound``."""
    if codec in LOSSLESS:
        return Mean(math.nan, 0)
    quotients = []
    for field in results.fields:
        row = results.at(anchor, field, bound)
        if row and row.bound:
            bits = bits_at(rate_points(results, codec, field), row.psnr)
            if not math.isnan(bits):
                quotients.append(bits / row.bits_per_value)
    return Mean(geometric_mean(quotients), len(quotients))


def disturbed(results: Results) -> tuple[int, int]:
    """Return how many rows took a tenth longer on the wall than on the CPU, and how many there are."""
    timed = [row for row in results.rows if row.status == "ok"]
    late = [
        row
        for row in timed
        if row.comp_mbs < 0.9 * row.comp_cpu_mbs or row.decomp_mbs < 0.9 * row.decomp_cpu_mbs
    ]
    return len(late), len(timed)


def _mean(results: Results, codec: str, bound: float, other: Callable[[str], Row | None]) -> Mean:
    quotients = []
    for field in results.fields:
        row, against = results.at(codec, field, bound), other(field)
        if row and against:
            quotients.append(row.bytes / against.bytes)
    return Mean(geometric_mean(quotients), len(quotients))
