"""The page about a store: numbers are those of verify, figures are of the data, and it is one file."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.cli import run
from sciflow.errors import StoreError
from sciflow.report import report
from sciflow.report.figures import autocorrelation
from sciflow.report.samples import samples_of

FILL = -9999.0


@pytest.fixture
def ocean(tmp_path: Path) -> Path:
    """A store of t(time, y, x) with a mask and falling y, of s(x) and of an integer, beside its original."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.normal(size=(3, 24, 30)), axis=2).astype("f4")
    t[:, :4, :4] = FILL
    ds = xr.Dataset(
        {
            "t": (("time", "y", "x"), t, {"_FillValue": np.float32(FILL)}),
            "s": ("x", np.sin(np.arange(30.0)).astype("f4")),
            "n<1>": ("x", np.arange(30)),
        },
        {"y": np.arange(24.0)[::-1]},
    )
    ds.to_netcdf(tmp_path / "in.nc")
    sciflow.compress(tmp_path / "in.nc", tmp_path / "out.zarr", bound="rel:1e-2")
    return tmp_path


def test_the_page_has_every_variable_and_its_figures(ocean: Path) -> None:
    found = report(ocean / "in.nc", ocean / "out.zarr", ocean / "page.html")
    text = (ocean / "page.html").read_text()
    pictures = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', text)
    assert sorted(name for name, _ in pictures) == ["s", "t"]
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in pictures)
    assert f"<td>{found['t'].max_error:.4g}</td>" in text
    assert "<td>n&lt;1&gt;</td>" in text
    assert "every promise holds" in text
    assert "http" not in re.sub(r'src="[^"]*"', "", text)


def test_a_sample_is_the_middle_and_leaves_marks_out(ocean: Path) -> None:
    verified = sciflow.verify(ocean / "in.nc", ocean / "out.zarr")
    samples = {s.row.variable: s for s in samples_of(ocean / "in.nc", str(ocean / "out.zarr"), verified)}
    t = samples["t"]
    with xr.open_dataset(ocean / "in.nc", mask_and_scale=False) as ds:
        expected = ds["t"].values[1].astype("f8")
    expected[expected == FILL] = np.nan
    assert np.array_equal(t.original, expected, equal_nan=True)
    assert (t.where, t.dims, t.upside_down) == ("time=1", ("y", "x"), True)
    assert t.errors.size == 3 * (24 * 30 - 16)
    assert np.abs(t.errors).max() == pytest.approx(verified["t"].max_error)
    assert samples["s"].original.shape == (30,)


def test_a_broken_promise_is_said_and_is_exit_code_1(ocean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = xr.open_dataset(ocean / "in.nc", mask_and_scale=False).load()
    other.close()
    other["t"][0, 20, 20] += 5.0
    other.to_netcdf(ocean / "other.nc")
    status = run(["report", str(ocean / "other.nc"), str(ocean / "out.zarr"), str(ocean / "page.html")])
    assert status == 1
    assert 'class="broken"' in (ocean / "page.html").read_text()
    assert "t: " in capsys.readouterr().err


def test_a_page_is_not_replaced_unasked(ocean: Path) -> None:
    (ocean / "page.html").write_text("mine")
    with pytest.raises(StoreError, match=r"page\.html: found a file"):
        report(ocean / "in.nc", ocean / "out.zarr", ocean / "page.html")
    assert (ocean / "page.html").read_text() == "mine"
    report(ocean / "in.nc", ocean / "out.zarr", ocean / "page.html", overwrite=True)
    assert "<html" in (ocean / "page.html").read_text()


def test_small_and_lossless_variables_draw(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": (("y", "x"), np.ones((2, 3), "f4")), "b": ((), np.float32(3))})
    sciflow.compress(ds, tmp_path / "out.zarr", bound="abs:0.1")
    assert report(ds, tmp_path / "out.zarr", tmp_path / "page.html").ok
    assert zarr.open_group(tmp_path / "out.zarr", mode="r")


def test_autocorrelation_of_known_series() -> None:
    saw = np.tile([1.0, -1.0], 50)
    assert autocorrelation(saw, 3) == pytest.approx([1.0, -1.0, 1.0, -1.0])
    noise = np.random.default_rng(0).normal(size=(200, 500))
    assert np.abs(autocorrelation(noise, 5)[1:]).max() < 0.02
    holes = np.where(np.random.default_rng(1).random(noise.shape) < 0.3, np.nan, noise)
    assert np.abs(autocorrelation(holes, 5)[1:]).max() < 0.02
    assert np.isnan(autocorrelation(np.zeros(10))).all()
    assert np.isnan(autocorrelation(np.full(10, np.nan))).all()
