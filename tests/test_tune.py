"""Curves of bounds: what they say is what a codec does with the middle of the field."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import sciflow
from sciflow.cli import run
from sciflow.codecs import sz
from sciflow.codecs.sz import SZConfig
from sciflow.errors import InvalidArgument


@pytest.fixture
def flow() -> xr.Dataset:
    y, x = np.meshgrid(np.linspace(0, 20, 60), np.linspace(0, 30, 80), indexing="ij")
    u = np.stack([np.sin(x + k) * np.cos(y) for k in range(4)]).astype("f4")
    u += np.random.default_rng(0).normal(scale=1e-3, size=u.shape).astype("f4")
    u[:, :2] = -9999.0
    return xr.Dataset(
        {"u": (("t", "y", "x"), u, {"_FillValue": np.float32(-9999.0)}), "n": ("t", np.arange(4))}
    )


def test_a_point_is_what_the_codec_does(flow: xr.Dataset) -> None:
    curve = sciflow.tune(flow, bounds=[1e-3, 1e-1])
    assert [(p.variable, p.bound_rel) for p in curve.points] == [("u", 1e-1), ("u", 1e-3)]
    values = flow["u"].values
    data = values[values > -9999]
    point = curve.points[1]
    assert point.bound_abs == pytest.approx(1e-3 * float(data.max() - data.min()), rel=1e-6)
    stream = sz.encode(values, SZConfig(point.bound_abs, preserve=[-9999.0]))
    assert point.ratio == values.nbytes / len(stream)
    assert point.max_error <= point.bound_abs
    assert point.max_error == float(np.abs(sz.decode(stream).astype("f8") - values).max())
    assert curve.points[0].ratio > point.ratio
    assert curve.points[0].psnr < point.psnr


def test_loose_bounds_lose_small_scales_first(flow: xr.Dataset) -> None:
    loose, tight = sciflow.tune(flow, bounds=[3e-1, 1e-6]).points
    assert loose.spectrum is not None
    assert tight.spectrum == 1.0
    assert loose.spectrum < 0.5


def test_large_fields_are_cut_to_their_middle() -> None:
    big = np.zeros((3, 1500, 1600), "f4")
    big[1, 700:800, 750:850] = np.random.default_rng(0).random((100, 100))
    (point,) = sciflow.tune(xr.Dataset({"u": (("t", "y", "x"), big)}), bounds=[1e-3], levels=["fast"]).points
    assert point.bits_per_value * (1 << 21) / 8 > 5000  # the random middle is in it
    assert point.ratio < 4 * 3 * 1500 * 1600 / 5000


def test_short_fields_have_no_spectrum() -> None:
    (point,) = sciflow.tune(xr.Dataset({"u": ("x", np.arange(3.0))}), bounds=[1e-2]).points
    assert point.spectrum is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"variables": ["v"]}, "found no field v to compress; there are u"),
        ({"variables": ["n"]}, "found no field n"),
        ({"bounds": [0.0]}, "numbers above 0"),
        ({"bounds": []}, "numbers above 0"),
        ({"levels": ["best"]}, "expected one of fast"),
    ],
)
def test_what_cannot_be_tried_is_said(flow: xr.Dataset, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        sciflow.tune(flow, **asked)


def test_the_command(flow: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow.to_netcdf(tmp_path / "in.nc")
    path = str(tmp_path / "in.nc")
    image = tmp_path / "curve.png"
    assert (
        run(["tune", path, "--bounds", "1e-2,1e-3", "--levels", "fast,balanced", "--plot", str(image)]) == 0
    )
    assert capsys.readouterr().out.count("0.01") >= 2
    assert image.read_bytes().startswith(b"\x89PNG")
    assert run(["tune", path, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 5
    assert run(["tune", path, "--bounds", "small"]) == 2
    assert "expected numbers, as 1e-2,1e-3" in capsys.readouterr().err
