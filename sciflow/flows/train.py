"""The train flow: a surrogate, a sweep of them, or a model of the codec; here or as Slurm jobs."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from sciflow.flows.training import TrainSettings, cancel_training, run_training

__all__ = ["train"]


@task(cache_policy=NO_CACHE)
def train_models(settings: TrainSettings) -> list[dict[str, Any]]:
    """Train, and tell what became of each run."""
    return run_training(settings, say=get_run_logger().info)


def _end_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:  # noqa: ARG001
    settings = TrainSettings.model_validate(flow_run.parameters["settings"])
    if settings.site is not None:
        cancelled = cancel_training(settings)
        logging.getLogger(__name__).info("cancelled Slurm jobs %s", ", ".join(cancelled) or "none")


@flow(on_cancellation=[_end_jobs])
def train(settings: TrainSettings) -> list[dict[str, Any]]:
    """Train, where `settings` say; run again, it goes on from the last checkpoint.

    Parameters
    ----------
    settings : TrainSettings
        What to train, and where.

    Returns
    -------
    list of dict
        ``out``, ``epoch``, ``validation`` of each run.
    """
    results = train_models(settings)
    create_table_artifact(key="training", table=results, description="Best validation loss of each run.")
    return results
