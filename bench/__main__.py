"""``python -m bench run`` measures, ``python -m bench table`` writes the page; without either, both."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.page import write_page
from bench.run import BOUNDS, QUICK_FIELDS, Plan, find_codecs, find_sources, run

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 where there was nothing to do."""
    console = Console()
    options = _parser().parse_args(arguments)
    if options.command in (None, "run") and not _run(options, console):
        return 2
    if options.command in (None, "table") and not _table(options, console):
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description="sciflow against its peers.")
    _run_options(parser)
    _table_options(parser)
    commands = parser.add_subparsers(dest="command")
    _run_options(commands.add_parser("run", help="measure and write a CSV"))
    _table_options(commands.add_parser("table", help="write the page and its figures from a CSV"))
    return parser


def _run_options(parser: argparse.ArgumentParser) -> None:
    out = RESULTS / f"{dt.datetime.now(tz=dt.UTC).date().isoformat()}.csv"
    shared, cache = ROOT.parent / "shared" / "data", ROOT / "out" / "bench"
    parser.add_argument("--out", type=Path, default=out, help="CSV to write")
    parser.add_argument("--data", type=Path, default=shared, help="folder of .npy fields with a catalog.json")
    parser.add_argument("--cache", type=Path, default=cache, help="folder of the simulations")
    parser.add_argument("--fields", type=_names, default=(), help="comma-separated; default all")
    parser.add_argument("--codecs", type=_names, default=(), help="comma-separated; default all installed")
    parser.add_argument("--bounds", type=_bounds, default=BOUNDS, help="relative to the range")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls; the median counts")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a bound may take")
    parser.add_argument("--quick", action="store_true", help="five fields, one bound, one repeat")


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, help="CSV to read; default the newest in bench/results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", help="page to write")


def _run(options: argparse.Namespace, console: Console) -> bool:
    fields = QUICK_FIELDS if options.quick and not options.fields else options.fields
    sources = find_sources(options.data, options.cache, fields, console)
    codecs = find_codecs(options.codecs, console)
    if not sources or not codecs:
        console.print("[red]error:[/red] no field or no codec is left to measure")
        return False
    bounds, repeats = ((1e-3,), 1) if options.quick else (options.bounds, options.repeats)
    run(Plan(sources, codecs, bounds, repeats, options.limit), options.out, console)
    console.print(f"wrote {options.out}")
    return True


def _table(options: argparse.Namespace, console: Console) -> bool:
    found = sorted(RESULTS.glob("*.csv"), key=lambda path: path.stat().st_mtime)
    csv = options.csv or (options.out if options.command is None else found[-1] if found else None)
    if csv is None or not csv.is_file():
        console.print(f"[red]error:[/red] found no CSV ({csv or RESULTS}); make one with python -m bench run")
        return False
    for path in write_page(csv, options.page):
        console.print(f"wrote {path}")
    return True


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _bounds(text: str) -> tuple[float, ...]:
    return tuple(float(bound) for bound in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
