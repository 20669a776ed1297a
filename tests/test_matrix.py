"""Every way into a store, times every kind of array that has broken a codec there."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dask
import dask.array as da
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from sciflow.bounds import Bound
from sciflow.codecs import numcodecs as for_numcodecs
from sciflow.codecs import sz
from sciflow.codecs import zarr as for_zarr
from sciflow.errors import Corrupt, InvalidArgument, Truncated, UnsupportedDtype
from sciflow.testing import assert_bounded, assert_same_bits

Slot = Literal["v2 compressor", "v2 filter", "v3 serializer", "v3 shard"]
SLOTS: tuple[Slot, ...] = ("v2 compressor", "v2 filter", "v3 serializer", "v3 shard")
BOUND = Bound.abs(1e-3)
FILL = 9.969209968386869e36


def smooth(shape: tuple[int, ...], dtype: str = "<f4") -> NDArray[Any]:
    axes = [np.sin(np.arange(n) * 0.2 + axis) for axis, n in enumerate(shape)]
    return np.asarray(sum(np.ix_(*axes), start=np.float64(1.0))).astype(dtype)


def codec_options(slot: Slot, chunks: tuple[int, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """What `zarr.create_array` is told to put SZ into a slot."""
    if slot == "v2 compressor":
        return {"zarr_format": 2, "chunks": chunks, "compressors": for_numcodecs.SZ(BOUND, **options)}
    if slot == "v2 filter":
        filters = [for_numcodecs.SZ(BOUND, **options)]
        return {"zarr_format": 2, "chunks": chunks, "filters": filters, "compressors": numcodecs.Zlib(1)}
    layout: dict[str, Any] = {"zarr_format": 3, "chunks": chunks, "compressors": None}
    if slot == "v3 shard":
        layout["shards"] = tuple(2 * each for each in chunks)
    return layout | {"serializer": for_zarr.SZ(BOUND, **options)}


def create(
    slot: Slot,
    store: Any,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any = "<f4",
    options: Mapping[str, Any] | None = None,
    **array_options: Any,
) -> zarr.Array[Any]:
    return zarr.create_array(
        store, shape=shape, dtype=dtype, **codec_options(slot, chunks, options or {}), **array_options
    )


def put_and_get(slot: Slot, field: NDArray[Any], chunks: tuple[int, ...], **options: Any) -> NDArray[Any]:
    """Write a field, open the store anew, read it."""
    store = MemoryStore()
    create(slot, store, shape=field.shape, chunks=chunks, dtype=field.dtype, **options)[...] = field
    decoded = np.asarray(zarr.open_array(store, mode="r")[...])
    return decoded.astype(field.dtype, copy=False)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtypes_byte_orders_and_layouts(slot: Slot, dtype: str, order: Literal["C", "F"]) -> None:
    field = np.asarray(smooth((20, 30, 7), dtype), order=order)
    assert_bounded(field, put_and_get(slot, field, (8, 16, 7)), BOUND)


@pytest.mark.parametrize("slot", ["v2 compressor", "v2 filter"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_v2_arrays_of_order_f(slot: Slot, dtype: str) -> None:
    field = smooth((20, 30, 7), dtype)
    assert_bounded(field, put_and_get(slot, field, (8, 16, 7), order="F"), BOUND)


@pytest.mark.parametrize("slot", ["v3 serializer", "v3 shard"])
def test_v3_arrays_held_in_order_f(slot: Slot) -> None:
    field = smooth((20, 30, 7))
    assert_bounded(field, put_and_get(slot, field, (8, 16, 7), config={"order": "F"}), BOUND)


SHAPES = {
    "0-d": ((), ()),
    "length 0": ((0, 5), (2, 5)),
    "one cell": ((1,), (1,)),
    "chunks of one cell": ((3, 4), (1, 1)),
    "edge chunks": ((21, 33), (8, 16)),
    "prime": ((97,), (31,)),
    "5-d": ((3, 4, 5, 6, 7), (2, 4, 5, 3, 7)),
    "8-d": ((2, 3, 2, 3, 2, 3, 2, 3), (2, 3, 2, 2, 2, 3, 2, 2)),
}


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(slot: Slot, name: str) -> None:
    shape, chunks = SHAPES[name]
    if slot == "v3 shard" and not shape:
        pytest.skip("zarr has no shards of 0 dimensions")
    field = smooth(shape)
    assert_bounded(field, put_and_get(slot, field, chunks), BOUND)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("fill", [0.0, 1.5, np.nan, np.inf, FILL])
def test_edge_chunks_are_padded_with_anything(slot: Slot, fill: float) -> None:
    field = smooth((21, 33))
    field[:3, :3] = np.nan
    assert_bounded(field, put_and_get(slot, field, (8, 16), fill_value=fill), BOUND)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_land_mask_and_sentinels_come_back(slot: Slot) -> None:
    field = smooth((40, 40))
    field[10:20] = -9999.0
    field[20:25] = np.array([0x7FC00001], "<u4").view("<f4")
    field[30, :3] = [np.inf, -np.inf, -0.0]
    decoded = put_and_get(slot, field, (16, 16), options={"preserve": [-9999.0]})
    assert_bounded(field, decoded, BOUND, preserve=[-9999.0])


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("write_empty_chunks", [True, False])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_chunks_that_hold_the_fill_value_only(slot: Slot, write_empty_chunks: bool, value: float) -> None:
    field = smooth((16, 16))
    field[:8] = value
    config = {"write_empty_chunks": write_empty_chunks}
    decoded = put_and_get(slot, field, (8, 8), fill_value=value, config=config)
    assert_bounded(field, decoded, BOUND, preserve=[value])


@pytest.mark.parametrize("slot", SLOTS)
def test_strided_broadcast_and_scalar_input(slot: Slot) -> None:
    array = create(slot, MemoryStore(), shape=(20, 20), chunks=(8, 8))
    field = smooth((40, 40))
    array[...] = field[::-2, ::2]
    assert_bounded(field[::-2, ::2], np.asarray(array[...]), BOUND)
    array[...] = np.broadcast_to(field[0, :20], (20, 20))
    assert_bounded(np.broadcast_to(field[0, :20], (20, 20)), np.asarray(array[...]), BOUND)
    array[...] = 2.25
    assert_same_bits(np.full((20, 20), 2.25, "<f4"), np.asarray(array[...]))


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("given", ["<f4", ">f4", "<f8", ">f8", "i2"])
def test_input_of_another_dtype_is_converted(slot: Slot, dtype: str, given: str) -> None:
    array = create(slot, MemoryStore(), shape=(16, 16), chunks=(8, 8), dtype=dtype)
    field = (10 * smooth((16, 16), "f8")).astype(given)
    array[...] = field
    assert_bounded(field.astype("f8"), np.asarray(array[...]).astype("f8"), Bound.abs(1.001e-3))


@pytest.mark.parametrize("slot", SLOTS)
def test_parts_can_be_written_and_read(slot: Slot) -> None:
    field = smooth((20, 20))
    array = create(slot, MemoryStore(), shape=(20, 20), chunks=(8, 8), options={"rewrite_safe": True})
    array[:9] = field[:9]
    array[9:] = field[9:]
    assert_bounded(field, np.asarray(array[...]), BOUND)
    assert_bounded(field[3:11:2, 5], np.asarray(array[3:11:2, 5]), BOUND)


# ---- registries, pickles, processes ------------------------------------------------------------


@pytest.mark.parametrize("slot", SLOTS)
def test_arrays_pickle_with_their_codec(slot: Slot, tmp_path: Path) -> None:
    field = smooth((20, 20))
    array = create(slot, tmp_path / "a.zarr", shape=(20, 20), chunks=(8, 8))
    again = pickle.loads(pickle.dumps(array))
    again[...] = field
    assert again.metadata == array.metadata
    assert_bounded(field, np.asarray(array[...]), BOUND)


FRESH = """
import sys, zarr
array = zarr.open_array(sys.argv[1], mode="r")
assert "torch" not in sys.modules and "xarray" not in sys.modules
print(array[...].astype("<f4").tobytes().hex())
"""


@pytest.mark.parametrize("slot", SLOTS)
def test_a_process_that_never_imports_sciflow_opens_the_store(slot: Slot, tmp_path: Path) -> None:
    field = smooth((9, 11))
    create(slot, tmp_path / "a.zarr", shape=field.shape, chunks=(8, 8))[...] = field
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path / "a.zarr")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    decoded = np.frombuffer(bytes.fromhex(done.stdout.strip()), "<f4").reshape(field.shape)
    assert_bounded(field, decoded, BOUND)


def test_the_metadata_is_strict_json_and_says_all(tmp_path: Path) -> None:
    options = {"preserve": [np.nan, "0x7fc00001", -9999], "level": "max", "threads": 2}
    create("v3 shard", tmp_path, shape=(9, 11), chunks=(8, 8), options=options, fill_value=1.5)
    text = (tmp_path / "zarr.json").read_text()
    metadata = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name} in zarr.json"))
    (inner,) = metadata["codecs"][0]["configuration"]["codecs"]
    assert inner == {
        "name": "sciflow.sz",
        "configuration": {
            "bound": {"kind": "abs", "value": 1e-3},
            "level": "max",
            "preserve": ["NaN", "0x7fc00001", -9999.0],
            "rewrite_safe": False,
            "verify": True,
            "block_values": None,
        },
    }


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask_writes_and_reads(slot: Slot, scheduler: str, tmp_path: Path) -> None:
    field = smooth((33, 40))
    array = create(slot, tmp_path / "a.zarr", shape=field.shape, chunks=(8, 8))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        da.from_array(field, chunks=(16, 16)).store(array, lock=False)  # type: ignore[no-untyped-call]
        decoded = da.from_zarr(tmp_path / "a.zarr").compute()  # type: ignore[no-untyped-call]
    assert_bounded(field, decoded, BOUND)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_writes_and_reads(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    field = smooth((33, 40))
    field[3:5] = np.nan
    chunks = {"chunks": (16, 16)}
    encoding = {
        2: chunks | {"compressors": for_numcodecs.SZ(BOUND)},
        3: chunks | {"serializer": for_zarr.SZ(BOUND), "compressors": None},
    }[zarr_format]
    dataset = xr.Dataset({"t": (("y", "x"), field)})
    dataset.to_zarr(
        tmp_path / "a.zarr", zarr_format=zarr_format, encoding={"t": encoding}, consolidated=False
    )
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as again:
        assert_bounded(field, again["t"].to_numpy(), BOUND)


# ---- refusals ------------------------------------------------------------

OTHER_DTYPES = ["i4", "u1", "f2", "c8", "M8[s]", "m8[s]", "?", "U3", "S3"]


@pytest.mark.filterwarnings("ignore:The data type")
@pytest.mark.parametrize("slot", ["v3 serializer", "v3 shard"])
@pytest.mark.parametrize("dtype", [*OTHER_DTYPES, str])
def test_v3_refuses_other_dtypes_before_anything_is_stored(slot: Slot, dtype: Any) -> None:
    store = MemoryStore()
    with pytest.raises(UnsupportedDtype, match="float32 and float64"):
        create(slot, store, shape=(9, 9), chunks=(4, 4), dtype=dtype)
    assert not store._store_dict


@pytest.mark.parametrize("slot", ["v3 serializer", "v3 shard"])
def test_v3_refuses_nine_dimensions_and_sentinels_of_another_width(slot: Slot) -> None:
    with pytest.raises(InvalidArgument, match="up to 8"):
        create(slot, MemoryStore(), shape=(2,) * 9, chunks=(1,) * 9)
    with pytest.raises(InvalidArgument, match="digits"):
        create(slot, MemoryStore(), shape=(2,), chunks=(1,), dtype="f8", options={"preserve": ["0x7fc00001"]})


@pytest.mark.parametrize("slot", ["v2 compressor", "v2 filter"])
@pytest.mark.parametrize("dtype", OTHER_DTYPES)
def test_v2_refuses_other_dtypes_when_written(slot: Slot, dtype: str) -> None:
    array = create(slot, MemoryStore(), shape=(4, 4), chunks=(4, 4), dtype=dtype)
    with pytest.raises(UnsupportedDtype, match="float32 and float64"):
        array[...] = np.ones((4, 4)).astype(dtype)


def test_a_store_with_an_unknown_option_does_not_open(tmp_path: Path) -> None:
    create("v3 serializer", tmp_path, shape=(4,), chunks=(4,))
    text = (tmp_path / "zarr.json").read_text()
    (tmp_path / "zarr.json").write_text(text.replace('"level"', '"quality"'))
    with pytest.raises(InvalidArgument, match="'quality'"):
        zarr.open_array(tmp_path)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_damaged_chunk_is_named(slot: Slot) -> None:
    store = MemoryStore()
    array = create(slot, store, shape=(8, 8), chunks=(8, 8))
    array[...] = smooth((8, 8))
    (key,) = (key for key in store._store_dict if key.startswith("c/") or key == "0.0")
    chunk = bytearray(store._store_dict[key].to_bytes())
    if slot == "v2 filter":
        chunk[:] = numcodecs.Zlib(1).encode(numcodecs.Zlib(1).decode(bytes(chunk))[:-3])
    else:
        chunk[20] ^= 1
    store._store_dict[key] = zarr.core.buffer.cpu.Buffer.from_bytes(bytes(chunk))
    with pytest.raises(Corrupt):
        array[...]


def test_a_chunk_of_another_shape_is_refused() -> None:
    store = MemoryStore()
    array = create("v3 serializer", store, shape=(4, 4), chunks=(4, 4))
    array[...] = smooth((4, 4))
    stream = sz.encode(np.zeros((4, 5), "f4"), sz.SZConfig(BOUND))
    store._store_dict["c/0/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(stream)
    with pytest.raises(Corrupt, match="metadata says"):
        array[...]


# ---- one stream, two adapters ------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_chunk_of_v2_is_a_chunk_of_v3(dtype: str, order: Literal["C", "F"]) -> None:
    field = smooth((6, 9), dtype)
    two, three = MemoryStore(), MemoryStore()
    create("v2 compressor", two, shape=(6, 9), chunks=(6, 9), dtype=dtype, order=order)[...] = field
    array = create("v3 serializer", three, shape=(6, 9), chunks=(6, 9), dtype=dtype)
    three._store_dict["c/0/0"] = two._store_dict["0.0"]
    decoded = np.asarray(array[...])
    assert_bounded(field, decoded.astype(dtype), BOUND)
    assert_same_bits(np.asarray(array[1:4, 2]), decoded[1:4, 2])


def test_a_chunk_of_v3_is_a_chunk_of_v2() -> None:
    field = smooth((6, 9))
    two, three = MemoryStore(), MemoryStore()
    create("v3 serializer", three, shape=(6, 9), chunks=(6, 9))[...] = field
    array = create("v2 compressor", two, shape=(6, 9), chunks=(6, 9))
    two._store_dict["0.0"] = three._store_dict["c/0/0"]
    assert_bounded(field, np.asarray(array[...]), BOUND)


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_numcodecs_alone_keeps_layout_and_byte_order(dtype: str) -> None:
    codec = numcodecs.get_codec({"id": "sciflow.sz", "bound": {"kind": "abs", "value": 1e-3}})
    assert codec == for_numcodecs.SZ(BOUND)
    field = np.asfortranarray(smooth((6, 9), dtype))
    decoded = codec.decode(codec.encode(field))
    assert decoded.flags.f_contiguous
    assert_bounded(field, decoded, BOUND)
    out = np.empty_like(field)
    assert codec.decode(codec.encode(field), out=out) is out
    assert_same_bits(out, decoded)
    with pytest.raises(Truncated):
        codec.decode(codec.encode(field)[:-1])


# ---- what only v3 can do ------------------------------------------------------------


def encoded_bytes(field: NDArray[Any], fill_value: float, bound: Bound) -> tuple[bytes, Bound | None]:
    store = MemoryStore()
    serializer = for_zarr.SZ(bound)
    options: dict[str, Any] = {
        "chunks": (64, 64),
        "serializer": serializer,
        "compressors": None,
        "fill_value": fill_value,
    }
    zarr.create_array(store, shape=field.shape, dtype="f4", **options)[...] = field
    stream = store._store_dict["c/0/0"].to_bytes()
    return stream, sz.info(stream).bound


def test_padding_with_a_finite_fill_value_moves_no_range_and_costs_nothing() -> None:
    field = smooth((64, 40))
    cut, bound = encoded_bytes(field, FILL, Bound.rel(1e-3))
    assert bound is not None
    assert bound.value == pytest.approx(1e-3 * (field.max() - field.min()))
    assert len(cut) < 1.1 * len(encoded_bytes(field, np.nan, Bound.rel(1e-3))[0])
    decoded = sz.decode(cut)
    assert_same_bits(decoded[:, 40:], np.full((64, 24), FILL, "f4"))
    assert_bounded(field, decoded[:, :40].copy(), Bound.rel(1e-3))


@pytest.mark.parametrize("fill_value", [0.0, np.nan, FILL])
def test_padding_does_not_dilute_a_mean(fill_value: float) -> None:
    field = smooth((64, 5)) + np.random.default_rng(0).normal(size=(64, 5)).astype("f4")
    decoded = sz.decode(encoded_bytes(field, fill_value, Bound.psnr(50.0))[0])
    assert_bounded(field, decoded[:, :5].copy(), Bound.psnr(50.0))
