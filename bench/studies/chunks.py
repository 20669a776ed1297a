"""Chunks: what cutting an array costs in bytes, and what a chunk costs before its first value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from bench.fields import as_field, shared_sources
from bench.markdown import number, short, table
from bench.protocol import Array, Task, load
from bench.results import geometric_mean
from bench.simulations import NAMES as SIMULATED
from bench.simulations import simulated_sources
from bench.study import Record, Setting

KEYS: tuple[str, ...] = ("field", "codec", "bound")
FOUND: tuple[str, ...] = ("whole", "chunks_64", "chunks_32")
TIMED = False
LIMIT = 300.0

FIXED = "(one chunk)"
"""Stands for a field in the rows of what a chunk costs; their columns then hold `FIXED_COLUMNS`."""

FIXED_COLUMNS = ("one value", "constant 32^3", "intercept")
CODECS = ("sciflow-fast", "sciflow-quick", "sciflow", "sciflow-max", "sciflow-safe", "pysz")
BOUNDS = (1e-2, 1e-3, 1e-4)
MOST = 128
"""Cells a side; a larger field is cut to its middle, so that the slow levels take minutes at most."""


def tasks(setting: Setting) -> list[Record]:
    """Return each three-dimensional field of 64 cells a side or more, codec and bound; and one chunk."""
    names = [name for name in _fields(setting) if not setting.quick or name == "viscous_fingering_3d"]
    bounds = (1e-3,) if setting.quick else BOUNDS
    return [
        {"field": field, "codec": codec, "bound": bound}
        for field in [FIXED, *names]
        for codec in CODECS
        for bound in (bounds if field != FIXED else (1e-3,))
    ]


def measure(task: Record, setting: Setting) -> Record:
    """Return the bytes of the whole, and of all chunks of 64^3 and of 32^3 cells."""
    if task["field"] == FIXED:
        return dict(zip(FOUND, _fixed(task["codec"]), strict=True))
    values = _fields(setting)[task["field"]]
    filled = as_field(task["field"], values)
    given = filled.filled() if task["codec"] == "pysz" else filled.values
    eb = task["bound"] * filled.value_range
    sizes = [_bytes(task["codec"], [given], eb, filled.fills)]
    sizes += [_bytes(task["codec"], _cut(given, side), eb, filled.fills) for side in (64, 32)]
    return dict(zip(FOUND, sizes, strict=True))


def section(rows: Sequence[Record]) -> str:
    """Return the mean growth by codec, side and bound, and the fixed bytes of a chunk."""
    found = [row for row in rows if row["whole"]]
    codecs = [codec for codec in CODECS if any(row["codec"] == codec for row in rows)]
    fields = list(dict.fromkeys(row["field"] for row in rows if row["field"] != FIXED))
    bounds = sorted({float(row["bound"]) for row in rows}, reverse=True)
    lines = []
    for codec in codecs:
        own = [row for row in found if row["codec"] == codec and row["field"] != FIXED]
        cells = [
            number(
                geometric_mean(
                    float(row[side]) / float(row["whole"]) for row in own if float(row["bound"]) == bound
                )
            )
            for bound in bounds
            for side in FOUND[1:]
        ]
        lines.append([codec, *cells])
    header = ["codec", *(f"{short(bound)}, {side}^3" for bound in bounds for side in (64, 32))]
    fixed = {row["codec"]: row for row in found if row["field"] == FIXED}
    costs = [
        [codec, *(number(float(fixed[codec][key]), 0) for key in FOUND)] for codec in codecs if codec in fixed
    ]
    return (
        f"Bytes in chunks over bytes in one piece, geometric mean over {len(fields)} fields of three axes, "
        f"at most {MOST} cells along each\n({', '.join(fields)}).\n\n{table(header, lines)}\n"
        "Bytes that one chunk costs: a single value; a constant chunk of 32^3; what is left of white noise "
        "at rel 1e-3 when what\ngrows with the values is taken off (from chunks of 16^3 and 32^3).\n\n"
        f"{table(['codec', *FIXED_COLUMNS], costs)}"
    )


def _fields(setting: Setting) -> dict[str, Array]:
    """Return the fields of three axes, 64 or more along each; of four axes, the last of the first."""
    names = tuple(name for name in SIMULATED if "navier" in name or "lognormal" in name)
    ours = () if setting.quick else names
    sources = [
        *shared_sources(setting.data),
        *simulated_sources(setting.cache / "fields", ours, lambda _name, _done: None),
    ]
    found = {}
    for source in sources:
        values = np.load(source.path, mmap_mode="r")
        values = values[-1] if values.ndim == 4 else values
        if values.ndim == 3 and min(values.shape) >= 64:
            found[source.name] = np.ascontiguousarray(_middle(values))
    return found


def _middle(values: Array) -> Array:
    starts = [max(0, (size - MOST) // 2) for size in values.shape]
    return values[tuple(slice(start, start + MOST) for start in starts)]


def _cut(values: Array, side: int) -> Iterator[Array]:
    """Yield the chunks of ``side`` cells that cover ``values``; the last ones are smaller."""
    for corner in product(*(range(0, size, side) for size in values.shape)):
        yield np.ascontiguousarray(values[tuple(slice(start, start + side) for start in corner)])


def _bytes(
    codec: str, chunks: Sequence[Array] | Iterator[Array], eb: float, fills: tuple[float, ...] = ()
) -> int:
    encoder = load(codec)
    return sum(len(encoder.encode(chunk, Task(chunk.shape, chunk.dtype.name, eb, fills))) for chunk in chunks)


def _fixed(codec: str) -> tuple[float, float, float]:
    """Return the bytes of one value, of a constant chunk, and of a chunk of noise without its values."""
    noise = np.random.default_rng(1).uniform(size=(32, 32, 32)).astype(np.float32)
    single = _bytes(codec, [np.ones((1, 1, 1), np.float32)], 1e-3)
    constant = _bytes(codec, [np.ones_like(noise)], 1e-3)
    large, small = _bytes(codec, [noise], 1e-3), _bytes(codec, [noise[:16, :16, :16].copy()], 1e-3)
    return single, constant, math.floor((8 * small - large) / 7)
