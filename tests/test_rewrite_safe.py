"""Writing a chunk in parts: with ``rewrite_safe`` the error stays, without it the error may grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from sciflow.bounds import Bound
from sciflow.codecs import numcodecs as for_numcodecs
from sciflow.codecs import zarr as for_zarr
from sciflow.testing import assert_bounded, assert_same_bits

SLABS = 64
Recorder = Callable[[str, object], None]


def slabs(seed: int, roughness: float, scale: float, dtype: str) -> NDArray[Any]:
    """A field of 64 slabs, smooth and noisy in any mixture."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ix_(*(np.arange(n) * rng.uniform(0.02, 0.4) for n in (SLABS, 9, 11)))
    field = np.sin(z + rng.normal()) * np.cos(y) + np.sin(x + z) + roughness * rng.normal(size=(SLABS, 9, 11))
    return np.asarray(scale * field).astype(dtype)


def in_one_chunk(
    field: NDArray[Any], bound: Bound, *, rewrite_safe: bool, zarr_format: Any
) -> zarr.Array[Any]:
    options: dict[str, Any] = {"chunks": field.shape, "zarr_format": zarr_format, "fill_value": np.nan}
    if zarr_format == 2:
        options["compressors"] = for_numcodecs.SZ(bound, rewrite_safe=rewrite_safe)
    else:
        options |= {"serializer": for_zarr.SZ(bound, rewrite_safe=rewrite_safe), "compressors": None}
    return zarr.create_array(MemoryStore(), shape=field.shape, dtype=field.dtype, **options)


def written_slab_by_slab(field: NDArray[Any], bound: Bound, **options: Any) -> NDArray[Any]:
    array = in_one_chunk(field, bound, **options)
    for index in range(SLABS):
        array[index] = field[index]
    return np.asarray(array[...])


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    roughness=st.sampled_from([0.0, 0.01, 1.0]),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    power=st.integers(-7, 0),
    dtype=st.sampled_from(["<f4", "<f8"]),
    zarr_format=st.sampled_from([2, 3]),
)
def test_sixty_four_writes_end_within_the_bound(
    seed: int, roughness: float, scale: float, power: int, dtype: str, zarr_format: int
) -> None:
    field = slabs(seed, roughness, scale, dtype)
    bound = Bound.abs(0.7 * scale * 10.0**power)
    decoded = written_slab_by_slab(field, bound, rewrite_safe=True, zarr_format=zarr_format)
    assert_bounded(field, decoded, bound)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-5, -1))
def test_pointwise_bounds_too(seed: int, power: int) -> None:
    field = slabs(seed, 0.1, 1.0, "<f4")
    bound = Bound.pointwise_rel(10.0**power)
    assert_bounded(field, written_slab_by_slab(field, bound, rewrite_safe=True, zarr_format=3), bound)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_slabs_that_were_written_stay_bit_for_bit(zarr_format: int) -> None:
    field = slabs(1, 0.1, 1.0, "<f4")
    array = in_one_chunk(field, Bound.abs(1e-2), rewrite_safe=True, zarr_format=zarr_format)
    array[:20] = field[:20]
    before = np.asarray(array[:20])
    array[20:50] = field[20:50]
    array[60] = 1e30
    assert_same_bits(np.asarray(array[:20]), before)


def test_the_drift_without_it_is_measured(record_property: Recorder) -> None:
    field = slabs(2, 0.1, 1.0, "<f4")
    bound = Bound.abs(1e-2)
    decoded = written_slab_by_slab(field, bound, rewrite_safe=False, zarr_format=3)
    error = np.abs(field.astype("f8") - decoded.astype("f8")).max()
    record_property("drift_over_bound", float(error / bound.value))
    assert np.isfinite(error)
