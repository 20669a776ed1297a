"""One enhancer for a variable: written with the store, used by its chunks, found again by a fresh process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.cli import run
from sciflow.codecs import gwlz
from sciflow.codecs.zarr import GWLZ
from sciflow.errors import InvalidArgument
from tests.golden.gwlz import waves


@pytest.fixture
def dataset() -> xr.Dataset:
    field = waves((4, 12, 24, 40))
    return xr.Dataset({"t": (("time", "z", "y", "x"), field)})


def test_compress_fits_one_and_every_chunk_keeps_the_bound(dataset: xr.Dataset, tmp_path: Path) -> None:
    target = tmp_path / "t.zarr"
    report = sciflow.compress(dataset, target, bound="abs:0.5", chunks={"time": 1}, enhance=True)
    assert report["t"].codec == "sciflow.gwlz"
    array = zarr.open_array(target / "t", mode="r")
    codec = array.serializer
    assert isinstance(codec, GWLZ)
    assert codec.config.shared
    chunks = [(target / "t" / "c" / str(i) / "0" / "0" / "0").read_bytes() for i in range(4)]
    kinds = {gwlz.info(chunk).enhancer for chunk in chunks}
    assert "shared" in kinds
    assert kinds <= {"shared", "own", "off"}
    assert sciflow.verify(dataset, target).ok
    back = sciflow.open(target)["t"].to_numpy()
    assert np.abs(back - dataset["t"].to_numpy()).max() <= 0.5
    plain = sciflow.compress(dataset, tmp_path / "p.zarr", bound="abs:0.5", chunks={"time": 1})
    rmse = report["t"].rmse, plain["t"].rmse
    assert rmse[0] is not None
    assert rmse[1] is not None
    assert rmse[0] < rmse[1]


def test_a_lattice_takes_none(dataset: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="lattice"):
        sciflow.compress(dataset, tmp_path / "t.zarr", bound="abs:0.5", rewrite_safe=True, enhance=True)


def test_the_command_prints_what_gwlz_takes(
    dataset: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.to_zarr(tmp_path / "in.zarr", zarr_format=3, consolidated=False)
    assert run(["fit-enhancer", str(tmp_path / "in.zarr"), "--abs", "0.5"]) == 0
    models = json.loads(capsys.readouterr().out)
    codec = GWLZ(sciflow.SZ(0.5), shared=models["t"])
    stream = gwlz.encode(dataset["t"].to_numpy()[0], codec.config)
    assert gwlz.info(stream).enhancer == "shared"
