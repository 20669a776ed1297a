"""The work of the evaluate flow, without Prefect: stores against originals, one a worker at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import dask.config

from sciflow import store as stores
from sciflow.errors import BoundViolated
from sciflow.flows.clusters import open_engine
from sciflow.flows.compression import Summary, is_one_store, sources_of
from sciflow.flows.engine import Trouble
from sciflow.flows.many_files import stores_of
from sciflow.flows.parameters import ClusterChoice, RunSettings

__all__ = ["check_promises", "pairs_of", "verify_pair", "verify_stores"]


def pairs_of(original: str | Sequence[str], store: str) -> list[tuple[str, str]]:
    """Each original with its store, named as the compress flow names them."""
    if is_one_store(original):
        assert isinstance(original, str)
        return [(original, store)]
    return list(stores_of(sources_of(original), store).items())


def verify_stores(pairs: Sequence[tuple[str, str]], *, cluster: ClusterChoice, run: RunSettings) -> Summary:
    """Compare stores with their originals; one that cannot be read does not stop the others.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Original and store.
    cluster : ClusterChoice
        Where.
    run : RunSettings
        What happens when one fails.
    """
    started = time.perf_counter()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    failed: dict[str, str] = {}
    with open_engine(cluster, run.policy()) as engine:
        for batch in engine.run(verify_pair, pairs):
            for pair, told in batch:
                if isinstance(told, Trouble):
                    failed[pair[0]] = str(told)
                else:
                    found[pair] = told
    rows = [
        {"source": pair[0], "store": pair[1]} | row
        for pair in pairs
        if pair in found
        for row in found[pair]["variables"]
    ]
    return Summary(
        stores=tuple(pair for pair in pairs if pair in found),
        rows=tuple(rows),
        failed=dict(sorted(failed.items())),
        pieces=len(pairs),
        written=0,
        bytes_in=sum(told["bytes_in"] for told in found.values()),
        bytes_out=sum(told["store_bytes"] for told in found.values()),
        seconds=time.perf_counter() - started,
    )


def verify_pair(pair: tuple[str, str]) -> dict[str, Any]:
    """Compare one store with its original in this process: ``Report.to_json`` of `sciflow.verify`."""
    with dask.config.set(scheduler="synchronous"):  # a worker is one process of many
        told: dict[str, Any] = json.loads(stores.verify(*pair, progress=False).to_json())
    return told


def check_promises(summary: Summary, allowed: int) -> None:
    """Fail where a promise does not hold, or more stores than allowed could not be looked at.

    Raises
    ------
    BoundViolated
        Naming the first.
    StoreError
        As `Summary.check`.
    """
    broken = [(row, problem) for row in summary.rows for problem in row["problems"]]
    if broken:
        row, problem = broken[0]
        raise BoundViolated(
            f"{row['store']}: {row['variable']}: {problem} ({len(broken)} in all); compress it again, and "
            "report it if that does not help"
        )
    summary.check(allowed)
