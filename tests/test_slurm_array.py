"""Elements of a job array and stages of a pipeline, without Slurm: each thing once, whatever stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("pydantic")

from sciflow.errors import Corrupt, InvalidArgument, StoreError
from sciflow.flows.slurm.array import finish, run_element, submit_array
from sciflow.flows.slurm.commands import Job, Slurm
from sciflow.flows.slurm.site import Site
from sciflow.flows.stages import key_of, run_command, run_stage


class Recorder:
    """A Slurm that takes every job and runs none."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, dict[str, Any]]] = []

    def jobs(self) -> list[Job]:
        return []

    def submit(self, script: str, **options: Any) -> str:
        self.submitted.append((script, options))
        return str(len(self.submitted))


def submitted(folder: Path, commands: list[list[str]], elements: int) -> Recorder:
    slurm = Recorder()
    site = Site(log_dir=str(folder / "logs"))
    taken = cast(Slurm, slurm)
    jobs = submit_array(site, commands, folder / "array", elements=elements, at_once=2, slurm=taken)
    assert (jobs.array, jobs.finish) == ("1", "2")
    return slurm


def echo(folder: Path, count: int) -> list[list[str]]:
    return [["bash", "-c", f"echo $0 >>{folder}/ledger", str(number)] for number in range(count)]


def test_array_and_finish_are_two_jobs(tmp_path: Path) -> None:
    (array, _), (ending, options) = submitted(tmp_path, echo(tmp_path, 5), 3).submitted
    assert "#SBATCH --array=0-2%2" in array
    assert "--finish" in ending
    assert options["dependency"] == "afterok:1"


def test_every_command_runs_once_and_is_counted(tmp_path: Path) -> None:
    submitted(tmp_path, echo(tmp_path, 5), 2)
    assert run_element(tmp_path / "array", 0) == 0
    with pytest.raises(StoreError, match="2 commands were not run"):
        finish(tmp_path / "array")
    assert run_element(tmp_path / "array", 1) == 0
    assert run_element(tmp_path / "array", 0) == 0
    assert sorted((tmp_path / "ledger").read_text().split()) == list("01234")
    assert finish(tmp_path / "array")["commands"] == 5
    assert json.loads((tmp_path / "array" / "summary.json").read_text())["commands"] == 5


def test_torn_line_is_a_command_that_was_not_run(tmp_path: Path) -> None:
    submitted(tmp_path, echo(tmp_path, 2), 1)
    run_element(tmp_path / "array", 0)
    record = tmp_path / "array" / "done-0.jsonl"
    record.write_bytes(record.read_bytes()[:-3])
    assert run_element(tmp_path / "array", 0) == 0
    assert (tmp_path / "ledger").read_text().split() == ["0", "1", "1"]
    assert finish(tmp_path / "array")["commands"] == 2


def test_failed_command_leaves_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    submitted(tmp_path, [["false"], *echo(tmp_path, 1)], 1)
    assert run_element(tmp_path / "array", 0) == 1
    assert "exit code 1: false" in capfd.readouterr().err
    assert (tmp_path / "ledger").exists()


def test_element_that_is_stopped_asks_to_be_started_again(tmp_path: Path) -> None:
    wait = f"touch {tmp_path}/ready; exec sleep 60"
    submitted(tmp_path, [["bash", "-c", wait], ["true"]], 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "sciflow.flows.slurm.array", str(tmp_path / "array")],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "0"},
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert not (tmp_path / "array" / "done-0.jsonl").exists()


def test_arrays_are_not_mixed_up(tmp_path: Path) -> None:
    submitted(tmp_path, echo(tmp_path, 2), 1)
    submitted(tmp_path, echo(tmp_path, 2), 1)
    with pytest.raises(StoreError, match="other commands"):
        submitted(tmp_path, echo(tmp_path, 3), 1)
    with pytest.raises(InvalidArgument, match="0 commands"):
        submitted(tmp_path / "other", [], 1)
    with pytest.raises(Corrupt, match="no array"):
        run_element(tmp_path / "nowhere", 0)


def test_stage_is_done_once_for_a_key(tmp_path: Path) -> None:
    calls: list[str] = []

    def do() -> dict[str, int]:
        calls.append("x")
        (tmp_path / "made").touch()
        return {"bytes": 3}

    assert run_stage(tmp_path, "make", "a", do, files=["made"])["repeated"] is True
    again = run_stage(tmp_path, "make", "a", do, files=["made"])
    assert (again["repeated"], again["bytes"], len(calls)) == (False, 3, 1)
    run_stage(tmp_path, "make", "b", do, files=["made"])
    (tmp_path / "made").unlink()
    run_stage(tmp_path, "make", "b", do, files=["made"])
    (tmp_path / "stages" / "make.json").write_text('{"key": "b"')
    run_stage(tmp_path, "make", "b", do, files=["made"])
    assert len(calls) == 4


def test_stage_that_fails_is_not_done(tmp_path: Path) -> None:
    def fail() -> dict[str, int]:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run_stage(tmp_path, "make", key_of(1), fail)
    assert not (tmp_path / "stages").exists()


def test_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no licence"):
        run_command(["bash", "-c", "echo no licence; exit 2"], tmp_path / "logs" / "a.log")


def test_command_that_is_interrupted_saves_first(tmp_path: Path) -> None:
    saves = (
        f"trap 'touch {tmp_path}/saved; exit 75' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    code = (
        "import sys; from pathlib import Path; from sciflow.flows.stages import run_command\n"
        f"run_command(['bash', '-c', {saves!r}], Path({str(tmp_path / 'log')!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, process_group=0)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert (tmp_path / "saved").exists()
