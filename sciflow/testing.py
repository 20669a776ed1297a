"""For whoever tests a codec: fields that break codecs, and a check that sees when one is broken.

```
fields() ─▶ array ─▶ your codec ─▶ array' ─▶ assert_bounded(array, array', bound, preserve=...)
```

Needs Hypothesis (``pip install hypothesis``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import PSNR_PEAK, Bound
from sciflow.codecs.sentinels import Sentinel, parse_sentinels, sentinel_bits

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("sciflow.testing needs Hypothesis: pip install hypothesis") from error

__all__ = ["SENTINELS", "Layout", "Texture", "assert_bounded", "assert_same_bits", "bounds", "fields"]

Layout = Literal["C", "F", "strided", "reversed", "transposed", "readonly", "unaligned", "broadcast"]
Texture = Literal["constant", "noise", "smooth", "walk", "steps", "integers", "subnormal", "huge", "bits"]

SENTINELS = (-9999.0, 1e20, 9.969209968386869e36)
"""Fill values that real files carry: plain, CMIP's and netCDF's."""

_LENGTHS = (0, 1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 64, 97)
_DTYPES = ("<f4", ">f4", "<f8", ">f8")


def assert_bounded(
    original: NDArray[Any], decoded: NDArray[Any], bound: Bound, *, preserve: Iterable[Sentinel] = ()
) -> None:
    """Fail unless `decoded` keeps the promise for every value of `original`, on the dtype that comes back.

    Errors are taken in long double, so that those of float32 and (on x86 nearly, elsewhere wholly) of float64
    are exact, and compared without slack; a mean is allowed its last digits.

    Parameters
    ----------
    original, decoded : ndarray, float32|float64, same dtype (byte order included) and shape
        What went in, what came out.
    bound : Bound
        ``rel`` and ``psnr`` refer to the range of `original`.
    preserve : iterable of number or str
        Sentinels: come back bit for bit, as NaN, Inf and -0.0 do, and count for no range.

    Raises
    ------
    AssertionError
        Naming the first property that does not hold and the worst cell.
    """
    assert decoded.dtype == original.dtype, f"dtype {decoded.dtype}: expected {original.dtype}"
    assert decoded.shape == original.shape, f"shape {decoded.shape}: expected {original.shape}"
    data = _data(original, preserve)
    kept = ~data | ((original == 0) & np.signbit(original))
    assert_same_bits(original[kept], decoded[kept])
    x, y = original[data], decoded[data]
    assert np.isfinite(y).all(), f"{np.count_nonzero(~np.isfinite(y))} finite values came back NaN or Inf"
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    with np.errstate(under="ignore", over="ignore"):
        error = np.abs(x - y)
        _assert_within(x, y, error, bound)


def assert_same_bits(original: NDArray[Any], decoded: NDArray[Any]) -> None:
    """Fail unless both arrays hold the same bit patterns (dtype and shape included)."""
    assert decoded.dtype == original.dtype, f"dtype {decoded.dtype}: expected {original.dtype}"
    assert decoded.shape == original.shape, f"shape {decoded.shape}: expected {original.shape}"
    before, after = _as_bits(original), _as_bits(decoded)
    changed = np.flatnonzero(before != after)
    if changed.size:
        at = changed[0]
        raise AssertionError(
            f"{changed.size} of {before.size} values lost bits: 0x{before[at]:x} came back 0x{after[at]:x}"
        )


def bounds() -> st.SearchStrategy[Bound]:
    """Bounds of every kind, from uselessly loose to tighter than the dtype."""
    return st.one_of(
        st.integers(-14, 4).map(lambda power: Bound.abs(0.7 * 10.0**power)),
        st.integers(-9, 0).map(lambda power: Bound.rel(10.0**power)),
        st.integers(-9, -1).map(lambda power: Bound.pointwise_rel(10.0**power)),
        st.integers(10, 200).map(lambda decibel: Bound.psnr(float(decibel))),
    )


@st.composite
def fields(
    draw: st.DrawFn,
    *,
    dtypes: Sequence[str] = _DTYPES,
    min_ndim: int = 0,
    max_ndim: int = 8,
    max_size: int = 4096,
    layouts: Sequence[Layout] = get_args(Layout),
    textures: Sequence[Texture] = get_args(Texture),
    specials: bool = True,
) -> NDArray[Any]:
    """Arrays that break codecs: odd shapes, layouts and byte orders; NaN payloads, Inf, -0.0, sentinels.

    Parameters
    ----------
    dtypes : sequence of str
        To draw from.
    min_ndim, max_ndim : int
        Number of dimensions; axes may have length 0 and 1.
    max_size : int
        Cells at most.
    layouts, textures : sequence of str
        To draw from.
    specials : bool
        Whether to sprinkle values that are not plain numbers, and `SENTINELS`.

    Returns
    -------
    SearchStrategy of ndarray
    """
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = _bounded_shape(
        draw(st.lists(st.sampled_from(_LENGTHS), min_size=min_ndim, max_size=max_ndim)), max_size
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    native = dtype.newbyteorder("=")
    array = _texture(draw(st.sampled_from(textures)), shape, native, rng)
    if specials and draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from(_special_bits(native)), min_size=1, max_size=3))
        _sprinkle(array, chosen, draw(st.sampled_from(["one", "few", "third", "run", "all"])), rng)
    if dtype != native:
        array = array.byteswap().view(dtype)
    return _laid_out(array, draw(st.sampled_from(layouts)))


def _data(array: NDArray[Any], preserve: Iterable[Sentinel]) -> NDArray[np.bool_]:
    """Where the finite cells are that are not sentinels."""
    bits = _as_bits(array)
    data = np.isfinite(array)
    for pattern in sentinel_bits(parse_sentinels(preserve), array.dtype.newbyteorder("=")):
        data &= (bits != pattern).reshape(array.shape)
    return np.asarray(data)


def _as_bits(array: NDArray[Any]) -> NDArray[Any]:
    """Bit patterns in C order, native, shape (n,)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if not flat.dtype.isnative:
        flat = flat.byteswap()
    return flat.view(f"=u{array.dtype.itemsize}")


def _assert_within(x: NDArray[Any], y: NDArray[Any], error: NDArray[Any], bound: Bound) -> None:
    if not x.size:
        return
    high, low = np.float64(x.max()), np.float64(x.min())
    width = high - low if np.isfinite(high - low) else np.longdouble(high) - np.longdouble(low)
    if bound.kind == "psnr":
        _assert_psnr(error, width, bound.value)
        return
    scale = {"abs": np.float64(1.0), "rel": width, "pointwise_rel": np.abs(x)}[bound.kind]
    limit = np.broadcast_to(bound.value * scale, error.shape)
    over = np.flatnonzero(error > limit)
    if over.size:
        worst = over[np.argmax(error[over])]
        raise AssertionError(
            f"{over.size} of {error.size} values off by more than {bound!r} allows; worst: {x[worst]!r} came "
            f"back {y[worst]!r}, off by {error[worst]!r}, allowed {limit[worst]!r}"
        )


def _assert_psnr(error: NDArray[Any], width: Any, decibel: float) -> None:
    asked = width * 10.0 ** (-decibel / 20.0)
    rms = np.sqrt((error**2).mean())
    assert rms <= asked * (1 + 1e-12), f"RMS error {rms!r}: a PSNR of {decibel} dB allows {asked!r}"
    worst, allowed = error.max(), PSNR_PEAK * asked
    assert worst <= allowed * (1 + 1e-12), f"error {worst!r}: a PSNR of {decibel} dB allows {allowed!r}"


def _bounded_shape(lengths: Sequence[int], max_size: int) -> tuple[int, ...]:
    shape: list[int] = []
    for length in lengths:
        room = max_size // max(1, math.prod(each for each in shape if each))
        shape.append(min(length, room))
    return tuple(shape)


def _texture(
    texture: Texture, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator
) -> NDArray[Any]:
    limits = np.finfo(dtype)
    scale = 10.0 ** rng.integers(-6, 7)
    if texture == "constant":
        return np.full(shape, rng.normal() * scale, dtype)
    if texture == "noise":
        return np.asarray(rng.normal(size=shape) * scale).astype(dtype)
    if texture == "smooth":
        phases = [np.sin(rng.normal() + np.arange(n) * rng.uniform(0.01, 0.3)) for n in shape]
        return np.asarray(scale * sum(np.ix_(*phases), start=np.float64(rng.normal()))).astype(dtype)
    if texture == "walk":
        return np.asarray(scale * rng.normal(size=shape).ravel().cumsum().reshape(shape)).astype(dtype)
    if texture == "steps":
        return np.asarray(rng.choice(rng.normal(size=3) * scale, size=shape)).astype(dtype)
    if texture == "integers":
        return np.asarray(rng.integers(-40, 40, size=shape) * 0.01).astype(dtype)
    if texture == "subnormal":
        return np.asarray(rng.integers(-9, 10, size=shape) * float(limits.smallest_subnormal)).astype(dtype)
    if texture == "huge":
        return np.asarray(rng.uniform(-1, 1, size=shape) * float(limits.max)).astype(dtype)
    return np.asarray(
        rng.integers(0, 2 ** (8 * dtype.itemsize), size=shape, dtype=f"u{dtype.itemsize}")
    ).view(dtype)


def _special_bits(dtype: np.dtype[Any]) -> list[int]:
    limits = np.finfo(dtype)
    values = [
        np.nan,
        np.inf,
        -np.inf,
        -0.0,
        0.0,
        limits.smallest_subnormal,
        limits.max,
        limits.min,
        *SENTINELS,
    ]
    plain = np.array(values, dtype).view(f"u{dtype.itemsize}").tolist()
    payloads = (
        [0x7FC00001, 0xFFC12345, 0x7F800001] if dtype.itemsize == 4 else [0x7FF8 << 48 | 1, 0xFFF0 << 48 | 7]
    )
    return [*plain, *payloads]


def _sprinkle(array: NDArray[Any], bits: Sequence[int], amount: str, rng: np.random.Generator) -> None:
    flat = array.reshape(-1).view(f"u{array.itemsize}")
    if not flat.size:
        return
    count = {"one": 1, "few": 1 + flat.size // 100, "third": -(-flat.size // 3), "all": flat.size}
    if amount == "run":
        first = int(rng.integers(flat.size))
        where = np.arange(first, min(flat.size, first + 1 + flat.size // 2))
    else:
        where = rng.permutation(flat.size)[: count[amount]]
    flat[where] = rng.choice(np.array(bits, flat.dtype), size=where.size)


def _laid_out(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    if layout == "F":
        return np.asarray(array, order="F")
    if layout == "transposed":
        return np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0) if array.ndim else array
    if layout == "readonly":
        array.flags.writeable = False
    if layout == "unaligned":
        memory = np.empty(array.nbytes + 1, np.uint8)
        shifted = memory[1:].view(array.dtype).reshape(array.shape)
        shifted[...] = array
        return shifted
    if layout == "broadcast" and array.ndim:
        return np.broadcast_to(array[:1], array.shape) if array.shape[0] else array
    if layout in ("strided", "reversed") and array.ndim:
        step = 2 if layout == "strided" else -1
        larger = np.empty(tuple(2 * n if step == 2 else n for n in array.shape), array.dtype)
        view = larger[tuple(slice(None, None, step) for _ in array.shape)]
        view[...] = array
        return view
    return array
