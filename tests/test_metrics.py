"""Metrics: right against numpy, exact where a bound is judged, the same however the cells are split, lazy."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sciflow.bounds import Bound, Resolved, ValueRange, resolve
from sciflow.errors import InvalidArgument
from sciflow.metrics import ErrorStats, compare, count_changed_bits, psnr

Array = NDArray[Any]


def noisy(dtype: str, *, shape: tuple[int, ...] = (40, 30), seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    return x, (x + 1e-3 * rng.standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1, ::2]], ids=["C", "F", "strided"]
)
def test_agrees_with_numpy(dtype: str, layout: Callable[[Array], Array]) -> None:
    x, y = (layout(a) for a in noisy(dtype))
    stats = ErrorStats.measure(x, y, pointwise=True)
    error = y.astype("f8") - x.astype("f8")
    assert stats.max_abs_error == np.abs(error).max()
    assert stats.max_pointwise_error == pytest.approx(np.abs(error / x).max(), rel=1e-12)
    assert stats.mean_error == pytest.approx(error.mean(), rel=1e-9)
    assert stats.mean_abs_error == pytest.approx(np.abs(error).mean(), rel=1e-12)
    assert stats.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
    width = float(x.max()) - float(x.min())
    assert stats.nrmse == pytest.approx(stats.rmse / width, rel=1e-12)
    assert stats.psnr == pytest.approx(20 * math.log10(width / stats.rmse), rel=1e-12)
    assert stats.value_range == ValueRange(float(x.min()), float(x.max()), x.size)
    assert (stats.cells, stats.ordinary, stats.changed_specials) == (x.size, x.size, 0)


def test_identity_has_no_error() -> None:
    x, _ = noisy("f4")
    stats = ErrorStats.measure(x, x, pointwise=True)
    assert (stats.max_abs_error, stats.max_pointwise_error, stats.rmse, stats.nrmse) == (0, 0, 0, 0)
    assert stats.psnr == math.inf
    assert stats.broken_promises(Resolved("abs", 0.0, mse=0.0)) == []


SPECIALS = [np.nan, np.inf, -np.inf, -0.0, -9999.0]


@pytest.mark.parametrize("special", SPECIALS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_specials_do_not_count_but_must_come_back(special: float, dtype: str) -> None:
    x, y = noisy(dtype)
    x[3, ::2] = y[3, ::2] = special
    stats = ErrorStats.measure(x, y, preserve=[-9999.0], pointwise=True)
    assert (stats.ordinary, stats.changed_specials) == (x.size - 15, 0)
    assert stats.value_range.min > -10
    assert stats.max_abs_error < 0.01
    y[3, 0] = 0.0
    changed = ErrorStats.measure(x, y, preserve=[-9999.0])
    assert changed.changed_specials == 1
    assert "1 NaN, infinite, -0.0 or fill cells" in changed.broken_promises(Resolved("abs", 1.0))[0]


def test_a_nan_payload_is_part_of_the_value() -> None:
    x = np.array([0x7FC00001, 0x7FC00002], dtype="u4").view("f4")
    y = np.array([0x7FC00001, 0x7FC00000], dtype="u4").view("f4")
    assert ErrorStats.measure(x, y).changed_specials == 1


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_lost_value_is_an_infinite_error(lost: float) -> None:
    x, y = noisy("f4")
    y[1, 1] = lost
    stats = ErrorStats.measure(x, y, pointwise=True)
    assert stats.max_abs_error == math.inf
    assert stats.over_bound(Resolved("abs", 1e9)) == math.inf
    assert stats.broken_promises(Resolved("abs", 1e9))
    assert stats.broken_promises(Resolved("pointwise_rel", 0.5))


@pytest.mark.parametrize("tiny", [2.0**-60, -(2.0**-60)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_largest_error_is_rounded_up_never_down(tiny: float, dtype: str) -> None:
    x, y = np.array([1.0, 0.0], dtype), np.array([tiny, 0.0], dtype)
    exact = 1 - Fraction(tiny)
    stats = ErrorStats.measure(x, y)
    assert Fraction(stats.max_abs_error) >= exact
    assert Fraction(math.nextafter(stats.max_abs_error, 0.0)) < exact
    assert bool(stats.broken_promises(Resolved("abs", 1.0))) == (exact > 1)


def test_a_zero_must_stay_zero_under_a_pointwise_bound() -> None:
    stats = ErrorStats.measure(np.array([0.0, 1.0]), np.array([1e-300, 1.0]), pointwise=True)
    assert stats.max_pointwise_error == math.inf


@given(
    x=hnp.arrays("f8", 40, elements=st.floats(-1e3, 1e3, width=64)),
    factor=hnp.arrays("f8", 40, elements=st.floats(0.5, 1.5)),
)
def test_the_pointwise_error_is_exact_or_rounded_up(x: Array, factor: Array) -> None:
    y = x * factor
    ordinary = (x != 0) | ~np.signbit(x)
    exact = [
        abs(Fraction(a) - Fraction(b)) / abs(Fraction(a))
        for a, b in zip(x[ordinary], y[ordinary], strict=True)
        if a != b
    ]
    found = ErrorStats.measure(x, y, pointwise=True).max_pointwise_error
    assert Fraction(found) >= max(exact, default=Fraction(0))
    assert found <= float(max(exact, default=Fraction(0))) * (1 + 1e-15)


@given(
    data=st.data(),
    x=hnp.arrays("f4", st.integers(0, 60), elements=st.floats(width=32)),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_the_parts_make_the_whole(data: st.DataObject, x: Array, cuts: list[int]) -> None:
    y = data.draw(hnp.arrays("f4", x.shape, elements=st.floats(width=32)))
    edges = [0, *sorted(min(cut, x.size) for cut in cuts), x.size]
    parts = [ErrorStats.measure(x[a:b], y[a:b], pointwise=True) for a, b in pairwise(edges)]
    whole, joined = ErrorStats.measure(x, y, pointwise=True), ErrorStats.combine_all(parts)
    for name in ("cells", "ordinary", "changed_specials", "value_range", "max_abs_error"):
        assert getattr(joined, name) == getattr(whole, name)
    if x.size:
        assert joined.max_pointwise_error == whole.max_pointwise_error
    if math.isfinite(whole.max_abs_error):
        assert joined.rmse == pytest.approx(whole.rmse, rel=1e-12)
        assert joined.mean_abs_error == pytest.approx(whole.mean_abs_error, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    x, y = noisy("f8")
    plain, scaled = ErrorStats.measure(x, y), ErrorStats.measure(x * scale, y * scale)
    assert scaled.rmse == pytest.approx(plain.rmse * scale, rel=1e-9)
    assert scaled.psnr == pytest.approx(plain.psnr, rel=1e-9)
    both = scaled.combine(ErrorStats.measure(x, x))
    assert both.rmse == pytest.approx(plain.rmse * scale / math.sqrt(2), rel=1e-9)


def test_over_bound_is_at_most_one_exactly_where_the_bound_holds() -> None:
    stats = ErrorStats.measure(np.array([0.0, 1.0]), np.array([0.3, 1.0]))
    assert stats.over_bound(Resolved("abs", 0.3)) == 1.0
    assert stats.over_bound(Resolved("abs", math.nextafter(0.3, 0.0))) > 1.0
    assert stats.over_bound(Resolved("abs", 0.6)) == 0.5
    assert stats.over_bound(Resolved("pointwise_rel", 0.5)) == math.inf, "it was not measured"


def test_a_psnr_is_a_promise_of_its_own() -> None:
    x = np.linspace(0.0, 1.0, 1000)
    asked = resolve(Bound.psnr(60.0), ValueRange.of(x))
    signs = np.where(np.arange(x.size) % 2, 1.0, -1.0)
    kept = ErrorStats.measure(x, x + 0.99e-3 * signs)
    broken = ErrorStats.measure(x, x + asked.value * 0.999 * signs)
    assert kept.broken_promises(asked) == []
    assert kept.psnr >= 60.0
    assert broken.psnr < 60.0
    assert ["RMSE" in each for each in broken.broken_promises(asked)] == [True]


ORACLES: dict[str, Callable[[Array], Array]] = {
    "zero": np.zeros_like,
    "negative": np.negative,
    "noise": lambda x: (x + np.random.default_rng(1).uniform(-0.2, 0.2, x.shape)).astype(x.dtype),
    "shifted by a bit more than the bound": lambda x: x + np.float32(0.1001),
    "one cell wrong": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 700, x + 1, x),
}


@pytest.mark.parametrize("name", ORACLES)
def test_a_bad_reconstruction_is_found(name: str) -> None:
    x, _ = noisy("f4")
    assert ErrorStats.measure(x, ORACLES[name](x)).broken_promises(Resolved("abs", 0.1))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="shapes"):
        ErrorStats.measure(np.zeros(3), np.zeros(4))
    with pytest.raises(InvalidArgument, match="float32"):
        ErrorStats.measure(np.zeros(3), np.zeros(3, "f4"))
    with pytest.raises(InvalidArgument, match="float32"):
        ErrorStats.measure(np.zeros(3, "i4"), np.zeros(3, "i4"))
    with pytest.raises(InvalidArgument, match="shapes"):
        count_changed_bits(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("dtype", ["i2", ">i4", "f2", "f4", "c8", "c16", "?", "M8[s]", "S4"])
def test_changed_bits_are_counted_cell_by_cell(dtype: str) -> None:
    x = np.arange(12).reshape(3, 4).astype("i8").astype(dtype)
    y = x.copy()
    assert count_changed_bits(x, y.astype(y.dtype.newbyteorder("="))) == 0
    y[1, 1] = y[0, 0]
    y[2, 3] = y[0, 0]
    assert count_changed_bits(x, y) == 2


def test_changed_bits_see_signs_of_zero_and_text() -> None:
    assert count_changed_bits(np.array([0.0, np.nan]), np.array([-0.0, np.nan])) == 1
    text = np.array(["a", "b"], dtype=object)
    assert count_changed_bits(text, np.array(["a", "c"])) == 1


def test_psnr_at_its_ends() -> None:
    assert psnr(1.0, 0.0) == math.inf
    assert psnr(0.0, 1.0) == -math.inf
    assert psnr(1.0, math.inf) == -math.inf


@pytest.fixture
def pair() -> tuple[xr.DataArray, xr.DataArray]:
    x, y = noisy("f4", shape=(6, 20, 30))
    x[:, :3] = np.nan
    y[:, :3] = 7.0  # a reconstruction may hold anything where the original has nothing
    coords = {"lat": np.linspace(-80, 80, 20)}
    return xr.DataArray(x, dims=("time", "lat", "lon"), coords=coords), xr.DataArray(
        y, dims=("time", "lat", "lon")
    )


def test_compare_agrees_with_the_statistics(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    x, y = pair
    found = compare(x, y)
    stats = ErrorStats.measure(x.values, np.where(np.isnan(x.values), x.values, y.values))
    for name in ("max_abs_error", "mean_abs_error", "mean_error", "rmse", "nrmse", "psnr"):
        assert float(found[name]) == pytest.approx(getattr(stats, name), rel=1e-9)
    valid = np.isfinite(x.values)
    assert float(found.pearson_r) == pytest.approx(
        np.corrcoef(x.values[valid], y.values[valid])[0, 1], rel=1e-9
    )


def test_compare_along_dimensions(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    x, y = pair
    found = compare(x, y, dim=("lat", "lon"))
    assert found.sizes == {"time": 6}
    error = np.abs(y.values.astype("f8") - x.values)
    np.testing.assert_allclose(found.max_abs_error, np.nanmax(error, axis=(1, 2)))
    assert compare(x, y, dim="lon").sizes == {"time": 6, "lat": 20}


def test_compare_with_weights(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    x, y = pair
    weights = np.cos(np.deg2rad(x.lat))
    w = np.broadcast_to(weights.values[:, None], x.shape) * np.isfinite(x.values)
    error = np.where(np.isfinite(x.values), y.values.astype("f8") - x.values, 0.0)
    found = compare(x, y, weights=weights)
    assert float(found.mean_error) == pytest.approx((error * w).sum() / w.sum(), rel=1e-9)
    assert float(found.rmse) == pytest.approx(np.sqrt((error**2 * w).sum() / w.sum()), rel=1e-9)


def test_compare_is_lazy(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    x, y = (array.chunk({"time": 2}) for array in pair)
    with dask.config.set(scheduler=refuse):
        found = compare(x, y, dim="time")
    assert all(v.chunks is not None for v in found.values())


def test_compare_datasets_variable_by_variable(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    x, y = pair
    original = xr.Dataset({"a": x, "b": 2 * x, "mask": x > 0})
    found = compare(original, xr.Dataset({"a": y, "b": 2 * y, "mask": x > 0}))
    assert found["variable"].values.tolist() == ["a", "b"]
    assert float(found.rmse.sel(variable="b")) == pytest.approx(
        2 * float(found.rmse.sel(variable="a")), rel=1e-6
    )


def test_compare_of_nothing_is_refused(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    x, y = pair
    with pytest.raises(InvalidArgument, match="no float variable in common"):
        compare(xr.Dataset({"a": x}), xr.Dataset({"b": y}))
    with pytest.raises(InvalidArgument, match="two datasets or two arrays"):
        compare(xr.Dataset({"a": x}), y)
    with pytest.raises(InvalidArgument, match="sizes"):
        compare(x, y.isel(time=0))


def test_constants_are_told_apart() -> None:
    x = xr.DataArray(np.ones(5), dims="x")
    assert float(compare(x, x).psnr) == math.inf
    assert float(compare(x, x).nrmse) == 0.0
    assert float(compare(x, x + 1).nrmse) == math.inf
