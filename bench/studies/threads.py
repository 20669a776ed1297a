"""Threads: what a second one gains within one call, by the size of the array."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.markdown import number, table
from bench.measure import timed
from bench.study import Record, Setting
from bench.synthetic import cube
from sciflow.bounds import Bound
from sciflow.codecs import sz

KEYS: tuple[str, ...] = ("level", "megabytes", "threads")
FOUND: tuple[str, ...] = ("comp_mbs", "decomp_mbs", "bytes")
TIMED = True
LIMIT = 300.0

Level = Literal["fast", "quick", "balanced", "max"]
LEVELS: tuple[Level, ...] = ("fast", "quick", "balanced", "max")
SHAPES = {8: (128, 128, 128), 16: (128, 128, 256), 32: (128, 256, 256), 64: (256, 256, 256)}
"""By size in MiB of float32."""

QUICK_SHAPES = {1: (64, 64, 64)}
THREADS = (1, 2)
BOUND = 1e-3
REPEATS = 11


def tasks(setting: Setting) -> list[Record]:
    """Return each level, size and number of threads."""
    shapes = QUICK_SHAPES if setting.quick else SHAPES
    cube(setting.cache, max(max(shape) for shape in shapes.values()))
    return [
        {"level": level, "megabytes": megabytes, "threads": threads}
        for level in LEVELS
        for megabytes in shapes
        for threads in THREADS
    ]


def measure(task: Record, setting: Setting) -> Record:
    """Return the speeds by the wall clock, on as many CPUs as there are."""
    shape = (QUICK_SHAPES if setting.quick else SHAPES)[task["megabytes"]]
    whole = cube(setting.cache, 64 if setting.quick else 256)
    field = np.ascontiguousarray(whole[tuple(slice(size) for size in shape)])
    bound = Bound.abs(BOUND * float(whole.max() - whole.min()))
    config = sz.SZConfig(bound, level=task["level"], threads=task["threads"])
    stream, encoding = timed(lambda: sz.encode(field, config), REPEATS, warm=False)
    _, decoding = timed(lambda: sz.decode(stream, threads=task["threads"]), REPEATS, warm=False)
    megabytes = field.nbytes / 1e6
    return {
        "comp_mbs": megabytes / encoding.wall,
        "decomp_mbs": megabytes / decoding.wall,
        "bytes": len(stream),
    }


def section(rows: Sequence[Record]) -> str:
    """Return the speeds with one thread and with two, and the gain."""
    found = {
        (row["level"], int(row["megabytes"]), int(row["threads"])): row for row in rows if row["comp_mbs"]
    }
    sizes = sorted({int(row["megabytes"]) for row in rows})
    parts = [
        f"MB/s with one thread and with two within one call ({os.cpu_count()} CPUs), and the gain: "
        f"Gaussian field, float32, rel {BOUND:g}.\n"
    ]
    for direction, column in (("compress", "comp_mbs"), ("decompress", "decomp_mbs")):
        lines = []
        for level in dict.fromkeys(row["level"] for row in rows):
            one, two = (
                [float(found.get((level, size, threads), {}).get(column, math.nan)) for size in sizes]
                for threads in THREADS
            )
            cells = [
                f"{number(a, 0)} {number(b, 0)} ({number(b / a, 2)})" for a, b in zip(one, two, strict=True)
            ]
            lines.append([level, *cells])
        parts.append(table([direction, *(f"{size} MiB" for size in sizes)], lines))
    return "\n".join(parts)
