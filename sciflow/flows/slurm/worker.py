"""A Prefect worker that runs each flow run as one Slurm job, and keeps the two in step.

    prefect worker start --pool hpc --type sciflow-slurm

It needs ``sbatch``, ``squeue``, ``scontrol`` and ``scancel`` and no service of the site's. Workers may be
stopped, started and several: what they know is in Prefect, and in Slurm (a job's comment names pool and run).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.to_thread
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import InfrastructureNotFound
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field

from sciflow.flows.slurm.commands import Job, Slurm
from sciflow.flows.slurm.reconcile import Decision, Step, decide, is_orphan
from sciflow.flows.slurm.script import for_flow, job_name, sbatch_script
from sciflow.flows.slurm.site import Resources, Site

if TYPE_CHECKING:
    import anyio.abc

__all__ = ["SlurmJobConfiguration", "SlurmResult", "SlurmVariables", "SlurmWorker", "base_job_template"]

_POLL_SECONDS = 10.0
_PAGE = 200
_TAIL = 2000
_OPEN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


class _Job(Resources):
    working_dir: str | None = Field(default=None, description="Where the job starts; the worker's folder.")


class SlurmVariables(BaseVariables, _Job):
    """What a deployment or a run may set: the keys of ``slurm.toml``."""


class SlurmJobConfiguration(BaseJobConfiguration, _Job):
    """One job: the site's resources and the command of a flow run."""

    def script(self, comment: str | None = None) -> str:
        """Return the job's sbatch script.

        Parameters
        ----------
        comment : str, optional
            By which the job is found again.
        """
        site = self.site()
        python = "python" if site.container else sys.executable
        return sbatch_script(
            for_flow(site),
            self.command or f"{shlex.quote(python)} -m prefect flow-run execute",
            name=self.name or "sciflow",
            comment=comment,
            dask=site.mode == "alloc",
            python=python,
        )

    @staticmethod
    def _base_flow_run_command() -> str:
        return ""  # the interpreter depends on the container


class SlurmResult(BaseWorkerResult):
    """The job's number, and 0 unless it ended badly."""


class SlurmWorker(BaseWorker[SlurmJobConfiguration, SlurmVariables, SlurmResult]):
    """Submits flow runs as Slurm jobs; see the module."""

    type = "sciflow-slurm"
    job_configuration = SlurmJobConfiguration
    job_configuration_variables = SlurmVariables
    _description = "Run each flow run as one Slurm job: requeued on preemption, cancelled both ways."
    _display_name = "Slurm (sciflow)"

    slurm = Slurm()

    async def setup(self) -> None:
        """Start, and watch jobs and runs until `teardown`."""
        await super().setup()
        self._over: dict[str, anyio.Event] = {}
        self._watching = anyio.CancelScope()
        assert self._runs_task_group is not None
        self._runs_task_group.start_soon(self._watch)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop watching; jobs go on, and the next worker takes them over."""
        self._watching.cancel()
        for event in self._over.values():
            event.set()
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: SlurmJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> SlurmResult:
        """Submit a run's job, unless it has one, and wait until it is over or this worker stops.

        Parameters
        ----------
        flow_run : FlowRun
            To run.
        configuration : SlurmJobConfiguration
            Its job.
        task_status : TaskStatus, optional
            Told the job's number.
        """
        comment = self._comment(flow_run.id)
        job = await self._found(comment)
        identifier = job.identifier if job else await self._submit(configuration, comment)
        log = (
            Path(configuration.log_dir).resolve()
            / f"{job_name(configuration.name or 'sciflow')}-{identifier}.log"
        )
        self.get_flow_run_logger(flow_run).info(
            "Slurm job %s %s; log: %s", identifier, "taken over" if job else "submitted", log
        )
        if task_status is not None:
            task_status.started(identifier)
        await self._over.setdefault(identifier, anyio.Event()).wait()
        self._over.pop(identifier, None)
        return SlurmResult(identifier=identifier, status_code=0)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: SlurmJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """Cancel the job of a run that is cancelled before it starts.

        Raises
        ------
        InfrastructureNotFound
            If Slurm has no such job any more.
        """
        if not await anyio.to_thread.run_sync(self.slurm.cancel, infrastructure_pid):
            raise InfrastructureNotFound(f"Slurm job {infrastructure_pid} is over")

    async def reconcile(self) -> None:
        """Bring runs and jobs in step once: first ask Slurm, then Prefect.

        In this order a job that is seen to have ended can report no more when its run is read.

        Raises
        ------
        SchedulerError
            If Slurm does not answer.
        """
        jobs = await anyio.to_thread.run_sync(self.slurm.jobs)
        ours = self._by_run(jobs)
        runs = await self._open_runs()
        for flow_run in runs:
            job = await self._job_of(flow_run, ours, jobs)
            await self._settle(flow_run, job)
        await self._end_orphans(ours, {flow_run.id for flow_run in runs})
        alive = {job.identifier for job in jobs if not job.ended}
        for identifier, event in self._over.items():
            if identifier not in alive:
                event.set()

    async def _watch(self) -> None:
        pause = float(os.environ.get("SCIFLOW_SLURM_POLL_SECONDS", _POLL_SECONDS))
        with self._watching:
            while True:
                await anyio.sleep(pause)
                if self._work_pool is None:
                    continue
                try:
                    await self.reconcile()
                except Exception as error:  # noqa: BLE001, the server or Slurm is down: ask again
                    self._logger.warning(
                        "Runs and jobs were not compared: %s: %s", type(error).__name__, error
                    )

    async def _submit(self, configuration: SlurmJobConfiguration, comment: str) -> str:
        await anyio.to_thread.run_sync(
            partial(Path(configuration.log_dir).mkdir, parents=True, exist_ok=True)
        )
        return await anyio.to_thread.run_sync(
            partial(
                self.slurm.submit,
                configuration.script(comment),
                comment=comment,
                environment=_environment(configuration),
                folder=configuration.working_dir,
            )
        )

    async def _found(self, comment: str) -> Job | None:
        jobs = await anyio.to_thread.run_sync(self.slurm.jobs)
        return next((job for job in jobs if job.comment == comment and not job.ended), None)

    def _comment(self, run: UUID) -> str:
        return f"sciflow:{self.work_pool.id}:{run}"

    def _by_run(self, jobs: Iterable[Job]) -> dict[UUID, Job]:
        """The last job of each run of this pool; one that is not over goes before."""
        prefix = f"sciflow:{self.work_pool.id}:"
        found: dict[UUID, Job] = {}
        for job in sorted(jobs, key=lambda job: (not job.ended, int(job.identifier.split("_")[0]))):
            if job.comment.startswith(prefix):
                found[UUID(job.comment.removeprefix(prefix))] = job
        return found

    async def _open_runs(self) -> list[FlowRun]:
        states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN)))
        pool = WorkPoolFilter(id=WorkPoolFilterId(any_=[self.work_pool.id]))
        found: list[FlowRun] = []
        while True:
            page = await self.client.read_flow_runs(
                flow_run_filter=states, work_pool_filter=pool, limit=_PAGE, offset=len(found)
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def _job_of(self, flow_run: FlowRun, ours: dict[UUID, Job], jobs: list[Job]) -> Job | None:
        if flow_run.id in ours:
            return ours[flow_run.id]
        number = flow_run.infrastructure_pid
        if number is None:
            return None
        known = next((job for job in jobs if job.identifier == number), None)
        return known or await anyio.to_thread.run_sync(self.slurm.job, number)

    async def _settle(self, flow_run: FlowRun, job: Job | None) -> None:
        if flow_run.state is None or flow_run.id in self._submitting_flow_run_ids:
            return
        age = (datetime.now(UTC) - flow_run.state.timestamp).total_seconds()
        decision = decide(flow_run.state.type.value, age, job, submitted=flow_run.infrastructure_pid)  # type: ignore[arg-type]
        if decision.step is Step.leave:
            return
        if decision.step is Step.crash:
            await self._propose_crashed_state(flow_run, decision.why + self._last_words(flow_run, job))
            return
        await self._end_cancelled(flow_run, job, decision)

    async def _end_cancelled(self, flow_run: FlowRun, job: Job | None, decision: Decision) -> None:
        if decision.step is Step.cancel and job is not None:
            await anyio.to_thread.run_sync(self.slurm.cancel, job.identifier)
        await self._mark_flow_run_as_cancelled(flow_run, state_updates={"message": decision.why})
        self.get_flow_run_logger(flow_run).info(decision.why)

    async def _end_orphans(self, ours: dict[UUID, Job], known: set[UUID]) -> None:
        suspects = {run: job for run, job in ours.items() if run not in known and not job.ended}
        if not suspects:
            return
        some = FlowRunFilter(id=FlowRunFilterId(any_=list(suspects)))
        runs = {run.id: run for run in await self.client.read_flow_runs(flow_run_filter=some)}
        for run, job in suspects.items():
            state = runs[run].state if run in runs else None
            age = (datetime.now(UTC) - state.timestamp).total_seconds() if state else float("inf")
            if is_orphan(state.type.value if state else None, age, job):
                await anyio.to_thread.run_sync(self.slurm.cancel, job.identifier)
                said = state.name if state else "deleted"
                self._logger.warning("Slurm job %s of run %s cancelled: it is %s", job.identifier, run, said)

    def _last_words(self, flow_run: FlowRun, job: Job | None) -> str:
        if job is None:
            return ""
        variables = {**_defaults(self.work_pool.base_job_template), **(flow_run.job_variables or {})}
        logs = sorted(Path(variables.get("log_dir") or "slurm-logs").glob(f"*-{job.identifier}.log"))
        if not logs:
            return ""
        text = logs[-1].read_bytes()[-_TAIL:].decode(errors="replace").strip()
        return f"; its log {logs[-1]} ends with:\n{text}"


def base_job_template(site: Site) -> dict[str, Any]:
    """Return the template of a work pool whose defaults are a site's.

    Parameters
    ----------
    site : Site
        As `sciflow.flows.slurm.site.load_site` reads it.
    """
    template = SlurmWorker.get_default_base_job_template()
    for name, value in site.model_dump(mode="json").items():
        template["variables"]["properties"][name]["default"] = value
    return template


def _defaults(template: dict[str, Any]) -> dict[str, Any]:
    properties = template.get("variables", {}).get("properties", {})
    return {name: about["default"] for name, about in properties.items() if "default" in about}


def _environment(configuration: SlurmJobConfiguration) -> dict[str, str]:
    """Of the job, outside its script: addresses and keys of the API must not be read in it."""
    folder = Path(configuration.log_dir).resolve()
    return {
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "results"),
        **{name: value for name, value in os.environ.items() if name.startswith("PREFECT_RESULTS_")},
        **{name: value for name, value in configuration.env.items() if value is not None},
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "relinquish",
        "SCIFLOW_SITE": json.dumps(configuration.site().model_dump(mode="json")),
    }
