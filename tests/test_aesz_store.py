"""AESZ in stores: models travel in metadata or beside the arrays, and a fresh process reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.cli import run
from sciflow.codecs import aesz, aesz_model
from sciflow.codecs.zarr import AESZ
from sciflow.errors import InvalidArgument, ModelMismatch
from sciflow.models import Model, put, write_model
from tests.golden.aesz import klt, patches, walsh

READ = """
import sys, zarr
a = zarr.open_array(sys.argv[1], mode="r")
sys.stdout.write(f"{float(a[3, 5])!r} {a.serializer.config.model} {'torch' in sys.modules}")
"""


def large() -> Model:
    """The same basis in a file that is too large to be carried."""
    return Model("klt", (4, 4), {"basis": walsh(), "other": np.arange(5000)}, {"title": "large"})


@pytest.fixture
def dataset() -> xr.Dataset:
    return xr.Dataset({"t": (("y", "x"), patches((96, 128)))})


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("model", [klt(), large()], ids=["carried", "beside"])
def test_a_store_is_read_by_plain_zarr(
    model: Model, dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_model(model, tmp_path / "model")
    target = tmp_path / "t.zarr"
    report = sciflow.compress(dataset, target, bound="abs:0.5", model=str(file), chunks={"y": 48})
    assert report["t"].codec == "sciflow.aesz"
    assert aesz.info((target / "t" / "c" / "0" / "0").read_bytes()).model == model.digest
    assert (target / "models" / model.digest).exists() == (model.digest == large().digest)
    file.unlink()
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path / "none"))
    assert sciflow.verify(dataset, target).ok
    value = float(np.asarray(sciflow.open(target)["t"])[3, 5])
    command = [sys.executable, "-c", READ, str(target / "t")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found == f"{value!r} {model.digest} False"


@pytest.mark.filterwarnings("ignore:Object at models")
def test_inside_shards_a_store_that_is_opened_whole_brings_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = patches((96, 128))
    group = zarr.open_group(tmp_path / "t.zarr", mode="w")
    array = group.create_array(
        "t",
        shape=field.shape,
        chunks=(32, 32),
        shards=(96, 64),
        dtype="f4",
        serializer=AESZ(0.5, model=large()),
        compressors=None,
        dimension_names=["y", "x"],
    )
    array[:] = field
    put(large(), tmp_path / "t.zarr" / "models")
    monkeypatch.setattr(aesz_model, "_recent", type(aesz_model._recent)())
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path / "none"))
    with pytest.raises(ModelMismatch):
        np.asarray(zarr.open_array(tmp_path / "t.zarr" / "t", mode="r")[:])
    assert np.abs(np.asarray(sciflow.open(tmp_path / "t.zarr")["t"]) - field).max() <= 0.5


def test_without_its_model_a_store_says_so(
    dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "t.zarr"
    sciflow.compress(dataset, target, bound="abs:0.5", model=str(write_model(large(), tmp_path / "model")))
    (target / "models" / large().digest).unlink()
    monkeypatch.setattr(aesz_model, "_recent", type(aesz_model._recent)())
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path / "none"))
    with pytest.raises(ModelMismatch, match=large().digest):
        zarr.open_array(target / "t", mode="r")[:]


def test_the_command_takes_a_name(dataset: xr.Dataset, tmp_path: Path) -> None:
    dataset.to_netcdf(tmp_path / "in.nc")
    out = tmp_path / "out.zarr"
    assert (
        run(["compress", str(tmp_path / "in.nc"), str(out), "--rel", "1e-2", "--model", "shallow-water-klt"])
        == 0
    )
    array = zarr.open_array(out / "t", mode="r")
    assert isinstance(array.serializer, AESZ)
    assert sciflow.verify(tmp_path / "in.nc", out).ok


def test_one_codec_a_variable(dataset: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="model with enhance"):
        sciflow.compress(
            dataset, tmp_path / "t.zarr", bound="abs:0.5", model="shallow-water-klt", enhance=True
        )


def test_a_fill_value_costs_nothing_and_stays() -> None:
    codec = AESZ(0.5, model=klt())
    array = zarr.create_array(
        {},
        shape=(70, 70),
        chunks=(64, 64),
        dtype="f4",
        fill_value=-9999.0,
        serializer=codec,
        compressors=None,
    )
    field = patches((72, 72))[:70, :70].copy()
    field[10:20, 10:20] = -9999.0
    array[:] = field
    back = np.asarray(array[:])
    assert (back[10:20, 10:20] == -9999.0).all()
    assert np.abs(back.astype("f8") - field).max() <= 0.5
