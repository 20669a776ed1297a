"""A variable enhanced with the help of others: any reader gets it, others that changed are a named error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow import SZ, Bound
from sciflow.cli import run
from sciflow.codecs import gwlz
from sciflow.codecs.zarr import GWLZ
from sciflow.errors import AuxMismatch, InvalidArgument
from tests.golden.gwlz import waves


@pytest.fixture
def dataset() -> xr.Dataset:
    field = waves((5, 12, 24, 40))
    dims = ("time", "z", "y", "x")
    return xr.Dataset({"t": (dims, field), "u": (dims, 3 * field + 1), "other": (dims[1:], field[0])})


@pytest.fixture
def store(dataset: xr.Dataset, tmp_path: Path) -> Path:
    """Chunks of `u` are not those of `t`; those at the edge are padded."""
    target = tmp_path / "s.zarr"
    named = {"u": Bound.abs(0.01)}
    report = sciflow.compress(
        dataset, target, bound="abs:0.5", per_variable=named, chunks={"time": 2, "y": 16}, aux={"t": ["u"]}
    )
    assert report["t"].codec == "sciflow.gwlz"
    return target


def opened(store: Path, name: str, mode: Any = "r") -> zarr.Array[Any]:
    array = zarr.open_group(store, mode=mode)[name]
    assert isinstance(array, zarr.Array)
    return array


def test_any_reader_gets_it(dataset: xr.Dataset, store: Path) -> None:
    original = dataset["t"].to_numpy()
    stream = (store / "t" / "c" / "0" / "0" / "0" / "0").read_bytes()
    assert gwlz.info(stream).aux == 1
    array = opened(store, "t")
    assert isinstance(array.serializer, GWLZ)
    assert array.serializer.config.aux == ("u",)
    for back in (
        np.asarray(array[:]),
        sciflow.open(store)["t"].to_numpy(),
        xr.open_zarr(store)["t"].to_numpy(),
    ):
        assert np.abs(back - original).max() <= 0.5
    assert np.array_equal(np.asarray(array[4, 3, 17:, 5]), sciflow.open(store)["t"].to_numpy()[4, 3, 17:, 5])
    assert sciflow.verify(dataset, store).ok


def test_it_pays(dataset: xr.Dataset, tmp_path: Path) -> None:
    chunks = {"time": 2}
    alone = sciflow.compress(dataset, tmp_path / "p.zarr", bound="abs:0.5", enhance=True, chunks=chunks)
    helped = sciflow.compress(
        dataset,
        tmp_path / "h.zarr",
        bound="abs:0.5",
        per_variable={"u": Bound.abs(0.01)},
        chunks=chunks,
        aux={"t": ["u"]},
    )
    assert (helped["t"].rmse or 1.0) < 0.7 * (alone["t"].rmse or 0.0)
    assert (helped["t"].bytes_out or 0) < 1.25 * (alone["t"].bytes_out or 0)


def test_a_missing_one_is_named(store: Path) -> None:
    shutil.rmtree(store / "u")
    with pytest.raises(AuxMismatch, match=r"'u'.*not in the store"):
        opened(store, "t")[:]


def test_a_changed_one_is_named(store: Path) -> None:
    array = opened(store, "u", "r+")
    array[:2] = np.asarray(array[:2]) + 0.5
    back = opened(store, "t")
    with pytest.raises(AuxMismatch, match="'u' holds other values"):
        back[0]
    assert np.isfinite(back[4]).all()  # beside cells that are as they were


def test_one_of_another_shape_is_named(store: Path) -> None:
    opened(store, "u", "r+").resize((5, 12, 24, 41))
    with pytest.raises(AuxMismatch, match=r"'u'.*shape \(5, 12, 24, 41\), expected \(5, 12, 24, 40\)"):
        opened(store, "t")[:]


def test_a_chunk_that_does_not_know_its_place_is_named(store: Path) -> None:
    stream = (store / "t" / "c" / "0" / "0" / "0" / "0").read_bytes()
    config = opened(store, "t").serializer.config  # type: ignore[union-attr]
    with pytest.raises(AuxMismatch, match=r"1 other variables \(u\) and met 0.*sciflow\.open"):
        gwlz.decode(stream, config)
    with pytest.raises(AuxMismatch, match="shape"):
        gwlz.decode(stream, config, aux=[np.zeros((2, 2), "f4")])
    with pytest.raises(AuxMismatch, match="expected float32"):
        gwlz.decode(stream, config, aux=[np.zeros(gwlz_shape(stream), "i4")])


def gwlz_shape(stream: bytes) -> tuple[int, ...]:
    from sciflow.codecs.wrapper import read_enhanced

    return read_enhanced(memoryview(stream)).shape


def test_an_array_that_is_opened_alone_says_how_to_open_it(store: Path) -> None:
    with pytest.raises(AuxMismatch, match=r"'u' beside it.*sciflow\.open"):
        zarr.open_array(store / "t", mode="r")[:]


def test_zarr_alone_does_not_write_it() -> None:
    array = zarr.create_array(
        {}, name="t", shape=(8, 9), dtype="f4", serializer=GWLZ(SZ(0.5), aux=["u"]), compressors=None
    )
    with pytest.raises(InvalidArgument, match=r"sciflow\.compress"):
        array[:] = 1.0


def test_what_may_be_asked_for(dataset: xr.Dataset, tmp_path: Path) -> None:
    for aux, named in (
        ({"t": ["u"], "u": ["t"]}, "has others itself"),
        ({"t": ["other"]}, "expected float32 or float64 with"),
        ({"t": ["w"]}, "no variable 'w'"),
        ({"t": ["u", "u"]}, "different names"),
    ):
        with pytest.raises(InvalidArgument, match=named):
            sciflow.compress(dataset, tmp_path / "n.zarr", bound="abs:0.5", aux=aux)
    with pytest.raises(InvalidArgument, match="no enhancer"):
        sciflow.compress(dataset, tmp_path / "n.zarr", per_variable={"u": "abs:1"}, aux={"t": ["u"]})


def test_the_command(dataset: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.to_netcdf(tmp_path / "in.nc")
    arguments = ["compress", str(tmp_path / "in.nc"), str(tmp_path / "out.zarr"), "--abs", "0.5"]
    assert run([*arguments, "--aux", "t"]) == 2
    assert "--aux t: expected NAME=OTHER" in capsys.readouterr().err
    assert run([*arguments, "--aux", "t=u"]) == 0
    assert run(["verify", str(tmp_path / "in.nc"), str(tmp_path / "out.zarr")]) == 0
