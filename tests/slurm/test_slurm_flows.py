"""Flow runs as Slurm jobs: nothing is lost and nothing is written twice, whatever happens to the job."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.stack import Run, Stack, processes, until

pytestmark = pytest.mark.timeout(600)
COUNT = 16


def whole(folder: Path, count: int = COUNT) -> None:
    """Every file is there, and each was written once."""
    assert sorted(path.name for path in folder.glob("*.txt")) == [f"{index:03}.txt" for index in range(count)]
    assert sorted(int(line) for line in (folder / "ledger").read_text().split()) == list(range(count))


def begun(stack: Stack, folder: Path, flow: str = "steps", seconds: float = 0.5, **variables: object) -> Run:
    """A run that has written its first files and has more to write."""
    parameters = {"folder": str(folder), "count": COUNT, "seconds": seconds}
    run = stack.start(f"{flow}/test", parameters, **variables)
    try:
        until("the first file", lambda: any(folder.glob("*.txt")))
    except AssertionError as error:
        raise AssertionError(f"{error}\n{run.told()}") from None
    return run


def again(stack: Stack, folder: Path) -> None:
    """The same run once more does the rest, and only that."""
    done = len(list(folder.glob("*.txt")))
    assert 0 < done < COUNT
    run = stack.start("steps/test", {"folder": str(folder), "count": COUNT, "seconds": 0.0})
    assert run.over() == "Completed", run.told()
    whole(folder)


def node_of(stack: Stack, run: Run) -> str:
    return stack.command("squeue", "-h", "-o", "%N", "-j", run.running_job().identifier).strip()


@pytest.fixture
def resumed(stack: Stack) -> Iterator[None]:
    """Nodes that a test takes away come back."""
    yield
    names = stack.command("sinfo", "-h", "-N", "-o", "%N", "-t", "down,drain,drained,draining").split()
    for name in set(names):
        stack.command("scontrol", "update", f"NodeName={name}", "State=RESUME")


def test_flow_run_is_a_job(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("steps/test", {"folder": str(tmp_path), "count": 3})
    assert run.over() == "Completed", run.told()
    whole(tmp_path, 3)
    assert run.ended_job().ok
    assert run.read()["infrastructure_pid"] == run.ended_job().identifier


def test_job_that_dies_before_the_flow_says_why(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("steps/test", {"folder": str(tmp_path)}, prologue=["echo no such licence; exit 3"])
    assert run.over() == "Crashed"
    assert "FAILED" in run.message()
    assert "no such licence" in run.message()


def test_job_that_slurm_refuses_says_why(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("steps/test", {"folder": str(tmp_path)}, partition="nowhere")
    assert run.over() == "Crashed"
    assert "invalid partition" in run.message()


def test_scancel_crashes_the_run_and_the_next_does_the_rest(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    assert stack.slurm.cancel(run.running_job().identifier)
    assert run.over() == "Crashed"
    assert "CANCELLED" in run.message()
    again(stack, tmp_path)


def test_cancelling_a_running_run_ends_its_job(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    run.cancel()
    assert run.over() == "Cancelled"
    run.ended_job()
    again(stack, tmp_path)


def test_cancelling_a_waiting_run_takes_its_job_out_of_the_queue(stack: Stack, tmp_path: Path) -> None:
    run = stack.start("steps/test", {"folder": str(tmp_path)}, extra_directives=["--hold"])
    until("the job", run.job)
    run.cancel()
    assert run.over() == "Cancelled"
    assert run.ended_job().state == "CANCELLED"
    assert not list(tmp_path.iterdir())


def test_preempted_run_goes_on_in_its_job(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path, seconds=2.0)
    job = run.running_job()
    stack.command("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--wrap=:", "--output=/dev/null")
    assert run.over() == "Completed", run.told()
    whole(tmp_path)
    assert run.ended_job().identifier == job.identifier
    assert run.read()["run_count"] == 2


@pytest.mark.usefixtures("resumed")
def test_run_goes_on_elsewhere_when_its_node_goes_down(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    node = node_of(stack, run)
    stack.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    assert run.over() == "Completed", run.told()
    whole(tmp_path)
    assert run.read()["run_count"] == 2


@pytest.mark.usefixtures("resumed")
def test_drained_node_lets_its_run_finish(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    stack.command("scontrol", "update", f"NodeName={node_of(stack, run)}", "State=DRAIN", "Reason=test")
    assert run.over() == "Completed", run.told()
    whole(tmp_path)
    assert run.read()["run_count"] == 1


def test_server_that_restarts_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    stack.server.stop()
    time.sleep(3)
    stack.server.start()
    assert run.over() == "Completed", run.told()
    whole(tmp_path)


def test_flow_process_that_is_killed_crashes_the_run(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    for process in processes("prefect", PREFECT__FLOW_RUN_ID=run.identifier):
        os.kill(process, signal.SIGKILL)
    assert run.over() == "Crashed"
    again(stack, tmp_path)


def test_worker_that_restarts_finds_its_runs(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path)
    job = run.running_job()
    stack.stop_worker(signal.SIGKILL)
    stack.slurm.cancel(job.identifier)
    run.ended_job()
    stack.start_worker()
    assert run.over() == "Crashed"
    again(stack, tmp_path)


def test_dask_worker_that_is_killed_is_replaced(stack: Stack, tmp_path: Path) -> None:
    run = begun(stack, tmp_path, "dask-steps", mode="alloc", nodes=2, ntasks=2)
    here = {"SLURM_JOB_ID": run.running_job().identifier, "SLURM_PROCID": "1"}
    victims = processes("distributed.cli.dask_worker", **here) + processes("multiprocessing", **here)
    assert victims
    for process in victims:
        os.kill(process, signal.SIGKILL)
    assert run.over() == "Completed", run.told()
    whole(tmp_path)
