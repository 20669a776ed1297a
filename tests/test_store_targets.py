"""Targets and regions in stores: one bound a variable, each region judged by its own, all of it recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.bounds import Bound
from sciflow.cli import run
from sciflow.codecs import sz
from sciflow.codecs.zarr import SZ
from sciflow.errors import InvalidArgument
from sciflow.store.plan import RegionsLike
from tests.ocean import array, ocean, raw, waves

TIGHT = Bound.abs(1e-3)


def eye(**sizes: int) -> xr.DataArray:
    """True in a box amid some dimensions."""
    mask = xr.DataArray(np.zeros(tuple(sizes.values()), bool), dims=tuple(sizes))
    mask[{dim: slice(n // 3, n // 3 + n // 4) for dim, n in sizes.items()}] = True
    return mask


def chunk_streams(store: Path, name: str) -> list[bytes]:
    folder = store / name / "c"
    return [file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()]


@pytest.mark.parametrize("bound", [Bound.ratio(8.0), Bound.nbytes(9000)])
def test_a_variable_of_few_chunks_meets_its_size(bound: Bound, tmp_path: Path) -> None:
    report = sciflow.compress(ocean(), tmp_path / "o.zarr", bound=bound, chunks={"time": 5, "lat": 16})
    for name in ("sst", "flux"):
        row = report[name]
        assert row.target_met
        assert row.bound == bound
        limit = bound.value if bound.kind == "nbytes" else row.bytes_in / bound.value
        assert row.bytes_out is not None
        assert 0.8 * limit < row.bytes_out <= limit
        codec = array(tmp_path / "o.zarr", name).metadata.codecs[0]
        assert codec.config.bound == Bound.abs(row.bound_abs or 0.0)
    assert report["ice"].target_met is None
    assert sciflow.verify(ocean(), tmp_path / "o.zarr").ok
    assert sciflow.inspect(tmp_path / "o.zarr")["sst"].bound == bound


def test_a_variable_of_many_chunks_comes_near_its_size(tmp_path: Path) -> None:
    dataset = xr.Dataset({"v": (("t", "y", "x"), waves((60, 40, 50)))})
    report = sciflow.compress(dataset, tmp_path / "v.zarr", bound="ratio:10", chunks={"t": 2})
    ratio = report["v"].ratio
    assert ratio is not None
    assert ratio == pytest.approx(10.0, rel=0.1)
    assert report["v"].target_met == (ratio >= 10.0)
    assert report["v"].to_json()["target_met"] == report["v"].target_met


def test_a_size_out_of_reach_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"variable 'sst': .*the smallest that was reached is"):
        sciflow.compress(ocean(), tmp_path / "o.zarr", bound="ratio:5000")
    assert list(tmp_path.iterdir()) == []


def test_a_codec_alone_meets_the_size_in_every_chunk() -> None:
    field = waves((64, 64))
    store: dict[str, Any] = {}
    options: dict[str, Any] = {"serializer": SZ(Bound.ratio(6.0)), "compressors": None}
    made = zarr.create_array(store, shape=(64, 64), chunks=(32, 64), dtype="f4", **options)
    made[:] = field
    sizes = [len(store[key].to_bytes()) for key in store if key.startswith("c/")]
    assert len(sizes) == 2
    assert all(size <= 32 * 64 * 4 / 6.0 for size in sizes)
    assert SZ.from_dict(SZ(Bound.ratio(6.0)).to_dict()) == SZ(Bound.ratio(6.0))


def test_a_psnr_is_not_missed_by_far(tmp_path: Path) -> None:
    report = sciflow.compress(ocean(), tmp_path / "o.zarr", bound="psnr:60", chunks={"time": 5})
    for name in ("sst", "flux"):
        psnr = report[name].psnr
        assert psnr is not None
        assert 60.0 <= psnr < 63.0
    assert sciflow.verify(ocean(), tmp_path / "o.zarr").ok


def test_a_mask_that_broadcasts_holds_in_every_chunk(tmp_path: Path) -> None:
    dataset, mask = ocean(), eye(lat=30, lon=40)
    report = sciflow.compress(
        dataset,
        tmp_path / "o.zarr",
        bound="abs:0.5",
        regions={"sst": (mask, {1: TIGHT})},
        chunks={"time": 5, "lat": 16, "lon": 24},
    )
    row = report["sst"]
    (region,) = row.regions
    assert (region.label, region.bound, region.bound_abs) == (1, TIGHT, 1e-3)
    assert region.max_error is not None
    assert region.max_error <= 1e-3 < (row.max_error or 0.0) <= 0.5
    assert region.cells == int(dataset.sst.where(mask).count())
    error = abs(sciflow.open(tmp_path / "o.zarr").sst - dataset.sst)
    assert error.where(mask).max() <= 1e-3 < error.max() <= 0.5
    assert row.to_json()["regions"][0]["bound"] == {"kind": "abs", "value": 1e-3}
    infos = [sz.info(stream) for stream in chunk_streams(tmp_path / "o.zarr", "sst")]
    assert len(infos) == 3 * 2 * 2
    assert {info.regions for info in infos} <= {(), ((1, TIGHT),)}
    assert "region 1" in str(report)


def test_what_is_stored_verifies_by_itself(tmp_path: Path) -> None:
    regions: dict[str, RegionsLike] = {
        "sst": (eye(lat=30, lon=40), {1: TIGHT}),
        "flux": ("mask", {1: "rel:1e-4", 0: "lossless"}),
    }
    sciflow.compress(ocean(), tmp_path / "o.zarr", bound="abs:0.5", regions=regions)
    report = sciflow.verify(ocean(), tmp_path / "o.zarr")
    assert report.ok
    assert [region.label for region in report["flux"].regions] == [1, 0]
    assert report["flux"].regions[1].max_error == 0.0
    assert [r.bound_abs for r in sciflow.inspect(tmp_path / "o.zarr")["sst"].regions] == [1e-3]
    attrs = raw(tmp_path / "o.zarr")["flux"].attrs
    assert (attrs["lossy_region_mask"], attrs["lossy_region_bounds"]) == ("mask", ["rel:0.0001", "lossless"])


@pytest.mark.parametrize("inside", [True, False])
def test_verify_judges_each_region_by_its_own_bound(inside: bool, tmp_path: Path) -> None:
    dataset, mask = ocean(), eye(lat=30, lon=40)
    sciflow.compress(dataset, tmp_path / "o.zarr", bound="abs:0.5", regions={"sst": (mask, {1: TIGHT})})
    where = mask if inside else ~mask
    dataset["sst"] = dataset.sst.where(~where, dataset.sst + np.float32(0.1))
    report = sciflow.verify(dataset, tmp_path / "o.zarr")
    assert not report.ok if inside else report["sst"].regions[0].over_bound is not None
    assert any("region 1" in problem for problem in report.problems()) == inside


def test_a_mask_that_moves_with_the_field(tmp_path: Path) -> None:
    dataset = xr.Dataset({"v": (("t", "y", "x"), waves((8, 30, 40), "f8"))})
    storm = xr.DataArray(np.zeros((8, 40, 30), np.int8), dims=("t", "x", "y"))
    for t in range(8):
        storm[t, 3 * t : 3 * t + 9, 2 * t : 2 * t + 8] = 5
    sciflow.compress(
        dataset.chunk({"t": 3}),
        tmp_path / "v.zarr",
        bound="rel:1e-2",
        regions={"v": (storm.chunk({"t": 2}), {5: Bound.rel(1e-5)})},
        chunks={"t": 2},
    )
    back = sciflow.open(tmp_path / "v.zarr")
    width = float(dataset.v.max() - dataset.v.min())
    assert abs(back.v - dataset.v).where(storm == 5).max() <= 1e-5 * width
    assert sciflow.verify(dataset, tmp_path / "v.zarr").ok


def test_a_run_goes_on_where_one_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "bound": "abs:0.5",
        "regions": {"sst": ("mask", {1: TIGHT})},
        "chunks": {"time": 3},
    }
    ocean().to_netcdf(tmp_path / "in.nc")
    calls, encode = [0], sz.encode

    def stops(*args: Any, **kwargs: Any) -> bytes:
        calls[0] += 1
        if calls[0] > 2:
            raise OSError("stopped")
        return encode(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sz, "encode", stops)
        with pytest.raises(OSError, match="stopped"):
            sciflow.compress(tmp_path / "in.nc", tmp_path / "o.zarr", **options)
    assert (tmp_path / "o.zarr.partial").exists()
    assert sciflow.compress(tmp_path / "in.nc", tmp_path / "o.zarr", **options).ok
    assert sciflow.verify(tmp_path / "in.nc", tmp_path / "o.zarr").ok


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"regions": {"sst": ("nope", {1: TIGHT})}}, "no variable 'nope'"),
        ({"regions": {"sxt": ("mask", {1: TIGHT})}}, "did you mean 'sst'"),
        ({"regions": {"ice": ("mask", {1: TIGHT})}}, "it keeps every bit"),
        ({"regions": {"sst": ("station", {1: TIGHT})}}, "expected whole numbers"),
        ({"regions": {"sst": (eye(lat=30, depth=4), {1: TIGHT})}}, "depth"),
        ({"regions": {"sst": (eye(lat=31, lon=40), {1: TIGHT})}}, "31"),
        ({"regions": {"sst": (np.zeros((30, 40)), {1: TIGHT})}}, "expected an xarray.DataArray"),
        ({"regions": {"sst": {1: TIGHT}}}, r"expected \(mask"),
        ({"regions": {"sst": ("mask", {1: "psnr:60"})}}, r"expected Bound.abs"),
        ({"regions": {"sst": ("mask", {1: TIGHT})}, "rewrite_safe": True}, "rewrite_safe"),
        ({"regions": {"sst": ("mask", {1: TIGHT})}, "bound": "ratio:9"}, "elsewhere"),
    ],
)
def test_what_makes_no_regions_is_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=match):
        sciflow.compress(ocean(), tmp_path / "o.zarr", **{"bound": "abs:0.5", **options})
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_variable_with_regions_is_not_written_later(tmp_path: Path) -> None:
    dataset = ocean()
    regions = {"sst": (eye(lat=30, lon=40), {1: TIGHT})}
    sciflow.compress(dataset, tmp_path / "o.zarr", bound="abs:0.5", regions=regions, chunks={"time": 6})
    part = dataset[["sst"]].isel(time=slice(0, 6))
    with pytest.raises(InvalidArgument, match="regions"):
        part.sciflow.write_region(tmp_path / "o.zarr", region={"time": slice(0, 6)})


def test_the_command_line_takes_targets_and_regions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ocean().to_netcdf(tmp_path / "in.nc")
    source, store = str(tmp_path / "in.nc"), str(tmp_path / "out.zarr")
    for options in (
        ["--ratio", "8"],
        ["--nbytes", "9e3"],
        ["--abs", "0.5", "--region", "sst=mask:1:abs=0.001"],
    ):
        assert run(["compress", source, store, *options, "--overwrite"]) == 0
        assert run(["verify", source, store]) == 0
    assert sciflow.inspect(store)["sst"].regions[0].bound == TIGHT
    for bad in ("sst=mask:abs=1", "sst", "sst=mask:x:abs=1", "sst=mask:1:abs", "=mask:1:abs=1"):
        assert run(["compress", source, store, "--abs", "0.5", "--region", bad, "--overwrite"]) == 2
    twice = ["--region", "sst=mask:1:abs=1", "--region", "sst=other:2:abs=1"]
    assert run(["compress", source, store, "--abs", "0.5", *twice, "--overwrite"]) == 2
    assert "already" in capsys.readouterr().err
