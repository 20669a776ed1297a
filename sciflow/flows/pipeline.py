"""The pipeline flow: simulate, compress, train, evaluate, report; each stage once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from sciflow.flows import pipeline_stages as stages
from sciflow.flows.pipeline_stages import PipelineSettings

__all__ = ["pipeline"]


@task(cache_policy=NO_CACHE)
def simulate(settings: PipelineSettings) -> dict[str, Any]:
    """Make the data set."""
    return stages.simulate(settings)


@task(cache_policy=NO_CACHE)
def compress_data(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Compress it on Dask's workers."""
    return stages.compress_data(settings, before)


@task(cache_policy=NO_CACHE)
def train_model(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Train on the store."""
    return stages.train_model(settings, before, say=get_run_logger().info)


@task(cache_policy=NO_CACHE)
def evaluate_model(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Compare with training on the data as they were."""
    return stages.evaluate_model(settings, before)


@task(cache_policy=NO_CACHE)
def report_store(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Check the store, and draw it."""
    return stages.report_store(settings, before)


@flow
def pipeline(settings: PipelineSettings) -> dict[str, Any]:
    """Simulate, compress, train, evaluate, report; stages that are done are not done again.

    Parameters
    ----------
    settings : PipelineSettings
        Of all stages.

    Returns
    -------
    dict
        Result of each stage, by its name.
    """
    results: dict[str, dict[str, Any]] = {"simulate": simulate(settings)}
    results["compress"] = compress_data(settings, results["simulate"])
    results["train"] = train_model(settings, results["compress"])
    results["evaluate"] = evaluate_model(settings, results["train"])
    results["report"] = report_store(settings, results["compress"])
    _publish(results)
    return results


def _publish(results: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        {"stage": name, "seconds": result["seconds"], "done now": result["repeated"]}
        for name, result in results.items()
    ]
    create_table_artifact(key="pipeline", table=rows, description="Stages of the pipeline.")
    create_markdown_artifact(key="ladder", markdown=Path(results["evaluate"]["report"]).read_text("utf-8"))
