"""A real Slurm, a real Prefect server and a real worker, and what tests ask of them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from sciflow.flows.slurm.commands import Job, Slurm

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 240.0
_Found = TypeVar("_Found")

logging.getLogger("httpx").setLevel(logging.WARNING)


def until(what: str, ask: Callable[[], _Found | None], patience: float = PATIENCE) -> _Found:
    """What `ask` gives when it is no longer None or False."""
    end = time.monotonic() + patience
    while True:
        found = ask()
        if found is not None and found is not False:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: waited {patience:g} s in vain")
        time.sleep(0.2)


@dataclass
class Server:
    """A Prefect server of its own folder and port, that can be stopped and started again."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            "DO_NOT_TRACK": "1",
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start"]
        self.process = spawn(command, self.home / "server.log", self.environment())
        until("the Prefect server", self.answers)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
        self.process = None


def spawn(command: list[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, in the folder of its log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, cwd=log.parent, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes], first: signal.Signals = signal.SIGINT) -> None:
    """End a process, and its session where it does not listen."""
    if process.poll() is not None:
        return
    process.send_signal(first)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@dataclass
class Stack:
    """All of it, with a work pool ``hpc``."""

    folder: Path
    server: Server
    slurm_environment: Mapping[str, str]
    worker: subprocess.Popen[bytes] | None = None
    slurm: Slurm = field(init=False)

    def __post_init__(self) -> None:
        self.slurm = Slurm(environment=self.environment())

    def environment(self) -> dict[str, str]:
        return {
            **self.server.environment(),
            **self.slurm_environment,
            "SCIFLOW_SLURM_POLL_SECONDS": "2",
            "PYTHONPATH": str(REPOSITORY),
        }

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "hpc", "--name", "one"]
        self.worker = spawn(command, self.folder / "worker.log", self.environment())

    def stop_worker(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.worker is not None:
            stop(self.worker, how)
        self.worker = None

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def python(self, *words: str) -> str:
        return self.command(sys.executable, *words)

    def sciflow(self, *words: str) -> str:
        return self.python("-m", "sciflow.cli", *words)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        def answer() -> httpx.Response | None:
            try:
                found = httpx.request(method, self.server.api + path, json=body, timeout=60)
            except httpx.TransportError:
                return None
            return None if found.status_code >= 500 else found  # a busy machine's database is locked

        found = until(f"{method} {path}", answer)
        found.raise_for_status()
        return found.json() if found.content else None

    def deploy(self, flow: str, entrypoint: str) -> None:
        made = self.ask("POST", "/flows/", {"name": flow})
        body = {
            "name": "test",
            "flow_id": made["id"],
            "entrypoint": entrypoint,
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}],
            "work_pool_name": "hpc",
        }
        self.ask("POST", "/deployments/", body)

    def start(self, deployment: str, parameters: Mapping[str, Any], **variables: Any) -> Run:
        found = self.ask("GET", f"/deployments/name/{deployment}")
        body = {
            "parameters": parameters,
            "job_variables": variables,
            "state": {"type": "SCHEDULED"},
            "idempotency_key": str(uuid4()),
        }
        made = self.ask("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return Run(self, made["id"])


@dataclass
class Run:
    """One flow run."""

    stack: Stack
    identifier: str

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.ask("GET", f"/flow_runs/{self.identifier}")
        return found

    def state(self) -> str:
        return str(self.read()["state"]["name"])

    def over(self, patience: float = PATIENCE) -> str:
        """The state it ends in."""

        def ask() -> str | None:
            found = self.read()["state"]
            ends = found["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            return str(found["name"]) if ends else None

        try:
            return until(f"run {self.identifier}", ask, patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def message(self) -> str:
        return str(self.read()["state"]["message"])

    def cancel(self) -> None:
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
        self.stack.ask("POST", f"/flow_runs/{self.identifier}/set_state", body)

    def job(self) -> Job | None:
        jobs = [job for job in self.stack.slurm.jobs() if job.comment.endswith(self.identifier)]
        return jobs[-1] if jobs else None

    def ended_job(self) -> Job:
        def ask() -> Job | None:
            job = self.job()
            return job if job is not None and job.ended else None

        return until(f"the end of the job of run {self.identifier}", ask)

    def running_job(self) -> Job:
        def ask() -> Job | None:
            job = self.job()
            return job if job is not None and job.state == "RUNNING" else None

        return until(f"the job of run {self.identifier}", ask)

    def told(self) -> str:
        """What a person would look at: state, job, logs."""
        job = self.job()
        logs = sorted((self.stack.folder / "logs").glob(f"*-{job.identifier}.log")) if job else []
        texts = [f"{log}:\n{log.read_text()[-3000:]}" for log in logs]
        return "\n".join([str(self.read()["state"]), str(job), *texts])


def processes(*words: str, **variables: str) -> list[int]:
    """Processes of this user whose command has all these words and whose environment these variables."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        has = all(any(word in part for part in command) for word in words)
        if has and all(f"{name}={value}" in environment for name, value in variables.items()):
            found.append(int(folder.name))
    return found


def find_slurm() -> tuple[Path, Path] | None:
    """slurm-up and slurm-down, beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "slurm"
    scripts = folder / "slurm-up", folder / "slurm-down"
    return scripts if all(script.is_file() for script in scripts) else None


def has_sbatch() -> bool:
    return shutil.which("sbatch") is not None
