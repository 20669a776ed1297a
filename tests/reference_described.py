"""Section 9 of docs/format.md, for the reference decoder: what makes values of integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tests.reference_reader import Axes, DType, Reader, Values, require

Description: TypeAlias = Callable[[Values], Values]
Patterns: TypeAlias = Callable[[int], Values]  # so many patterns of binary64, as float64
Codes: TypeAlias = Callable[[int], Values]  # a grid of so many 64-bit codes, as int64


def read_description(
    reader: Reader, axes: Axes, dtype: DType, *, patterns: Patterns, codes: Codes
) -> Description:
    kind = reader.u8()
    require(kind <= 2, "a description is a table, steps or quotients")
    if kind == 0:
        table = read_table(reader, math.prod(axes), dtype, codes)
        return lambda q: table[np.where(q > 0, np.minimum(q, table.size - 1), 0).astype(np.int64)]
    k = reader.u8()
    require(k <= 3, "slices lie along the first three axes")
    slices = math.prod(axes[:k])
    require(slices == 1 or math.prod(axes) >= 16 * slices, "a slice holds 16 values")
    origin, step = patterns(slices)[:, None], patterns(slices)[:, None]
    require(bool(np.isfinite(origin).all() and np.isfinite(step).all()), "origins and steps are finite")
    require(bool((step > 0).all()), "a step is above 0")

    def described(q: Values) -> Values:
        rows = q.reshape(slices, -1)
        values = origin + (rows * step if kind == 1 else rows / step)
        return np.asarray(values.astype(dtype)).ravel()

    return described


def read_table(reader: Reader, most: int, dtype: DType, codes: Codes) -> Values:
    """The entries, shape (count,)."""
    count, bits = reader.varint(), 8 * dtype.itemsize
    require(1 <= count <= most, "a table has 1 to N entries")
    entry, g, shift = reader.array(dtype.str, 1)[0], reader.f64(), reader.u8()
    require(g >= 0 and shift < bits, "g and shift are in their ranges")
    gaps = codes(count - 1) if g > 0 and count > 1 else np.zeros(count - 1, np.int64)
    rests, entries = codes(count - 1) if count > 1 else gaps, [entry]
    for gap, rest in zip(gaps.tolist(), rests.tolist(), strict=True):
        more = rest if g > 0 else zigzag(rest) << shift
        if g > 0:
            entry = dtype.type(float(entry) + float(zigzag(gap)) * g)
            require(bool(np.isfinite(entry)), "a rounded sum is finite")
        entry = value_of((rank_of(entry, bits) + more) % (1 << bits), dtype)
        entries.append(entry)
    return np.array(entries, dtype)


def zigzag(v: int) -> int:
    return ((v << 1) ^ (v >> 63)) % (1 << 64)


def rank_of(value: np.floating, bits: int) -> int:
    pattern, sign = int(np.asarray(value).view(f"<u{bits // 8}")), 1 << (bits - 1)
    return pattern ^ (2 * sign - 1) if pattern & sign else pattern | sign


def value_of(rank: int, dtype: DType) -> np.floating:
    sign = 1 << (8 * dtype.itemsize - 1)
    pattern = rank ^ sign if rank & sign else rank ^ (2 * sign - 1)
    value: np.floating = np.array([pattern], f"<u{dtype.itemsize}").view(dtype)[0]
    return value
