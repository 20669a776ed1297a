"""One Slurm, one Prefect server, one worker for all tests of this folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.stack import Server, Stack, find_slurm, free_port, has_sbatch

SITE = """\
partition = "low"
nodes = 1
ntasks = 1
mem = "2G"
walltime = "00:10:00"
grace_seconds = 20
interface = "lo"
log_dir = "logs"
"""


def _missing(why: str) -> None:
    if os.environ.get("REQUIRE_SLURM") == "1":
        pytest.fail(f"REQUIRE_SLURM=1, but {why}")
    pytest.skip(why)


@pytest.fixture(scope="package")
def slurm_environment() -> Iterator[dict[str, str]]:
    """Variables that lead to a Slurm: the one of this environment, or one started for these tests."""
    if os.environ.get("SLURM_CONF") and has_sbatch():
        yield {"SLURM_CONF": os.environ["SLURM_CONF"]}
        return
    scripts = find_slurm()
    if scripts is None:
        if not has_sbatch():
            _missing("found no sbatch on PATH and no ../shared/slurm/slurm-up to start one")
        yield {}
        return
    state = Path(tempfile.gettempdir()) / f"sciflow-slurm-{os.getpid()}"
    up, down = scripts
    started = subprocess.run([up, "--install", "-q", state], capture_output=True, text=True, check=False)
    if started.returncode:
        _missing(f"slurm-up failed: {started.stderr.strip()[-300:]}")
    try:
        yield {"SLURM_CONF": str(state / "etc" / "slurm.conf")}
    finally:
        subprocess.run([down, "-q", state], capture_output=True, check=False)


@pytest.fixture(scope="package")
def stack(slurm_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Slurm, server, pool ``hpc`` and worker."""
    pytest.importorskip("prefect")
    folder = tmp_path_factory.mktemp("stack")
    server = Server(tmp_path_factory.mktemp("prefect"), free_port())
    made = Stack(folder, server, slurm_environment)
    (folder / "slurm.toml").write_text(SITE)
    try:
        server.start()
        made.sciflow("deploy", "--cluster", "slurm.toml", "--pool", "hpc")
        for flow in ("steps", "dask-steps"):
            made.deploy(flow, f"tests.slurm.sample.{flow.replace('-', '_')}")
        made.start_worker()
        yield made
    finally:
        made.stop_worker()
        server.stop()
