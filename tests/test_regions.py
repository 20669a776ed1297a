"""Bounds of regions: every cell keeps that of its own region, whatever the others ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.sz import Regions, SZConfig, decode, encode, info
from sciflow.errors import InvalidArgument
from sciflow.testing import SENTINELS, assert_bounded, assert_same_bits, fields
from tests import reference_decoder
from tests.golden.examples import hills, spotted
from tests.ocean import waves

TIGHT, LOOSE = Bound.abs(1e-3), Bound.abs(0.5)


def eye(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True in a box amid the array."""
    labels = np.zeros(shape, np.bool_)
    labels[tuple(slice(n // 3, n // 3 + max(1, n // 4)) for n in shape)] = True
    return labels


def assert_kept(
    field: NDArray[Any],
    stream: bytes,
    labels: NDArray[Any],
    bounds: dict[int, Bound | None],
    elsewhere: Bound,
) -> None:
    """Fail unless every cell keeps the bound of its own label."""
    back, rest = decode(stream), np.ones(field.shape, np.bool_)
    for label, bound in bounds.items():
        here = np.broadcast_to(labels == label, field.shape)
        rest &= ~here
        if bound is None:
            assert_same_bits(field[here], back[here])
        else:
            assert_bounded(field[here], back[here], bound, preserve=SENTINELS)
    assert_bounded(field[rest], back[rest], elsewhere, preserve=SENTINELS)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
@pytest.mark.parametrize("shape", [(300,), (40, 50), (12, 20, 30), (3, 5, 8, 16)])
def test_a_region_is_tighter_than_what_is_around_it(shape: tuple[int, ...], dtype: str) -> None:
    field, labels = waves(shape).astype(dtype), eye(shape)
    stream = encode(field, SZConfig(LOOSE), regions=Regions(labels, {1: TIGHT}))
    assert_kept(field, stream, labels, {1: TIGHT}, LOOSE)
    error = np.abs(decode(stream).astype("f8") - field)
    assert error[~labels].max() > TIGHT.value
    assert len(stream) < len(encode(field, SZConfig(TIGHT)))
    header = info(stream)
    assert (header.regions, header.elsewhere, header.bound) == (((1, TIGHT),), LOOSE, LOOSE)


def test_as_many_labels_as_a_field_has_parts() -> None:
    field = hills((60, 70))
    labels = np.arange(60)[:, None] // 10 - 2
    bounds: dict[int, Bound | None] = {
        -2: Bound.abs(1e-4), -1: None, 0: Bound.abs(1.0), 1: Bound.abs(1e-2), 9: Bound.abs(1e-9)
    }  # fmt: skip
    stream = encode(field, SZConfig(Bound.abs(0.1)), regions=Regions(labels, bounds))
    assert_kept(field, stream, labels, bounds, Bound.abs(0.1))
    header = info(stream)
    assert header.bound == Bound.abs(1.0)
    assert header.elsewhere == Bound.abs(0.1)
    assert header.regions == ((-2, Bound.abs(1e-4)), (-1, None), (0, Bound.abs(1.0)), (1, Bound.abs(1e-2)))


def test_a_relative_bound_is_of_the_range_of_the_array() -> None:
    field = waves((30, 40))
    width = float(field.max()) - float(field.min())
    stream = encode(field, SZConfig(Bound.rel(1e-2)), regions=Regions(eye((30, 40)), {1: Bound.rel(1e-4)}))
    assert info(stream).regions == ((1, Bound.abs(1e-4 * width)),)
    assert info(stream).request == Bound.rel(1e-2)


def test_a_mean_square_error_holds_over_all_regions() -> None:
    field = waves((30, 40))
    stream = encode(field, SZConfig(Bound.psnr(50.0)), regions=Regions(eye((30, 40)), {1: TIGHT}))
    assert_bounded(field, decode(stream), Bound.psnr(50.0))
    assert_kept(field, stream, eye((30, 40)), {1: TIGHT}, Bound.psnr(50.0))


@pytest.mark.parametrize(
    "labels",
    [np.zeros((30, 40), np.uint8), np.full((30, 40), 7), np.full((1, 1), np.nan)],
    ids=["all 0", "all 7", "NaN"],
)
def test_labels_that_are_absent_cost_nothing(labels: NDArray[Any]) -> None:
    field = waves((30, 40))
    regional = encode(field, SZConfig(LOOSE), regions=Regions(labels, {1: TIGHT, 2: None}))
    assert regional == encode(field, SZConfig(LOOSE))


def test_a_region_that_is_everything_is_its_bound() -> None:
    field = waves((30, 40))
    regional = encode(field, SZConfig(LOOSE), regions=Regions(np.ones((30, 40), bool), {1: TIGHT}))
    assert info(regional).bound == TIGHT
    assert info(regional).regions == ()
    assert regional == encode(field, SZConfig(TIGHT))


def test_memory_order_and_blocks_make_no_difference() -> None:
    field, labels = waves((40, 50)), eye((40, 50))
    regions = Regions(labels, {1: TIGHT})
    fortran = encode(np.asfortranarray(field), SZConfig(LOOSE), regions=regions)
    assert_kept(np.asfortranarray(field), fortran, labels, {1: TIGHT}, LOOSE)
    cut = encode(field, SZConfig(LOOSE, block_values=300), regions=regions)
    assert info(cut).nblocks > 3
    assert_kept(field, cut, labels, {1: TIGHT}, LOOSE)
    threaded = SZConfig(LOOSE, block_values=300, threads=3)
    assert encode(field, threaded, regions=regions) == cut


def test_specials_and_sentinels_come_back_in_every_region() -> None:
    field = spotted("<f8")
    field[0, :9] = -9999.0
    labels = np.arange(600).reshape(20, 30) % 3
    bounds: dict[int, Bound | None] = {1: Bound.abs(1e-6), 2: None}
    stream = encode(field, SZConfig(LOOSE, preserve=[-9999.0]), regions=Regions(labels, bounds))
    assert_kept(field, stream, labels, bounds, LOOSE)


@settings(max_examples=150)
@given(st.data())
def test_any_field_keeps_the_bounds_of_any_regions(data: st.DataObject) -> None:
    field = data.draw(fields(max_ndim=4, max_size=2000))
    seed, kinds = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 4))
    labels = np.random.default_rng(seed).integers(0, kinds + 1, field.shape)
    if data.draw(st.booleans()):  # in runs
        labels = np.sort(labels.reshape(-1)).reshape(field.shape)
    tightness = st.one_of(st.none(), st.integers(-14, 4).map(lambda power: Bound.abs(0.7 * 10.0**power)))
    bounds = {label: data.draw(tightness) for label in range(1, kinds + 1)}
    elsewhere = Bound.abs(10.0 ** data.draw(st.integers(-6, 4)))
    config = SZConfig(
        elsewhere,
        preserve=data.draw(st.sampled_from([(), SENTINELS])),
        block_values=data.draw(st.sampled_from([None, 64])),
        level=data.draw(st.sampled_from(["fast", "balanced", "max"])),
    )
    stream = encode(field, config, regions=Regions(labels, bounds))
    assert_kept(field, stream, labels, bounds, elsewhere)
    assert_same_bits(decode(stream), reference_decoder.decode(stream))


def test_two_hundred_and_fifty_five_labels() -> None:
    field = waves((51, 50))
    labels = np.arange(2550).reshape(51, 50) // 10
    bounds: dict[int, Bound | None] = {label: Bound.abs(1e-5 * (label + 1)) for label in range(255)}
    stream = encode(field, SZConfig(LOOSE), regions=Regions(labels, bounds))
    assert_kept(field, stream, labels, bounds, LOOSE)
    with pytest.raises(InvalidArgument, match="1 to 255"):
        Regions(labels, bounds | {255: TIGHT})


@pytest.mark.parametrize(
    ("labels", "bounds", "match"),
    [
        (np.zeros(3, "U1"), {1: TIGHT}, "whole numbers or booleans"),
        (np.array([0.5]), {1: TIGHT}, "whole numbers up to"),
        (np.array([np.inf]), {1: TIGHT}, "whole numbers up to"),
        (np.zeros(3, bool), {}, "1 to 255"),
        (np.zeros(3, bool), {1: Bound.pointwise_rel(0.1)}, "expected Bound.abs"),
        (np.zeros(3, bool), {1: Bound.ratio(10)}, "expected Bound.abs"),
        (np.zeros(3, bool), {1: 0.1}, "expected Bound.abs"),
        (np.zeros(3, bool), {"eye": TIGHT}, "label 'eye'"),
    ],
)
def test_what_makes_no_regions_is_refused(labels: NDArray[Any], bounds: Any, match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        Regions(labels, bounds)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (SZConfig(Bound.abs(0.1), rewrite_safe=True), "rewrite_safe"),
        (SZConfig(Bound.pointwise_rel(0.1)), "elsewhere"),
        (SZConfig(Bound.ratio(10)), "elsewhere"),
    ],
)
def test_what_does_not_go_with_regions_is_refused(config: SZConfig, match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        encode(waves((30, 40)), config, regions=Regions(eye((30, 40)), {1: TIGHT}))


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="broadcasts"):
        encode(waves((30, 40)), SZConfig(LOOSE), regions=Regions(eye((40, 30)), {1: TIGHT}))
