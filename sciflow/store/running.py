"""Running many chunk tasks: on Dask's threads, or on a local cluster of processes where asked."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import dask.base
import dask.config
import dask.system
import numpy as np
import xarray as xr
import zarr
from dask.callbacks import Callback
from dask.delayed import Delayed

from sciflow.errors import InvalidArgument
from sciflow.store.allocation import local_cluster

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["ClusterRunner", "Runner", "as_blocks", "open_runner", "progress_bar"]

Advance = Callable[[Any], None]


class Runner(Protocol):
    """Computes tasks."""

    def __call__(self, tasks: Sequence[Delayed], advance: Advance | None = None, /) -> list[Any]:
        """Return the results in the order of the tasks; `advance` sees each as soon as it is there."""


@contextmanager
def open_runner(workers: int | None) -> Iterator[Runner]:
    """Give what runs the tasks, and close it.

    Parameters
    ----------
    workers : int, optional
        Processes of a Dask LocalCluster of their own. None uses the scheduler that is set in Dask: threads,
        unless the caller has made a `distributed.Client` or chosen another.

    Raises
    ------
    InvalidArgument
        If it is not above 0.
    """
    if workers is None:
        threads = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
        # Q: why narrow the pool of Zarr? A: each of its threads keeps scratch of the engine, some 5 chunks.
        with zarr.config.set({"threading.max_workers": zarr.config.get("threading.max_workers") or threads}):
            yield _run_here
        return
    if isinstance(workers, bool) or workers < 1:
        raise InvalidArgument(f"workers={workers!r}: expected a whole number above 0")
    from distributed import Client

    with _local_cluster(workers) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield ClusterRunner(client)


def as_blocks(variable: xr.Variable, chunks: Sequence[int]) -> list[tuple[tuple[int, ...], Delayed]]:
    """Cut a variable into lazy blocks, each with its index in the grid of chunks; none of an empty one.

    Parameters
    ----------
    variable : Variable
        Any data: lazy blocks are read, or computed, one by one.
    chunks : sequence of int
        Shape of a block; those at the edge are smaller.
    """
    if variable.size == 0:
        return []
    # Q: why a name? A: without one Dask hashes all the data to find one.
    lazy = variable.chunk(dict(zip(variable.dims, chunks, strict=True)), name=f"sciflow-{uuid4().hex}")
    grid = lazy.data.to_delayed()
    return [(index, grid[index]) for index in np.ndindex(grid.shape)]


@contextmanager
def progress_bar(title: str, total: int, *, show: bool | None) -> Iterator[Callable[[int], None]]:
    """Give a function that advances a bar on standard error by so many bytes.

    Parameters
    ----------
    title : str
        What is under way.
    total : int
        Bytes.
    show : bool, optional
        By default where standard error is a terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    disable = not (console.is_terminal if show is None else show)
    with Progress(*columns, console=console, transient=True, disable=disable) as progress:
        bar = progress.add_task(title, total=total)
        yield lambda nbytes: progress.advance(bar, nbytes)


def _local_cluster(workers: int) -> LocalCluster:
    with _ignored_interrupts():
        return local_cluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},  # any free port: another cluster may be at work
            silence_logs=logging.CRITICAL,
        )


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Processes that are started meanwhile leave Ctrl-C to this one, which tells them to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_here(tasks: Sequence[Delayed], advance: Advance | None = None, /) -> list[Any]:
    if not tasks:
        return []
    keys = {task.key for task in tasks}
    with _Posttask(lambda key, value: advance(value) if advance and key in keys else None):
        return list(dask.base.compute(*tasks))  # type: ignore[no-untyped-call]


class _Posttask(Callback):
    """Sees the result of every task of Dask's local schedulers."""

    def __init__(self, see: Callable[[Any, Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._see = see

    def _posttask(self, key: Any, value: Any, _graph: Any, _state: Any, _worker: Any) -> None:
        self._see(key, value)


class ClusterRunner:
    """Computes tasks on a cluster that is there.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, tasks: Sequence[Delayed], advance: Advance | None = None, /) -> list[Any]:
        """Return the results in the order of the tasks."""
        from distributed import as_completed

        if not tasks:
            return []
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            futures = self._client.compute(list(tasks))  # type: ignore[no-untyped-call]
        for _, value in as_completed(futures, with_results=True):  # type: ignore[no-untyped-call]
            if advance:
                advance(value)
        return [future.result() for future in futures]
