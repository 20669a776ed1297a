"""One measurement: a reader on cold or slow storage, for some seconds or epochs."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.loader.files import paths_of
from bench.loader.readers import Reader

__all__ = ["Cache", "Row", "measured"]

EPOCHS = 2.0
"""Of the steady state, unless the seconds are over before."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV.

    Parameters
    ----------
    part, shape, reader : str
        "cold" or the emulated storage; how samples are stored; who reads.
    round : int
        Readers of a round ran one after the other; ratios are taken within rounds.
    mbs : float
        Delivered 10^6 bytes a second in the steady state: after the first batch of a DataLoader, after the
        first epoch of SolarLoader.
    whole_mbs : float
        The same from the start of the loader on.
    cpu : float
        Seconds of all cores for 10^9 delivered bytes, workers included, from the start on.
    first_s : float
        Seconds to the first batch, plan and opening of the file included.
    ops, bytes, decodes : float
        Operations, bytes read and chunks decoded for each delivered sample, byte and sample, from the start
        on; NaN where nobody counts.
    delivered : float
        10^6 bytes in all.
    """

    part: str
    shape: str
    reader: str
    round: int
    mbs: float
    whole_mbs: float
    cpu: float
    first_s: float
    ops: float
    bytes: float
    decodes: float
    delivered: float


class Cache:
    """The page cache of some files, which can be dropped; clean pages only.

    Parameters
    ----------
    path : Path
        A file, or a folder of files.
    cold : bool
        Whether `drop` drops; a file on emulated storage stays warm.
    """

    def __init__(self, path: Path, cold: bool) -> None:
        self._files = [os.open(each, os.O_RDONLY) for each in paths_of(path)] if cold else []

    def drop(self) -> None:
        for each in self._files:
            os.posix_fadvise(each, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        for each in self._files:
            os.close(each)


def measured(
    labels: tuple[str, str, str, int], reader: Reader, path: Path, *, cold: bool, seconds: float, size: int
) -> Row:
    """Run a reader; the cache is dropped before every batch, or a file would stay in memory.

    Parameters
    ----------
    labels : tuple
        Part, shape, reader and round.
    reader : callable
        Starts it.
    path : Path
        What it reads.
    cold : bool
        Whether to drop.
    seconds : float
        Steady state to measure at most; a first epoch comes on top.
    size : int
        Bytes of an epoch.

    Returns
    -------
    Row
    """
    cache = Cache(path, cold)
    cache.drop()
    cpu, start = _cpu(), time.perf_counter()
    running = reader()
    count = delivered = steady = 0
    first = begin = 0.0
    rows = 1
    for batch in running.batches:
        now = time.perf_counter()
        count, delivered, rows = count + 1, delivered + batch.nbytes, len(batch)
        if count == 1:
            first = now - start
        if count == running.skip:
            begin, steady = now, delivered
        elif count > running.skip and (now - begin > seconds or delivered - steady >= EPOCHS * size):
            break
        cache.drop()
    stop = time.perf_counter()
    counters = np.array(running.counters(), float)
    running.close()
    spent = _cpu() - cpu
    cache.close()
    samples = count * rows
    return Row(
        *labels,
        mbs=(delivered - steady) / (stop - begin) / 1e6,
        whole_mbs=delivered / (stop - start) / 1e6,
        cpu=spent / delivered * 1e9,
        first_s=first,
        ops=float(counters[0] / samples),
        bytes=float(counters[1] / delivered),
        decodes=float(counters[2] / samples),
        delivered=delivered / 1e6,
    )


def _cpu() -> float:
    found = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)
