"""Every source and layout gives what the library that wrote the file gives."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from sciflow.codecs.zarr import SZ
from sciflow.datasets.sources import (
    FileListSource,
    HDF5Source,
    NetCDFSource,
    NpySource,
    Reading,
    Source,
    ZarrSource,
    open_source,
)
from sciflow.errors import SourceChanged

IDS = np.array([3, 17, 0, 3, 22, 9, 8, 10, 11])


def field(dtype: str = "<f4", shape: tuple[int, ...] = (23, 6, 5)) -> NDArray[Any]:
    rng = np.random.default_rng(7)
    return (np.cumsum(rng.integers(0, 9, shape), axis=0) + np.arange(shape[-1])).astype(dtype)


HDF5_LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "raw chunks": {"chunks": (4, 6, 5)},
    "raw tiles": {"chunks": (4, 4, 3)},
    "gzip": {"chunks": (4, 6, 5), "compression": "gzip"},
    "gzip shuffle fletcher32 tiles": {
        "chunks": (5, 4, 2),
        "compression": "gzip",
        "shuffle": True,
        "fletcher32": True,
    },
    "fletcher32 alone": {"chunks": (4, 3, 5), "fletcher32": True},
    "lzf": {"chunks": (4, 6, 5), "compression": "lzf", "shuffle": True},
    "scale-offset": {"chunks": (4, 6, 5), "scaleoffset": 2},
}

PLUGINS = {
    "zstd": {"filter": "Zstd"},
    "blosc": {"filter": "Blosc"},
    "lz4": {"filter": "LZ4"},
    "bitshuffle": {"filter": "Bitshuffle"},
}


@pytest.mark.parametrize("layout", HDF5_LAYOUTS)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2"])
def test_hdf5_gives_what_h5py_gives(tmp_path: Path, layout: str, dtype: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("g/x", data=field(dtype), **HDF5_LAYOUTS[layout])
    with h5py.File(tmp_path / "a.h5") as file:
        expected = file["g/x"][:]
    source = HDF5Source(tmp_path / "a.h5", "g/x")
    found = source.take(IDS)["x"]
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, expected[IDS])


WRITE_FILTERED = """
import sys
import h5py, hdf5plugin, numpy as np
path, name = sys.argv[1:]
with h5py.File(path, "w") as file:
    filters = dict(getattr(hdf5plugin, name)())
    x = np.load(path + ".npy")
    file.create_dataset("x", data=x, chunks=(4, 60, 50), shuffle=name == "Zstd", **filters)
"""


@pytest.mark.parametrize("plugin", PLUGINS)
def test_hdf5_with_plugins(tmp_path: Path, plugin: str) -> None:
    pytest.importorskip("hdf5plugin")
    x = field(shape=(23, 60, 50))
    np.save(tmp_path / "a.h5.npy", x)
    # In a process of its own: netCDF4 names its plugins to all of HDF5, and Blosc then refuses to write.
    environment = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PATH"}
    command = [sys.executable, "-c", WRITE_FILTERED, str(tmp_path / "a.h5"), PLUGINS[plugin]["filter"]]
    subprocess.run(command, check=True, env=environment)
    source = HDF5Source(tmp_path / "a.h5", "x")
    np.testing.assert_array_equal(source.take(IDS)["x"], x[IDS])
    ours = type(source._fields["x"].array).__name__ == "GridArray"
    assert ours == (plugin != "bitshuffle")


def test_hdf5_reads_each_chunk_once_and_merges(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=field(), chunks=(4, 6, 5), compression="gzip")
    reading = Reading(gap_bytes=1 << 20)
    HDF5Source(tmp_path / "a.h5", "x").take(range(23), reading=reading)
    assert (reading.decodes, reading.ops) == (6, 1)
    apart = Reading(gap_bytes=-1)
    HDF5Source(tmp_path / "a.h5", "x").take(range(23), reading=apart)
    assert (apart.decodes, apart.ops) == (6, 6)


def test_hdf5_never_written_chunks_are_fill_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", (12, 4), "f4", chunks=(3, 4), fillvalue=-5, compression="gzip")
        made[4] = 1
        file.create_dataset("y", (12, 4), "f4", fillvalue=3)
        x, y = made[:], file["y"][:]
    found = HDF5Source(tmp_path / "a.h5", ["x", "y"]).take(range(12))
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["y"], y)


def test_hdf5_user_block_and_shrunk_data_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        file["x"] = field()
        file.create_dataset("y", data=field(), chunks=(4, 6, 5), maxshape=(None, 6, 5), shuffle=True)
        file["y"].resize(9, axis=0)
    np.testing.assert_array_equal(HDF5Source(tmp_path / "a.h5", "x").take(IDS)["x"], field()[IDS])
    np.testing.assert_array_equal(HDF5Source(tmp_path / "a.h5", "y").take([8, 0])["y"], field()[[8, 0]])


def test_hdf5_chunks_that_skipped_a_filter(tmp_path: Path) -> None:
    x = field("<f4", (12, 6, 5))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", x.shape, "f4", chunks=(4, 6, 5), compression="gzip", shuffle=True)
        made[:] = x
        shuffled = np.ascontiguousarray(x[4:8].reshape(-1).view(np.uint8).reshape(-1, 4).T)
        made.id.write_direct_chunk((4, 0, 0), shuffled.tobytes(), filter_mask=2)
        made.id.write_direct_chunk((8, 0, 0), x[8:].tobytes(), filter_mask=3)
        np.testing.assert_array_equal(made[:], x)
    source = HDF5Source(tmp_path / "a.h5", "x")
    assert type(source._fields["x"].array).__name__ == "GridArray"
    np.testing.assert_array_equal(source.take(range(12))["x"], x)


def test_hdf5_that_we_read_otherwise_is_read_by_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=field(), chunks=(4, 6, 5), shuffle=True)
    monkeypatch.setattr("sciflow.datasets.sources.filters._unshuffle", lambda _, data: data)
    source = HDF5Source(tmp_path / "a.h5", "x")
    assert type(source._fields["x"].array).__name__ == "LibraryArray"
    np.testing.assert_array_equal(source.take(IDS)["x"], field()[IDS])


def test_hdf5_virtual_and_compact(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = field()
        layout = h5py.VirtualLayout((23, 6, 5), "f4")
        layout[:] = h5py.VirtualSource(file["x"])
        file.create_virtual_dataset("v", layout)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        made = h5py.h5d.create(file.id, b"c", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((23, 2)), plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(field()[:, 0, :2]))
    found = HDF5Source(tmp_path / "a.h5", ["v", "c"]).take(IDS)
    np.testing.assert_array_equal(found["v"], field()[IDS])
    np.testing.assert_array_equal(found["c"], field()[IDS, 0, :2])


@pytest.mark.parametrize("layout", ["contiguous", "raw tiles", "gzip shuffle fletcher32 tiles", "lzf"])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_hdf5_other_sample_axes(tmp_path: Path, layout: str, axis: int) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=field(), **HDF5_LAYOUTS[layout])
    found = HDF5Source(tmp_path / "a.h5", "x", axis=axis).take([4, 1, 1, 0])["x"]
    np.testing.assert_array_equal(found, np.moveaxis(field(), axis, 0)[[4, 1, 1, 0]])


def test_files_follow_one_another_and_fields_share_samples(tmp_path: Path) -> None:
    for part in range(3):
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["x"] = field()[part * 7 : part * 7 + 7]
            file.create_dataset("y", data=np.arange(7) + 7 * part, chunks=(3,), compression="gzip")
    source = HDF5Source([tmp_path / f"{part}.h5" for part in range(3)], {"x": "x", "label": "y"})
    found = source.take([20, 0, 7, 6])
    np.testing.assert_array_equal(found["x"], field()[[20, 0, 7, 6]])
    np.testing.assert_array_equal(found["label"], [20, 0, 7, 6])


@pytest.mark.parametrize("packed", [False, True])
def test_netcdf_gives_what_xarray_gives(tmp_path: Path, packed: bool) -> None:
    values = field("f4")
    values[2, 3] = np.nan
    encoding: dict[str, Any] = {"zlib": True, "chunksizes": (4, 6, 5), "_FillValue": -999}
    if packed:
        encoding |= {"dtype": "i2", "scale_factor": 0.5, "add_offset": 3.0}
    xr.Dataset({"u": (("t", "y", "x"), values)}).to_netcdf(tmp_path / "a.nc", encoding={"u": encoding})
    for decode in (False, True):
        with xr.open_dataset(tmp_path / "a.nc", decode_cf=decode) as opened:
            expected = opened["u"].to_numpy()
        found = NetCDFSource(tmp_path / "a.nc", "u", decode_cf=decode).take(IDS)["u"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[IDS])


V3: dict[str, dict[str, Any]] = {
    "zstd": {"chunks": (4, 4, 3)},
    "none": {"chunks": (4, 4, 3), "compressors": None},
    "gzip": {"chunks": (4, 6, 5), "compressors": zarr.codecs.GzipCodec()},
    "blosc crc32c": {
        "chunks": (4, 6, 5),
        "compressors": [zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()],
    },
    "shards": {"chunks": (2, 4, 5), "shards": (8, 8, 5)},
    "shards of raw chunks": {"chunks": (2, 3, 5), "shards": (8, 6, 5), "compressors": None},
    "transposed": {"chunks": (4, 6, 5), "filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))]},
    "sciflow": {"chunks": (4, 6, 5), "serializer": SZ(0.01), "compressors": None},
    "sciflow in shards": {
        "chunks": (4, 6, 5),
        "shards": (8, 6, 5),
        "serializer": SZ(0.01),
        "compressors": None,
    },
    "sciflow behind zstd": {"chunks": (4, 6, 5), "serializer": SZ(0.01)},
    "big-endian": {"chunks": (4, 6, 5), "serializer": zarr.codecs.BytesCodec(endian="big")},
}


@pytest.mark.parametrize("layout", V3)
@pytest.mark.parametrize("local", [True, False])
def test_zarr_3_gives_what_zarr_gives(tmp_path: Path, layout: str, local: bool) -> None:
    store: Any = str(tmp_path / "a.zarr") if local else zarr.storage.MemoryStore()
    group = zarr.create_group(store)
    x, y = (
        group.create_array(name, shape=(23, 6, 5), dtype="f4", fill_value=2, **V3[layout])
        for name in ("x", "y")
    )
    x[:] = field()
    y[4:9, 1:3] = field()[4:9, 1:3]
    found = ZarrSource(store, ["x", "y"]).take(IDS)
    np.testing.assert_array_equal(found["x"], np.asarray(x[:])[IDS])
    np.testing.assert_array_equal(found["y"], np.asarray(y[:])[IDS])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("codec", [None, numcodecs.Blosc(), numcodecs.Zlib()])
def test_zarr_2_gives_what_zarr_gives(tmp_path: Path, order: Any, codec: Any) -> None:
    store = tmp_path / "a.zarr"
    made = zarr.create_array(
        store,
        shape=(23, 6, 5),
        chunks=(4, 6, 3),
        dtype=">i4",
        zarr_format=2,
        order=order,
        compressors=codec,
        filters=[numcodecs.Delta(">i4")] if codec else None,
    )
    made[:] = field("i4")
    source = ZarrSource(store)
    np.testing.assert_array_equal(source.take(IDS)["x"], field("i4")[IDS])
    along = ZarrSource(store, axis=1).take([5, 0])["x"]
    np.testing.assert_array_equal(along, np.moveaxis(field("i4"), 1, 0)[[5, 0]])


def test_shards_are_read_in_parts(tmp_path: Path) -> None:
    made = zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 1000), chunks=(1, 1000), shards=(64, 1000), dtype="f4"
    )
    made[:] = np.random.default_rng(0).random((64, 1000), "f4")
    reading = Reading(gap_bytes=0)
    np.testing.assert_array_equal(
        ZarrSource(tmp_path / "a.zarr").take([40], reading=reading)["x"], made[40:41]
    )
    assert reading.ops == 2  # the index and the chunk
    assert reading.bytes < 16 * 64 + 4 + 4500


def test_what_was_read_leaves_no_trace_in_a_fingerprint(tmp_path: Path) -> None:
    made = zarr.create_array(tmp_path / "a.zarr", data=field(), chunks=(4, 6, 5))
    source = ZarrSource(tmp_path / "a.zarr")
    before = source.fingerprint()
    source.take(IDS)
    assert source.fingerprint() == before == ZarrSource(tmp_path / "a.zarr").fingerprint()
    made[7, 0, 0] = 9
    with pytest.raises(SourceChanged, match=r"c/1/0/0"):
        source.check()
    assert ZarrSource(tmp_path / "a.zarr").fingerprint() != before


def test_layouts_tell_the_planner_what_comes_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=field(shape=(24, 60, 50)), chunks=(4, 60, 50), compression="gzip")
        file.create_dataset("raw", data=field(shape=(24, 60, 50)), chunks=(8, 60, 50))
        file.create_dataset("label", data=np.arange(24), chunks=(12,), compression="gzip")

    def layout(*keys: str) -> tuple[int, bool]:
        found = HDF5Source(tmp_path / "a.h5", keys).layout
        return found.samples_per_chunk, found.filtered

    assert layout("x", "label") == (4, True)
    assert layout("raw", "label") == (1, False)
    assert layout("label") == (12, True)
    assert HDF5Source(tmp_path / "a.h5", "x").crops((30, 50)).layout.samples_per_chunk == 8
    assert 0 < HDF5Source(tmp_path / "a.h5", "x").layout.stored_fraction < 0.5


def test_npy_and_one_file_a_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", field(">f4"))
    np.save(tmp_path / "y.npy", np.arange(23))
    found = NpySource({"x": tmp_path / "x.npy", "y": tmp_path / "y.npy"}).take(IDS)
    np.testing.assert_array_equal(found["x"], field()[IDS])
    np.testing.assert_array_equal(found["y"], IDS)
    for sample in range(4):
        np.savez(tmp_path / f"{sample}.npz", u=field()[sample], label=sample)
    listed = FileListSource([tmp_path / f"{sample}.npz" for sample in range(4)], np.load)
    found = listed.take([3, 1])
    np.testing.assert_array_equal(found["u"], field()[[3, 1]])
    np.testing.assert_array_equal(found["label"], [3, 1])
    np.testing.assert_array_equal(listed.select("u").pairs(2).take([1])["target"], field()[[3]])


def sources(folder: Path) -> dict[str, Source]:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("u", data=field(), chunks=(4, 4, 3), compression="gzip")
        file.create_dataset("v", data=field())
        file["label"] = np.arange(23)
    return {key: HDF5Source(folder / "a.h5", [key, "label"]) for key in "uv"}


@pytest.mark.parametrize("key", ["u", "v"])
def test_windows_pairs_crops_regions(tmp_path: Path, key: str) -> None:
    source, x = sources(tmp_path)[key], field()
    window = source.windows({"past": (key, (0, 1)), "next": (key, 3), "label": ("label", 2)}, stride=2)
    assert len(window) == 10
    found = window.take([9, 0, 9])
    np.testing.assert_array_equal(found["past"], np.stack([x[[18, 19]], x[[0, 1]], x[[18, 19]]]))
    np.testing.assert_array_equal(found["next"], x[[21, 3, 21]])
    np.testing.assert_array_equal(found["label"], [20, 2, 20])
    pairs = source.pairs(5, key=key)
    assert len(pairs) == 18
    np.testing.assert_array_equal(pairs.take([17])["target"], x[[22]])
    crops = source.crops((4, 2), stride=(2, 1))
    tiles = [(i, j) for i in (0, 2) for j in (0, 1, 2, 3)]
    assert len(crops) == 23 * len(tiles)
    ids = [0, 7, 8 * 22 + 6, 8 * 9 + 5, 8 * 9 + 1]
    found = crops.take(ids)
    for got, number in zip(found[key], ids, strict=True):
        row, (i, j) = number // 8, tiles[number % 8]
        np.testing.assert_array_equal(got, x[row, i : i + 4, j : j + 2])
    np.testing.assert_array_equal(found["label"], np.array(ids) // 8)
    region = source.region((1, 5), (2, 5))
    np.testing.assert_array_equal(region.take(IDS)[key], x[IDS, 1:5, 2:5])
    both = region.crops((2, 3))
    np.testing.assert_array_equal(both.take([2 * 7 + 1])[key], x[[7], 3:5, 2:5])


def test_sources_join_and_travel(tmp_path: Path) -> None:
    made = sources(tmp_path)
    joined = made["u"].join(made["v"].select("v"))
    there = pickle.loads(pickle.dumps(joined))
    assert there.fingerprint() == joined.fingerprint()
    assert [spec.name for spec in there.spec] == ["u", "label", "v"]
    np.testing.assert_array_equal(there.take(IDS)["u"], there.take(IDS)["v"])


def test_open_source_knows_the_kinds(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", field())
    zarr.create_array(tmp_path / "a.zarr", data=field())
    xr.Dataset({"u": (("t", "y", "x"), field())}, {"t": np.arange(23)}).to_netcdf(tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/x"] = field()
    for kind in ("npy", "zarr", "nc", "h5"):
        (found,) = open_source(tmp_path / f"a.{kind}").take(IDS).values()
        np.testing.assert_array_equal(found, field()[IDS])
