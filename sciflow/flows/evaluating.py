"""The evaluate flow: a store against its original, value by value."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from sciflow.errors import InvalidArgument
from sciflow.flows.artifacts import add_metrics, page, pictures_of, table, write_prometheus
from sciflow.flows.compression import Summary
from sciflow.flows.ladder import LadderSettings, climb
from sciflow.flows.parameters import ClusterChoice, RunSettings
from sciflow.flows.running import is_worth_another_try, run_name, surroundings
from sciflow.flows.verification import check_promises, pairs_of, verify_stores

__all__ = ["evaluate"]


@task(
    name="verify",
    retries=2,
    retry_delay_seconds=exponential_backoff(10),
    retry_condition_fn=is_worth_another_try,
    cache_policy=NO_CACHE,
    tags=["sciflow-evaluate"],
)
def _verify(pairs: list[tuple[str, str]], cluster: ClusterChoice, run: RunSettings) -> Summary:
    return verify_stores(pairs, cluster=cluster, run=run)


@task(name="report", cache_policy=NO_CACHE)
def _report(summary: Summary, title: str) -> None:
    create_table_artifact(table(summary.rows), key="evaluate-variables", description=title)
    create_markdown_artifact(page(summary, title), key="evaluate-report")


@task(name="pictures", cache_policy=NO_CACHE)
def _pictures(summary: Summary) -> None:
    for key, title, uri in pictures_of(summary):
        create_image_artifact(image_url=uri, key=key, description=title)


@task(name="metrics", cache_policy=NO_CACHE)
def _metrics(summary: Summary, run: RunSettings, name: str) -> None:
    if run.metrics:
        add_metrics(run.metrics, summary, run=name)
    if run.prometheus:
        write_prometheus(run.prometheus, summary, flow="evaluate")


@task(name="ladder", cache_policy=NO_CACHE, tags=["sciflow-evaluate"])
def _ladder(settings: LadderSettings) -> dict[str, Any]:
    told, markdown = climb(settings)
    create_markdown_artifact(markdown, key="evaluate-ladder")
    return told


@flow(name="evaluate")
def evaluate(
    original: str | list[str] | None = None,
    store: str | None = None,
    cluster: ClusterChoice = ClusterChoice(),  # noqa: B008 - frozen
    run: RunSettings = RunSettings(),  # noqa: B008
    ladder: LadderSettings | None = None,
) -> dict[str, Any]:
    """Compare every value of stores with their originals; the flow fails where a promise does not hold.

    With `ladder` it also, or only, asks what compression does to a surrogate that is trained on it.

    Parameters
    ----------
    original : str or list of str, optional
        What was compressed: a file, several, or a pattern with ``*``.
    store : str, optional
        The store, or the folder of stores, that the compress flow made.
    cluster : ClusterChoice
        Where the work runs.
    run : RunSettings
        What happens when something fails, and what the run leaves.
    ladder : LadderSettings, optional
        A training run, and bounds to try.

    Returns
    -------
    dict
        Counts, bytes, ratio, seconds; under ``ladder`` where its report is.

    Raises
    ------
    InvalidArgument
        If there is nothing to do: neither `original` and `store` nor `ladder`.
    """
    if (original is None) != (store is None) or (original is None and ladder is None):
        raise InvalidArgument("evaluate: expected original and store, ladder, or all three")
    with surroundings():
        climbed = {} if ladder is None else {"ladder": _ladder(ladder)}
        if original is None or store is None:
            return climbed
        pairs = pairs_of(original, store)
        summary = _verify.with_options(timeout_seconds=run.stage_timeout)(pairs, cluster, run)
        _report(summary, f"evaluate {store}")
        if run.pictures:
            _pictures(summary)
        if run.metrics or run.prometheus:
            _metrics(summary, run, run_name())
        check_promises(summary, run.allowed_failures)
        return summary.to_json() | climbed
