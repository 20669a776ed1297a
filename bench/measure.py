"""One measurement: a codec, a field, a bound; sizes, errors and times, nothing else."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from bench.fields import Field
from bench.protocol import Array, Task, load

T = TypeVar("T")

PATIENCE = 4.0
"""Seconds after which a direction is not repeated again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV.

    ``given`` says what the codec got: ``as is``, or ``mean fill`` where special cells were replaced (their
    mask is then not in ``bytes``, which favours the peer). ``bound`` is relative to the range of the valid
    cells, 0 for lossless. Speeds are input bytes / 1e6 / median seconds; ``cpu`` counts all threads.
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


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds on the wall and of CPU, and over how many calls."""

    wall: float
    cpu: float
    repeats: int


def measure(name: str, field: Field, *, bound: float, as_is: bool, repeats: int) -> Row:
    """Return the row of codec ``name`` on ``field`` at ``bound`` times the range of its valid cells.

    The first call of each direction warms up; a copy of the stream is decoded by a new object. A direction is
    repeated ``repeats`` times, or less often once it has taken `PATIENCE` seconds.

    Raises
    ------
    ValueError
        What came back has another shape or dtype.
    """
    task = Task(field.values.shape, field.values.dtype.name, bound * field.value_range, field.fills)
    given = field.values if as_is else field.filled()
    encoder, decoder = load(name), load(name)
    stream, encoding = _timed(lambda: encoder.encode(given, task), repeats)
    copied = bytes(bytearray(stream))
    decoded, decoding = _timed(lambda: decoder.decode(copied, task), repeats)
    if (decoded.shape, decoded.dtype.name) != (task.shape, task.dtype):
        raise ValueError(f"{name}: found {decoded.dtype} {decoded.shape}, expected {task.dtype} {task.shape}")
    errors = _errors(field, decoded)
    mean_square = float(np.mean(np.square(errors)))
    megabytes = field.values.nbytes / 1e6
    return Row(
        field=field.name, dtype=task.dtype, shape="x".join(map(str, task.shape)), codec=name,
        given="as is" if as_is else "mean fill", bound=bound, abs_bound=task.bound, status="ok",
        bytes=len(stream), ratio=field.values.nbytes / len(stream),
        bits_per_value=8 * len(stream) / field.values.size,
        psnr=20 * np.log10(field.value_range) - 10 * np.log10(mean_square) if mean_square else float("inf"),
        maxerr_over_bound=float(errors.max() / task.bound) if task.bound else float(errors.max()),
        violations=int(np.count_nonzero(~(errors <= task.bound))),
        specials=int(field.valid.size - np.count_nonzero(field.valid)),
        specials_lost=_specials_lost(field, decoded) if as_is else 0,
        comp_mbs=megabytes / encoding.wall, decomp_mbs=megabytes / decoding.wall,
        comp_cpu_mbs=megabytes / max(encoding.cpu, 1e-9), decomp_cpu_mbs=megabytes / max(decoding.cpu, 1e-9),
        repeats=min(encoding.repeats, decoding.repeats),
    )  # fmt: skip


def _timed(call: Callable[[], T], repeats: int) -> tuple[T, Timing]:
    result = call()
    walls: list[float] = []
    cpus: list[float] = []
    while len(walls) < repeats and (not walls or sum(walls) < PATIENCE):
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    return result, Timing(statistics.median(walls), statistics.median(cpus), len(walls))


def _errors(field: Field, decoded: Array) -> Array:
    """Return |x - x'| of the valid cells, one precision wider than the field; NaN counts as infinite."""
    wide = np.longdouble if field.values.dtype == np.float64 else np.float64
    errors = np.abs(decoded[field.valid].astype(wide) - field.values[field.valid].astype(wide))
    return np.where(np.isnan(errors), np.inf, errors)


def _specials_lost(field: Field, decoded: Array) -> int:
    """Return how many special cells came back with other bits."""
    word = np.uint32 if field.values.dtype == np.float32 else np.uint64
    was, now = field.values[~field.valid].view(word), np.ascontiguousarray(decoded[~field.valid]).view(word)
    return int(np.count_nonzero(was != now))
