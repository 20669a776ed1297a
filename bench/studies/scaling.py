"""Scaling: the time of a value, from small cubes to large ones cut from one field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from bench.child import cpus, pin
from bench.markdown import number, table
from bench.measure import timed
from bench.protocol import Task, load
from bench.study import Record, Setting
from bench.synthetic import cube

KEYS: tuple[str, ...] = ("codec", "size")
FOUND: tuple[str, ...] = ("comp_ns", "decomp_ns", "bits_per_value")
TIMED = True
LIMIT = 600.0

CODECS = ("sciflow-fast", "sciflow-quick", "sciflow", "sciflow-max", "pysz")
SIZES, QUICK_SIZES = (32, 64, 128, 256, 512), (32, 64)
LARGEST = {"sciflow-max": 256}
"""By codec, where the largest size would take minutes."""

BOUND = 1e-3
REPEATS, ROUNDS = 5, 3

T = TypeVar("T")


def tasks(setting: Setting) -> list[Record]:
    """Return each codec and size."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    cube(setting.cache, max(sizes))
    return [
        {"codec": codec, "size": size}
        for codec in CODECS
        for size in sizes
        if size <= LARGEST.get(codec, max(sizes))
    ]


def measure(task: Record, setting: Setting) -> Record:
    """Return nanoseconds of CPU a value, each way, at one absolute bound for all sizes."""
    pin(cpus()[-1])
    whole = cube(setting.cache, max(QUICK_SIZES if setting.quick else SIZES))
    few = whole[::8, ::8, ::8]
    start = (whole.shape[0] - task["size"]) // 2
    part = slice(start, start + task["size"])
    field = np.ascontiguousarray(whole[part, part, part])
    work = Task(field.shape, field.dtype.name, BOUND * float(few.max() - few.min()))
    stream, encoding = _least(lambda: load(task["codec"]).encode(field, work))
    _, decoding = _least(lambda: load(task["codec"]).decode(stream, work))
    return {
        "comp_ns": 1e9 * encoding / field.size,
        "decomp_ns": 1e9 * decoding / field.size,
        "bits_per_value": 8 * len(stream) / field.size,
    }


def _least(call: Callable[[], T]) -> tuple[T, float]:
    """Return what ``call`` returns, and the least of `ROUNDS` medians of its seconds of CPU.

    A virtual machine may be slow to hand over memory that no program has touched yet, for seconds.
    """
    result, timing = timed(call, REPEATS, warm=False)
    least = timing.cpu
    for _ in range(ROUNDS - 1):
        del result
        result, timing = timed(call, REPEATS, warm=False)
        least = min(least, timing.cpu)
    return result, least


def section(rows: Sequence[Record]) -> str:
    """Return nanoseconds a value by size, and how far the sizes lie apart."""
    found = {(row["codec"], int(row["size"])): row for row in rows if row["comp_ns"]}
    sizes = sorted({int(row["size"]) for row in rows})
    parts = [
        "Nanoseconds of CPU a value, by the side of a cube cut from one Gaussian field, float32, at one "
        f"absolute bound (rel\n{BOUND:g} of the whole); then the slowest over the fastest from 64^3 on.\n"
    ]
    for direction, column in (("compress", "comp_ns"), ("decompress", "decomp_ns")):
        lines = []
        for codec in dict.fromkeys(row["codec"] for row in rows):
            times = [float(found.get((codec, size), {}).get(column, math.nan)) for size in sizes]
            counted = [t for t, size in zip(times, sizes, strict=True) if size >= 64 and not math.isnan(t)]
            spread = max(counted) / min(counted) if counted else math.nan
            lines.append([codec, *(number(t, 2) for t in times), number(spread, 2)])
        parts.append(table([direction, *(f"{size}^3" for size in sizes), "spread"], lines))
    return "\n".join(parts)
