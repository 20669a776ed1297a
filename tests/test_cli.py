"""The command: what it prints and makes, and one clear line with exit code 2 for all that is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from sciflow.cli import run
from sciflow.errors import BoundViolated
from tests.ocean import array, ocean, waves

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    ocean().to_netcdf(path / "in.nc", engine="netcdf4")
    assert run(["compress", str(path / "in.nc"), str(path / "out.zarr"), "--rel", "1e-3"]) == 0
    return path


@pytest.fixture(autouse=True)
def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_compress_prints_a_table(capsys: Captured, tmp_path: Path) -> None:
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--rel", "1e-3"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for text in (
        "variable",
        "bound",
        "resolved",
        "reached",
        "PSNR",
        "ratio",
        "MB/s",
        "rel 0.001",
        "times smaller",
    ):
        assert text in output.out
    assert "sciflow_compression" not in output.out
    assert sciflow.verify("in.nc", tmp_path / "out.zarr").ok


def test_json_is_the_report(capsys: Captured, tmp_path: Path) -> None:
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--rel", "1e-3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["action"] == "compress"
    rows = {row["variable"]: row for row in report["variables"]}
    assert rows["sst"]["max_error"] <= rows["sst"]["bound_abs"]
    assert rows["mask"]["reason"] == "integers"


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        (["--rel", "1e-2"], {"kind": "rel", "value": 1e-2}),
        (["--abs", "0.25"], {"kind": "abs", "value": 0.25}),
        (["--pointwise-rel", "0.01"], {"kind": "pointwise_rel", "value": 0.01}),
        (["--psnr", "60"], {"kind": "psnr", "value": 60.0}),
        (["--var", "sst=abs:0.5"], {"kind": "abs", "value": 0.5}),
        (
            ["--rel", "1e-2", "--var", "sst=psnr:50", "--var", "flux=lossless"],
            {"kind": "psnr", "value": 50.0},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_kind_of_bound(
    options: list[str], bound: dict[str, object], capsys: Captured, tmp_path: Path
) -> None:
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--json", *options]) == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)["variables"]}
    assert rows["sst"]["bound"] == bound
    assert rows["sst"]["problems"] == []
    lossless = "--var" in options
    assert (rows["flux"]["bound"] is None) == lossless
    assert run(["verify", "in.nc", f"{tmp_path}/out.zarr"]) == 0


def test_options_reach_the_store(tmp_path: Path) -> None:
    options = ["--chunks", "time=4,lon=20", "--level", "fast", "--rewrite-safe", "--no-resume"]
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--abs", "0.1", *options]) == 0
    (codec,) = array(tmp_path / "out.zarr", "sst").metadata.codecs
    assert (codec.config.level, codec.config.rewrite_safe) == ("fast", True)
    assert array(tmp_path / "out.zarr", "sst").chunks == (4, 30, 20)


def test_a_dry_run_shows_the_plan(capsys: Captured, tmp_path: Path) -> None:
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--rel", "1e-3", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "nothing was written" in output
    assert "integers" in output
    assert list(tmp_path.iterdir()) == []


def test_inspect(capsys: Captured) -> None:
    assert run(["inspect", "out.zarr"]) == 0
    output = capsys.readouterr().out
    for text in ("sciflow.sz", "lossless", "12x30x40", "rel 0.001"):
        assert text in output
    assert run(["inspect", "out.zarr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "inspect"


def test_verify_exits_with_1_where_a_promise_is_broken(capsys: Captured, tmp_path: Path) -> None:
    assert run(["compress", "in.nc", f"{tmp_path}/out.zarr", "--rel", "1e-3"]) == 0
    array(tmp_path / "out.zarr", "sst", mode="r+")[3, 9, 9] = 1000.0
    capsys.readouterr()
    assert run(["verify", "in.nc", f"{tmp_path}/out.zarr"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("sciflow: sst: error ")
    assert output.err.count("\n") == 1
    assert run(["verify", "in.nc", f"{tmp_path}/out.zarr", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_decompress(tmp_path: Path) -> None:
    assert run(["decompress", "out.zarr", f"{tmp_path}/back.nc"]) == 0
    with xr.open_dataset(tmp_path / "back.nc") as back:
        assert back.sst.dims == ("time", "lat", "lon")
    assert run(["decompress", "out.zarr", f"{tmp_path}/back.nc"]) == 2
    assert run(["decompress", "out.zarr", f"{tmp_path}/back.nc", "--overwrite"]) == 0


BAD = {
    "missing file": (["compress", "nope.nc", "new.zarr", "--rel", "1e-3"], "nope.nc: no such file"),
    "no field file": (
        ["compress", "text.nc", "new.zarr", "--rel", "1e-3"],
        "not a file that xarray can read",
    ),
    "truncated file": (
        ["compress", "cut.nc", "new.zarr", "--rel", "1e-3"],
        "not a file that xarray can read",
    ),
    "folder": (["compress", ".", "new.zarr", "--rel", "1e-3"], "not a file that xarray can read"),
    "no bound": (["compress", "in.nc", "new.zarr"], "no bound"),
    "two bounds": (["compress", "in.nc", "new.zarr", "--rel", "1", "--abs", "1"], "--abs and --rel"),
    "zero bound": (["compress", "in.nc", "new.zarr", "--rel", "0"], "above 0"),
    "negative bound": (["compress", "in.nc", "new.zarr", "--abs", "-1"], "expected 0 or"),
    "nan bound": (["compress", "in.nc", "new.zarr", "--rel", "nan"], "above 0"),
    "infinite bound": (["compress", "in.nc", "new.zarr", "--abs", "inf"], "finite"),
    "pointwise 1": (["compress", "in.nc", "new.zarr", "--pointwise-rel", "1"], "below 1"),
    "no number": (["compress", "in.nc", "new.zarr", "--rel", "small"], "--rel"),
    "unknown variable": (["compress", "in.nc", "new.zarr", "--var", "sss=rel:1"], "did you mean 'sst'?"),
    "integer variable": (
        ["compress", "in.nc", "new.zarr", "--var", "mask=rel:1"],
        "takes no bound (integers)",
    ),
    "coordinate": (["compress", "in.nc", "new.zarr", "--var", "lat=rel:1"], "takes no bound (a coordinate)"),
    "bad --var": (["compress", "in.nc", "new.zarr", "--var", "sst"], "expected NAME=BOUND"),
    "bad kind": (["compress", "in.nc", "new.zarr", "--var", "sst=up:1"], "up"),
    "unknown dimension": (
        ["compress", "in.nc", "new.zarr", "--rel", "1", "--chunks", "z=1"],
        "no dimension 'z'",
    ),
    "bad chunks": (["compress", "in.nc", "new.zarr", "--rel", "1", "--chunks", "lat=x"], "DIM=SIZE"),
    "unknown level": (["compress", "in.nc", "new.zarr", "--rel", "1", "--level", "best"], "--level"),
    "no workers": (["compress", "in.nc", "new.zarr", "--rel", "1", "--workers", "0"], "--workers"),
    "existing target": (["compress", "in.nc", "out.zarr", "--rel", "1"], "exists already"),
    "target is a file": (["compress", "in.nc", "text.nc", "--rel", "1", "--overwrite"], "is no Zarr store"),
    "target is the source": (
        ["compress", "in.nc", "in.nc", "--rel", "1", "--overwrite"],
        "where the source is",
    ),
    "no such folder": (["compress", "in.nc", "no/new.zarr", "--rel", "1"], "there is no folder"),
    "unwritable": (["compress", "in.nc", "/proc/new.zarr", "--rel", "1"], "/proc/new.zarr"),
    "unknown option": (["compress", "in.nc", "new.zarr", "--real", "1"], "--real"),
    "unknown command": (["shrink", "in.nc"], "shrink"),
    "missing argument": (["compress", "in.nc", "--rel", "1"], "OUT"),
    "inspect nothing": (["inspect", "nope.zarr"], "no such file"),
    "inspect a file": (["inspect", "text.nc"], "text.nc"),
    "verify nothing": (["verify", "in.nc", "nope.zarr"], "no such file"),
    "verify no original": (["verify", "nope.nc", "out.zarr"], "no such file"),
    "decompress nothing": (["decompress", "nope.zarr", "new.nc"], "no such file"),
    "decompress to nowhere": (["decompress", "out.zarr", "no/new.nc"], "there is no folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name: str, folder: Path, capsys: Captured) -> None:
    (folder / "text.nc").write_text("no field")
    (folder / "cut.nc").write_bytes((folder / "in.nc").read_bytes()[:3000])
    before = sorted(folder.iterdir())
    arguments, message = BAD[name]
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("sciflow: ")
    assert message in output.err
    assert sorted(folder.iterdir()) == before, "nothing was left behind"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path, capsys: Captured) -> None:
    tmp_path.chmod(0o555)
    assert run(["compress", "in.nc", f"{tmp_path}/new.zarr", "--rel", "1e-3"]) == 2
    assert "not writable" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["compress"], ["verify"]])
def test_help_teaches(arguments: list[str], capsys: Captured) -> None:
    assert run([*arguments, "--help"]) == 0
    output = capsys.readouterr().out
    assert "sciflow compress in.nc out.zarr --rel 1e-3" in output or "sciflow verify in.nc out.zarr" in output
    run(arguments)
    assert "Usage:" in capsys.readouterr().out


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: Captured, tmp_path: Path) -> None:
    def broken(error: BaseException) -> Callable[..., None]:
        def raise_it(*_: object, **__: object) -> None:
            raise error

        return raise_it

    for error, code in [
        (ZeroDivisionError("division by zero"), 70),
        (BoundViolated("t, chunk c/0: error 2 is above the abs bound 1"), 1),
        (OSError(28, "No space left on device"), 2),
        (KeyboardInterrupt(), 130),
    ]:
        monkeypatch.setattr(sciflow.store, "compress", broken(error))
        assert run(["compress", "in.nc", f"{tmp_path}/new.zarr", "--rel", "1"]) == code
        output = capsys.readouterr()
        assert output.err.count("\n") == 1
        assert "Traceback" not in output.err


def start(*arguments: str, cwd: Path, limit: int | None = None) -> subprocess.Popen[str]:
    def prepare() -> None:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a test run in the background inherits that it is ignored
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "sciflow.cli", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=prepare
    )


def test_no_room_is_one_line_and_the_run_goes_on_once_there_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 100, 100)).astype("f4")
    xr.Dataset({"v": (("t", "y", "x"), noise)}).to_netcdf(tmp_path / "noise.nc")
    command = ["compress", "noise.nc", "out.zarr", "--rel", "1e-6", "--chunks", "t=2"]
    with start(*command, cwd=tmp_path, limit=10_000) as full:
        output, errors = full.communicate(timeout=120)
    assert (full.returncode, output) == (2, ""), errors
    assert errors.count("\n") == 1
    assert "File too large; make room and repeat" in errors
    assert not (tmp_path / "out.zarr").exists()
    with start(*command, cwd=tmp_path) as again:
        _, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["noise.nc", "out.zarr"]


def test_interrupted_and_repeated(tmp_path: Path) -> None:
    field = waves((400, 100, 100))
    xr.Dataset({"v": (("t", "y", "x"), field)}).to_netcdf(tmp_path / "long.nc")
    command = ["compress", "long.nc", "out.zarr", "--rel", "1e-4", "--chunks", "t=1"]
    with start(*command, cwd=tmp_path) as first:
        chunks = tmp_path / "out.zarr.partial" / "store" / "v" / "c"
        while first.poll() is None and not (chunks.exists() and len(list(chunks.iterdir())) > 5):
            time.sleep(0.01)
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=120)
    assert first.returncode == 130
    assert errors == "sciflow: interrupted; the same command goes on from here (train: --resume)\n"
    assert not (tmp_path / "out.zarr").exists()
    with start(*command, cwd=tmp_path) as second:
        _, errors = second.communicate(timeout=120)
    assert (second.returncode, errors) == (0, "")
    assert zarr.open_group(tmp_path / "out.zarr", mode="r").attrs.asdict() == {}
    assert sciflow.verify(tmp_path / "long.nc", tmp_path / "out.zarr").ok


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("sciflow")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "compress" in done.stdout
