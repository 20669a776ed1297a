"""Verification finds what is wrong with a store, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.bounds import Bound
from tests.ocean import array, ocean


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.nc"
    ocean().to_netcdf(path, engine="netcdf4")
    return path


def damage_chunk(store: Path) -> None:
    chunk = store / "sst" / "c" / "1" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0x10
    chunk.write_bytes(content)


def forge_values(store: Path) -> None:
    array(store, "sst", mode="r+")[3, 9, 9] = 1000.0


def forge_lossless(store: Path) -> None:
    array(store, "mask", mode="r+")[3, 9] = 77


def forge_bound(store: Path) -> None:
    group = zarr.open_group(store, mode="r+")
    group["sst"].attrs["lossy_error_bound_value"] = 1e-5
    zarr.consolidate_metadata(store)


def forge_attribute(store: Path) -> None:
    zarr.open_group(store, mode="r+")["sst"].attrs["units"] = "K"
    zarr.consolidate_metadata(store)


def drop_variable(store: Path) -> None:
    del zarr.open_group(store, mode="r+")["flux"]
    zarr.consolidate_metadata(store)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize(
    ("damage", "variable", "message"),
    [
        (damage_chunk, "sst", "chunk c/1/0/0 cannot be read"),
        (lambda store: (store / "sst" / "c" / "2" / "0" / "0").unlink(), "sst", "chunk c/2/0/0 is missing"),
        (lambda store: (store / "mask" / "c" / "0" / "0").unlink(), "mask", "is missing"),
        (forge_values, "sst", "above the abs bound"),
        (forge_lossless, "mask", "1 values are not bit for bit"),
        (forge_bound, "sst", "above the abs bound"),
        (forge_attribute, "sst", "attribute 'units' was not kept"),
        (drop_variable, "flux", "is not in the store"),
    ],
    ids=[
        "bit flip",
        "lost chunk",
        "lost lossless chunk",
        "value",
        "lossless value",
        "bound",
        "attribute",
        "variable",
    ],
)
def test_verify_finds(
    damage: Callable[[Path], None], variable: str, message: str, source: Path, tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    sciflow.compress(source, store, bound=Bound.rel(1e-3), chunks="time=5")
    damage(store)
    report = sciflow.verify(source, store)
    assert not report.ok
    assert any(message in problem for problem in report[variable].problems), report.problems()
    assert {row.variable for row in report.rows if row.problems} == {variable}


def test_a_chunk_that_is_left_out_stands_for_its_fill_value(tmp_path: Path) -> None:
    dataset = xr.Dataset({"v": ("x", np.arange(8.0)), "mask": ("x", np.zeros(8, "i2"))})
    dataset.to_zarr(
        tmp_path / "own.zarr",
        zarr_format=3,
        consolidated=False,
        encoding=sciflow.encoding(dataset, bound="abs:0.1", chunks="x=4"),
    )
    assert not list((tmp_path / "own.zarr" / "mask").glob("c/*"))
    assert sciflow.verify(dataset, tmp_path / "own.zarr").ok


def test_verify_against_another_original(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    sciflow.compress(source, store, bound=Bound.rel(1e-3))
    with xr.open_dataset(source) as dataset:
        other = dataset.load()
    other["sst"] = other.sst + 1
    other["more"] = other.sst
    report = sciflow.verify(other, store)
    assert any("above the abs bound" in problem for problem in report["sst"].problems)
    assert report["more"].problems == ("is not in the store",)
    assert report["flux"].problems == ()
    narrow = sciflow.verify(other.isel(lon=slice(20)), store)
    assert any("lon" in problem for problem in narrow["flux"].problems)
    wide = sciflow.verify(other.drop_vars("station").astype("f8"), store)
    assert wide["mask"].problems[0] == "is int8 in the store, float64 in the original"
