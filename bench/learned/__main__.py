"""``python -m bench.learned``: one run, its CSV, and the tables of docs/gwlz-results.md."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.fields import read, shared_sources
from bench.learned.bases import leading
from bench.learned.measure import BASES, Row, measure
from bench.learned.networks import FIELDS, NetworkRow, compare
from bench.learned.page import write_page
from bench.learned.scene import scene

ROOT = Path(__file__).resolve().parents[2]
RELS = (1e-2, 1e-3, 1e-4)
T = TypeVar("T", Row, NetworkRow)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, write the page; return 0, or 2 where there is no data."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not options.page_only:
        parts = options.parts.split(",")
        rows = _rows(options, console, parts)
        if not rows and "networks" not in parts:
            console.print(f"[red]error:[/red] no fields in {options.data}; see bench/README.md")
            return 2
        made = {row.field for row in rows}
        _write(options.out, [row for row in _read(options.out, Row) if _is_kept(row, made, parts)] + rows)
        if "networks" in parts:
            _write(_networks_csv(options.out), _network_rows(options, console))
    found = _read(options.out, Row)
    others = _read(_networks_csv(options.out), NetworkRow)
    for path in write_page(found, others, options.page, options.data):
        console.print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.learned", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of fields")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "learned" / "gwlz.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gwlz-results.md")
    parser.add_argument("--fields", default="", help="comma-separated; default all")
    about = "what to measure, comma-separated; rows of other parts are kept"
    parser.add_argument("--parts", default="fields,scene,networks", help=about)
    parser.add_argument("--scene", type=int, default=256, help="cells a side of the lognormal scene; 0: none")
    parser.add_argument("--budgets", default="10,40", help="seconds of training")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the CSV")
    return parser


def _is_kept(row: Row, made: set[str], parts: list[str]) -> bool:
    """Whether an older row stays: no part of this run."""
    part = "scene" if row.field.startswith("scene:") else "fields"
    return row.field not in made and part not in parts


def _rows(options: argparse.Namespace, console: Console, parts: list[str]) -> list[Row]:
    names = set(filter(None, options.fields.split(",")))
    sources = [s for s in shared_sources(options.data) if not names or s.name in names]
    sources = sources if "fields" in parts else []
    rows = []
    for source in track(sources, description="fields", console=console):
        field = leading(read(source))
        rows += [row for rel in RELS for base in BASES if (row := measure(source.name, field, base, rel))]
    if options.scene and "scene" in parts:
        made = scene(options.scene)
        for name, values in track(made.items(), description="scene", console=console):
            label = f"scene:{name}"
            rows += [
                row
                for rel in (1e-2, 1e-3)
                if (row := measure(label, np.ascontiguousarray(values), "SZ3", rel))
            ]
    return rows


def _network_rows(options: argparse.Namespace, console: Console) -> list[NetworkRow]:
    budgets = tuple(float(text) for text in options.budgets.split(",") if text)
    if not budgets or find_spec("torch") is None:
        console.print("no networks: torch is not installed, or no budget was given")
        return []
    import torch

    torch.set_num_threads(1)
    sources = [source for source in shared_sources(options.data) if source.name in FIELDS]
    return [row for s in sources for row in compare(s.name, leading(read(s)), budgets)]


def _networks_csv(path: Path) -> Path:
    return path.with_name(f"{path.stem}-networks.csv")


def _read(path: Path, kind: type[T]) -> list[T]:
    if not path.is_file():
        return []
    types: dict[str, Any] = {"str": str, "int": int, "float": float}
    columns = {entry.name: types[str(entry.type)] for entry in fields(kind)}
    with path.open(newline="") as file:
        return [
            kind(**{name: columns[name](text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def _write(path: Path, rows: Sequence[Row] | Sequence[NetworkRow]) -> None:
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
