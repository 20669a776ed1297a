"""A CSV of the comparison read back, row by row or as the means that the page shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.measure import COLUMNS, Row
from bench.protocol import NAMES, OURS
from bench.table import read_machine, read_rows

REFERENCE = "pysz"
LARGE = 1_000_000
"""Values from which on a field counts for speed."""

LOSSLESS = ("pco", "hdf5-blosc2", "blosc", "zstd")


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a run, and the machine that it ran on."""

    rows: tuple[Row, ...]
    machine: dict[str, str]
    _found: dict[tuple[str, str, float], Row] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            key = (row.codec, row.field, row.bound)
            if row.status == "ok" and (row.given == "mean fill" or key not in self._found):
                self._found[key] = row

    @property
    def codecs(self) -> list[str]:
        """Names in the order of `NAMES`, then those that it does not know."""
        met = list(dict.fromkeys(row.codec for row in self.rows))
        return [name for name in NAMES if name in met] + [name for name in met if name not in NAMES]

    @property
    def ours(self) -> list[str]:
        """Our own codecs."""
        return [name for name in self.codecs if name in OURS]

    @property
    def peers(self) -> list[str]:
        """The others."""
        return [name for name in self.codecs if name not in OURS]

    @property
    def fields(self) -> list[str]:
        """Names in the order of the run."""
        return list(dict.fromkeys(row.field for row in self.rows))

    @property
    def bounds(self) -> list[float]:
        """Relative bounds, the loosest first, without the 0 of lossless codecs."""
        return sorted({row.bound for row in self.rows} - {0.0}, reverse=True)

    def at(self, codec: str, field: str, bound: float) -> Row | None:
        """Return the row that counts: of the filled field where there is one, of any bound if lossless."""
        return self._found.get((codec, field, bound)) or self._found.get((codec, field, 0.0))

    def large_fields(self, least: int = LARGE) -> list[str]:
        """Return the fields of ``least`` values or more."""
        sizes = {row.field: math.prod(int(n) for n in row.shape.split("x")) for row in self.rows if row.shape}
        return [name for name in self.fields if sizes.get(name, 0) >= least]


def load_results(path: Path) -> Results:
    """Return the results in the CSV ``path`` and the JSON beside it; columns it lacks have their defaults."""
    return Results(tuple(_row(line) for line in read_rows(path)), read_machine(path))


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean, NaN of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _row(line: Mapping[str, str]) -> Row:
    parsers: dict[str, Callable[[str], Any]] = {"str": str, "float": float, "int": int}
    kinds = {each.name: str(each.type) for each in fields(Row)}
    return Row(**{name: parsers[kinds[name]](line[name]) for name in COLUMNS if name in line})
