"""Dask for a flow: the cluster that a `ClusterChoice` names, for as long as it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sciflow.errors import InvalidArgument, StoreError
from sciflow.flows.engine import DaskEngine, Engine, Policy, SerialEngine
from sciflow.flows.parameters import ClusterChoice
from sciflow.store.allocation import local_cluster

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["connect", "open_engine"]


@contextmanager
def open_engine(cluster: ClusterChoice, policy: Policy) -> Iterator[Engine]:
    """Give what runs calls, and close the cluster behind it.

    Parameters
    ----------
    cluster : ClusterChoice
        Where.
    policy : Policy
        What happens when a call fails.
    """
    if cluster.kind == "serial":
        yield SerialEngine(policy)
        return
    with connect(cluster, patience=policy.patience) as client:
        yield DaskEngine(client, policy)


@contextmanager
def connect(cluster: ClusterChoice, *, patience: float = 900.0) -> Iterator[Client]:
    """Give a Client of the cluster, with what workers log forwarded to this process' loggers.

    What was started is closed on the way out, however that comes; a scheduler that ran before goes on.

    Parameters
    ----------
    cluster : ClusterChoice
        Any but "serial", which has no cluster.
    patience : float
        Seconds until a scheduler that runs must answer.

    Raises
    ------
    InvalidArgument
        If it is "serial".
    StoreError
        If the scheduler does not answer.
    """
    made = {"local": _local, "scheduler": _scheduler, "slurm": _slurm}.get(cluster.kind)
    if made is None:
        raise InvalidArgument(f"cluster {cluster.kind!r} has no client; choose local, scheduler or slurm")
    with made(cluster, patience) as client:
        client.forward_logging("sciflow", level=logging.WARNING)  # type: ignore[no-untyped-call]
        yield client


@contextmanager
def _local(cluster: ClusterChoice, patience: float) -> Iterator[Client]:
    del patience
    from distributed import Client

    options = {"memory_limit": cluster.memory} if cluster.memory else {}
    with (
        local_cluster(
            n_workers=cluster.workers or os.cpu_count(),
            threads_per_worker=cluster.threads,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            **options,
        ) as made,
        Client(made) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


@contextmanager
def _scheduler(cluster: ClusterChoice, patience: float) -> Iterator[Client]:
    from distributed import Client

    file = cluster.scheduler_file or os.environ.get("SCIFLOW_SCHEDULER_FILE")
    place = {"address": cluster.address} if cluster.address else {"scheduler_file": file}
    try:
        client = Client(**place, timeout=min(patience, 60.0))  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        raise StoreError(
            f"{cluster.address or file}: no Dask scheduler answers there; is it running?"
        ) from error
    with client:
        yield client


@contextmanager
def _slurm(cluster: ClusterChoice, patience: float) -> Iterator[Client]:
    from sciflow.flows.slurm.cluster import dask_client, site_of_job
    from sciflow.flows.slurm.site import load_site

    site = load_site(cluster.site) if cluster.site else site_of_job()
    with dask_client(site, patience=patience) as client:
        yield client
