"""``python -m bench.surrogates``: train every surrogate on a small data set, hold it against plain baselines.

Rows that are there already are kept while their task is the same; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.surrogates.measure import Row, measured
from bench.surrogates.page import write_page
from bench.surrogates.tasks import TASKS
from sciflow.models.files import write_whole

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, write the CSV and the page; return 0."""
    options = _parser().parse_args(arguments)
    console, rows = Console(), _read(options.out)
    only = list(filter(None, options.only.split(",")))
    if unknown := sorted(set(only) - {task.name for task in TASKS}):
        console.print(f"no task {', '.join(unknown)}; there are {', '.join(task.name for task in TASKS)}")
        return 2
    wanted = [] if options.page_only else [task for task in TASKS if not only or task.name in only]
    began = time.time()
    if wanted:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        _write_machine(options.out)
    for seed in map(int, options.seeds.split(",")):
        for task in wanted:
            label = f"{task.name} on {task.dataset}, seed {seed}"
            if not options.fresh and any(row.digest == task.digest(seed) for row in rows):
                console.print(f"{label}: kept")
                continue
            console.print(f"{label}: begins")
            if options.fresh:
                shutil.rmtree(task.config(seed, options.folder).out, ignore_errors=True)
            found = measured(task, seed, options.folder, note=console.print)
            rows = [row for row in rows if (row.task, row.seed) != (task.name, seed)] + found
            _write(options.out, rows)
            for row in found:
                console.print(f"{label}: {row.metric}: {row.predictor} {row.error:.4g}")
            console.print(f"{label}: {time.time() - began:.0f} s since the start")
    if rows:
        machine = json.loads(options.out.with_suffix(".json").read_text())
        console.print(f"wrote {write_page(rows, machine, options.page)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.surrogates", description=__doc__)
    about = f"surrogates, comma-separated, of {', '.join(task.name for task in TASKS)}; default all"
    parser.add_argument("--only", default="", help=about)
    parser.add_argument("--seeds", default="0,1", help="comma-separated")
    parser.add_argument("--fresh", action="store_true", help="measure what is there already again")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the CSV")
    folder = ROOT / "out" / "bench" / "surrogates"
    parser.add_argument("--folder", type=Path, default=folder, help="for data sets and runs")
    out = ROOT / "bench" / "results" / "surrogates" / "surrogates.csv"
    parser.add_argument("--out", type=Path, default=out, help="CSV")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "surrogates-results.md")
    return parser


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    types: dict[str, Any] = {"str": str, "int": int, "float": float}
    columns = {entry.name: types[str(entry.type)] for entry in fields(Row)}
    with path.open(newline="") as file:
        return [
            Row(**{name: columns[name](text) for name, text in line.items()}) for line in csv.DictReader(file)
        ]


def _write(path: Path, rows: Sequence[Row]) -> None:
    order = {task.name: number for number, task in enumerate(TASKS)}
    text = io.StringIO()
    writer = csv.DictWriter(text, [entry.name for entry in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in sorted(rows, key=lambda row: (order.get(row.task, 99), row.seed)))
    write_whole(path, text.getvalue().encode())


def _write_machine(path: Path) -> None:
    about = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": version("torch"),
        "numpy": version("numpy"),
    }
    write_whole(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
