"""The promise of `encode` and `decode`, over every kind of array, bound and option."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.sz import Level, SZConfig, decode, encode, encoded_size_bound, info
from sciflow.errors import InvalidArgument, UnsupportedDtype
from sciflow.testing import SENTINELS, assert_bounded, assert_same_bits, bounds, fields

BOUNDS = [Bound.abs(1e-2), Bound.rel(1e-3), Bound.pointwise_rel(1e-3), Bound.psnr(60.0)]
LEVELS = get_args(Level)
EXAMPLES = settings().max_examples


def round_trip(field: NDArray[Any], config: SZConfig) -> NDArray[Any]:
    before = field.tobytes()
    stream = encode(field, config)
    assert field.tobytes() == before
    assert stream
    if config.block_values is None:
        assert len(stream) <= encoded_size_bound(field.nbytes, ndim=field.ndim)
    return decode(stream)


def smooth(shape: tuple[int, ...], dtype: str = "f4") -> NDArray[Any]:
    axes = [np.sin(np.arange(n) * 0.1 + axis) for axis, n in enumerate(shape)]
    return np.asarray(sum(np.ix_(*axes), start=np.float64(1.0))).astype(dtype)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "level": draw(st.sampled_from(LEVELS)),
        "preserve": draw(st.sampled_from([(), SENTINELS, ("NaN", 0.0)])),
        "verify": draw(st.booleans()),
        "block_values": draw(st.sampled_from([None, 1, 100])),
    }


@settings(max_examples=4 * EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(field=fields(), bound=bounds(), option=options())
def test_every_value_comes_back_within_the_bound(
    field: NDArray[Any], bound: Bound, option: dict[str, Any]
) -> None:
    decoded = round_trip(field, SZConfig(bound, **option))
    assert_bounded(field, decoded, bound, preserve=option["preserve"])
    assert decoded.flags.writeable
    assert decoded.flags.f_contiguous or not (field.flags.f_contiguous and not field.flags.c_contiguous)
    assert decoded.flags.c_contiguous or (field.flags.f_contiguous and not field.flags.c_contiguous)


@settings(max_examples=2 * EXAMPLES)
@given(
    field=fields(),
    bound=bounds().filter(lambda bound: bound.kind in ("abs", "pointwise_rel")),
    option=options(),
)
def test_rewrite_safe_keeps_the_bound_and_is_a_fixed_point(
    field: NDArray[Any], bound: Bound, option: dict[str, Any]
) -> None:
    config = SZConfig(bound, rewrite_safe=True, **option)
    once = round_trip(field, config)
    assert_bounded(field, once, bound, preserve=option["preserve"])
    assert_same_bits(once, round_trip(once, config))


@settings(max_examples=EXAMPLES // 2)
@given(field=fields(max_size=20_000, max_ndim=4), bound=bounds())
def test_threads_and_repetition_change_no_byte(field: NDArray[Any], bound: Bound) -> None:
    one = encode(field, SZConfig(bound, block_values=1000))
    assert encode(field, SZConfig(bound, block_values=1000)) == one
    assert encode(field, SZConfig(bound, block_values=1000, threads=3)) == one
    assert_same_bits(decode(one, threads=3), decode(one))


@given(field=fields(), bound=bounds())
def test_the_header_says_what_was_encoded(field: NDArray[Any], bound: Bound) -> None:
    header = info(encode(field, SZConfig(bound, block_values=64)))
    assert (header.dtype, header.shape, header.nbytes) == (field.dtype, field.shape, field.nbytes)
    assert header.order == ("F" if field.flags.f_contiguous and not field.flags.c_contiguous else "C")
    assert header.request == bound
    assert header.bound is None or bound.kind in ("rel", "psnr") or header.bound.kind == bound.kind
    assert header.block_offsets[0] == header.header_bytes
    assert list(header.block_offsets) == sorted(set(header.block_offsets))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
@pytest.mark.parametrize("ndim", range(9))
def test_zero_to_eight_dimensions(dtype: str, bound: Bound, ndim: int) -> None:
    field = smooth((7, 5, 4, 3, 3, 2, 2, 2)[:ndim], dtype)
    assert_bounded(field, round_trip(field, SZConfig(bound)), bound)


@pytest.mark.parametrize(
    "shape", [(0,), (3, 0), (0, 5, 7), (1,), (1, 1, 1), (1, 997), (997, 1), (2, 3, 0, 1)]
)
@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
def test_lengths_of_zero_and_one(shape: tuple[int, ...], bound: Bound) -> None:
    field = smooth(shape)
    assert_bounded(field, round_trip(field, SZConfig(bound)), bound)


@pytest.mark.parametrize("value", [0.0, -0.0, 273.15, 1e-42, -3.4e38, np.nan, np.inf])
@pytest.mark.parametrize("bound", BOUNDS, ids=repr)
def test_a_constant_comes_back_bit_for_bit_and_costs_nothing(value: float, bound: Bound) -> None:
    field = np.full((100, 100), value, "f4")
    stream = encode(field, SZConfig(bound))
    assert_same_bits(field, decode(stream))
    assert len(stream) < 100


@pytest.mark.parametrize("level", LEVELS)
def test_a_mask_costs_little(level: Level) -> None:
    field = smooth((200, 200)) + np.random.default_rng(0).normal(size=(200, 200)).astype("f4") * 0.1
    plain = len(encode(field, SZConfig(1e-2, level=level)))
    field[30:170, 20:110] = -9999.0
    field[150:, 150:] = np.nan
    config = SZConfig(1e-2, level=level, preserve=[-9999.0])
    assert len(encode(field, config)) < 1.02 * plain
    assert_bounded(field, decode(encode(field, config)), config.bound, preserve=config.preserve)


def test_a_sentinel_counts_for_no_range() -> None:
    field = smooth((50, 60))
    field[:5] = 9.969209968386869e36
    field[5:7] = np.inf
    config = SZConfig(Bound.rel(1e-3), preserve=[9.969209968386869e36])
    assert_bounded(field, round_trip(field, config), config.bound, preserve=config.preserve)
    bound = info(encode(field, config)).bound
    assert bound is not None
    assert bound.value == pytest.approx(1e-3 * (field[7:].max() - field[7:].min()))


@pytest.mark.parametrize("rewrite_safe", [False, True])
@pytest.mark.parametrize("bound", [Bound.abs(0.1), Bound.abs(0.01), Bound.pointwise_rel(0.05)], ids=repr)
@pytest.mark.parametrize("sentinel", [0.0, 5.0, -9999.0])
def test_no_value_becomes_a_sentinel(sentinel: float, bound: Bound, rewrite_safe: bool) -> None:
    field = (sentinel + np.random.default_rng(0).normal(size=(60, 70)) * 0.3).astype("f4")
    field[10:20] = sentinel
    decoded = round_trip(field, SZConfig(bound, preserve=[sentinel], rewrite_safe=rewrite_safe))
    assert_bounded(field, decoded, bound, preserve=[sentinel])
    np.testing.assert_array_equal(decoded == sentinel, field == sentinel)


def test_a_constant_next_to_a_sentinel_stays_itself() -> None:
    field = np.full((3, 4), 5.05, "f4")
    config = SZConfig(Bound.abs(0.1), preserve=[5.0], rewrite_safe=True)
    assert not (round_trip(field, config) == 5.0).any()


def test_short_rows_make_smaller_blocks() -> None:
    """A row carries a halo, so a block has at most 2**18 of them."""
    field = np.arange(2_000_000, dtype="f8").reshape(-1, 2)
    stream = encode(field, SZConfig(Bound.abs(0.5)))
    assert len(info(stream).block_offsets) - 1 == 4
    assert_bounded(field, decode(stream), Bound.abs(0.5))


def test_a_sentinel_given_as_bits() -> None:
    field = smooth((50, 60))
    field[3] = np.array([0x7FC00001], "u4").view("f4")
    field[4] = -9999.0
    config = SZConfig(1.0, preserve=["0x7fc00001", "0xc61c3c00"])
    assert_bounded(field, round_trip(field, config), config.bound, preserve=[-9999.0])
    with pytest.raises(InvalidArgument, match="16"):
        encode(field.astype("f8"), config)


def test_noise_that_does_not_compress_stays_below_the_published_size() -> None:
    field = np.random.default_rng(0).integers(0, 2**32, size=10_000, dtype="u4").view("f4")
    stream = encode(field, SZConfig(1e-30))
    assert len(stream) <= encoded_size_bound(field.nbytes, ndim=1) < 1.01 * field.nbytes
    assert_bounded(field, decode(stream), Bound.abs(1e-30))


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_out_is_filled_and_returned(dtype: str, order: Any) -> None:
    field = np.asarray(smooth((6, 7, 8), dtype), order=order)
    stream = encode(field, SZConfig(1e-3))
    decoded = decode(stream)
    outs: list[Any] = [
        np.empty_like(field),
        np.empty(field.shape, dtype, order="C"),
        np.empty(field.shape, dtype, order="F"),
        np.empty((12, 14, 16), dtype)[::2, ::2, ::2],
        np.empty(field.shape, field.dtype.newbyteorder()),
    ]
    for out in outs:
        assert decode(stream, out) is out
        np.testing.assert_array_equal(out, decoded)
    memory: list[Any] = [
        bytearray(field.nbytes),
        np.empty(field.nbytes, "u1"),
        np.empty(field.nbytes + 1, "u1")[1:],
    ]
    for out in memory:
        assert decode(stream, out=out) is out
        assert bytes(out) == decoded.tobytes(order="A")


def test_out_that_does_not_fit_is_refused() -> None:
    field = smooth((6, 7))
    stream = encode(field, SZConfig(1e-3))
    with pytest.raises(InvalidArgument, match="expected 168"):
        decode(stream, np.empty((6, 6), "f4"))
    with pytest.raises(InvalidArgument, match="expected 168"):
        decode(stream, np.empty((6, 7), "f8"))
    with pytest.raises(InvalidArgument, match="read-only"):
        decode(stream, np.broadcast_to(np.float32(0), (6, 7)))
    with pytest.raises(InvalidArgument, match="read-only"):
        decode(stream, bytes(field.nbytes))
    with pytest.raises(InvalidArgument, match="not contiguous"):
        decode(stream, np.empty((6, 14), "f4")[:, ::2].reshape(6, 7).T)


def test_any_buffer_is_decoded() -> None:
    field = smooth((6, 7))
    stream = encode(field, SZConfig(1e-3))
    spread = np.zeros(2 * len(stream), "u1")
    spread[::2] = np.frombuffer(stream, "u1")
    buffers: list[Any] = [bytearray(stream), memoryview(stream), np.frombuffer(stream, "u1"), spread[::2]]
    for buffer in buffers:
        assert_same_bits(decode(buffer), decode(stream))
    with pytest.raises(InvalidArgument, match="bytes-like"):
        decode("stream")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("i4", "PCodec"),
        ("u1", "PCodec"),
        ("f2", "float32"),
        ("g", "float32"),
        ("c8", "real"),
        ("M8[s]", "Delta"),
        ("m8[s]", "Delta"),
        ("?", "Zstd"),
        ("O", "Zstd"),
        ("U3", "Zstd"),
        ([("a", "f4")], "Zstd"),
    ],
    ids=str,
)
def test_other_dtypes_are_refused_with_what_to_use(dtype: Any, advice: str) -> None:
    with pytest.raises(UnsupportedDtype, match=advice) as caught:
        encode(np.zeros(3, dtype), SZConfig(0.1))
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, InvalidArgument)


def test_nine_dimensions_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="up to 8"):
        encode(np.zeros((1,) * 9, "f4"), SZConfig(0.1))


def test_a_mask_is_not_dropped_silently() -> None:
    with pytest.raises(InvalidArgument, match="filled"):
        encode(np.ma.masked_less(smooth((4, 4)), 0.5), SZConfig(0.1))


@pytest.mark.parametrize("level", ["fast", "quick", "balanced", "max"])
def test_bound_zero_keeps_every_bit(level: Level) -> None:
    field = np.array([[0.1, -0.0, np.nan, 3.0], [np.inf, 1e-300, -1e300, 5e-324]])
    config = SZConfig(Bound.abs(0), level=level)
    assert decode(encode(field, config)).tobytes() == field.tobytes()
    assert SZConfig.from_json(config.to_json()) == config
