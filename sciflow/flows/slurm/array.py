"""Job arrays: many independent commands, shared among the elements of one Slurm array. No server, no Dask.

```
submit_array ─▶ FOLDER/array.json ─┬▶ element 0: commands 0, n, 2n ... ─▶ done-0.jsonl ─┐
                                   ├▶ element 1: commands 1, n+1 ...   ─▶ done-1.jsonl ─┼ afterok ─▶ finish
                                   └▶ ...                                               ┘        summary.json
```
An element that is preempted goes on where it was: a command with a line in its record is not run again. Each
command must be one that may be repeated, as ``sciflow compress`` and ``sciflow train --resume`` are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sciflow.errors import Corrupt, InvalidArgument, StoreError
from sciflow.flows.slurm.commands import Slurm
from sciflow.flows.slurm.progress import made_progress
from sciflow.flows.slurm.script import REQUEUE_CODE, sbatch_script
from sciflow.flows.slurm.site import Site
from sciflow.models.files import write_whole

__all__ = ["ArrayJobs", "finish", "run_element", "submit_array"]

_SPECIFICATION, _SUMMARY = "array.json", "summary.json"


@dataclass(frozen=True, slots=True)
class ArrayJobs:
    """What was submitted.

    Parameters
    ----------
    folder : Path
        With ``array.json``, the records and, in the end, ``summary.json``.
    array : str
        Number of the array.
    finish : str
        Number of the job that runs when all elements ended well.
    """

    folder: Path
    array: str
    finish: str


def submit_array(
    site: Site,
    commands: Sequence[Sequence[str]],
    folder: str | os.PathLike[str],
    *,
    elements: int | None = None,
    at_once: int | None = None,
    name: str = "array",
    slurm: Slurm | None = None,
) -> ArrayJobs:
    """Submit commands as a job array, and behind it a job that checks that all were run.

    Parameters
    ----------
    site : Site
        Of each element.
    commands : sequence of sequence of str
        Words of each.
    folder : path
        Of the array, seen by all nodes. One that has the same commands goes on: what is done stays done.
    elements : int, optional
        Among how many jobs the commands are shared; by default a command each.
    at_once : int, optional
        Elements that may run at a time.
    name : str
        Of the jobs.
    slurm : Slurm, optional
        To submit to.

    Raises
    ------
    InvalidArgument
        If there is no command, or fewer than one element.
    StoreError
        If the folder belongs to other commands.
    SchedulerError
        If Slurm refuses.
    """
    count = min(elements or len(commands), len(commands))
    if count < 1:
        raise InvalidArgument(f"job array: found {len(commands)} commands, expected one or more")
    slurm = slurm or Slurm()
    folder = Path(folder).resolve()
    _specify(folder, commands, count)
    site = site.model_copy(update={"log_dir": str(Path(site.log_dir).resolve())})
    Path(site.log_dir).mkdir(parents=True, exist_ok=True)
    comment = f"sciflow-array:{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    alive = {job.comment: job.identifier.split("_")[0] for job in slurm.jobs() if not job.ended}
    if f"{comment}:finish" in alive:
        raise StoreError(
            f"{folder}: its array is under way in job {alive[f'{comment}:finish']}; wait, or scancel it"
        )
    python = "python" if site.container else sys.executable
    run = f"{shlex.quote(python)} -m sciflow.flows.slurm.array {shlex.quote(str(folder))}"
    limit = f"%{at_once}" if at_once else ""
    script = sbatch_script(
        site, run, name=name, comment=f"{comment}:array", array=f"0-{count - 1}{limit}", watch=[str(folder)]
    )
    array = alive.get(f"{comment}:array") or slurm.submit(script, comment=f"{comment}:array")
    small = site.model_copy(update={"nodes": 1, "ntasks": 1, "cpus_per_task": 1, "gpus": None, "gres": None})
    ending = sbatch_script(small, f"{run} --finish", name=f"{name}-finish", comment=f"{comment}:finish")
    last = slurm.submit(ending, comment=f"{comment}:finish", dependency=f"afterok:{array}")
    return ArrayJobs(folder, array, last)


def run_element(
    folder: str | os.PathLike[str], index: int, *, environment: dict[str, str] | None = None
) -> int:
    """Run one element's share of the commands; return 0, 1 if some failed, 75 if told to stop.

    Parameters
    ----------
    folder : path
        Of the array.
    index : int
        Of the element, from 0.
    environment : dict of str to str, optional
        Of the commands; this process's own by default.

    Raises
    ------
    Corrupt
        If the folder has no array.
    """
    folder = Path(folder)
    found = _specified(folder)
    record = folder / f"done-{index}.jsonl"
    done = {entry["command"] for entry in _entries(record)}
    failed = 0
    with _Stoppable() as child:
        for number in range(index, len(found["commands"]), found["elements"]):
            if number in done:
                continue
            started = time.monotonic()
            status = child.run(found["commands"][number], environment)
            if child.stopped:
                return REQUEUE_CODE
            if status:
                failed = 1
                sys.stderr.write(f"sciflow: exit code {status}: {shlex.join(found['commands'][number])}\n")
                continue
            _note(record, {"command": number, "seconds": round(time.monotonic() - started, 3)})
            made_progress(f"command {number}")
    return failed


def finish(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Check that every command was run, write ``summary.json`` and return what is in it.

    Parameters
    ----------
    folder : path
        Of the array.

    Returns
    -------
    dict
        ``commands``: how many; ``seconds``: of each, in order.

    Raises
    ------
    StoreError
        If a command has no line in any record.
    """
    folder = Path(folder)
    found = _specified(folder)
    seconds = {
        entry["command"]: entry["seconds"]
        for record in sorted(folder.glob("done-*.jsonl"))
        for entry in _entries(record)
    }
    missing = sorted(set(range(len(found["commands"]))) - set(seconds))
    if missing:
        first = shlex.join(found["commands"][missing[0]])
        raise StoreError(
            f"{folder}: {len(missing)} commands were not run, the first is {first}; submit it again"
        )
    summary = {"commands": len(seconds), "seconds": [seconds[number] for number in sorted(seconds)]}
    write_whole(folder / _SUMMARY, (json.dumps(summary) + "\n").encode())
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the element that SLURM_ARRAY_TASK_ID names, or with ``--finish`` check them all."""
    folder, *rest = sys.argv[1:] if arguments is None else arguments
    if rest == ["--finish"]:
        finish(folder)
        return 0
    return run_element(folder, int(os.environ["SLURM_ARRAY_TASK_ID"]))


class _Stoppable:
    """Runs one command after the other; SIGTERM and SIGUSR1 go to the one that runs, and end the rest."""

    def __init__(self) -> None:
        self._heard: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Stoppable:
        self._before = {
            number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGUSR1)
        }
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def stopped(self) -> bool:
        return bool(self._heard)

    def run(self, command: Sequence[str], environment: dict[str, str] | None) -> int:
        """Return the exit code; one that is told to stop before it starts is stopped at once."""
        with subprocess.Popen(command, env=environment) as self._process:
            if self.stopped:
                self._process.terminate()
            return self._process.wait()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._heard.append(number)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _specify(folder: Path, commands: Sequence[Sequence[str]], elements: int) -> None:
    wanted = {"commands": [list(command) for command in commands], "elements": elements}
    if (folder / _SPECIFICATION).exists():
        if _specified(folder) != wanted:
            raise StoreError(
                f"{folder}: holds an array of other commands; choose another folder, or remove it"
            )
        return
    write_whole(folder / _SPECIFICATION, (json.dumps(wanted, indent=1) + "\n").encode())


def _specified(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _SPECIFICATION).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise Corrupt(
            f"{folder / _SPECIFICATION}: found no array ({error}); submit_array writes one"
        ) from None
    return found


def _entries(record: Path) -> list[dict[str, Any]]:
    """Lines of a record; a torn last one is not done."""
    text = record.read_bytes() if record.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def _note(record: Path, entry: dict[str, Any]) -> None:
    with record.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(main())
