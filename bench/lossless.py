"""Every bit: our levels at bound 0 against the lossless codecs, field by field."""

from __future__ import annotations

import numpy as np

from bench.markdown import number, table
from bench.protocol import Task, load
from bench.results import LOSSLESS, Results, geometric_mean

CODECS = ("sciflow-fast", "sciflow-quick", "sciflow", "sciflow-max", *LOSSLESS)
REFERENCE = "pco"
SHUFFLED = "blosc"
"""Zstandard after a byte shuffle."""


def available() -> str:
    """Return why the engine cannot be asked for every bit, empty if it can."""
    field = np.linspace(0, 1, 64, dtype=np.float32)
    task = Task(field.shape, field.dtype.name, 0.0)
    try:
        codec = load("sciflow")
        same = bool((codec.decode(codec.encode(field, task), task) == field).all())
    except ValueError as error:
        return str(error)
    return "" if same else "it came back changed"


def section(results: Results) -> str:
    """Return the bytes of every codec over those of pcodec, and the ratios field by field."""
    over = [[codec, *_over(results, codec)] for codec in results.codecs]
    header = ["codec", f"bytes over {REFERENCE}", f"bytes over {SHUFFLED}", "MB/s compress / decompress"]
    lines = []
    for field in results.fields:
        found = [results.at(codec, field, 0.0) for codec in results.codecs]
        best = max((row.ratio for row in found if row), default=0.0)
        cells = (
            "-" if row is None else f"**{row.ratio:.3f}**" if row.ratio == best else f"{row.ratio:.3f}"
            for row in found
        )
        lines.append([field, *cells])
    return (
        "## Every bit\n\nNo bound: every value bit for bit. `blosc` and `hdf5-blosc2` are Zstandard "
        "after a byte shuffle.\nMeans are geometric, speeds over the fields of a million values or more.\n\n"
        f"{table(header, over)}\n{table(['ratio', *results.codecs], lines)}"
    )


def _over(results: Results, codec: str) -> list[str]:
    cells = []
    for reference in (REFERENCE, SHUFFLED):
        pairs = [(results.at(codec, name, 0.0), results.at(reference, name, 0.0)) for name in results.fields]
        mean = geometric_mean(row.bytes / other.bytes for row, other in pairs if row and other)
        cells.append(number(mean))
    rows = [row for name in results.large_fields() if (row := results.at(codec, name, 0.0))]
    speeds = (
        geometric_mean(row.comp_cpu_mbs for row in rows),
        geometric_mean(row.decomp_cpu_mbs for row in rows),
    )
    return [*cells, " / ".join(number(speed, 0) for speed in speeds)]
