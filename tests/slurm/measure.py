"""``python -m tests.slurm.measure``: how long runs take on Slurm, beside their work; CSV and the page."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.conftest import SITE
from tests.slurm.stack import REPOSITORY, Run, Server, Stack, free_port, until

_TIMES = int(os.environ.get("TIMES", "5"))
_CSV = REPOSITORY / "bench" / "results" / "flows" / "slurm.csv"
_PAGE = REPOSITORY / "docs" / "flows-slurm.md"
_BEGIN, _END = "<!-- times -->", "<!-- end of times -->"


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
    """Measure all; write the CSV, and its table into the page."""
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
        rows = [_row(stack, folder, what, one) for what, one in _WHAT.items()]
    finally:
        stack.stop_worker()
        server.stop()
    load = f"load {os.getloadavg()[2]:.1f}"
    _CSV.parent.mkdir(parents=True, exist_ok=True)
    _CSV.write_text("what,median_s,least_s,most_s,times\n" + "".join(",".join(row) + "\n" for row in rows))
    table = [f"| {row[0]} | {row[1]} | {row[2]} to {row[3]} |" for row in rows]
    head = [f"| seconds, {_TIMES} times each ({load}) | median | range |", "| --- | --- | --- |"]
    before, _, rest = _PAGE.read_text().partition(_BEGIN)
    text = "\n".join([_BEGIN, "", *head, *table, "", _END])
    _PAGE.write_text(before + text + rest.partition(_END)[2])


def _row(stack: Stack, folder: Path, what: str, one: Callable[[Stack, Path], float]) -> list[str]:
    found = []
    for index in range(_TIMES):
        place = folder / f"{one.__name__}-{index}"
        place.mkdir()
        found.append(one(stack, place))
        sys.stderr.write(f"{what}: {found[-1]:.1f} s\n")
    return [
        what,
        *(f"{value:.1f}" for value in (statistics.median(found), min(found), max(found))),
        str(_TIMES),
    ]


_WHAT: dict[str, Callable[[Stack, Path], float]] = {
    "submitted until the flow works": submit_to_running,
    "submitted until Completed, nothing to do": submit_to_completed,
    "warned until the same job works again": requeue,
    "scancel until Crashed": scancel_to_crashed,
    "cancelled in Prefect until Cancelled": cancel_to_cancelled,
}


if __name__ == "__main__":
    if "SLURM_CONF" not in os.environ:
        sys.exit("measure: found no SLURM_CONF; start a Slurm and source its env.sh")
    main()
