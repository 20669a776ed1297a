"""One measurement: a codec, a field, a bound; sizes, errors and times, nothing else."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from bench.fields import Field
from bench.protocol import Array, Task, load

T = TypeVar("T")

PATIENCE = 0.5
"""Seconds of timed calls after which a direction is not timed again."""

SLOW = 1.0
"""Seconds from which on a call counts without a warm-up of its own, where the process is warm."""

PART = 1 << 20
"""Cells compared at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV.

    ``given`` says what the codec got: ``as is``, or ``mean fill`` where special cells were replaced (their
    mask is then not in ``bytes``, which favours the peer). ``bound`` is relative to the range of the valid
    cells, 0 for lossless. Speeds are input bytes / 1e6 / median seconds; ``cpu`` counts all threads;
    ``memcpy_mbs`` is that of copying the field in the same process, by CPU time.
    """

    field: str
    dtype: str
    shape: str
    codec: str
    given: str
    bound: float
    abs_bound: float
    status: str
    bytes: int = 0
    ratio: float = 0.0
    bits_per_value: float = 0.0
    psnr: float = 0.0
    maxerr_over_bound: float = 0.0
    violations: int = 0
    specials: int = 0
    specials_lost: int = 0
    comp_mbs: float = 0.0
    decomp_mbs: float = 0.0
    comp_cpu_mbs: float = 0.0
    decomp_cpu_mbs: float = 0.0
    repeats: int = 0
    memcpy_mbs: float = 0.0


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds on the wall and of CPU, and over how many calls."""

    wall: float
    cpu: float
    repeats: int


def measure(name: str, field: Field, *, bound: float, as_is: bool, repeats: int, warm: bool = False) -> Row:
    """Return the row of codec ``name`` on ``field`` at ``bound`` times the range of its valid cells.

    The first call of each direction warms up; a copy of the stream is decoded by a new object. A direction is
    repeated ``repeats`` times, or less often once it has taken `PATIENCE` seconds. In a process that is
    ``warm``, where the codec has run on this field before, a first call of `SLOW` seconds counts.

    Raises
    ------
    ValueError
        What came back has another shape or dtype.
    """
    task = Task(field.values.shape, field.values.dtype.name, bound * field.value_range, field.fills)
    given = field.values if as_is else field.filled()
    encoder, decoder = load(name), load(name)
    stream, encoding = timed(lambda: encoder.encode(given, task), repeats, warm=warm)
    copied = bytes(bytearray(stream))
    decoded, decoding = timed(lambda: decoder.decode(copied, task), repeats, warm=warm)
    if (decoded.shape, decoded.dtype.name) != (task.shape, task.dtype):
        raise ValueError(f"{name}: found {decoded.dtype} {decoded.shape}, expected {task.dtype} {task.shape}")
    largest, mean_square, violations = _errors(field, decoded, task.bound)
    megabytes = field.values.nbytes / 1e6
    return Row(
        field=field.name, dtype=task.dtype, shape="x".join(map(str, task.shape)), codec=name,
        given="as is" if as_is else "mean fill", bound=bound, abs_bound=task.bound, status="ok",
        bytes=len(stream), ratio=field.values.nbytes / len(stream),
        bits_per_value=8 * len(stream) / field.values.size,
        psnr=20 * math.log10(field.value_range) - 10 * math.log10(mean_square) if mean_square else math.inf,
        maxerr_over_bound=largest / task.bound if task.bound else largest,
        violations=violations,
        specials=int(field.valid.size - np.count_nonzero(field.valid)),
        specials_lost=_specials_lost(field, decoded) if as_is else 0,
        comp_mbs=megabytes / encoding.wall, decomp_mbs=megabytes / decoding.wall,
        comp_cpu_mbs=megabytes / max(encoding.cpu, 1e-9), decomp_cpu_mbs=megabytes / max(decoding.cpu, 1e-9),
        repeats=min(encoding.repeats, decoding.repeats), memcpy_mbs=megabytes / copying(field.values),
    )  # fmt: skip


def timed(call: Callable[[], T], repeats: int, *, warm: bool) -> tuple[T, Timing]:
    """Return what ``call`` returns, and how long it takes; see `measure` for when a call counts."""
    result, first = _once(call)
    calls = [first] if warm and first.wall >= SLOW else []
    while not calls or (len(calls) < repeats and sum(each.wall for each in calls) < PATIENCE):
        del result  # its memory is there for the next call, as in a program that goes from array to array
        result, next_call = _once(call)
        calls.append(next_call)
    walls, cpus = [each.wall for each in calls], [each.cpu for each in calls]
    return result, Timing(statistics.median(walls), statistics.median(cpus), len(calls))


def copying(values: Array) -> float:
    """Return the seconds of CPU that copying ``values`` to memory in use takes, the median of five."""
    target = values.copy()
    return timed(lambda: np.copyto(target, values), 5, warm=False)[1].cpu


def _once(call: Callable[[], T]) -> tuple[T, Timing]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu, 1)


def _errors(field: Field, decoded: Array, bound: float) -> tuple[float, float, int]:
    """Return the largest |x - x'| of the valid cells, the mean of its square, and how many exceed ``bound``.

    One precision wider than the field; a NaN among the errors counts as infinite.
    """
    wide = np.longdouble if field.values.dtype == np.float64 else np.float64
    was, came, valid = field.values.reshape(-1), decoded.reshape(-1), field.valid.reshape(-1)
    largest, squares, violations = 0.0, 0.0, 0
    for start in range(0, was.size, PART):
        part = slice(start, start + PART)
        chosen = valid[part] if field.has_specials else slice(None)
        errors = np.abs(came[part][chosen].astype(wide) - was[part][chosen].astype(wide))
        errors[np.isnan(errors)] = np.inf
        largest = max(largest, float(errors.max(initial=0.0)))
        squares += float(np.square(errors).sum())
        violations += int(np.count_nonzero(errors > bound))
    return largest, squares / max(int(np.count_nonzero(valid)), 1), violations


def _specials_lost(field: Field, decoded: Array) -> int:
    """Return how many special cells came back with other bits."""
    if not field.has_specials:
        return 0
    word = np.uint32 if field.values.dtype == np.float32 else np.uint64
    was, now = field.values[~field.valid].view(word), np.ascontiguousarray(decoded[~field.valid]).view(word)
    return int(np.count_nonzero(was != now))
