"""Memory: what a call takes above its input and its output, per value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.markdown import number, table
from bench.protocol import OURS, Array, Task, load
from bench.study import Record, Setting
from bench.synthetic import cube

KEYS: tuple[str, ...] = ("codec", "dtype", "direction", "size")
FOUND: tuple[str, ...] = ("peak_bytes", "bytes_per_value")
TIMED = False
LIMIT = 300.0

CODECS = (*OURS, "pysz")
SIZE, QUICK_SIZE = 256, 64
BOUND = 1e-3
WARM_UP = 32


def tasks(setting: Setting) -> list[Record]:
    """Return each codec, dtype and direction."""
    size = QUICK_SIZE if setting.quick else SIZE
    cube(setting.cache, size)
    return [
        {"codec": codec, "dtype": dtype, "direction": direction, "size": size}
        for codec in CODECS
        for dtype in ("float32", "float64")
        for direction in ("compress", "decompress")
    ]


def measure(task: Record, setting: Setting) -> Record:
    """Return the peak of the process during one call, less what it held before and what it returned."""
    field = np.array(cube(setting.cache, task["size"]), dtype=task["dtype"])
    eb = BOUND * float(field.max() - field.min())
    work = Task(field.shape, field.dtype.name, eb)
    _call(task["codec"], np.ascontiguousarray(field[:WARM_UP, :WARM_UP, :WARM_UP]), eb)
    if task["direction"] == "compress":
        peak = peak_above(lambda: load(task["codec"]).encode(field, work), len)
    else:
        del field
        stream = _elsewhere(task, setting, eb)
        peak = peak_above(lambda: load(task["codec"]).decode(stream, work), lambda array: int(array.nbytes))
    return {"peak_bytes": peak, "bytes_per_value": peak / task["size"] ** 3}


def peak_above(call: Callable[[], Any], size: Callable[[Any], int]) -> int:
    """Return how far the resident memory rose during ``call``, less the ``size`` of what it returned.

    Memory that was freed before and not handed back to the system is reused unseen:
    call it in a fresh process.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
    before = resident("VmRSS")
    returned = call()
    return max(resident("VmHWM") - before - size(returned), 0)


def resident(name: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of this process in bytes.

    Raises
    ------
    OSError
        There is no /proc.
    """
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status: found no {name}")
    return 1024 * int(found.group(1))


def section(rows: Sequence[Record]) -> str:
    """Return bytes a value by codec, dtype and direction."""
    cells = {
        (row["codec"], row["dtype"], row["direction"]): float(row["bytes_per_value"] or "nan") for row in rows
    }
    columns = [
        (dtype, direction) for dtype in ("float32", "float64") for direction in ("compress", "decompress")
    ]
    codecs = [codec for codec in CODECS if any(row["codec"] == codec for row in rows)]
    lines = [
        [codec, *(number(cells.get((codec, *column), float("nan")), 2) for column in columns)]
        for codec in codecs
    ]
    sizes = ", ".join(dict.fromkeys(f"{row['size']}^3" for row in rows))
    about = (
        f"Bytes a value that a call takes at its peak above its input and what it returns: Gaussian field of "
        f"{sizes}, rel {BOUND:g}, one\nthread, a fresh process a call (`VmHWM`).\n\n"
    )
    return about + table(["codec", *(f"{dtype} {direction}" for dtype, direction in columns)], lines)


def _elsewhere(task: Record, setting: Setting, eb: float) -> bytes:
    """Return the stream of a task, made by another process: this one's memory stays as it was."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_stream, task, setting, eb).result()


def _stream(task: Record, setting: Setting, eb: float) -> bytes:
    field = np.array(cube(setting.cache, task["size"]), dtype=task["dtype"])
    return load(task["codec"]).encode(field, Task(field.shape, field.dtype.name, eb))


def _call(codec: str, field: Array, eb: float) -> None:
    """Load what the first call loads."""
    task = Task(field.shape, field.dtype.name, eb)
    load(codec).decode(load(codec).encode(field, task), task)
