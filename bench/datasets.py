"""``python -m bench.datasets``: how fast the sets of samples are made; fills the page and the cards.

Each set is made twice, by one process and by two, in files that are removed. A few minutes. The speed of two
counts the seconds in which they start; CPU seconds are those of one process, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.markdown import fill_section, table
from bench.table import Table, read_machine, read_rows
from sciflow.datasets import make, recipe

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = {
    "bragg-cdi": 256,
    "cosmology-boxes": 2048,
    "darcy": 768,
    "ptychography": 4096,
    "turbulence-2d": 64,
}
"""Of each set: some ten seconds of one core."""

COLUMNS = ("name", "samples", "sample_bytes", "cpu_seconds", "seconds_1", "seconds_2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, fill docs/datasets.md and the cards; return 0."""
    options = _parser().parse_args(arguments)
    console = Console()
    out = options.out / "datasets.csv"
    if not options.page_only:
        with Table(out, COLUMNS, fresh=True) as rows:
            for name, samples in SAMPLES.items():
                row = measured(name, max(1, int(samples * options.share)))
                rows.append(row)
                console.print(row)
    fill(read_rows(out), read_machine(out), options.root)
    return 0


def measured(name: str, samples: int) -> dict[str, Any]:
    """Return the row of set ``name``: bytes and CPU seconds of a sample, seconds of one and two processes."""
    row: dict[str, Any] = {"name": name, "samples": samples}
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2):
            path, wall, cpu = Path(folder, f"{workers}.nc"), time.perf_counter(), time.process_time()
            make(name, path, settings={"samples": samples}, workers=workers)
            row[f"seconds_{workers}"] = round(time.perf_counter() - wall, 3)
            if workers == 1:
                row["cpu_seconds"] = f"{(time.process_time() - cpu) / samples:.3g}"
                row["sample_bytes"] = round(path.stat().st_size / samples)
    return row


def fill(rows: Sequence[dict[str, str]], machine: dict[str, str], root: Path) -> None:
    """Put the figures of ``rows`` into ``docs/datasets.md`` and ``datasets/*/CARD.md`` below ``root``."""
    load = machine["load at the start"]
    where = f"{machine['cores']} cores of {machine['processor']}, load {load} at the start"
    header = ("set", "kB a sample", "CPU ms a sample", "samples/s, 1 process", "samples/s, 2 processes")
    lines = [(row["name"], *_figures(row)) for row in rows]
    note = f"\nMeasured by `python -m bench.datasets` on {machine['date']}: {where}.\n"
    _fill(root / "docs" / "datasets.md", "speed", table(header, lines) + note)
    for row in rows:
        whole = int(recipe(row["name"]).parameters["samples"])
        _fill(root / "datasets" / row["name"] / "CARD.md", "cost", _cost(row, whole) + note)


def _figures(row: dict[str, str]) -> tuple[str, ...]:
    speeds = [int(row["samples"]) / float(row[f"seconds_{workers}"]) for workers in (1, 2)]
    kilobytes, milliseconds = int(row["sample_bytes"]) / 1e3, float(row["cpu_seconds"]) * 1e3
    return (f"{kilobytes:.0f}", f"{milliseconds:.3g}", *(f"{speed:.3g}" for speed in speeds))


def _cost(row: dict[str, str], whole: int) -> str:
    kilobytes, milliseconds, *speeds = _figures(row)
    seconds = whole * float(row["cpu_seconds"])
    megabytes = whole * int(row["sample_bytes"]) / 1e6
    return (
        f"{milliseconds} ms of CPU and {kilobytes} kB a sample: {seconds:.0f} s of CPU and "
        f"{megabytes:.0f} MB for the {whole} of the recipe.\n"
        f"{speeds[0]} samples/s by one process, {speeds[1]} by two.\n"
    )


def _fill(page: Path, name: str, text: str) -> None:
    page.write_text(fill_section(page.read_text(), name, text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.datasets", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the samples that are made by default")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of datasets.csv")
    parser.add_argument("--root", type=Path, default=ROOT, help="tree whose page and cards are filled")
    parser.add_argument("--page-only", action="store_true", help="fill page and cards from the CSV")
    return parser


if __name__ == "__main__":
    sys.exit(main())
