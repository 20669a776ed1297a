"""Bounds are values: checked when made, equal to their repr and JSON, resolved against the data they name."""

from __future__ import annotations

import json
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciflow.bounds import PSNR_PEAK, Bound, Resolved, ValueRange, promise, resolve
from sciflow.errors import InvalidArgument
from sciflow.testing import bounds

DTYPES = ("<f4", ">f4", "<f8", ">f8")


@given(bounds())
def test_a_bound_equals_its_repr_its_json_and_its_pickle(bound: Bound) -> None:
    assert eval(repr(bound), {"Bound": Bound}) == bound
    assert Bound.from_json(json.loads(json.dumps(bound.to_json(), allow_nan=False))) == bound
    assert pickle.loads(pickle.dumps(bound)) == bound
    assert Bound.parse(f"{bound.kind}={bound.value!r}") == bound


def test_an_abs_bound_may_carry_a_mean_square_error() -> None:
    bound = Bound.abs(1.0, mse=0.25)
    assert bound.to_json() == {"kind": "abs", "value": 1.0, "mse": 0.25}
    assert eval(repr(bound), {"Bound": Bound}) == bound == Bound.from_json(bound.to_json())
    with pytest.raises(InvalidArgument, match="abs bound only"):
        Bound("rel", 1.0, 0.25)


@pytest.mark.parametrize("kind", ["abs", "rel", "pointwise_rel", "psnr", "ratio", "nbytes"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", None, True, 1j, [1.0]])
def test_a_bound_is_a_finite_number_above_zero(kind: Any, value: Any) -> None:
    if (kind, value) == ("abs", 0):
        assert Bound.abs(0).value == 0.0  # every bit
        return
    with pytest.raises(InvalidArgument, match=kind):
        Bound(kind, value)


def test_numpy_and_whole_numbers_become_floats() -> None:
    numbers: list[Any] = [1, np.float32(1.0), np.int64(1)]
    assert {Bound.abs(value) for value in numbers} == {Bound.abs(1.0)}
    assert {type(Bound.abs(value).value) for value in numbers} == {float}


@pytest.mark.parametrize("bound", [Bound.ratio(2.5), Bound.nbytes(1e6)])
def test_a_target_of_size_is_a_value_that_no_range_resolves(bound: Bound) -> None:
    assert bound.is_size
    assert not Bound.rel(0.1).is_size
    assert eval(repr(bound), {"Bound": Bound}) == bound == Bound.from_json(bound.to_json())
    with pytest.raises(InvalidArgument, match="only when data are encoded"):
        resolve(bound, ValueRange(0.0, 1.0, 2))
    assert promise(bound, ValueRange(0.0, 1.0, 2)) == Resolved("abs", math.inf)


@pytest.mark.parametrize("kind", ["ratio", "nbytes"])
def test_a_size_is_one_at_least(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match="1 or more"):
        Bound(kind, 0.5)


def test_what_a_search_for_a_psnr_may_end_with() -> None:
    anything = ValueRange(0.0, 10.0, 5)
    assert promise(Bound.psnr(20.0), anything).value == pytest.approx(PSNR_PEAK)
    assert promise(Bound.psnr(20.0), anything).mse == pytest.approx(1.0)
    assert promise(Bound.rel(0.1), anything) == resolve(Bound.rel(0.1), anything)


def test_pointwise_below_one() -> None:
    with pytest.raises(InvalidArgument, match="below 1"):
        Bound.pointwise_rel(1.0)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("1e-3", Bound.rel(1e-3)),
        (" rel = 1e-3 ", Bound.rel(1e-3)),
        ("abs:0.1", Bound.abs(0.1)),
        ("pointwise-rel=0.01", Bound.pointwise_rel(0.01)),
        ("PSNR=60", Bound.psnr(60.0)),
        ("ratio=20", Bound.ratio(20)),
        ("nbytes:1e6", Bound.nbytes(1_000_000)),
    ],
)
def test_text_is_read(text: str, bound: Bound) -> None:
    assert Bound.parse(text) == bound


@pytest.mark.parametrize(
    "text", ["", "abs", "abs=", "abs=x", "nope=1", "=1", "1e-3=rel", "nan", "abs=-1", "abs=1=2"]
)
def test_other_text_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Bound.parse(text)


@pytest.mark.parametrize(
    "data",
    [None, 0.1, {}, {"kind": "abs"}, {"kind": "abs", "value": 1, "unit": "K"}, {"kind": "l2", "value": 1}],
)
def test_other_json_is_refused(data: object) -> None:
    with pytest.raises(InvalidArgument):
        Bound.from_json(data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_range_leaves_out_what_is_not_data(dtype: str) -> None:
    field = np.array([[3.0, np.nan, -2.0], [np.inf, -9999.0, 1e20]], dtype)
    assert ValueRange.of(field, preserve=[-9999.0, 1e20, math.nan]) == ValueRange(-2.0, 3.0, 2)
    assert ValueRange.of(field.T[::-1], preserve=[-9999.0, 1e20]) == ValueRange(-2.0, 3.0, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (4,)])
def test_a_range_of_nothing(dtype: str, shape: tuple[int, ...]) -> None:
    nothing = ValueRange.of(np.full(shape, np.nan, dtype))
    assert nothing == ValueRange()
    assert nothing.merge(ValueRange(1.0, 2.0, 3)) == ValueRange(1.0, 2.0, 3)
    assert resolve(Bound.rel(0.1), nothing).value == 0.0


def test_a_range_of_one_cell() -> None:
    assert ValueRange.of(np.array(3.5)) == ValueRange(3.5, 3.5, 1)


def test_ranges_of_pieces_merge() -> None:
    field = np.random.default_rng(1).normal(size=100)
    pieces = ValueRange.of(field[:30]).merge(ValueRange.of(field[30:]))
    assert pieces == ValueRange.of(field)


def test_abs_and_pointwise_stay() -> None:
    anything = ValueRange(0.0, 9.0, 5)
    assert resolve(Bound.abs(0.5, mse=0.1), anything) == Resolved("abs", 0.5, 0.1)
    assert resolve(Bound.pointwise_rel(0.5), anything) == Resolved("pointwise_rel", 0.5)


def test_rel_is_of_the_range() -> None:
    assert resolve(Bound.rel(0.25), ValueRange(-1.0, 3.0, 5)) == Resolved("abs", 1.0)


def test_psnr_is_a_mean_square_error_and_the_interval_that_reaches_it() -> None:
    resolved = resolve(Bound.psnr(20.0), ValueRange(0.0, 10.0, 5))
    assert resolved.mse == pytest.approx(1.0)
    assert resolved.value == pytest.approx(math.sqrt(3.0))


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([Bound.rel(1e-3), Bound.rel(10.0), Bound.psnr(60.0), Bound.psnr(6000.0)]),
)
def test_any_range_resolves_to_a_bound_that_a_codec_takes(a: float, b: float, bound: Bound) -> None:
    resolved = resolve(bound, ValueRange(min(a, b), max(a, b), 2))
    assert 0.0 <= resolved.value <= sys.float_info.max
    assert resolved.mse is None or sys.float_info.min <= resolved.mse <= sys.float_info.max
    assert resolved.bound().value >= resolved.value


def test_a_constant_variable_resolves_to_every_bit() -> None:
    resolved = resolve(Bound.rel(0.1), ValueRange(7.0, 7.0, 3))
    assert resolved == Resolved("abs", 0.0)
    assert resolved.bound() == Bound.abs(sys.float_info.min)
