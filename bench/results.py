"""A CSV read back, and the numbers that the page and the figures show."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.measure import Row

REFERENCE = "pysz"
LARGE = 1_000_000
"""Values from which on a three-dimensional field counts for speed."""


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a run, and the machine that it ran on."""

    rows: tuple[Row, ...]
    machine: dict[str, str]

    @property
    def codecs(self) -> list[str]:
        """Names in the order of the run."""
        return list(dict.fromkeys(row.codec for row in self.rows))

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
        matching = [
            row
            for row in self.rows
            if (row.codec, row.field) == (codec, field) and row.bound in (bound, 0.0) and row.status == "ok"
        ]
        filled = [row for row in matching if row.given == "mean fill"]
        return next(iter(filled or matching), None)

    def relative_ratio(self, codec: str, bound: float) -> tuple[float, int]:
        """Return the geometric mean of the ratio over the reference's, and over how many fields."""
        quotients = []
        for field in self.fields:
            row, reference = self.at(codec, field, bound), self.at(REFERENCE, field, bound)
            if row and reference:
                quotients.append(row.ratio / reference.ratio)
        return geometric_mean(quotients), len(quotients)

    def large_fields(self) -> list[str]:
        """Return the fields of three axes or more and a million values or more."""
        shapes = {row.field: [int(n) for n in row.shape.split("x")] for row in self.rows if row.shape}
        return [name for name, shape in shapes.items() if len(shape) >= 3 and math.prod(shape) >= LARGE]

    def speed(self, codec: str, bound: float) -> tuple[float, float]:
        """Return compress and decompress MB/s, geometric means over `large_fields`."""
        rows = [row for field in self.large_fields() if (row := self.at(codec, field, bound))]
        return geometric_mean([r.comp_mbs for r in rows]), geometric_mean([r.decomp_mbs for r in rows])


def load_results(path: Path) -> Results:
    """Return the results in the CSV ``path`` and the JSON beside it."""
    with path.open(newline="") as file:
        rows = tuple(_row(line) for line in csv.DictReader(file))
    described = path.with_suffix(".json")
    return Results(rows, json.loads(described.read_text()) if described.is_file() else {})


def _row(line: Mapping[str, str]) -> Row:
    parsers: dict[str, Callable[[str], Any]] = {"str": str, "float": float, "int": int}
    return Row(**{field.name: parsers[str(field.type)](line[field.name]) for field in fields(Row)})


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean, NaN of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
