"""The sbatch script: its options are those of the site, and its shell does what it says, without Slurm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from sciflow.errors import InvalidArgument
from sciflow.flows.slurm.script import IDLE_RESTARTS, REQUEUE_CODE, for_flow, job_name, sbatch_script
from sciflow.flows.slurm.site import Site


def options(script: str) -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", script, re.MULTILINE)
    return dict(found)


def test_every_resource_is_an_option() -> None:
    site = Site(
        partition="batch", account="me", qos="normal", constraint="gpu&hbm", reservation="course", nodes=2,
        ntasks=8, cpus_per_task=4, mem="64G", gres="gpu:4", gpus=4, walltime="1-00:00:00", grace_seconds=300,
        log_dir="/logs", extra_directives=["--exclusive"],
    )  # fmt: skip
    assert options(sbatch_script(site, "true", name="a b", comment="x:y", array="0-3%2")) == {
        "job-name": "a-b",
        "comment": "x:y",
        "partition": "batch",
        "account": "me",
        "qos": "normal",
        "constraint": "gpu&hbm",
        "reservation": "course",
        "nodes": "2",
        "ntasks": "8",
        "cpus-per-task": "4",
        "mem": "64G",
        "gres": "gpu:4",
        "gpus-per-node": "4",
        "time": "1-00:00:00",
        "array": "0-3%2",
        "output": "/logs/%x-%A_%a.log",
        "open-mode": "append",
        "signal": "B:USR1@300",
        "requeue": "",
        "exclusive": "",
    }


def test_what_is_left_out_is_slurms() -> None:
    found = options(sbatch_script(Site(requeue=False), "true"))
    assert not {"partition", "account", "mem", "gres", "comment", "array"} & set(found)
    assert "no-requeue" in found
    assert found["output"] == "slurm-logs/%x-%j.log"


def test_modules_variables_and_prologue_come_before_the_command() -> None:
    site = Site(
        modules=["python/3.11"],
        environment={"TEXT": "it's $HOME"},
        prologue=["source env.sh"],
        container="apptainer exec a.sif",
    )
    lines = sbatch_script(site, "python -m this").splitlines()
    order = [
        lines.index("module load python/3.11"),
        lines.index("""export TEXT='it'"'"'s $HOME'"""),
        lines.index("source env.sh"),
        lines.index("apptainer exec a.sif python -m this &"),
    ]
    assert order == sorted(order)


@pytest.mark.parametrize("dask", [False, True])
def test_script_is_shell(dask: bool) -> None:
    site = Site(mode="alloc", nodes=2, ntasks=3, mem="6G", interface="ib0", scratch="$TMPDIR/x")
    script = sbatch_script(site, "true", dask=dask, python="/opt/a b/python", watch=["a b"])
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert ("dask_scheduler" in script) is dask
    assert ("--memory-limit 2899102924" in script) is dask  # nine tenths of half of 6 GiB


def test_job_of_a_flow_asks_for_its_own_share() -> None:
    site = Site(mode="local", nodes=1, ntasks=4, cpus_per_task=2, mem="8G")
    assert (for_flow(site).ntasks, for_flow(site).cpus_per_task, for_flow(site).mem) == (1, 8, "8G")
    small = for_flow(site.model_copy(update={"mode": "jobqueue", "gpus": 4}))
    assert (small.ntasks, small.cpus_per_task, small.mem, small.gpus) == (1, 1, None, None)
    allocation = site.model_copy(update={"mode": "alloc"})
    assert for_flow(allocation) == allocation


def test_names_and_comments_cannot_break_out() -> None:
    assert job_name("a\n#SBATCH --time=9") == "a-SBATCH---time-9"
    assert job_name("///") == "sciflow"
    for bad in ("a b", "x\ny", "$(id)"):
        with pytest.raises(InvalidArgument, match="comment"):
            sbatch_script(Site(), "true", comment=bad)


class Stage:
    """A folder in which a script runs with a Slurm that only writes down what it is asked."""

    def __init__(self, folder: Path, state: str = "RUNNING") -> None:
        self.folder = folder
        self.asked = folder / "asked"
        for name, does in (("squeue", f"echo {state}"), ("scontrol", f'echo "$@" >>{self.asked}')):
            (folder / name).write_text(f"#!/bin/bash\n{does}\n")
            (folder / name).chmod(0o755)

    def start(self, command: str, *, restarts: int = 0, **site: object) -> subprocess.Popen[str]:
        made = Site.model_validate({"log_dir": str(self.folder), **site})
        script = sbatch_script(made, command, python=sys.executable)
        environment = {
            **os.environ,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n1",
            "SLURM_RESTART_COUNT": str(restarts),
        }
        (self.folder / "script.sh").write_text(script)
        return subprocess.Popen(
            ["bash", str(self.folder / "script.sh")], env=environment, stdout=subprocess.PIPE, text=True
        )

    def warned(
        self, command: str, *, number: int = signal.SIGUSR1, restarts: int = 0, **site: object
    ) -> tuple[int, str]:
        """Exit code and output of a script that gets a signal once its command runs."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        process = self.start(
            f"bash -c 'trap \"{command}\" TERM; touch {ready}; while :; do sleep 0.05; done'",
            restarts=restarts,
            **site,
        )
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def requeued(self) -> bool:
        return self.asked.exists() and "requeue 7" in self.asked.read_text()


def test_exit_code_is_the_commands(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    process = stage.start("bash -c 'exit 3'")
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert not stage.requeued()


def test_command_that_asks_is_started_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    process = stage.start(f"bash -c 'exit {REQUEUE_CODE}'")
    out, _ = process.communicate(timeout=60)
    assert stage.requeued()
    assert "asks for it" in out


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_warned_command_gets_term_and_is_started_again(tmp_path: Path, number: int) -> None:
    stage = Stage(tmp_path)
    _, out = stage.warned("exit 1", number=number)
    assert stage.requeued(), out


def test_warned_command_that_is_done_is_not_started_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.warned("exit 0")[0] == 0
    assert not stage.requeued()


def test_cancelled_job_is_not_started_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "COMPLETING")
    status, out = stage.warned(f"exit {REQUEUE_CODE}", number=signal.SIGTERM)
    assert status == REQUEUE_CODE
    assert "over for Slurm" in out
    assert not stage.requeued()


def test_site_without_requeue_is_obeyed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.warned("exit 1", requeue=False)[0] == 1
    assert not stage.requeued()


def test_restarts_are_counted(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    status, out = stage.warned("exit 1", restarts=2, max_restarts=2)
    assert status == 1
    assert "max_restarts" in out
    assert not stage.requeued()


def test_restarts_that_lead_nowhere_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for restart in range(IDLE_RESTARTS):
        stage.warned("exit 1", restarts=restart)
    assert stage.asked.read_text().count("requeue 7") == IDLE_RESTARTS
    status, out = stage.warned("exit 1", restarts=IDLE_RESTARTS)
    assert status == 1
    assert "got nothing done" in out
    assert stage.asked.read_text().count("requeue 7") == IDLE_RESTARTS


def test_restarts_that_lead_somewhere_go_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for restart in range(IDLE_RESTARTS + 2):
        stage.warned("echo x >>$SCIFLOW_PROGRESS; exit 1", restarts=restart)
    assert stage.asked.read_text().count("requeue 7") == IDLE_RESTARTS + 2
