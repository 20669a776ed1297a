"""Flows that tests deploy. Each step writes one file whole, and a line into a ledger whenever it writes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow, task

from sciflow.flows.slurm.progress import made_progress


def step(folder: str, index: int, seconds: float) -> int:
    """Write one file, unless it is there; return 1 if it was written."""
    target = Path(folder) / f"{index:03}.txt"
    if target.exists():
        return 0
    time.sleep(seconds)
    part = target.with_suffix(f".{os.getpid()}.part")
    part.write_text(str(index))
    with (Path(folder) / "ledger").open("a") as ledger:
        ledger.write(f"{index}\n")
    part.rename(target)
    made_progress(f"step {index}")
    return 1


@task
def all_steps(folder: str, count: int, seconds: float) -> int:
    return sum(step(folder, index, seconds) for index in range(count))


@flow
def steps(folder: str, count: int = 10, seconds: float = 0.2) -> int:
    """So many files, one after the other."""
    return all_steps(folder, count, seconds)


@flow
def dask_steps(folder: str, count: int = 10, seconds: float = 0.2) -> int:
    """So many files, by Dask's workers."""
    from sciflow.flows.slurm.cluster import dask_client

    with dask_client(patience=120) as client:
        futures = client.map(step, [folder] * count, range(count), [seconds] * count, pure=False, retries=3)
        return sum(client.gather(futures))  # type: ignore[no-untyped-call]
