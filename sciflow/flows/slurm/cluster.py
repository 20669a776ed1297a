"""Dask for a flow on Slurm: a context that gives a Client, whatever the site's ``mode``.

```
alloc     scheduler and workers that the job's script started (SCIFLOW_SCHEDULER_FILE)
jobqueue  dask_jobqueue.SLURMCluster: as many jobs as nodes, replaced when they die
local     processes beside the flow
```
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument, SchedulerError
from sciflow.flows.slurm.commands import Slurm
from sciflow.flows.slurm.script import surroundings
from sciflow.flows.slurm.site import Site
from sciflow.store.allocation import exported, local_cluster

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster
    from distributed import Client

__all__ = ["allocation", "dask_client", "job_cluster", "site_of_job"]

_logger = logging.getLogger(__name__)

_GIB_OF_A_WORKER = 4
_TAIL = 2000


def site_of_job() -> Site | None:
    """Return the site that this process's job was submitted with, or None outside of one."""
    text = os.environ.get("SCIFLOW_SITE")
    return Site.model_validate(json.loads(text)) if text else None


@contextmanager
def dask_client(site: Site | None = None, *, patience: float = 600.0) -> Iterator[Client]:
    """Give a Dask Client with at least one worker, and close what it started.

    Parameters
    ----------
    site : Site, optional
        By default that of this job; outside of a job, local processes.
    patience : float
        Seconds until the first worker must be there, counted from when its job runs.

    Raises
    ------
    InvalidArgument
        If the site's mode has no Dask.
    SchedulerError
        If no worker comes, or all die and none can be had again.
    """
    site = site or site_of_job() or Site()
    if site.mode == "array":
        raise InvalidArgument("mode: found 'array', which has no Dask, expected alloc, jobqueue or local")
    if site.mode == "jobqueue":
        with job_cluster(site, patience=patience) as client:
            yield client
    elif "SCIFLOW_SCHEDULER_FILE" in os.environ:
        with allocation(os.environ["SCIFLOW_SCHEDULER_FILE"], patience=patience) as client:
            yield client
    else:
        with _beside(site) as client:
            yield client


@contextmanager
def allocation(scheduler_file: str | os.PathLike[str], *, patience: float = 600.0) -> Iterator[Client]:
    """Give a Client of the scheduler and the workers that the job's script started.

    Parameters
    ----------
    scheduler_file : path
        Where the scheduler writes its address.
    patience : float
        Seconds until the first worker must be there.

    Raises
    ------
    SchedulerError
        If scheduler or workers do not come.
    """
    from distributed import Client

    end = time.monotonic() + patience
    while not Path(scheduler_file).is_file():
        if time.monotonic() > end:
            raise SchedulerError(f"{scheduler_file}: no Dask scheduler in {patience:g} s; see the job's log")
        time.sleep(0.1)
    found = os.fspath(scheduler_file)
    with Client(scheduler_file=found, timeout=patience) as client:  # type: ignore[no-untyped-call]
        try:
            client.wait_for_workers(1, timeout=max(end - time.monotonic(), 1.0))
        except TimeoutError:
            raise SchedulerError(f"no Dask worker in {patience:g} s; see the job's log") from None
        yield client


@contextmanager
def job_cluster(site: Site, *, patience: float = 600.0, slurm: Slurm | None = None) -> Iterator[Client]:
    """Give a Client whose workers are ``site.nodes`` Slurm jobs of their own; dead ones are replaced.

    dask_jobqueue replaces jobs whose workers were connected. A watchdog does the rest: a job that ends
    before its worker connects is replaced, and when that goes on, work that waits is given up.

    Parameters
    ----------
    site : Site
        ``nodes`` jobs of ``ntasks / nodes`` workers each.
    patience : float
        Seconds that a running job may take to connect.
    slurm : Slurm, optional
        Whom to ask for jobs.

    Raises
    ------
    SchedulerError
        If jobs keep ending before they connect; the message has the end of a job's log.
    """
    from distributed import Client

    with _slurm_cluster(site) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        cluster.adapt(minimum_jobs=site.nodes, maximum_jobs=site.nodes)
        watchdog = _Watchdog(cluster, client, site, slurm or Slurm(), patience)
        watchdog.start()
        try:
            yield client
        except BaseException as error:
            if watchdog.failure is not None:
                raise SchedulerError(watchdog.failure) from error
            raise
        finally:
            watchdog.stop()


@contextmanager
def _beside(site: Site) -> Iterator[Client]:
    from distributed import Client

    with (
        local_cluster(
            n_workers=site.ntasks, threads_per_worker=site.cpus_per_task, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def _slurm_cluster(site: Site) -> SLURMCluster:
    from dask_jobqueue.slurm import SLURMCluster

    processes = -(-site.ntasks // site.nodes)
    options: dict[str, Any] = {
        "queue": site.partition,
        "account": site.account,
        "cores": processes * site.cpus_per_task,
        "processes": processes,
        "memory": f"{site.mem}iB" if site.mem else f"{processes * _GIB_OF_A_WORKER}GiB",
        "walltime": site.walltime,
        "interface": site.interface,
        "death_timeout": 300,
        "log_directory": site.log_dir,
        "local_directory": site.scratch,
        "job_directives_skip": [] if site.mem else ["--mem"],
        "job_extra_directives": _directives(site),
        "job_script_prologue": [*surroundings(site), exported()],
        "worker_extra_args": ["--no-dashboard"],
        "scheduler_options": {"dashboard_address": None},
    }
    if site.container:
        options["python"] = f"{site.container} python"
    return SLURMCluster(**options)


def _directives(site: Site) -> list[str]:
    named = {
        "qos": site.qos,
        "constraint": site.constraint,
        "reservation": site.reservation,
        "gres": site.gres,
        "gpus-per-node": site.gpus,
    }
    return [f"--{name}={value}" for name, value in named.items() if value is not None] + [
        "--no-requeue",
        *site.extra_directives,
    ]


class _Watchdog(threading.Thread):
    """Replaces jobs that end before they connect; when too many do, closes the client: nothing hangs."""

    def __init__(
        self, cluster: SLURMCluster, client: Client, site: Site, slurm: Slurm, patience: float
    ) -> None:
        super().__init__(name="sciflow-watchdog", daemon=True)
        self.failure: str | None = None
        self._cluster, self._client, self._site, self._slurm = cluster, client, site, slurm
        self._patience = patience
        self._over = threading.Event()
        self._seen: set[str] = set()
        self._running_since: dict[str, float] = {}

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(5.0):
            try:
                self._look()
            except SchedulerError as error:
                _logger.warning("jobs were not looked at: %s", error)
            if self.failure is not None:
                self._client.close()  # type: ignore[no-untyped-call]
                return

    def _look(self) -> None:
        jobs = {job.identifier: job for job in self._slurm.jobs()}
        connected = {str(name).rsplit("-", 1)[0] for name in self._names()} | set(self._names())
        for name, worker in dict(self._cluster.workers).items():
            identifier = getattr(worker, "job_id", None)
            if identifier is None or str(name) in connected:
                continue
            job = jobs.get(identifier)
            if job is not None and not job.ended and not self._late(identifier, job.state):
                continue
            self._replace(name, identifier, job.state if job else "unknown")

    def _late(self, identifier: str, state: str) -> bool:
        if state != "RUNNING":
            return False
        since = self._running_since.setdefault(identifier, time.monotonic())
        return time.monotonic() - since > self._patience

    def _replace(self, name: Any, identifier: str, state: str) -> None:
        if identifier in self._seen:
            return
        self._seen.add(identifier)
        told = f"Slurm job {identifier} ended ({state}) before its Dask worker connected"
        if len(self._seen) >= 3 * self._site.nodes:
            self.failure = f"{told}, the {len(self._seen)}th one{self._last_words(identifier)}"
            return
        _logger.warning("%s; another is submitted", told)
        self._cluster.sync(self._cluster.scale_down, [name])  # type: ignore[no-untyped-call]

    def _names(self) -> list[str]:
        found: dict[str, dict[str, Any]] = self._cluster.scheduler_info["workers"]
        return [str(worker["id"]) for worker in found.values()]

    def _last_words(self, identifier: str) -> str:
        logs = sorted(Path(self._site.log_dir).glob(f"*-{identifier}.err"))
        if not logs:
            return ""
        text = logs[-1].read_bytes()[-_TAIL:].decode(errors="replace").strip()
        return f"; its log {logs[-1]} ends with:\n{text}"
