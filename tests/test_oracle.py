"""The checker itself: broken codecs must fail it, honest ones pass. What cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.sz import SZConfig, decode, encode
from sciflow.testing import assert_bounded, assert_same_bits, bounds, fields

Field = NDArray[Any]
Codec = Callable[[Field], Field]
BOUND = Bound.abs(0.25)
SENTINEL = -9999.0


def example(dtype: str = "<f4") -> Field:
    """Ordinary values between 1 and 3, and one of each special value."""
    field: Field = (2.0 + np.sin(np.arange(60.0))).astype(dtype).reshape(6, 10)
    field[0, :5] = [np.nan, np.inf, -np.inf, -0.0, SENTINEL]
    field.view(f"{dtype[0]}u{field.itemsize}")[1, 0] ^= 1
    return field


def zero(field: Field) -> Field:
    return np.zeros(field.shape, field.dtype)


def neg(field: Field) -> Field:
    return np.negative(field)


def identity(field: Field) -> Field:
    return field.copy()


def noise(field: Field) -> Field:
    return np.asarray(np.random.default_rng(0).normal(size=field.shape)).astype(field.dtype)


def mock(field: Field) -> Field:
    return decode(encode(field, SZConfig(BOUND, preserve=[SENTINEL])))


def with_cell(index: tuple[int, int], value: float) -> Codec:
    def broken(field: Field) -> Field:
        decoded = field.copy()
        decoded[index] = value
        return decoded

    return broken


def swapped(field: Field) -> Field:
    return field.byteswap()


def wrong_order(field: Field) -> Field:
    return field.reshape(-1, order="F").reshape(field.shape)


def other_payload(field: Field) -> Field:
    decoded = field.copy()
    decoded.view(f"{field.dtype.str[0]}u{field.itemsize}")[0, 0] ^= 2
    return decoded


BROKEN: dict[str, Codec] = {
    "zero": zero,
    "neg": neg,
    "noise": noise,
    "byte order": swapped,
    "memory order": wrong_order,
    "nan lost": with_cell((0, 0), 0.0),
    "payload lost": other_payload,
    "inf lost": with_cell((0, 1), 3.4e38),
    "sign of inf lost": with_cell((0, 2), np.inf),
    "sign of zero lost": with_cell((0, 3), 0.0),
    "sentinel moved": with_cell((0, 4), SENTINEL + 0.125),
    "value became nan": with_cell((3, 3), np.nan),
    "value became inf": with_cell((3, 3), np.inf),
    "one value too far": with_cell((5, 9), 2.0 + np.sin(59.0) + 0.2501),
    "other dtype": lambda field: field.astype("<f8" if field.itemsize == 4 else "<f4"),
    "other byte order": lambda field: field.astype(field.dtype.newbyteorder()),
    "other shape": lambda field: field.reshape(10, 6),
    "a row less": lambda field: field[1:],
}


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_codec_fails(name: str, dtype: str) -> None:
    field = example(dtype)
    with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
        assert_bounded(field, BROKEN[name](field), BOUND, preserve=[SENTINEL])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("codec", [identity, mock])
def test_an_honest_codec_passes(codec: Codec, dtype: str) -> None:
    field = example(dtype)
    assert_bounded(field, codec(field), BOUND, preserve=[SENTINEL])


def test_a_sentinel_counts_only_where_it_is_named() -> None:
    field = example()
    moved = BROKEN["sentinel moved"](field)
    assert_bounded(field, moved, BOUND)
    with pytest.raises(AssertionError, match="lost bits"):
        assert_bounded(field, moved, BOUND, preserve=["NaN", "0xc61c3c00"])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("bound", "field", "step"),
    [
        (Bound.abs(0.25), [1.0, 2.0], 0.25),
        (Bound.rel(0.25), [0.0, 2.0], 0.5),
        (Bound.pointwise_rel(0.25), [2.0, 4.0], 0.5),
    ],
)
def test_the_bound_itself_passes_and_the_next_number_fails(
    bound: Bound, field: list[float], step: float, dtype: str
) -> None:
    original = np.array(field, dtype)
    at = original + np.array([step, 0.0], dtype)
    assert_bounded(original, at, bound)
    with pytest.raises(AssertionError, match="worst"):
        assert_bounded(original, np.nextafter(at, np.array(9.0, dtype)), bound)


def test_a_bound_below_the_spacing_of_float64_is_still_seen() -> None:
    original = np.array([1e16])
    with pytest.raises(AssertionError, match="worst"):
        assert_bounded(original, np.array([1e16 + 2.0]), Bound.abs(1.9999999999999998))


def test_psnr_is_of_the_mean_square() -> None:
    original = np.array([0.0, 1.0, 0.5, 0.5])
    off = np.array([0.1, 0.9, 0.6, 0.5])
    reached = -10 * np.log10(np.mean((original - off) ** 2))
    assert_bounded(original, off, Bound.psnr(reached - 1e-9))
    with pytest.raises(AssertionError, match="RMS"):
        assert_bounded(original, off, Bound.psnr(reached + 1e-9))


def test_psnr_allows_no_single_value_to_be_anywhere() -> None:
    original = np.linspace(0.0, 1.0, 10_000)
    off = original.copy()
    off[5000] += 0.3
    with pytest.raises(AssertionError, match="allows"):
        assert_bounded(original, off, Bound.psnr(30.0))


@given(field=fields(), bound=bounds())
def test_identity_passes_everywhere(field: Field, bound: Bound) -> None:
    assert_bounded(field, field.copy(), bound)
    assert_same_bits(field, field.copy(order="K"))


@given(field=fields(min_ndim=1))
def test_one_flipped_bit_is_seen_anywhere(field: Field) -> None:
    assume(field.size)
    broken = field.copy(order="C")
    broken.reshape(-1).view(f"u{field.itemsize}")[field.size // 2] ^= 1
    with pytest.raises(AssertionError, match="lost bits"):
        assert_same_bits(field, broken)
