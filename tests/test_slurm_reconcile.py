"""What follows when a run and its job disagree: the table of `sciflow.flows.slurm.reconcile`, row by row."""

from __future__ import annotations

from typing import Literal

import pytest

from sciflow.flows.slurm.commands import Job
from sciflow.flows.slurm.reconcile import PATIENCE, Step, decide, is_orphan

State = Literal["PENDING", "RUNNING", "CANCELLING"]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
@pytest.mark.parametrize("job", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED"])
def test_job_that_is_alive_is_left(state: State, job: str) -> None:
    assert decide(state, 1e6, Job("1", job), submitted="1").step is Step.leave


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
@pytest.mark.parametrize("job", ["CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "COMPLETED"])
def test_job_that_ended_crashes_its_run_in_slurms_words(state: State, job: str) -> None:
    found = decide(state, 0.0, Job("1", job, "NonZeroExitCode"), submitted="1")
    assert found.step is Step.crash
    assert f"1 ended: {job} (NonZeroExitCode)" in found.why


def test_job_that_is_forgotten_crashes_its_run() -> None:
    assert decide("RUNNING", 0.0, None, submitted="1").step is Step.crash


def test_run_without_a_job_is_waited_for() -> None:
    assert decide("PENDING", PATIENCE - 1, None, submitted=None).step is Step.leave
    assert decide("PENDING", PATIENCE + 1, None, submitted=None).step is Step.crash
    assert decide("RUNNING", PATIENCE + 1, None, submitted=None).step is Step.leave


def test_cancelling() -> None:
    assert decide("CANCELLING", 0.0, Job("1", "PENDING"), submitted="1").step is Step.cancel
    assert decide("CANCELLING", 1.0, Job("1", "RUNNING"), submitted="1", grace=9).step is Step.leave
    assert decide("CANCELLING", 10.0, Job("1", "RUNNING"), submitted="1", grace=9).step is Step.cancel
    assert decide("CANCELLING", 0.0, Job("1", "FAILED"), submitted="1").step is Step.cancelled
    assert decide("CANCELLING", 0.0, None, submitted=None).step is Step.cancelled


def test_orphans() -> None:
    running = Job("1", "RUNNING")
    assert is_orphan("COMPLETED", 181.0, running)
    assert is_orphan(None, float("inf"), running)
    assert not is_orphan("COMPLETED", 1.0, running)
    assert not is_orphan("RUNNING", 1e6, running)
    assert not is_orphan("SCHEDULED", 1e6, running)
    assert not is_orphan("COMPLETED", 181.0, Job("1", "COMPLETED"))
    assert not is_orphan("COMPLETED", 181.0, Job("1", "COMPLETING"))
