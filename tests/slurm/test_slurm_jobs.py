"""What runs on Slurm beside a flow's own job: arrays, Dask in jobs of its own, training, the pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sciflow.flows.slurm.array import submit_array
from sciflow.flows.slurm.commands import Job
from sciflow.flows.slurm.site import load_site
from tests.slurm.stack import PATIENCE, Stack, until

pytestmark = pytest.mark.timeout(900)

_TRAINING: dict[str, Any] = {
    "data": {"inputs": ["permeability"], "targets": ["pressure"]},
    "model": {"name": "fno", "settings": {"modes": 4, "width": 8}},
    "train": {"epochs": 2, "batch_size": 4, "threads": 1},
}


def ended(stack: Stack, number: str) -> Job:
    def ask() -> Job | None:
        job = stack.slurm.job(number)
        return job if job is not None and job.ended else None

    return until(f"job {number}", ask)


def test_array_runs_every_command_once_though_an_element_is_requeued(stack: Stack, tmp_path: Path) -> None:
    site = load_site(stack.folder / "slurm.toml")
    write = f"sleep 2; echo $0 >>{tmp_path}/ledger"
    commands = [["bash", "-c", write, str(number)] for number in range(6)]
    jobs = submit_array(site, commands, tmp_path / "array", elements=2, slurm=stack.slurm)
    until("the first command", (tmp_path / "ledger").exists)
    victim = next(job for job in stack.slurm.jobs() if job.identifier.startswith(f"{jobs.array}_"))
    stack.command("scancel", "--batch", "--signal=USR1", victim.identifier)
    assert ended(stack, jobs.finish).ok
    assert sorted((tmp_path / "ledger").read_text().split()) == list("012345")
    assert json.loads((tmp_path / "array" / "summary.json").read_text())["commands"] == 6
    logs = "".join(log.read_text() for log in (stack.folder / "logs").glob(f"*-{jobs.array}_*.log"))
    assert "restart 1" in logs


def test_dask_in_jobs_of_its_own_outlives_one_of_them(stack: Stack, tmp_path: Path) -> None:
    parameters = {"folder": str(tmp_path), "count": 24, "seconds": 1.0}
    run = stack.start("dask-steps/test", parameters, mode="jobqueue", nodes=2, ntasks=2, partition="debug")
    until("the first file", lambda: any(tmp_path.glob("*.txt")))
    names = stack.command("squeue", "-h", "-t", "RUNNING", "-o", "%i %j").splitlines()
    workers = [line.split()[0] for line in names if "dask-worker" in line]
    assert workers
    stack.slurm.cancel(workers[0])
    assert run.over() == "Completed", run.told()
    assert len(list(tmp_path.glob("*.txt"))) == 24
    assert sorted(map(int, (tmp_path / "ledger").read_text().split())) == list(range(24))


def test_dask_jobs_that_cannot_start_are_given_up(stack: Stack, tmp_path: Path) -> None:
    site = load_site(stack.folder / "slurm.toml")
    site = site.model_copy(update={"mode": "jobqueue", "prologue": ["echo no such node >&2; exit 3"]})
    code = (
        "from sciflow.flows.slurm.cluster import dask_client; from sciflow.flows.slurm.site import Site\n"
        f"with dask_client(Site.model_validate_json({site.model_dump_json()!r})) as client:\n"
        "    client.submit(sum, [1, 2]).result()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=stack.environment(), cwd=tmp_path, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "SchedulerError" in done.stderr
    assert "no such node" in done.stderr


def test_training_job_over_two_nodes_goes_on_after_preemption(stack: Stack, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    stack.python(
        "-m",
        "sciflow.datasets",
        "make",
        "darcy",
        f"{tmp_path}/d.nc",
        "--set",
        "samples=32",
        "--set",
        "size=16",
    )
    (tmp_path / "slurm.toml").write_text((stack.folder / "slurm.toml").read_text().replace("1", "2", 2))
    config = tmp_path / "train.toml"
    config.write_text(
        f'[data]\npath = "{tmp_path}/d.nc"\ninputs = ["permeability"]\ntargets = ["pressure"]\n'
        '[model]\nname = "fno"\n[model.settings]\nmodes = 4\nwidth = 8\n'
        "[train]\nepochs = 60\nbatch_size = 8\nthreads = 1\n"
    )
    out = tmp_path / "run"
    settings = {"config": str(config), "out": str(out), "site": str(tmp_path / "slurm.toml")}
    run = stack.start("train/hpc", {"settings": settings}, partition="debug")

    def epochs() -> int:
        file = out / "epochs.csv"
        return len(file.read_text().splitlines()) - 1 if file.exists() else 0

    until("the third epoch", lambda: epochs() >= 3)
    trainings = [job for job in stack.slurm.jobs() if job.comment.startswith("sciflow-train:")]
    stack.command("scancel", "--batch", "--signal=USR1", trainings[-1].identifier)
    assert run.over(400) == "Completed", run.told()
    rows = [line.split(",")[0] for line in (out / "epochs.csv").read_text().splitlines()[1:]]
    assert [int(float(row)) for row in rows] == list(range(1, 61))
    assert stack.slurm.job(trainings[-1].identifier).ok  # type: ignore[union-attr]
    assert "Restarts=1" in stack.command("scontrol", "show", "job", trainings[-1].identifier)


def test_pipeline_goes_on_where_it_was(stack: Stack, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    settings = {
        "out": str(tmp_path),
        "dataset": "darcy",
        "parameters": {"samples": 16, "size": 16},
        "training": _TRAINING,
    }
    first = stack.start("pipeline/hpc", {"settings": settings}, mode="alloc", nodes=2, ntasks=2)
    until("the store", (tmp_path / "stages" / "compress.json").exists)
    made = (tmp_path / "data.zarr").stat().st_mtime_ns
    stack.slurm.cancel(first.running_job().identifier)
    assert first.over() == "Crashed"
    second = stack.start("pipeline/hpc", {"settings": settings}, mode="alloc", nodes=2, ntasks=2)
    assert second.over(360) == "Completed", second.told()
    assert (tmp_path / "data.zarr").stat().st_mtime_ns == made
    assert (tmp_path / "report.html").exists()
    assert {path.stem for path in (tmp_path / "stages").iterdir()} == {
        "simulate", "compress", "train", "evaluate", "report",
    }  # fmt: skip
    keys = {found["key"] for found in stack.ask("POST", "/artifacts/filter", {})}
    assert {"pipeline", "ladder"} <= keys


def test_compress_over_two_nodes_gives_the_store_of_one_process(stack: Stack, tmp_path: Path) -> None:
    source, store = tmp_path / "in.nc", tmp_path / "out.zarr"
    make = [
        "make",
        "shallow-water",
        str(source),
        "--set",
        "columns=96",
        "--set",
        "rows=64",
        "--set",
        "snapshots=12",
    ]
    stack.python("-m", "sciflow.datasets", *make)
    parameters = {
        "source": str(source),
        "store": str(store),
        "bound": "rel:1e-3",
        "settings": {"chunks": {"time": 1}},
    }
    run = stack.start("compress/hpc", parameters, mode="alloc", nodes=2, ntasks=2)
    assert run.over() == "Completed", run.told()
    stack.sciflow("verify", str(source), str(store))
    alone = tmp_path / "alone.zarr"
    stack.sciflow("compress", str(source), str(alone), "--rel", "1e-3", "--chunks", "time=1")
    assert contents(store) == contents(alone)
    log = log_of(stack, run.ended_job())
    nodes = stack.command("scontrol", "show", "hostnames", log.split(" on ")[1].split(", restart")[0])
    assert len(nodes.split()) == 2
    assert log.count("Start worker at") == 2
    filed = stack.ask("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run.identifier]}}})
    assert {"table", "markdown", "progress"} <= {found["type"] for found in filed}


def log_of(stack: Stack, job: Job) -> str:
    return next((stack.folder / "logs").glob(f"*-{job.identifier}.log")).read_text()


def contents(store: Path) -> dict[str, bytes]:
    """Chunks of a store, by name."""
    files = [path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json"]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}
