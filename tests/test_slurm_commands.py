"""Slurm's commands, played by scripts: strict parsing, time-outs, one job however often an answer is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sciflow.errors import SchedulerError, Unsupported
from sciflow.flows.slurm.commands import Job, Slurm, parse_job, parse_queue, parse_submitted


def test_submitted() -> None:
    assert parse_submitted("12\n") == "12"
    assert parse_submitted("a greeting of the site\n12;cluster\n") == "12"
    for bad in ("", "Submitted batch job", "twelve"):
        with pytest.raises(Unsupported, match="sbatch"):
            parse_submitted(bad)


def test_queue() -> None:
    text = "12|RUNNING|None|sciflow:a:b\n13_[3-9]|PENDING|Resources|(null)\n\n14_2|CANCELLED|None|a|b\n"
    running, waiting, cancelled = parse_queue(text)
    assert running == Job("12", "RUNNING", "None", "sciflow:a:b")
    assert not running.ended
    assert waiting.waiting
    assert waiting.comment == ""
    assert cancelled.ended
    assert not cancelled.ok
    assert cancelled.comment == "a|b"
    for bad in ("12|RUNNING", "x|RUNNING|None|", "12|running|None|c", "slurm_load_jobs error: no"):
        with pytest.raises(Unsupported, match="squeue"):
            parse_queue(bad)


def test_one_job() -> None:
    line = "JobId=7 JobName=a JobState=COMPLETED Reason=None Comment=x:y RunTime=00:00:01"
    assert parse_job(line) == Job("7", "COMPLETED", "None", "x:y")
    assert (
        parse_job("JobId=9 ArrayJobId=8 ArrayTaskId=1 JobState=PENDING Reason=Resources").identifier == "8_1"
    )
    with pytest.raises(Unsupported, match="scontrol"):
        parse_job("No such job")


def slurm(folder: Path, **does: str) -> Slurm:
    for name, script in does.items():
        file = folder / name
        file.write_text(f"#!/bin/bash\ncd {folder}\n{script}\n")
        file.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return Slurm(environment={**os.environ, "PATH": path}, pause=0.0, attempts=3, timeout=10.0)


def test_submission_passes_script_variables_and_dependency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    made = slurm(tmp_path, sbatch='cat >script; echo "$@" >words; env >variables; echo 5')
    assert made.submit("text\n", comment="c", environment={"SECRET": "s"}, dependency="afterok:4") == "5"
    assert (tmp_path / "script").read_text() == "text\n"
    assert "--dependency=afterok:4" in (tmp_path / "words").read_text()
    variables = (tmp_path / "variables").read_text()
    assert "SECRET=s" in variables
    assert "SLURM_NTASKS" not in variables  # of the job that this worker may itself be in


def test_refusal_is_not_tried_again(tmp_path: Path) -> None:
    made = slurm(tmp_path, sbatch="echo x >>calls; echo sbatch: error: invalid partition >&2; exit 1")
    with pytest.raises(SchedulerError, match="invalid partition"):
        made.submit("", comment="c")
    assert (tmp_path / "calls").read_text().count("x") == 1


def test_lost_answer_gives_one_job(tmp_path: Path) -> None:
    busy = "echo slurm: error: Socket timed out on send/recv operation >&2; exit 1"
    made = slurm(tmp_path, sbatch=f"echo x >>calls; {busy}", squeue="echo '8|PENDING|None|mine'")
    assert made.submit("", comment="mine") == "8"
    assert (tmp_path / "calls").read_text().count("x") == 1


def test_busy_controller_is_asked_again(tmp_path: Path) -> None:
    made = slurm(
        tmp_path,
        squeue="if [ -e asked ]; then echo '8|PENDING|None|mine'; else touch asked; "
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1; fi",
    )
    assert [job.identifier for job in made.jobs()] == ["8"]


def test_silent_controller_is_an_error(tmp_path: Path) -> None:
    made = slurm(tmp_path, squeue="exec sleep 60")
    made = Slurm(environment=made.environment, timeout=0.1, attempts=2, pause=0.0)
    with pytest.raises(SchedulerError, match="timed out"):
        made.jobs()


def test_forgotten_job_is_none_or_what_the_accounting_says(tmp_path: Path) -> None:
    forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    made = slurm(tmp_path, scontrol=forgotten, sacct="echo Slurm accounting storage is disabled >&2; exit 1")
    assert made.job("7") is None
    made = slurm(tmp_path, sacct="echo '7|CANCELLED by 0'")
    assert made.job("7") == Job("7", "CANCELLED")


def test_cancelling_says_whether_there_was_something_to_cancel(tmp_path: Path) -> None:
    assert slurm(tmp_path, scancel="exit 0").cancel("7")
    late = "echo 'scancel: error: Kill job error on job id 7: Job/step already completing or completed' >&2"
    assert not slurm(tmp_path, scancel=late).cancel("7")


def test_no_slurm_is_said() -> None:
    nowhere = Slurm(environment={"PATH": "/nowhere"})
    assert not nowhere.available()
    with pytest.raises(Unsupported, match="squeue"):
        nowhere.jobs()
