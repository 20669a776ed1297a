"""``python -m bench.evaluation``: a ladder for each surrogate, its CSV, and docs/evaluation-results.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.evaluation.cases import CASES, Case
from bench.evaluation.page import write_page
from sciflow.codecs.sz import Level
from sciflow.models.evaluation import Report, Rung, Score, evaluate

ROOT = Path(__file__).resolve().parents[2]
LEVEL: Level = "max"
"""Bytes count here, and the sets are small."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ladders, write CSVs, figure and page; return 0, or 2 for an unknown name."""
    options = _parser().parse_args(arguments)
    console = Console()
    names = list(filter(None, options.only.split(",")))
    known = [case.name for case in CASES]
    if unknown := [name for name in names if name not in known]:
        console.print(f"--only {unknown[0]}: expected some of {', '.join(known)}")
        return 2
    if not options.page_only:
        for case in (case for case in CASES if not names or case.name in names):
            _measure(case, options, console)
    reports = [(case, report) for case in CASES if (report := _read(options.out, case)) is not None]
    if not reports:
        console.print(f"{options.out}: found no results, expected JSON of a run without --page-only")
        return 2
    for path in write_page(reports, json.loads((options.out / "machine.json").read_text()), options.page):
        console.print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.evaluation", description=__doc__)
    parser.add_argument("--only", default="", help="names, comma-separated; default all")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of a rung")
    parser.add_argument("--epochs", type=int, default=0, help="of every training; 0: those of the case")
    parser.add_argument("--threads", type=int, default=1, help="of a training")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench" / "evaluation", help="for runs")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "evaluation")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evaluation-results.md")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the CSVs")
    return parser


def _measure(case: Case, options: argparse.Namespace, console: Console) -> None:
    began = time.monotonic()
    case.make(options.folder)
    config = case.config(options.folder, options.threads)
    if options.epochs:
        config = config.replace(train={"epochs": options.epochs})

    def tell(rung: Rung, score: Score) -> None:
        console.print(
            f"{case.name} {rung.name} seed {score.seed}: {score.test_loss:.5g}, {score.seconds:.0f} s"
        )

    report = evaluate(
        config,
        bounds=case.bounds,
        level=LEVEL,
        seeds=options.seeds,
        out=options.folder / f"{case.name}-ladder",
        device="cpu",
        watch=tell,
    )
    console.print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{case.name}.csv").write_text(report.to_csv())
    (options.out / f"{case.name}.json").write_text(report.to_json())
    (options.out / "machine.json").write_text(json.dumps(_machine(options), indent=1) + "\n")
    console.print(f"{case.name}: {time.monotonic() - began:.0f} s")


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "load": round(os.getloadavg()[2], 1),
        "seeds": options.seeds,
        "threads": options.threads,
        "packages": {name: version(name) for name in ("sciflow", "torch", "numpy")},
    }


def _read(folder: Path, case: Case) -> Report | None:
    path = folder / f"{case.name}.json"
    return Report.from_dict(json.loads(path.read_text())) if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
