"""``ds.sciflow``: the same functions as methods, and writes that no error grows by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sciflow
from sciflow.accessor import check_region
from sciflow.bounds import Bound
from sciflow.errors import InvalidArgument
from tests.ocean import array, ocean, raw, waves


def test_compress_verify_compare_bounds(tmp_path: Path) -> None:
    dataset = ocean()
    report = dataset.sciflow.compress(
        tmp_path / "out.zarr", bound="rel:1e-3", per_variable={"flux": "abs:0.5"}
    )
    assert report.ok
    assert dataset.sciflow.verify(tmp_path / "out.zarr").ok
    found = sciflow.open(tmp_path / "out.zarr")
    assert found.sciflow.bounds == {"sst": Bound.rel(1e-3), "flux": Bound.abs(0.5)}
    assert dataset.sciflow.bounds == {}
    errors = dataset[["sst", "flux"]].sciflow.compare(found)
    assert float(errors.max_abs_error.sel(variable="sst")) == pytest.approx(report["sst"].max_error)
    assert float(errors.psnr.sel(variable="flux")) == pytest.approx(report["flux"].psnr)


def test_encoding(tmp_path: Path) -> None:
    dataset = ocean()
    encoding = dataset.sciflow.encoding(bound=Bound.abs(0.1), level="fast")
    dataset.to_zarr(tmp_path / "own.zarr", zarr_format=3, consolidated=False, encoding=encoding)
    assert array(tmp_path / "own.zarr", "sst").metadata.codecs[0].config.level == "fast"


def series(*, rewrite_safe: bool, store: Path) -> xr.Dataset:
    dataset = xr.Dataset({"v": (("t", "y", "x"), waves((12, 20, 20))), "m": (("y", "x"), waves((20, 20)))})
    encoding = sciflow.encoding(dataset, bound="abs:0.1", chunks="t=4", rewrite_safe=rewrite_safe)
    dataset.to_zarr(store, zarr_format=3, consolidated=False, encoding=encoding)
    return dataset


def test_whole_chunks_may_be_written(tmp_path: Path) -> None:
    dataset = series(rewrite_safe=False, store=tmp_path / "s.zarr")
    new = dataset.isel(t=slice(4, 12)) + 1
    new.sciflow.write_region(tmp_path / "s.zarr", region={"t": slice(4, 12)})
    found = raw(tmp_path / "s.zarr")
    assert np.abs(found["v"].values[4:] - new.v.values).max() <= 0.1
    assert np.abs(found["v"].values[:4] - dataset.v.values[:4]).max() <= 0.1
    assert np.abs(found["m"].values - dataset.m.values).max() <= 0.1, "it has no t, so it is left alone"


@pytest.mark.parametrize("region", [slice(3, 8), slice(4, 7), slice(0, 11)])
def test_parts_of_chunks_are_refused(region: slice, tmp_path: Path) -> None:
    dataset = series(rewrite_safe=False, store=tmp_path / "s.zarr")
    before = raw(tmp_path / "s.zarr")["v"].values
    with pytest.raises(InvalidArgument, match=r"cuts chunks of 4; write whole chunks .* rewrite_safe=True"):
        dataset.isel(t=region).sciflow.write_region(tmp_path / "s.zarr", region={"t": region})
    np.testing.assert_array_equal(raw(tmp_path / "s.zarr")["v"].values, before)


def test_parts_of_chunks_are_safe_on_a_lattice(tmp_path: Path) -> None:
    dataset = series(rewrite_safe=True, store=tmp_path / "s.zarr")
    before = raw(tmp_path / "s.zarr")["v"].values
    for t in range(12):
        step = dataset.isel(t=slice(t, t + 1)) + (t == 5)
        step.sciflow.write_region(tmp_path / "s.zarr", region={"t": slice(t, t + 1)})
    after = raw(tmp_path / "s.zarr")["v"].values
    others = np.arange(12) != 5
    np.testing.assert_array_equal(after[others], before[others])
    assert np.abs(after[5] - (dataset.v.values[5] + 1)).max() <= 0.1


def test_the_end_of_the_array_is_the_end_of_its_chunk(tmp_path: Path) -> None:
    sciflow.compress(
        xr.Dataset({"v": ("t", waves((10,)))}), tmp_path / "s.zarr", bound="abs:0.1", chunks="t=4"
    )
    check_region(tmp_path / "s.zarr", {"t": slice(8, 10)}, ["v"])
    check_region(tmp_path / "s.zarr", {"t": slice(4, None)}, ["v", "no such variable"])
    with pytest.raises(InvalidArgument, match=r"t=8:9 cuts chunks of 4; write whole chunks \(t=8:10\)"):
        check_region(tmp_path / "s.zarr", {"t": slice(8, 9)}, ["v"])
