"""``python -m tests.slurm.measure``: how long runs on Slurm take, beside their work. Prints CSV."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.conftest import SITE
from tests.slurm.stack import Run, Server, Stack, free_port, until

_TIMES = 5


def submit_to_completed(stack: Stack, folder: Path) -> float:
    """A flow that does nothing."""
    began = time.monotonic()
    run = stack.start("steps/test", {"folder": str(folder), "count": 0})
    assert run.over() == "Completed"
    return time.monotonic() - began


def submit_to_running(stack: Stack, folder: Path) -> float:
    """Until the flow's code runs."""
    began = time.monotonic()
    run = stack.start("steps/test", {"folder": str(folder), "count": 1, "seconds": 0.0})
    until("the first file", lambda: any(folder.glob("*.txt")))
    passed = time.monotonic() - began
    run.over()
    return passed


def requeue(stack: Stack, folder: Path) -> float:
    """From a warning of Slurm's until the flow writes again, in the same job."""

    def done() -> int:
        return len(list(folder.glob("*.txt")))

    run = stack.start("steps/test", {"folder": str(folder), "count": 30, "seconds": 0.5})
    until("the first file", lambda: done() > 0)
    job = run.running_job().identifier
    began = time.monotonic()
    stack.command("scancel", "--batch", "--signal=USR1", job)
    until("the restart", lambda: "Restarts=1" in stack.command("scontrol", "show", "job", job))
    before = done()
    until("a further file", lambda: done() > before)
    passed = time.monotonic() - began
    run.over()
    return passed


def scancel_to_crashed(stack: Stack, folder: Path) -> float:
    """With a poll of 2 s; the worker's default is 10 s."""
    run = _begun(stack, folder)
    began = time.monotonic()
    stack.slurm.cancel(run.running_job().identifier)
    assert run.over() == "Crashed"
    return time.monotonic() - began


def cancel_to_cancelled(stack: Stack, folder: Path) -> float:
    """Of a run that runs."""
    run = _begun(stack, folder)
    began = time.monotonic()
    run.cancel()
    assert run.over() == "Cancelled"
    return time.monotonic() - began


def _begun(stack: Stack, folder: Path) -> Run:
    run = stack.start("steps/test", {"folder": str(folder), "count": 200, "seconds": 0.5})
    until("the first file", lambda: any(folder.glob("*.txt")))
    return run


def main() -> None:
    """Measure all, and print the median, the least and the most of each."""
    what: list[Callable[[Stack, Path], float]] = [
        submit_to_running, submit_to_completed, requeue, scancel_to_crashed, cancel_to_cancelled,
    ]  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="sciflow-measure-"))
    (folder / "prefect").mkdir()
    server = Server(folder / "prefect", free_port())
    stack = Stack(folder, server, {"SLURM_CONF": os.environ["SLURM_CONF"]})
    (folder / "slurm.toml").write_text(SITE)
    server.start()
    try:
        stack.sciflow("deploy", "--cluster", "slurm.toml", "--pool", "hpc", "--flow", "train")
        stack.deploy("steps", "tests.slurm.sample.steps")
        stack.start_worker()
        sys.stdout.write("what,median_s,least_s,most_s,times\n")
        for one in what:
            found = []
            for index in range(_TIMES):
                place = folder / f"{one.__name__}-{index}"
                place.mkdir()
                found.append(one(stack, place))
            row = [f"{value:.1f}" for value in (statistics.median(found), min(found), max(found))]
            sys.stdout.write(",".join([one.__name__, *row, str(_TIMES)]) + "\n")
            sys.stdout.flush()
    finally:
        stack.stop_worker()
        server.stop()


if __name__ == "__main__":
    if "SLURM_CONF" not in os.environ:
        sys.exit("measure: found no SLURM_CONF; start a Slurm and source its env.sh")
    main()
