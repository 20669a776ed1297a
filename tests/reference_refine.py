"""Bounds of regions (section 13 of docs/format.md), for the reference decoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import tests.reference_decoder as base
from tests.reference_reader import Axes, DType, Reader, Values, require

MOST_PREDICTED = 16  # regions of a block


def read_header(reader: Reader, flags: int, bound: float) -> None:
    """Pass over the bounds of regions, which tell a decoder nothing, where there are any."""
    if flags & 64 == 0:
        return
    require(flags & 8 == 0 and flags >> 4 & 3 != 2, "regions have neither lattice nor pointwise bounds")
    bounds, count = [reader.f64()], reader.varint()
    require(1 <= count <= 255, "there are 1 to 255 regions")
    for _ in range(count):
        reader.varint()
        bounds.append(reader.f64())
    require(all(0 <= each <= bound for each in bounds), "the header's bound is the loosest")


def apply(
    reader: Reader,
    flags: int,
    axes: Axes,
    values: Values,
    exact: tuple[NDArray[np.bool_], Values] | None,
) -> None:
    """Refine the values of a block, shape (N,), in place, where its flags say so."""
    if flags & 64 == 0:
        return
    dtype, free = values.dtype, ~exact[0] if exact else np.ones(values.size, np.bool_)
    count, left, predicted = reader.u8(), values.size, 0
    require(count > 0, "a refinement has a region")
    for _ in range(count):
        marked = base.read_runs(reader, axes, reader.u8()) & free
        layout, step, size = reader.u8(), reader.f64(), int(marked.sum())
        left, predicted = left - size, predicted + (layout == 1)
        require(layout <= 1 and step >= 0, "layout and step are in their ranges")
        require(size > 0 and left >= 0, "regions hold values, none twice")
        require(predicted <= MOST_PREDICTED, "few regions are predicted")
        codes = read_codes(reader, axes, dtype, marked, predicted=layout == 1)
        values[marked] = moved(values[marked], codes, step)
    where, patterns = base.read_exact_set(reader, axes, f"<u{dtype.itemsize}")
    values.view(f"<u{dtype.itemsize}")[where] = patterns


def read_codes(
    reader: Reader, axes: Axes, dtype: DType, marked: NDArray[np.bool_], *, predicted: bool
) -> NDArray[np.int64]:
    """One code a marked position."""
    if not predicted:
        (codes,) = base.decode_grids(reader, [((1, 1, 1, int(marked.sum())), False)], f"<i{dtype.itemsize}")
        return np.asarray(codes.ravel().astype(np.int64))
    integers = base.decode_multilevel(reader, axes, dtype, 0, lattice=True)[marked]
    require(bool((np.abs(integers) < 2.0**31).all()), "predicted codes are below 2^31")
    return np.asarray(integers.astype(np.int64))


def moved(values: Values, codes: NDArray[np.int64], step: float) -> Values:
    """The values that codes take values to."""
    dtype = values.dtype
    if step > 0:
        further = (values.astype("<f8") + codes.astype("<f8") * step).astype(dtype)
        return np.asarray(np.where(codes == 0, values, further))
    word = np.dtype(f"<u{dtype.itemsize}")
    places = placed(values.view(word)) + codes.astype(f"<i{dtype.itemsize}").view(word)
    return placed(places).view(dtype)


def placed(patterns: Values) -> Values:
    """Places of bit patterns in the order of values, and patterns of places."""
    sign = patterns.dtype.type(1) << patterns.dtype.type(8 * patterns.dtype.itemsize - 1)
    return np.asarray(np.where(patterns & sign != 0, sign - patterns, patterns))
