"""The HDF5 filter: through h5py, netCDF4, xarray and another process, the promise of SZ holds."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from sciflow import Bound, hdf5
from sciflow.codecs.sz import Level
from sciflow.datasets import open_source
from sciflow.errors import Corrupt, InvalidArgument
from sciflow.hdf5 import FILTER, SZ

FILL = np.float32(9.96921e36)


@pytest.fixture
def field() -> NDArray[np.float32]:
    """(33, 40, 20) with a NaN, a mask and a negative zero; no chunk side divides it."""
    z, y, x = np.meshgrid(np.arange(33), np.arange(40), np.arange(20), indexing="ij")
    values = (np.sin(x / 9) * np.cos(y / 7) + z / 64).astype("f4")
    values[3, 4, 5], values[7, 8, 9], values[10] = np.nan, -0.0, FILL
    return values


def write(path: Path, data: NDArray[np.generic], sz: SZ, **settings: object) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=data, chunks=(16, 16, 16), compression=sz, **settings)


def holds(found: NDArray[np.generic], asked: NDArray[np.generic], bound: float) -> bool:
    back, data = found.astype("f8"), asked.astype("f8")
    real = np.isfinite(data) & (data < 1e30)
    exact = np.array_equal(back[~real], data[~real], equal_nan=True)
    return exact and bool(np.max(np.abs(back[real] - data[real])) <= bound)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("level", ["fast", "balanced"])
def test_every_value_is_within_the_bound(
    tmp_path: Path, field: NDArray[np.float32], dtype: str, level: Level
) -> None:
    data = field.astype(dtype)
    write(tmp_path / "a.h5", data, SZ(1e-3, level=level), fillvalue=np.array(FILL, dtype))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"].dtype == np.dtype(dtype)
        assert holds(file["x"][...], data, 1e-3)
        assert file["x"].id.get_storage_size() < data.nbytes / 4


def test_no_loss_keeps_every_bit(tmp_path: Path, field: NDArray[np.float32]) -> None:
    write(tmp_path / "a.h5", field, SZ(0))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"][...].tobytes() == field.tobytes()


def test_a_pointwise_bound_is_relative_to_each_value(tmp_path: Path) -> None:
    data = np.geomspace(1e-20, 1e20, 16 * 16 * 16, dtype="f8").reshape(16, 16, 16)
    write(tmp_path / "a.h5", data, SZ(Bound.pointwise_rel(1e-3)))
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.max(np.abs(file["x"][...] / data - 1)) <= 1.0001e-3


def test_the_fill_value_is_preserved_unasked(tmp_path: Path, field: NDArray[np.float32]) -> None:
    write(tmp_path / "a.h5", field, SZ(1.0), fillvalue=FILL)
    with h5py.File(tmp_path / "a.h5") as file:
        words = file["x"].id.get_create_plist().get_filter(0)[2]
        assert words[5:8] == (1, struct.unpack("<I", FILL.tobytes())[0], 0)
        assert np.all(file["x"][10] == FILL)


def test_rewriting_parts_does_not_add_up(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(16, 16, 16)).astype("f4")
    write(tmp_path / "a.h5", data, SZ(1e-2, rewrite_safe=True))
    for row in range(16):
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["x"][row] = data[row]
    with h5py.File(tmp_path / "a.h5") as file:
        assert holds(file["x"][...], data, 1e-2)


def test_netcdf4_and_h5py_read_each_others_files(tmp_path: Path, field: NDArray[np.float32]) -> None:
    write(tmp_path / "a.h5", field, SZ(1e-3), fillvalue=FILL)
    with netCDF4.Dataset(tmp_path / "a.h5") as file:
        file.set_auto_mask(False)
        assert holds(file["x"][...], field, 1e-3)
    with netCDF4.Dataset(tmp_path / "b.nc", "w") as file:
        for name, side in zip("zyx", field.shape, strict=True):
            file.createDimension(name, side)
        variable = file.createVariable("t", "f4", ("z", "y", "x"), chunksizes=(16, 16, 16), fill_value=FILL)
        hdf5.define_filter(variable, SZ(1e-3))
        variable[:] = field
    with h5py.File(tmp_path / "b.nc") as file:
        assert file["t"].id.get_create_plist().get_filter(0)[0] == FILTER
        assert holds(file["t"][...], field, 1e-3)


def test_xarray_writes_what_any_engine_reads(tmp_path: Path, field: NDArray[np.float32]) -> None:
    ds = xr.Dataset({"t": (("z", "y", "x"), field[:10]), "n": ("z", np.arange(10))}, {"z": np.arange(10.0)})
    asked = hdf5.encoding(ds, bound="rel:1e-3", chunks={"z": 5})
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=asked)
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as back:
        bound = 1e-3 * float(np.nanmax(field[:10]) - np.nanmin(field[:10]))
        assert float(np.nanmax(np.abs(back["t"].values.astype("f8") - field[:10]))) <= bound
        assert np.array_equal(back["n"], ds["n"])
    with h5py.File(tmp_path / "a.nc") as file:
        assert file["t"].id.get_create_plist().get_filter(0)[0] == FILTER


def test_another_program_finds_the_plugin(tmp_path: Path, field: NDArray[np.float32]) -> None:
    write(tmp_path / "a.h5", field, SZ(1e-3))
    read = "import h5py, sys; sys.stdout.buffer.write(h5py.File(sys.argv[1])['x'][...].tobytes())"
    command = [sys.executable, "-c", read, str(tmp_path / "a.h5")]
    there = os.environ | {"HDF5_PLUGIN_PATH": str(hdf5.plugin_folder())}
    with h5py.File(tmp_path / "a.h5") as file:
        ours = file["x"][...].tobytes()
    assert subprocess.run(command, env=there, check=True, capture_output=True).stdout == ours
    nowhere = os.environ | {"HDF5_PLUGIN_PATH": str(tmp_path)}
    assert subprocess.run(command, env=nowhere, check=False, capture_output=True).returncode == 1


def test_the_loader_reads_past_hdf5(tmp_path: Path, field: NDArray[np.float32]) -> None:
    write(tmp_path / "a.h5", field.astype(">f4"), SZ(1e-3))
    with h5py.File(tmp_path / "a.h5") as file:
        expected = file["x"][...]
    source = open_source(str(tmp_path / "a.h5"), ("x",))
    found = source.take(np.array([0, 32, 17]))["x"]
    assert np.array_equal(np.asarray(found, "f4"), expected[[0, 32, 17]].astype("f4"), equal_nan=True)


@pytest.mark.parametrize(("dtype", "settings"), [("i4", {}), ("f2", {}), ("f4", {"shuffle": True})])
def test_what_does_not_fit_cannot_be_created(tmp_path: Path, dtype: str, settings: dict[str, object]) -> None:
    with (
        h5py.File(tmp_path / "a.h5", "w") as file,
        pytest.raises(ValueError, match=r"sciflow_sz: (expected|found)"),
    ):
        file.create_dataset("x", (8, 8), dtype, chunks=(8, 8), compression=SZ(1e-3), **settings)


@pytest.mark.parametrize(
    "words",
    [
        (2, 2, 0, 0, 0, 0),  # another layout
        (1, 4, 0, 0, 0, 0),  # no such level
        (1, 2, 8, 0, 0, 0),  # no such flag
        (1, 2, 0, 0, 0x7FF00000, 0),  # an infinite bound
        (1, 2, 0, 0, 0x80100000, 0),  # a negative one
        (1, 2, 0, 0, 0, 17, *(0,) * 34),  # too many patterns
        (1, 2, 0, 0, 0, 2, 0, 0),  # fewer than it says
        (1, 2),
    ],
)
def test_unknown_parameters_are_refused(tmp_path: Path, words: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file, pytest.raises(ValueError, match="unknown parameters"):
        file.create_dataset("x", (8, 8), "f4", chunks=(8, 8), compression=FILTER, compression_opts=words)


def test_a_damaged_chunk_is_an_error_that_check_explains(tmp_path: Path, field: NDArray[np.float32]) -> None:
    path = tmp_path / "a.h5"
    write(path, field, SZ(1e-3))
    with h5py.File(path) as file:
        chunk = file["x"].id.get_chunk_info(4)
        assert hdf5.check(file["x"]) == file["x"].id.get_num_chunks()
    damaged = bytearray(path.read_bytes())
    damaged[chunk.byte_offset + chunk.size // 2] ^= 0x10
    path.write_bytes(damaged)
    with h5py.File(path) as file:
        with pytest.raises(OSError, match="filter"):
            file["x"][...]
        with pytest.raises(Corrupt, match=rf"a\.h5: /x, chunk at \({chunk.chunk_offset[0]}, "):
            hdf5.check(file["x"])


def test_a_stream_of_another_size_is_refused(tmp_path: Path) -> None:
    """HDF5 would read past the end of a chunk that is too small."""
    from sciflow.codecs import sz

    path = tmp_path / "a.h5"
    write(path, np.ones((16, 16, 16), "f4"), SZ(1e-3))
    small = sz.encode(np.ones((2, 2, 2), "f4"), sz.SZConfig(1e-3))
    with h5py.File(path, "r+") as file:
        file["x"].id.write_direct_chunk((0, 0, 0), small)
    with h5py.File(path) as file, pytest.raises(OSError, match="filter"):
        file["x"][...]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SZ(Bound.rel(1e-3)), "give the whole data as like="),
        (lambda: SZ(Bound.psnr(60)), "one chunk at a time"),
        (lambda: SZ(1e-3, preserve=range(16)), "up to 15"),
        (lambda: SZ(1e-3, dtype="i4"), "float32 and float64"),
    ],
)
def test_settings_that_no_chunk_can_keep_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_a_relative_bound_is_of_the_whole_data() -> None:
    assert SZ(Bound.rel(1e-2), like=np.array([0.0, 50.0])).config.bound == Bound.abs(0.5)


def test_the_command_says_where_and_how() -> None:
    run = [sys.executable, "-m", "sciflow.hdf5"]
    where = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    assert Path(where) == hdf5.plugin_folder()
    how = subprocess.run([*run, "--abs", "0.5"], check=True, capture_output=True, text=True).stdout
    assert f"UD={FILTER},0,6,1,2,0,0,1071644672,0" in how
