"""The compress flow: one large source, or many files, into stores; each task a call of a plain function."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from sciflow.flows.artifacts import (
    ProgressArtifact,
    add_metrics,
    page,
    pictures_of,
    table,
    write_prometheus,
)
from sciflow.flows.compression import Summary, compress_sources
from sciflow.flows.parameters import ClusterChoice, CompressSettings, RunSettings
from sciflow.flows.running import is_worth_another_try, run_name, surroundings

__all__ = ["compress"]


@task(
    name="compress",
    retries=2,
    retry_delay_seconds=exponential_backoff(10),
    retry_condition_fn=is_worth_another_try,
    cache_policy=NO_CACHE,  # what is done is in the manifest, and looked for in the store
    tags=["sciflow-compress"],
)
def _compress(
    source: str | list[str],
    store: str,
    bound: str | None,
    settings: CompressSettings,
    cluster: ClusterChoice,
    run: RunSettings,
) -> Summary:
    return compress_sources(
        source,
        store,
        bound=bound,
        settings=settings,
        cluster=cluster,
        run=run,
        advance=ProgressArtifact("compress-progress"),
    )


@task(name="report", cache_policy=NO_CACHE)
def _report(summary: Summary, title: str) -> None:
    create_table_artifact(table(summary.rows), key="compress-variables", description=title)
    create_markdown_artifact(page(summary, title), key="compress-report")


@task(name="pictures", cache_policy=NO_CACHE)
def _pictures(summary: Summary) -> None:
    for key, title, uri in pictures_of(summary):
        create_image_artifact(image_url=uri, key=key, description=title)


@task(name="metrics", cache_policy=NO_CACHE)
def _metrics(summary: Summary, run: RunSettings, name: str) -> None:
    if run.metrics:
        add_metrics(run.metrics, summary, run=name)
    if run.prometheus:
        write_prometheus(run.prometheus, summary, flow="compress")


@flow(name="compress")
def compress(
    source: str | list[str],
    store: str,
    bound: str | None = None,
    settings: CompressSettings = CompressSettings(),  # noqa: B008 - frozen
    cluster: ClusterChoice = ClusterChoice(),  # noqa: B008
    run: RunSettings = RunSettings(),  # noqa: B008
) -> dict[str, Any]:
    """Compress one source into a store, or many into a folder of stores, every value within its bound.

    The same flow with the same parameters goes on from where a run stopped, and does nothing where one has
    finished.

    Parameters
    ----------
    source : str or list of str
        A file, store or URL that xarray opens; or several, or a pattern with ``*``.
    store : str
        The Zarr store to make, or the folder of stores.
    bound : str, optional
        For every field, as in ``rel:1e-3``, ``abs:0.1``, ``psnr:70`` or ``ratio:20``.
    settings : CompressSettings
        How values are compressed.
    cluster : ClusterChoice
        Where the work runs.
    run : RunSettings
        What happens when something fails, and what the run leaves besides the store.

    Returns
    -------
    dict
        Counts, bytes, ratio, seconds.
    """
    with surroundings():
        seconds = run.stage_timeout
        summary = _compress.with_options(timeout_seconds=seconds)(
            source, store, bound, settings, cluster, run
        )
        if summary.rows or summary.failed:
            _report(summary, f"compress to {store}")
        if run.pictures and summary.rows:
            _pictures(summary)
        if run.metrics or run.prometheus:
            _metrics(summary, run, run_name())
        summary.check(run.allowed_failures)
        return summary.to_json()
