"""Files and datasets in, verified stores out, and back: what is kept, what is promised, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

import sciflow
import sciflow.store.jobs
from sciflow.bounds import Bound
from sciflow.codecs.zarr import SZ
from sciflow.errors import InvalidArgument, StoreError
from sciflow.store import decompress, inspect
from sciflow.store.conventions import CONTAINER
from sciflow.store.results import Report
from sciflow.store.source import INCOMPLETE
from tests.ocean import FILL, array, ocean, raw, tree, waves

Stored = tuple[Path, Report]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.nc"
    ocean().to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def stored(source: Path) -> Stored:
    store = source.with_name("out.zarr")
    return store, sciflow.compress(source, store, bound=Bound.rel(1e-3), chunks="time=5")


def test_every_value_is_within_its_bound(source: Path, stored: Stored) -> None:
    store, report = stored
    original, found = raw(source), raw(store)
    for name in ("sst", "flux"):
        x, y = original[name].values.astype("f8"), found[name].values.astype("f8")
        ordinary = x != FILL
        width = x[ordinary].max() - x[ordinary].min()
        error = np.abs(x - y)
        assert error.max() <= 1e-3 * width
        assert (y[~ordinary] == FILL).all()
        assert report[name].bound_abs == 1e-3 * width
        assert report[name].max_error == error.max()
        assert (report[name].ratio or 0) > 2
    assert report.ok


def test_everything_else_keeps_every_bit(source: Path, stored: Stored) -> None:
    original, found = raw(source), raw(stored[0])
    for name in ("ice", "mask", "area", "lat_bnds", "height", "time", "lat", "lon"):
        assert found[name].dtype == original[name].dtype, name
        assert found[name].values.tobytes() == original[name].values.tobytes(), name
    assert found["station"].values.tolist() == original["station"].values.tolist()
    lossless = {row.variable for row in stored[1].rows if row.bound is None}
    assert lossless == set(original) - {"sst", "flux"}


def test_the_store_reads_like_the_file(source: Path, stored: Stored) -> None:
    with xr.open_dataset(source) as original, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(stored[0])
        xr.testing.assert_allclose(
            found.drop_vars([CONTAINER, "sst", "flux"]), original.drop_vars(["sst", "flux"])
        )
        assert list(found.coords) == list(original.coords) or set(found.coords) == set(original.coords)
        assert found.attrs["title"] == "an ocean"
        np.testing.assert_array_equal(np.isnan(found.sst), np.isnan(original.sst))
        assert {k: v for k, v in found.sst.attrs.items() if not k.startswith("lossy_")} == original.sst.attrs
        assert found.sst.encoding["_FillValue"] == FILL


def test_provenance_is_recorded(stored: Stored) -> None:
    store, report = stored
    group = zarr.open_group(store, mode="r")
    attrs = dict(group["sst"].attrs)
    assert attrs["lossy_compression"] == CONTAINER
    assert (attrs["lossy_error_bound_mode"], attrs["lossy_error_bound_value"]) == ("rel", 1e-3)
    assert attrs["lossy_error_bound_abs"] == report["sst"].bound_abs
    assert attrs["lossy_max_abs_error"] == report["sst"].max_error
    assert attrs["lossy_compression_ratio"] == report["sst"].ratio
    assert group[CONTAINER].attrs["algorithm"] == "sciflow.sz"
    assert str(group[CONTAINER].attrs["implementation"]).startswith("sciflow version ")
    assert INCOMPLETE not in group.attrs


def test_sizes_are_those_of_the_files(stored: Stored) -> None:
    store, report = stored
    assert report.store_bytes == sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
    for row in report.rows:
        chunks = sum(
            f.stat().st_size
            for f in (store / row.variable).rglob("*")
            if f.name != "zarr.json" and f.is_file()
        )
        assert row.bytes_out == chunks, row.variable
    assert report["sst"].bytes_in == 12 * 30 * 40 * 4
    assert not store.with_name("out.zarr.partial").exists()


def test_codecs_are_where_they_belong(stored: Stored) -> None:
    (codec,) = array(stored[0], "sst").metadata.codecs
    assert isinstance(codec, SZ)
    assert codec.config.bound == Bound.abs(stored[1]["sst"].bound_abs or 0.0)
    assert codec.config.preserve == (float(FILL),)
    assert array(stored[0], "sst").chunks == (5, 30, 40)
    assert [type(c).__name__ for c in array(stored[0], "ice").metadata.codecs] == ["BytesCodec", "BloscCodec"]


def test_a_process_that_knows_nothing_of_sciflow_reads_it(stored: Stored) -> None:
    code = f"import xarray; print(xarray.open_zarr({str(stored[0])!r}).sst.load().shape)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "(12, 30, 40)", done.stderr


def test_open_forgets_the_lossy_codec(stored: Stored, tmp_path: Path) -> None:
    dataset = sciflow.open(stored[0])
    dataset.to_zarr(tmp_path / "again.zarr", zarr_format=3, consolidated=False)
    again = array(tmp_path / "again.zarr", "sst")
    assert not any(isinstance(codec, SZ) for codec in again.metadata.codecs)
    np.testing.assert_array_equal(again[:], array(stored[0], "sst")[:])


def test_verify_agrees_and_measures_anew(source: Path, stored: Stored) -> None:
    store, report = stored
    found = sciflow.verify(source, store)
    assert found.ok, found.problems()
    for name in ("sst", "flux"):
        assert found[name].max_error == report[name].max_error
        assert found[name].psnr == report[name].psnr
        assert found[name].bytes_out == report[name].bytes_out


def test_inspect_agrees(stored: Stored) -> None:
    store, report = stored
    found = inspect(store)
    assert found.store_bytes == report.store_bytes
    for name in ("sst", "flux", "ice", "mask"):
        assert (found[name].codec, found[name].bound, found[name].bytes_out) == (
            report[name].codec,
            report[name].bound,
            report[name].bytes_out,
        )
    assert found["sst"].max_error == report["sst"].max_error
    assert found["sst"].chunks == (5, 30, 40)


def test_decompress_gives_the_file_back(source: Path, stored: Stored, tmp_path: Path) -> None:
    back = decompress(stored[0], tmp_path / "back.nc")
    original, found, ours = raw(source), raw(back), raw(stored[0])
    assert set(found) == set(original) | {CONTAINER}
    for name in original:
        np.testing.assert_array_equal(found[name].values, ours[name].values)
        assert found[name].dims == original[name].dims
        kept = {k: v for k, v in found[name].attrs.items() if not k.startswith("lossy_")}
        assert sorted(kept) == sorted(original[name].attrs), name
    assert sciflow.verify(back, stored[0]).ok
    with xr.open_dataset(back) as dataset, xr.open_dataset(source) as wanted:
        xr.testing.assert_equal(dataset.ice, wanted.ice)
    with pytest.raises(StoreError, match="exists already"):
        decompress(stored[0], tmp_path / "back.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["back.nc"]


def test_a_report_is_a_table_and_json(stored: Stored) -> None:
    report = stored[1]
    data = json.loads(report.to_json())
    assert data["ok"] is True
    assert {row["variable"] for row in data["variables"]} == {row.variable for row in report.rows}
    sst = next(row for row in data["variables"] if row["variable"] == "sst")
    assert sst["bound"] == {"kind": "rel", "value": 1e-3}
    assert sst["max_error"] == report["sst"].max_error
    assert sst["compress_mb_s"] > 0
    text = str(report)
    assert "rel 0.001" in text
    assert "times smaller" in text
    with pytest.raises(KeyError, match="no variable 'zzz'"):
        report["zzz"]


FORMATS: dict[str, Callable[[xr.Dataset, Path], object]] = {
    "netcdf3": lambda ds, path: ds.to_netcdf(path, engine="netcdf4", format="NETCDF3_64BIT"),
    "netcdf4": lambda ds, path: ds.to_netcdf(path, engine="netcdf4"),
    "h5netcdf": lambda ds, path: ds.to_netcdf(path, engine="h5netcdf"),
    "zarr2": lambda ds, path: ds.to_zarr(path, zarr_format=2, consolidated=True),
    "zarr3": lambda ds, path: ds.to_zarr(path, zarr_format=3, consolidated=False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_xarray_opens(name: str, tmp_path: Path) -> None:
    path = tmp_path / ("in.zarr" if "zarr" in name else "in.nc")
    FORMATS[name](ocean().drop_vars("station"), path)
    report = sciflow.compress(path, tmp_path / "out.zarr", bound="rel:1e-4")
    assert report.ok
    assert report["sst"].codec == "sciflow.sz"
    verified = sciflow.verify(path, tmp_path / "out.zarr")
    assert verified.ok, verified.problems()


def test_plain_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["field"] = waves((20, 30), ">f4")
        file["count"] = np.arange(20)
    report = sciflow.compress(tmp_path / "in.h5", tmp_path / "out.zarr", bound="abs:0.1")
    assert report["field"].max_error is not None
    assert 0 < report["field"].max_error <= 0.1
    assert sciflow.verify(tmp_path / "in.h5", tmp_path / "out.zarr").ok


def test_netcdf_characters_and_strings(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "in.nc", "w") as file:
        file.createDimension("n", 3)
        file.createDimension("length", 5)
        characters = file.createVariable("code", "S1", ("n", "length"), fill_value=b"\0")
        characters[:] = netCDF4.stringtochar(np.array(["ab", "cde", "f"], "S5"))
        file.createVariable("name", str, ("n",))[:] = np.array(["ä", "", "c"], dtype=object)
        file.createVariable("x", "f4", ("n",))[:] = [1, 2, 3]
    sciflow.compress(tmp_path / "in.nc", tmp_path / "out.zarr", bound="abs:0.1")
    found = sciflow.open(tmp_path / "out.zarr").load()
    assert found.code.values.tolist() == ["ab", "cde", "f"]
    assert found.name.values.tolist() == ["ä", "", "c"]
    assert sciflow.verify(tmp_path / "in.nc", tmp_path / "out.zarr").ok


def lossy(tmp_path: Path, values: NDArray[Any], bound: str = "abs:0.1", **options: Any) -> NDArray[Any]:
    """The values after a round through a store."""
    dims = tuple("abcdefgh"[: values.ndim])
    report = sciflow.compress(xr.Dataset({"v": (dims, values)}), tmp_path / "v.zarr", bound=bound, **options)
    assert report.ok
    return np.asarray(array(tmp_path / "v.zarr", "v")[...])


def test_special_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    x = waves((40, 50))
    x[0, :4] = [np.nan, np.inf, -np.inf, -0.0]
    x.view("u4")[1, 0] = 0x7FC00123
    y = lossy(tmp_path, x)
    special = ~np.isfinite(x) | ((x == 0) & np.signbit(x))
    np.testing.assert_array_equal(x.view("u4")[special], y.view("u4")[special])


@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, 5.5, -9999.0])
def test_a_constant_comes_back_bit_for_bit(value: float, tmp_path: Path) -> None:
    for bound in ("rel:1e-2", "psnr:40"):
        x = np.full((20, 30), value, "f4")
        y = lossy(tmp_path, x, bound, overwrite=True)
        np.testing.assert_array_equal(x.view("u4"), y.view("u4"))


@pytest.mark.parametrize("dtype", ["f2", "c8", "c16", "i8", "u1", "?"])
def test_other_types_come_back_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    x = (100 * waves((20, 30), "f8")).astype(dtype)
    dataset = xr.Dataset({"v": (("y", "x"), x), "field": ("z", waves((50,)))})
    assert sciflow.compress(dataset, tmp_path / "v.zarr", bound="abs:10").ok
    found = sciflow.open(tmp_path / "v.zarr").v.load()
    assert found.dtype == np.dtype(dtype)
    assert found.values.tobytes() == x.tobytes()


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 1, 5), (3, 1, 4, 1, 2), (2, 2, 2, 2, 2, 2, 2, 2)])
def test_odd_shapes(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = waves(shape, "f8")
    assert np.abs(lossy(tmp_path, x, chunks={"a": 2}) - x).max() <= 0.1


def test_an_empty_dimension_is_kept(tmp_path: Path) -> None:
    dataset = xr.Dataset({"e": (("y", "x"), np.zeros((0, 5))), "v": ("x", np.arange(5.0))})
    report = sciflow.compress(dataset, tmp_path / "v.zarr", bound="abs:0.1")
    assert report["e"].bytes_out == 0
    assert sciflow.open(tmp_path / "v.zarr").e.shape == (0, 5)
    assert sciflow.verify(dataset, tmp_path / "v.zarr").ok


def test_a_relative_bound_is_that_of_the_whole_variable(tmp_path: Path) -> None:
    x = np.concatenate([waves((8, 40)), 1000 * waves((8, 40), seed=1)])
    lossy(tmp_path, x, "rel:1e-3", chunks={"a": 8})
    codec = array(tmp_path / "v.zarr", "v").metadata.codecs[0]
    assert codec.config.bound == Bound.abs(1e-3 * (float(x.max()) - float(x.min())))


@pytest.mark.parametrize("decibels", [20.0, 60.0, 90.0])
def test_psnr_is_a_promise_with_ragged_chunks_and_land(decibels: float, tmp_path: Path) -> None:
    x = np.exp(waves((23, 37, 41)) / 2).astype("f4")
    x[:, :20] = -9999.0
    dataset = xr.Dataset({"v": (("a", "b", "c"), x)})
    dataset.v.encoding = {"_FillValue": np.float32(-9999)}
    report = sciflow.compress(
        dataset, tmp_path / "v.zarr", bound=Bound.psnr(decibels), chunks={"a": 10, "b": 16, "c": 30}
    )
    psnr = report["v"].psnr
    assert psnr is not None
    assert decibels <= psnr < decibels + 30
    assert sciflow.verify(dataset, tmp_path / "v.zarr").ok


def test_pointwise_bounds(tmp_path: Path) -> None:
    x = np.exp(2 * waves((30, 40), "f8"))
    x[3] = 0.0
    y = lossy(tmp_path, x, "pointwise_rel:1e-3")
    assert (np.abs(y - x) <= 1e-3 * np.abs(x)).all()
    assert sciflow.verify(xr.Dataset({"v": (("a", "b"), x)}), tmp_path / "v.zarr").ok


@pytest.mark.parametrize(
    "value", [np.zeros(3, "f4,i4"), np.zeros(3, "g"), np.array([1, "a", None], dtype=object)]
)
def test_types_that_zarr_has_not_are_named(value: NDArray[Any], tmp_path: Path) -> None:
    dataset = xr.Dataset({"odd": ("x", value), "v": ("x", np.arange(3.0))})
    with pytest.raises(InvalidArgument, match=r"'odd' holds neither|cannot be encoded"):
        sciflow.compress(dataset, tmp_path / "v.zarr", bound="abs:0.1")
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_any_length_are_named(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "in.nc", "w") as file:
        file.createDimension("x", 2)
        ragged = file.createVariable("ragged", file.createVLType("i4", "list"), ("x",))
        ragged[0], ragged[1] = np.arange(2, dtype="i4"), np.arange(3, dtype="i4")
        file.createVariable("v", "f4", ("x",))[:] = 1
    with pytest.raises(InvalidArgument, match="'ragged' holds arrays of any length"):
        sciflow.compress(tmp_path / "in.nc", tmp_path / "out.zarr", bound="abs:0.1")
    assert not (tmp_path / "out.zarr").exists()


def test_times_that_a_store_holds_as_such(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    for name, dtype in (("time", "M8[s]"), ("v", "f4")):
        variable = group.create_array(name, shape=(3,), chunks=(3,), dtype=dtype)
        variable[:] = np.arange(3).astype(dtype)
        variable.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    assert sciflow.compress(tmp_path / "in.zarr", tmp_path / "out.zarr", bound="abs:0.1").ok
    assert sciflow.open(tmp_path / "out.zarr").time.dt.second.values.tolist() == [0, 1, 2]


def test_lazy_datasets_are_compressed_block_by_block(tmp_path: Path) -> None:
    x = waves((24, 30, 40))
    dataset = xr.Dataset({"v": (("t", "y", "x"), da.from_array(x, chunks=(5, 30, 20)))})  # type: ignore[no-untyped-call]
    report = sciflow.compress(2 * dataset, tmp_path / "v.zarr", bound="abs:0.01")
    assert report.ok
    np.testing.assert_allclose(sciflow.open(tmp_path / "v.zarr").v, 2 * x, atol=0.01)


def test_a_cluster_writes_the_same_store(source: Path, stored: Stored, tmp_path: Path) -> None:
    report = sciflow.compress(
        source, tmp_path / "out.zarr", bound=Bound.rel(1e-3), chunks="time=5", workers=2
    )
    assert report.ok
    assert tree(tmp_path / "out.zarr") == tree(stored[0])


def test_compressing_a_store_again_replaces_its_record(stored: Stored, tmp_path: Path) -> None:
    report = sciflow.compress(stored[0], tmp_path / "again.zarr", bound="abs:0.5")
    assert report.ok
    attrs = zarr.open_group(tmp_path / "again.zarr", mode="r")["sst"].attrs
    assert (attrs["lossy_error_bound_mode"], attrs["lossy_error_bound_value"]) == ("abs", 0.5)
    assert sciflow.verify(stored[0], tmp_path / "again.zarr").ok


def test_a_url_is_written_in_place_and_marked_until_it_is_whole(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://somewhere/out.zarr"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sciflow.store.jobs, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            sciflow.compress(source, url, bound="rel:1e-3")
    with pytest.raises(StoreError, match="half-written"):
        sciflow.open(url)
    with pytest.raises(StoreError, match="exists already"):
        sciflow.compress(source, url, bound="rel:1e-2")
    resumed = sciflow.compress(source, url, bound="rel:1e-3")
    assert resumed["sst"].compress_mb_s is None, "every chunk was there"
    assert sciflow.verify(source, url).ok
    with pytest.raises(StoreError, match="exists already"):
        sciflow.compress(source, url, bound="rel:1e-3")
    assert sciflow.compress(source, url, bound="rel:1e-2", overwrite=True).ok


def test_encoding_is_for_to_zarr(tmp_path: Path) -> None:
    dataset = ocean()
    encoding = sciflow.encoding(dataset, bound=Bound.rel(1e-3), chunks={"time": 4})
    dataset.to_zarr(tmp_path / "own.zarr", zarr_format=3, encoding=encoding, consolidated=False)
    found = xr.open_zarr(tmp_path / "own.zarr", consolidated=False)
    np.testing.assert_array_equal(np.isnan(found.sst), np.isnan(dataset.sst))
    assert float(abs(found.sst - dataset.sst).max()) <= 1e-3 * float(dataset.sst.max() - dataset.sst.min())
    xr.testing.assert_allclose(found.ice, dataset.ice, atol=0.006)
    (codec,) = array(tmp_path / "own.zarr", "sst").metadata.codecs
    assert isinstance(codec, SZ)
    assert codec.config.preserve == (float(FILL),)
    assert array(tmp_path / "own.zarr", "sst").chunks == (4, 30, 40)
    report = sciflow.verify(dataset, tmp_path / "own.zarr")
    assert report.ok, report.problems()
    assert report["sst"].bound == codec.config.bound


def test_encoding_keeps_the_chunks_of_dask(tmp_path: Path) -> None:
    dataset = ocean().drop_vars("station").chunk({"time": 5, "lat": 15})
    encoding = sciflow.encoding(dataset, bound="abs:0.1")
    assert encoding["sst"]["chunks"] == (5, 15, 40)
    dataset.to_zarr(tmp_path / "own.zarr", zarr_format=3, encoding=encoding, consolidated=False)
    assert sciflow.verify(dataset, tmp_path / "own.zarr").ok


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    report = sciflow.compress(source, tmp_path / "out.zarr", bound="rel:1e-3", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert report.action == "plan"
    assert report["sst"].bound_abs is not None
    assert report["sst"].bytes_out is None
    assert report["mask"].reason == "integers"
    assert "nothing was written" in str(report)


def test_an_existing_store_is_left_alone_or_replaced_whole(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    sciflow.compress(source, store, bound="rel:1e-3")
    before = tree(store)
    with pytest.raises(StoreError, match="exists already"):
        sciflow.compress(source, store, bound="rel:1e-2")
    assert tree(store) == before
    sciflow.compress(source, store, bound="rel:1e-2", overwrite=True)
    assert zarr.open_group(store, mode="r")["sst"].attrs["lossy_error_bound_value"] == 1e-2
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_only_zarr_stores_are_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    for target in (tmp_path / "precious", tmp_path / "precious" / "thesis.tex"):
        with pytest.raises(StoreError, match="is no Zarr store"):
            sciflow.compress(source, target, bound="rel:1e-3", overwrite=True)
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_the_source_is_never_the_target(source: Path, stored: Stored) -> None:
    for origin, target in ((source, source), (source, source.parent), (stored[0], stored[0])):
        with pytest.raises(StoreError, match="where the source is"):
            sciflow.compress(origin, target, bound="rel:1e-3", overwrite=True)
    assert sciflow.verify(source, stored[0]).ok


def test_what_is_in_the_way_of_the_half_written_store_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zarr.partial").mkdir()
    (tmp_path / "out.zarr.partial" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="in the way"):
        sciflow.compress(source, tmp_path / "out.zarr", bound="rel:1e-3", overwrite=True)
    assert (tmp_path / "out.zarr.partial" / "mine.txt").read_text() == "mine"


def test_inputs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("no field")
    (tmp_path / "empty.nc").touch()
    (tmp_path / "folder").mkdir()
    xr.Dataset(attrs={"a": 1}).to_netcdf(tmp_path / "hollow.nc")
    for name, error, message in [
        ("missing.nc", FileNotFoundError, "no such file"),
        ("text.nc", InvalidArgument, "not a file that xarray can read"),
        ("empty.nc", InvalidArgument, "not a file that xarray can read"),
        ("folder", InvalidArgument, "not a file that xarray can read"),
        ("hollow.nc", InvalidArgument, "holds no variable"),
    ]:
        with pytest.raises(error, match=message):
            sciflow.compress(tmp_path / name, tmp_path / "out.zarr", bound="rel:1e-3")
        with pytest.raises((FileNotFoundError, InvalidArgument)):
            sciflow.open(tmp_path / name)
    with pytest.raises(InvalidArgument, match=r"to_dataset"):
        sciflow.compress(xr.DataArray([1.0]), tmp_path / "out.zarr", bound="rel:1e-3")
    assert not list(tmp_path.glob("out.zarr*"))
