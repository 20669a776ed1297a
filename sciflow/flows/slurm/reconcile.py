"""What to do about a flow run and its job when the two disagree: pure decisions, no I/O.

| flow run | job | decision |
| --- | --- | --- |
| pending, running | waits, runs, was requeued | leave |
| pending, running | ended | crashed, in Slurm's words |
| pending, running | unknown to queue and accounting | crashed |
| pending | never had one, for five minutes | crashed |
| cancelling | waits | scancel, cancelled |
| cancelling | runs | leave: the flow stops itself; after its grace scancel, cancelled |
| cancelling | ended, unknown, never had one | cancelled |
| over, or deleted, for 3 minutes | waits, runs | scancel |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sciflow.flows.slurm.commands import Job

__all__ = ["PATIENCE", "Decision", "Step", "decide", "is_orphan"]

PATIENCE = 300.0
"""Seconds in which a pending run should have got a job."""

_LINGERING = 180.0
_STOPPING = 60.0


class Step(StrEnum):
    """What follows."""

    leave = "leave"
    crash = "crash"
    cancel = "cancel"
    cancelled = "cancelled"


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows, and why.

    Parameters
    ----------
    step : Step
        ``cancel``: cancel the job, then call the run cancelled.
    why : str
        For the run's state and log.
    """

    step: Step
    why: str = ""


def decide(
    state: Literal["PENDING", "RUNNING", "CANCELLING"],
    age: float,
    job: Job | None,
    *,
    submitted: str | None,
    grace: float = _STOPPING,
) -> Decision:
    """Return what follows for a run that is not over.

    Parameters
    ----------
    state : str
        Of the flow run, read after the job was.
    age : float
        Seconds that it has been in it.
    job : Job or None
        What Slurm knows; None if nothing.
    submitted : str or None
        Number of the job that was submitted for it; None if none was.
    grace : float
        Seconds that a running flow gets to stop itself.
    """
    if state == "CANCELLING":
        return _cancelling(age, job, grace)
    if job is not None:
        if not job.ended:
            return Decision(Step.leave)
        reason = "" if job.reason in ("", "None") else f" ({job.reason})"
        return Decision(Step.crash, f"Slurm job {job.identifier} ended: {job.state}{reason}")
    if submitted is not None:
        return Decision(
            Step.crash, f"Slurm job {submitted} is no longer known, in the queue or its accounting"
        )
    if state == "PENDING" and age > PATIENCE:
        return Decision(Step.crash, f"no Slurm job was submitted within {PATIENCE:g} s; run it again")
    return Decision(Step.leave)


def is_orphan(state: str | None, age: float, job: Job) -> bool:
    """Return whether a job works for a run that is over.

    Parameters
    ----------
    state : str or None
        Of the run; None: there is no such run.
    age : float
        Seconds that it has been in it.
    job : Job
        Of that run.
    """
    over = state is None or state in ("CANCELLED", "COMPLETED", "CRASHED", "FAILED")
    return over and age > _LINGERING and not job.ended and job.state != "COMPLETING"


def _cancelling(age: float, job: Job | None, grace: float) -> Decision:
    if job is None:
        return Decision(Step.cancelled, "cancelled before Slurm had a job of it")
    if job.ended:
        return Decision(Step.cancelled, f"cancelled; Slurm job {job.identifier} ended: {job.state}")
    if job.waiting:
        return Decision(Step.cancel, f"cancelled while Slurm job {job.identifier} waited")
    if age > grace:
        return Decision(Step.cancel, f"cancelled; Slurm job {job.identifier} did not stop in {grace:g} s")
    return Decision(Step.leave)
