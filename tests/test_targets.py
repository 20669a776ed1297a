"""Targets of size and PSNR: met where they can be, not missed by far, named where they cannot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sciflow.bounds import PSNR_PEAK, Bound
from sciflow.codecs.sz import SZConfig, decode, encode, info
from sciflow.codecs.targets import (
    MAX_ENCODES,
    Found,
    SizeCurve,
    crops,
    loosest_for_psnr,
    tightest_for_size,
)
from sciflow.errors import InvalidArgument
from sciflow.metrics import ErrorStats
from sciflow.testing import SENTINELS, assert_bounded, assert_same_bits, fields
from tests.golden.examples import hills, spotted
from tests.ocean import waves

FIELDS = {"plane": waves((90, 110)), "volume": waves((30, 40, 50), "f8"), "series": waves((50_000,))}


@pytest.mark.parametrize("ratio", [4.0, 10.0, 40.0])
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_ratio_is_met_and_not_by_far(field: NDArray[Any], ratio: float) -> None:
    stream = encode(field, SZConfig(Bound.ratio(ratio)))
    assert 0.9 * field.nbytes / ratio < len(stream) <= field.nbytes / ratio
    header = info(stream)
    assert header.bound is not None
    assert header.request == header.bound
    assert_bounded(field, decode(stream), header.bound)


def test_a_smaller_error_would_not_fit() -> None:
    field = FIELDS["plane"]
    found = info(encode(field, SZConfig(Bound.ratio(10.0)))).bound
    assert found is not None
    tighter = encode(field, SZConfig(Bound.abs(found.value / 1.2)))
    assert len(tighter) > field.nbytes / 10.0


def test_bytes_are_as_good_as_a_ratio() -> None:
    field = FIELDS["volume"]
    stream = encode(field, SZConfig(Bound.nbytes(20_000)))
    assert 18_000 < len(stream) <= 20_000
    assert len(encode(field, SZConfig(Bound.ratio(field.nbytes / 20_000)))) == len(stream)


def test_every_bit_where_it_fits() -> None:
    field = hills((60, 80), rough=0)
    stream = encode(field, SZConfig(Bound.ratio(1.5)))
    assert info(stream).bound is None
    assert_same_bits(field, decode(stream))


@pytest.mark.parametrize("field", [np.full((40, 50), 3.5), np.full((3, 9), np.nan, "f4"), np.empty((0, 4))])
def test_fields_without_a_range(field: NDArray[Any]) -> None:
    assert_same_bits(field, decode(encode(field, SZConfig(Bound.nbytes(200)))))
    with pytest.raises(InvalidArgument, match="the smallest that was reached is"):
        encode(field, SZConfig(Bound.nbytes(3)))


def test_what_no_bound_meets_names_the_smallest_size() -> None:
    field = spotted()
    with pytest.raises(
        InvalidArgument, match=r"at most 10 bytes of 2400: the smallest that was reached is \d+"
    ):
        encode(field, SZConfig(Bound.nbytes(10)))


def test_nothing_else_is_changed_by_a_target() -> None:
    field = np.asfortranarray(spotted("<f8").astype(">f8"))
    stream = encode(field, SZConfig(Bound.ratio(6.0), preserve=[-9999.0], block_values=200))
    header = info(stream)
    assert (header.order, header.dtype, header.nblocks > 1) == ("F", field.dtype, True)
    assert header.bound is not None
    assert_bounded(field, decode(stream), header.bound)


def test_targets_and_rewriting_contradict_each_other() -> None:
    with pytest.raises(InvalidArgument, match="rewrite_safe"):
        SZConfig(Bound.ratio(10.0), rewrite_safe=True)


@given(fields(max_ndim=4), st.sampled_from([1.0, 1.5, 3.0, 10.0, 50.0]))
def test_any_field_keeps_to_its_size_or_says_why_not(field: NDArray[Any], ratio: float) -> None:
    config = SZConfig(Bound.ratio(ratio), preserve=SENTINELS)
    try:
        stream = encode(field, config)
    except InvalidArgument:
        assume(False)
    assert len(stream) <= field.nbytes / ratio or field.size == 0
    found = info(stream).bound
    if found is None:
        assert_same_bits(field, decode(stream))
    else:
        assert_bounded(field, decode(stream), found, preserve=SENTINELS)


@pytest.mark.parametrize("decibel", [30.0, 50.0, 75.0])
@pytest.mark.parametrize("field", [FIELDS["plane"], FIELDS["volume"]])
def test_a_psnr_is_met_and_not_by_far(field: NDArray[Any], decibel: float) -> None:
    stream = encode(field, SZConfig(Bound.psnr(decibel)))
    assert decibel <= ErrorStats.measure(field, decode(stream)).psnr < decibel + 2.0
    assert_bounded(field, decode(stream), Bound.psnr(decibel))
    assert info(stream).request == Bound.psnr(decibel)


def test_a_psnr_takes_a_looser_bound_where_errors_are_small() -> None:
    field = np.zeros((60, 70), "f4")
    field[20:30, 20:40] = waves((10, 20))
    searched, plain = (
        encode(field, SZConfig(Bound.psnr(45.0), level=each)) for each in ("balanced", "quick")
    )
    first, second = info(searched).bound, info(plain).bound
    assert first is not None
    assert second is not None
    assert first.value > second.value


@given(fields(max_ndim=3), st.integers(10, 150))
def test_any_field_keeps_its_psnr(field: NDArray[Any], decibel: int) -> None:
    assume(field.size > 0)
    stream = encode(field, SZConfig(Bound.psnr(float(decibel)), preserve=SENTINELS))
    assert_bounded(field, decode(stream), Bound.psnr(float(decibel)), preserve=SENTINELS)


def sizes_of(exponent: float, jump: float = 1.0) -> Any:
    """Bytes that fall with a power of the bound, and by `jump` where it passes 1/1000."""
    return lambda bound: int(1000.0 * max(bound, 1e-30) ** -exponent / (jump if bound > 1e-3 else 1.0))


@pytest.mark.parametrize("exponent", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("jump", [1.0, 3.0])
@pytest.mark.parametrize("factor", [1.0, 0.7, 1.6])
def test_few_encodes_find_the_size(exponent: float, jump: float, factor: float) -> None:
    true, encodes = sizes_of(exponent, jump), list[float]()

    def size_of(bound: float) -> int:
        encodes.append(bound)
        return int(true(bound) * factor)

    limit = 1000.0 * 1e-3**-exponent * 1.02
    found = tightest_for_size(
        size_of, lambda b: true(b) // 16, limit=limit, sample_share=1 / 16, nbytes=10**9, width=1.0
    )
    assert found.met
    assert len(encodes) <= MAX_ENCODES
    assert limit * (0.97 if jump == 1.0 else 0.3) < found.size <= limit
    assert found.size == int(true(found.bound) * factor)


def test_no_bound_above_the_range_is_tried() -> None:
    tried: list[float] = []

    def size_of(bound: float) -> int:
        tried.append(bound)
        return 100

    found = tightest_for_size(size_of, size_of, limit=50, sample_share=1.0, nbytes=4000, width=2.0)
    assert found == Found(2.0, 100, met=False)
    assert max(tried) == 2.0


def test_a_psnr_that_no_search_meets_falls_back_on_the_sure_bound() -> None:
    found = loosest_for_psnr(
        lambda b: (100, 60.0 if b <= 1e-6 else 39.9), decibel=40, amplitude=1e-6, start=1.0
    )
    assert (found.bound, found.met) == (1e-6, True)


def test_the_bound_of_a_psnr_stays_below_its_peak() -> None:
    found = loosest_for_psnr(lambda b: (int(1e6 / b), 90.0), decibel=40, amplitude=1.0, start=1.7)
    assert found.bound == pytest.approx(PSNR_PEAK)


def test_a_curve_goes_on_beyond_its_ends() -> None:
    curve = SizeCurve(sizes_of(0.5))
    curve.approach(12.0, start=-10.0, low=-40.0, high=0.0)
    assert curve.bound_for(12.0) == pytest.approx(2 * (math.log2(1000.0) - 12.0), abs=0.1)
    assert curve.bound_for(20.0) < -18.0
    assert curve.bound_for(5.0) > 8.0


@pytest.mark.parametrize("shape", [(), (1,), (400,), (100_000,), (1, 300, 300), (9, 1, 80, 90), (2,) * 8])
def test_a_sample_lies_within_the_array(shape: tuple[int, ...]) -> None:
    field = np.arange(math.prod(shape)).reshape(shape)
    boxes = [field[box] for box in crops(shape, 1e9)]
    assert all(box.size for box in boxes)
    cells = sum(box.size for box in boxes)
    assert cells == field.size if field.size <= 1 << 15 else 0.03 < cells / field.size < 0.3
    assert sum(box.size for box in map(field.__getitem__, crops(shape, 1.0))) <= max(field.size, 1)
