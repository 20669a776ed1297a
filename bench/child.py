"""A process of its own for a measurement: what crashes, hangs or prints there takes nothing down with it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLOSC_NTHREADS", "RAYON_NUM_THREADS"), "1"
)


class Interrupted(Exception):
    """The child was interrupted from the keyboard, and so are we."""


def spawn(module: str, request: str, limit: float) -> str:
    """Run ``python -m module`` with ``request`` on its standard input; return how it ended, empty if well.

    Parameters
    ----------
    module : str
    request : str
        Given to the child on its standard input.
    limit : float
        Seconds after which it is ended.

    Raises
    ------
    Interrupted
        It ended by SIGINT.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-m", module],
            input=request,
            text=True,
            capture_output=True,
            timeout=limit,
            check=False,
            env={**os.environ, **ONE_THREAD},
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        return f"time-out after {limit:g} s"
    if child.returncode == -signal.SIGINT:
        raise Interrupted
    if child.returncode < 0:
        return f"crashed ({signal.Signals(-child.returncode).name})"
    if child.returncode == 0:
        return ""
    last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
    return f"error: {last[0][:120]}"


def cpus() -> list[int]:
    """Return the CPUs that this process may use; one of no meaning where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def pin(cpu: int) -> None:
    """Keep this process on ``cpu`` where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})


def one_a_cpu(items: Sequence[Item], call: Callable[[Item, int], Result]) -> Iterator[tuple[Item, Result]]:
    """Yield each item and what ``call`` of it and a CPU returns, as they come; no CPU has two at a time."""
    places = cpus()
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in places:
        free.put(place)

    def on_a_free_one(item: Item) -> Result:
        cpu = free.get()
        try:
            return call(item, cpu)
        finally:
            free.put(cpu)

    pool = ThreadPoolExecutor(len(places))
    try:
        running = {pool.submit(on_a_free_one, item): item for item in items}
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)
