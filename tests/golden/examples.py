"""What the goldens were encoded from: integers and exact powers of two only, so the same bits anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.sz import Regions, SZConfig

Field = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Example:
    """An array, made anew by each call, and how it was encoded."""

    make: Callable[[], Field]
    config: SZConfig
    regions: Callable[[], Regions] | None = None


def random_bits(count: int, seed: int = 1) -> NDArray[np.uint64]:
    """The splitmix64 sequence."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def noise(shape: tuple[int, ...], *, bits: int = 10, seed: int = 1) -> NDArray[np.int64]:
    """Whole numbers around 0, ``bits`` wide."""
    values = (random_bits(int(np.prod(shape)), seed) >> np.uint64(64 - bits)).astype(np.int64)
    return (values - (1 << (bits - 1))).reshape(shape)


def hills(shape: tuple[int, ...], dtype: str = "<f4", *, rough: int = 4) -> Field:
    """A smooth surface of the second degree with a little noise, in steps of 1/1024."""
    axes = np.ix_(*(np.arange(n, dtype=np.int64) for n in shape))
    total = noise(shape, bits=rough) if rough else np.zeros(shape, np.int64)
    for index, axis in enumerate(axes):
        total = total + (index + 3) * axis * axis - 37 * (index + 1) * axis
        total = total + 2 * axis * axes[0]
    return np.asarray(total / 1024).astype(dtype)


def spotted(dtype: str = "<f4") -> Field:
    """Hills with NaN of three payloads, both Inf, -0.0 and a subnormal."""
    field = hills((20, 30), dtype)
    bits = field.view(f"<u{field.itemsize}")
    quiet, signal = (0x7FC00001, 0x7F800001) if field.itemsize == 4 else (0x7FF8 << 48 | 1, 0x7FF0 << 48 | 1)
    field[2:9, 5:17] = np.nan
    bits[10, 3:6] = quiet
    bits[11, 3] = signal
    field[12, :3] = [np.inf, -np.inf, -0.0]
    bits[13, 7] = 1
    return field


def masked(sentinel: float) -> Field:
    """Hills with a coast: cells that hold a fill value."""
    field = hills((24, 32))
    y, x = np.ix_(np.arange(24), np.arange(32))
    field[(y - 10) ** 2 + (x - 12) ** 2 < 70] = sentinel
    return field


def spiky() -> Field:
    """A series that leaves every predictor behind now and then."""
    field = hills((500,), rough=6)
    field[::97] *= np.float32(2.0**40)
    field[5] = np.finfo("f4").max
    return field


def magnitudes(dtype: str = "<f4") -> Field:
    """Values over many powers of two, of both signs, some zero."""
    mantissa = noise((9, 25), bits=12, seed=3).astype(dtype)
    return np.asarray(mantissa * np.exp2(noise((9, 25), bits=5, seed=4).astype(dtype))).astype(dtype)


def scattered() -> Field:
    """Hills of which every third cell or so is a mark, here and there one of its own."""
    field = hills((20, 24))
    marks = noise((20, 24), bits=4, seed=6)
    field[marks > 2] = np.nan
    field[marks == 2] = np.inf
    field[marks == -8] = (noise((20, 24), bits=20, seed=7)[marks == -8] * 2.0**60).astype("f4")
    return field


def fields_of_a_message() -> Field:
    """Levels that were packed each with an origin and a step of its own."""
    steps = np.exp2(np.array([-6, -7, -6, -5])).reshape(4, 1, 1)
    origins = 200 + noise((4, 1, 1), bits=16, seed=8) / 4096
    return np.asarray(origins + noise((4, 16, 20), bits=12).cumsum(2) * steps).astype("<f4")


def fixed_point() -> Field:
    """Multiples of 2^-21 of very different sizes."""
    sizes = noise((40, 60), bits=5, seed=9) + 16
    return np.asarray((noise((40, 60), bits=25, seed=10) >> sizes // 2) / 2.0**21).astype("<f4")


def swinging(shape: tuple[int, ...], axis: int = -1, dtype: str = "<f8") -> Field:
    """Noise summed up thrice along an axis."""
    total = noise(shape, bits=6, seed=11)
    for _ in range(3):
        total = total.cumsum(axis)
        total = total - total.mean(axis, keepdims=True).round().astype(np.int64)
    return np.asarray(total * 3 / 7168).astype(dtype)


def ripples(shape: tuple[int, ...], dtype: str = "<f4", *, hole: bool = False) -> Field:
    """Waves across all axes, as integer recurrences make them, with a little noise; NaN in a hole."""
    wave = [0, 4096]
    while len(wave) < 3 * sum(shape):
        wave.append((wave[-1] * (300 + len(wave) % 7) >> 8) - wave[-2])
    heights, axes = np.array(wave, np.int64), np.ix_(*(np.arange(n, dtype=np.int64) for n in shape))
    total = noise(shape, bits=3, seed=8)
    for direction in range(3):
        phase = sum((1 + (direction + index) % 3) * axis for index, axis in enumerate(axes))
        total = total + heights[phase] * (direction + 1)
    field = np.asarray(total / 64).astype(dtype)
    if hole:
        field[tuple(slice(n // 3, n // 2) for n in shape)] = np.nan
    return field


def cliffs() -> Field:
    """A calm series on plateaus far apart."""
    steps = noise((900,), bits=2, seed=8)
    steps[::60] += np.int64(1) << np.int64(40)
    return np.asarray(steps.cumsum()).astype("<f8")


def lanes() -> Field:
    """A checkered pattern of few values, now and then a large one, beside as much of nothing."""
    signs = 1 - 2 * (np.indices((183, 180)).sum(0) % 2)
    field = signs * (2 + noise((183, 180), bits=2))
    field[::9, ::7] *= 40
    field[:, 64:] = 0
    return field.astype("<f4")


def hundredths() -> Field:
    """What an instrument with two decimals wrote."""
    return np.asarray(noise((600,), bits=7, seed=5).cumsum() / 100).astype("<f8")


def parts(shape: tuple[int, ...]) -> Regions:
    """A box of a tight bound, and cells here and there that keep every bit."""
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, n // 4 + n // 3) for n in shape)] = 1
    labels[noise(shape, bits=5, seed=8) == 7] = 2
    return Regions(labels, {1: Bound.abs(1e-3), 2: None, 3: Bound.abs(1e-9)})


def box(shape: tuple[int, ...]) -> Regions:
    """A box of a bound far tighter than what is around it."""
    labels = np.zeros(shape, np.bool_)
    labels[tuple(slice(n // 3, n - n // 4) for n in shape)] = True
    return Regions(labels, {1: Bound.abs(0.004)})


EXAMPLES: dict[str, Example] = {
    "constant": Example(lambda: np.full((9, 7), 273.15, "<f4"), SZConfig(Bound.abs(0.1))),
    "empty": Example(lambda: np.empty((3, 0, 5), "<f8"), SZConfig(Bound.abs(0.1))),
    "scalar": Example(lambda: np.array(2.5, "<f4"), SZConfig(Bound.abs(0.1))),
    "raw": Example(lambda: random_bits(60).view("<f8").copy(), SZConfig(Bound.abs(1e-300))),
    "series": Example(lambda: hills((700,)), SZConfig(Bound.abs(0.01))),
    "folded_series": Example(lambda: hills((2500,), rough=3), SZConfig(Bound.abs(0.01))),
    "many_lanes": Example(lambda: hills((260, 256), rough=0), SZConfig(Bound.rel(1e-2))),
    "plane": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.01))),
    "volume": Example(lambda: hills((12, 14, 17)), SZConfig(Bound.abs(0.01))),
    "volume_float64": Example(lambda: hills((12, 14, 17), "<f8"), SZConfig(Bound.rel(1e-4))),
    "smooth": Example(lambda: hills((17, 33, 20), rough=0), SZConfig(Bound.rel(1e-3))),
    "eight_dimensions": Example(lambda: hills((3, 2, 4, 1, 3, 2, 3, 2)), SZConfig(Bound.abs(0.01))),
    "fortran_order": Example(lambda: np.asfortranarray(hills((30, 20))), SZConfig(Bound.abs(0.01))),
    "big_endian": Example(lambda: hills((30, 20), ">f4"), SZConfig(Bound.abs(0.01))),
    "blocks": Example(lambda: hills((9, 10, 12)), SZConfig(Bound.abs(0.01), block_values=300)),
    "raster_series": Example(lambda: ripples((1500,)), SZConfig(Bound.abs(0.05), level="max")),
    "raster_few_rows": Example(lambda: ripples((5, 300)), SZConfig(Bound.abs(0.5), level="max")),
    "raster_plane": Example(lambda: ripples((24, 90), hole=True), SZConfig(Bound.abs(0.05), level="max")),
    "raster_volume": Example(
        lambda: ripples((3, 40, 9), "<f8", hole=True), SZConfig(Bound.abs(0.05), level="max")
    ),
    "raster_4d": Example(lambda: ripples((3, 4, 17, 20)), SZConfig(Bound.abs(0.5), level="max")),
    "thinned_series": Example(lambda: ripples((1500,)), SZConfig(Bound.abs(0.05), level="max")),
    "thinned_plane": Example(lambda: ripples((24, 90), hole=True), SZConfig(Bound.abs(0.05), level="max")),
    "thinned_volume": Example(
        lambda: ripples((3, 40, 9), "<f8", hole=True), SZConfig(Bound.abs(0.05), level="max")
    ),
    "thinned_4d": Example(lambda: ripples((3, 4, 17, 20)), SZConfig(Bound.abs(0.5), level="max")),
    "thinned_tall": Example(lambda: ripples((2, 66, 30)), SZConfig(Bound.abs(0.05), level="max")),
    "low_bits": Example(lambda: hills((30, 41)), SZConfig(Bound.rel(1e-6))),
    "low_bits_series": Example(lambda: hills((2503,), rough=12), SZConfig(Bound.abs(0.02))),
    "low_bits_lossless": Example(lambda: hills((13, 14, 17), "<f8"), SZConfig(Bound.abs(1e-30))),
    "described_table": Example(
        lambda: (noise((40, 50), bits=4) ** 3 / 1024).astype("<f4"), SZConfig(Bound.abs(1e-7))
    ),
    "described_table_of_steps": Example(
        lambda: (noise((60, 70), bits=8) * 3 / 7).astype("<f4"), SZConfig(Bound.abs(1e-9))
    ),
    "described_table_float64": Example(
        lambda: noise((60, 70), bits=8) * 3 / 7 + 100, SZConfig(Bound.abs(1e-19))
    ),
    "described_quotients": Example(
        lambda: noise((900,), bits=12).cumsum() / 1000, SZConfig(Bound.abs(1e-15))
    ),
    "described_slices": Example(fields_of_a_message, SZConfig(Bound.abs(1e-9))),
    "described_binary64": Example(fixed_point, SZConfig(Bound.abs(1e-9))),
    "described_with_holes": Example(
        lambda: np.where(noise((30, 40), bits=4) > 6, np.nan, noise((30, 40), bits=9) / 8),
        SZConfig(Bound.abs(1e-9)),
    ),
    "weights": Example(lambda: swinging((900,)), SZConfig(Bound.rel(1e-6))),
    "weights_wide": Example(lambda: swinging((900,)), SZConfig(Bound.rel(1e-11))),
    "weights_of_columns": Example(lambda: swinging((200, 12), 0, "<f4"), SZConfig(Bound.rel(1e-5))),
    "weights_lossless": Example(lambda: 3e4 + swinging((900,), dtype="<f4"), SZConfig(Bound.abs(1e-9))),
    "weights_lossless_float64": Example(lambda: 2.0**20 + swinging((900,)), SZConfig(Bound.abs(1e-19))),
    "fast": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.01), level="fast")),
    "max": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.01), level="max")),
    "mixed_plane": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.002), level="max")),
    "mixed_volume": Example(lambda: hills((9, 14, 17)), SZConfig(Bound.abs(0.01), level="max")),
    "mixed_series": Example(lambda: hills((700,)), SZConfig(Bound.abs(0.0005), level="max")),
    "mixed_lanes": Example(lanes, SZConfig(Bound.abs(0.25), level="max")),
    "mixed_wide": Example(cliffs, SZConfig(Bound.abs(0.5), level="max")),
    "mixed_image": Example(scattered, SZConfig(Bound.abs(0.01), level="max")),
    "specials": Example(spotted, SZConfig(Bound.abs(0.01))),
    "specials_float64": Example(lambda: spotted("<f8"), SZConfig(Bound.abs(0.01))),
    "sentinel": Example(lambda: masked(-9999.0), SZConfig(Bound.rel(1e-3), preserve=[-9999.0])),
    "undeclared_fill": Example(lambda: masked(1e20), SZConfig(Bound.abs(0.01))),
    "scattered": Example(scattered, SZConfig(Bound.abs(0.01))),
    "spikes": Example(spiky, SZConfig(Bound.abs(0.01))),
    "tight": Example(lambda: hills((20, 30)), SZConfig(Bound.abs(1e-5))),
    "tight_float64": Example(lambda: hills((12, 20), "<f8"), SZConfig(Bound.abs(1e-13))),
    "hundredths": Example(hundredths, SZConfig(Bound.abs(1e-6))),
    "wide_integers": Example(
        lambda: noise((160,), bits=36).cumsum().astype("<f8"), SZConfig(Bound.abs(0.75))
    ),
    "every_bit": Example(lambda: hills((20, 30)) / np.float32(1024), SZConfig(Bound.rel(5e-324))),
    "pointwise": Example(magnitudes, SZConfig(Bound.pointwise_rel(1e-2))),
    "pointwise_float64": Example(lambda: magnitudes("<f8"), SZConfig(Bound.pointwise_rel(1e-12))),
    "psnr": Example(lambda: hills((30, 40)), SZConfig(Bound.psnr(70.0))),
    "rewrite_safe": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.01), rewrite_safe=True)),
    "rewrite_safe_constant": Example(
        lambda: np.full((9, 7), 273.15, "<f4"), SZConfig(Bound.abs(0.1), rewrite_safe=True)
    ),
    "rewrite_safe_pointwise": Example(magnitudes, SZConfig(Bound.pointwise_rel(1e-2), rewrite_safe=True)),
    "rewrite_safe_float64": Example(
        lambda: hills((30, 40), "<f8"), SZConfig(Bound.abs(1e-3), rewrite_safe=True)
    ),
    "regions": Example(lambda: hills((30, 40)), SZConfig(Bound.abs(0.1)), lambda: parts((30, 40))),
    "regions_specials": Example(lambda: spotted("<f8"), SZConfig(Bound.abs(0.1)), lambda: parts((20, 30))),
    "regions_predicted": Example(
        lambda: hills((16, 20, 24), rough=0), SZConfig(Bound.abs(2.0)), lambda: box((16, 20, 24))
    ),
    "packed": Example(lambda: hills((12, 14, 17)), SZConfig(Bound.abs(0.01), level="fast")),
    "packed_series": Example(lambda: hills((3, 900), rough=6), SZConfig(Bound.abs(1e-3), level="fast")),
    "packed_float64": Example(lambda: hills((30, 41), "<f8"), SZConfig(Bound.abs(1e-6), level="fast")),
    "packed_smooth": Example(lambda: hills((60, 80), rough=0), SZConfig(Bound.abs(0.01), level="fast")),
    "packed_specials": Example(spotted, SZConfig(Bound.abs(0.01), level="fast")),
    "packed_fill": Example(lambda: masked(1e20), SZConfig(Bound.abs(0.01), level="fast")),
    "packed_hundredths": Example(hundredths, SZConfig(Bound.abs(1e-6), level="fast")),
    "packed_rewrite_safe": Example(
        lambda: hills((30, 40)), SZConfig(Bound.abs(0.01), level="fast", rewrite_safe=True)
    ),
    "packed_blocks": Example(
        lambda: hills((9, 10, 12)), SZConfig(Bound.abs(0.01), level="fast", block_values=300)
    ),
}
