"""The flows on a Prefect server: artifacts, states, forms; a flow that is killed or stopped, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import xarray as xr
import zarr

import sciflow
from tests.ocean import ocean, tree
from tests.prefect_server import PrefectServer

pytest.importorskip("prefect")

RUN = """
import json, sys
from sciflow.flows.{module} import {flow}
if __name__ == "__main__":
    state = {flow}(**json.loads(sys.argv[1]), return_state=True)
    print(json.dumps([state.name, state.message]))
"""
SLOW = """
import time
from sciflow.flows import one_store
write = one_store.write_entry
def slow(handle, piece):
    time.sleep(0.3)
    return write(handle, piece)
one_store.write_entry = slow
"""
SERIAL = {"kind": "serial"}
SETTINGS = {"chunks": {"time": 2}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.nc"
    ocean().to_netcdf(path, engine="netcdf4")
    return path


def run_flow(server: PrefectServer, flow: str, module: str, parameters: dict[str, Any]) -> tuple[str, str]:
    program = RUN.format(flow=flow, module=module)
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(parameters)],
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, message = json.loads(done.stdout.splitlines()[-1])
    return name, message or ""


def ask(server: PrefectServer, path: str, question: dict[str, Any]) -> Any:
    request = Request(
        f"{server.url}/{path}", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def artifacts(server: PrefectServer, prefix: str) -> dict[str, Any]:
    found = ask(server, "artifacts/latest/filter", {"limit": 100})
    return {a["key"]: a for a in found if a["key"].startswith(prefix)}


def test_compress_and_evaluate_leave_what_they_found(
    prefect_server: PrefectServer, source: Path, tmp_path: Path
) -> None:
    store, metrics, prom = tmp_path / "out.zarr", tmp_path / "metrics.jsonl", tmp_path / "sciflow.prom"
    parameters = {
        "source": str(source),
        "store": str(store),
        "bound": "rel:1e-3",
        "settings": SETTINGS,
        "cluster": {"kind": "local", "workers": 2},
        "run": {"metrics": str(metrics), "prometheus": str(prom)},
    }
    assert run_flow(prefect_server, "compress", "compressing", parameters)[0] == "Completed"
    sciflow.compress(source, tmp_path / "same.zarr", bound="rel:1e-3", chunks="time=2")
    assert tree(store) == tree(tmp_path / "same.zarr")

    found = artifacts(prefect_server, "")
    rows = {row["variable"]: row for row in json.loads(found["compress-variables"]["data"])}
    assert rows["sst"]["bound"] == "rel 0.001"
    assert rows["sst"]["largest error"] <= rows["sst"]["bound, absolute"]
    assert rows["ice"]["bound"] == "lossless"
    assert found["compress-progress"]["data"] == 100.0
    assert str(store) in found["compress-report"]["data"]
    assert found["slices-sst"]["data"].startswith("data:image/png;base64,")
    assert found["rate-flux"]["data"].startswith("data:image/png;base64,")
    runs = ask(prefect_server, "flow_runs/filter", {"limit": 5})
    assert "sciflow" in runs[0]["tags"]

    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["kind"] for line in lines].count("run") == 1
    assert {line["variable"] for line in lines if line["kind"] == "variable"} == set(rows)
    assert 'sciflow_stores{flow="compress"} 1' in prom.read_text()

    asked = {"original": str(source), "store": str(store), "cluster": SERIAL, "run": {"pictures": False}}
    assert run_flow(prefect_server, "evaluate", "evaluating", asked)[0] == "Completed"
    array = zarr.open_group(store, mode="r+")["flux"]
    assert isinstance(array, zarr.Array)
    array[0] = np.asarray(array[0]) + 1.0
    state, message = run_flow(prefect_server, "evaluate", "evaluating", asked)
    assert state == "Failed"
    assert "flux" in message
    assert "Promises that do not hold" in artifacts(prefect_server, "evaluate")["evaluate-report"]["data"]


def test_one_bad_file_of_many_is_named(prefect_server: PrefectServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        xr.Dataset({"t": (("x",), np.linspace(0, number + 1.0, 500))}).to_netcdf(tmp_path / f"in/{number}.nc")
    (tmp_path / "in" / "1.nc").write_bytes(b"not NetCDF")
    parameters = {
        "source": str(tmp_path / "in" / "*.nc"),
        "store": str(tmp_path / "out"),
        "bound": "rel:1e-3",
        "cluster": SERIAL,
        "run": {"pictures": False},
    }
    state, message = run_flow(prefect_server, "compress", "compressing", parameters)
    assert state == "Failed"
    assert "1 of 3 files failed" in message
    assert "1.nc" in message
    assert sorted(p.name for p in (tmp_path / "out").glob("*.zarr")) == ["0.zarr", "2.zarr"]
    parameters["run"] = {"pictures": False, "allowed_failures": 1}
    assert run_flow(prefect_server, "compress", "compressing", parameters)[0] == "Completed"


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_a_flow_that_is_ended_goes_on_from_its_manifest(
    prefect_server: PrefectServer, source: Path, tmp_path: Path, signal_: signal.Signals
) -> None:
    store = tmp_path / "out.zarr"
    parameters: dict[str, Any] = {
        "source": str(source),
        "store": str(store),
        "bound": "rel:1e-3",
        "settings": SETTINGS,
        "cluster": SERIAL,
        "run": {"pictures": False},
    }
    program = SLOW + RUN.format(flow="compress", module="compressing")
    command = [sys.executable, "-c", program, json.dumps(parameters)]
    manifest = tmp_path / "out.zarr.partial" / "notes" / "manifest" / "main.jsonl"
    with subprocess.Popen(
        command, env=prefect_server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and run.poll() is None:
            if manifest.exists() and len(manifest.read_bytes().splitlines()) > 4:
                break
            time.sleep(0.05)
        os.kill(run.pid, signal_)
    assert run.returncode != 0
    before = len(manifest.read_bytes().splitlines()) - 1
    assert before >= 3
    metrics = tmp_path / "metrics.jsonl"
    parameters["run"] = {"pictures": False, "metrics": str(metrics)}
    assert run_flow(prefect_server, "compress", "compressing", parameters)[0] == "Completed"
    told = json.loads(metrics.read_text().splitlines()[-1])
    assert told["written"] <= told["pieces"] - before + 1
    assert sciflow.verify(source, store).ok
    assert not store.with_name("out.zarr.partial").exists()


def test_parameters_make_a_form(repository: Path) -> None:
    program = (
        "import json, runpy\n"
        "from prefect.utilities.callables import parameter_schema\n"
        "for name in ('compress', 'evaluate'):\n"
        f"    flow = runpy.run_path('{repository}/flows/' + name + '.py')[name]\n"
        "    print(json.dumps(parameter_schema(flow).model_dump()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compress, evaluate = map(json.loads, done.stdout.splitlines())
    assert set(compress["properties"]) == {"source", "store", "bound", "settings", "cluster", "run"}
    assert compress["required"] == ["source", "store"]
    kinds = compress["definitions"]["ClusterChoice"]["properties"]["kind"]["enum"]
    assert kinds == ["serial", "local", "scheduler", "slurm"]
    for form in compress["definitions"].values():
        assert form["additionalProperties"] is False
        assert all(entry.get("description") for entry in form["properties"].values())
    assert "original" in evaluate["properties"]


def test_the_ladder_hands_on_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciflow.flows.ladder import LadderSettings, climb

    asked: list[Any] = []

    def evaluate(config: str, *, bounds: list[str], seeds: int, out: str, tolerance: float) -> Any:
        asked.append((config, bounds, seeds, out, tolerance))
        (tmp_path / "report.md").write_text("# ladder")
        return SimpleNamespace(rungs=(1, 2))

    monkeypatch.setitem(sys.modules, "sciflow.models.evaluation", SimpleNamespace(evaluate=evaluate))
    settings = LadderSettings(config="fno.toml", out=str(tmp_path), bounds=["rel:1e-2"], seeds=3)
    told, page = climb(settings)
    assert asked == [("fno.toml", ["rel:1e-2"], 3, str(tmp_path), 0.01)]
    assert (told["rungs"], page) == (2, "# ladder")


def test_wrong_parameters_are_refused() -> None:
    from pydantic import BaseModel, ValidationError

    from sciflow.flows.parameters import ClusterChoice, CompressSettings, RunSettings

    cases: list[tuple[type[BaseModel], dict[str, Any]]] = [
        (CompressSettings, {"levle": "max"}),
        (RunSettings, {"part": [3, 3], "stage": "part"}),
        (RunSettings, {"stage": "part"}),
        (ClusterChoice, {"kind": "local", "address": "tcp://a:1"}),
    ]
    for model, wrong in cases:
        with pytest.raises(ValidationError):
            model.model_validate(wrong)


def test_the_command_says_what_is_missing(
    source: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from sciflow import cli

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert cli.run(["compress", str(source), str(tmp_path / "o.zarr"), "--rel", "1e-3", "--flow"]) == 2
    assert "pip install 'sciflow[flows]'" in capsys.readouterr().err


def test_the_command_runs_the_flow(prefect_server: PrefectServer, source: Path, tmp_path: Path) -> None:
    command = [
        "compress",
        str(source),
        str(tmp_path / "out.zarr"),
        "--rel",
        "1e-3",
        "--flow",
        "--workers",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sciflow.cli", *command, "--json"],
        env=prefect_server.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    sciflow.compress(source, tmp_path / "same.zarr", bound="rel:1e-3")
    assert tree(tmp_path / "out.zarr") == tree(tmp_path / "same.zarr")
