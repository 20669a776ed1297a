"""``python -m bench.loader``: one run, its CSVs, and the page docs/loader-results.md."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from bench.loader.executed import ExecutedRow, executed
from bench.loader.files import FIELD, SHAPES, Shape, field_files, make
from bench.loader.measure import Row, measured
from bench.loader.page import write_page
from bench.loader.training import TrainingRow, trained
from bench.loader.workloads import WORKLOADS, PolicyRow, counted
from sciflow.datasets.planning import StorageModel

ROOT = Path(__file__).resolve().parents[2]
SLOW = (StorageModel(alpha=1e-3, beta=1e9), StorageModel(alpha=5e-3, beta=3e8))
PARTS = ("cold", "slow", "field", "training", "policies", "workloads")
_POLICIES_AT = 8
"""Times the size of the other files: it is shared by eight ranks."""
T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, write the CSVs and the page; return 0."""
    options = _parser().parse_args(arguments)
    console, parts = Console(), list(filter(None, options.parts.split(",")))
    import torch

    torch.set_num_threads(1)
    began = time.time()
    for part in parts:
        rows = list(_PARTS[part](options, console))
        _write(options.out / f"{part}.csv", rows)
        console.print(f"{part}: {time.time() - began:.0f} s")
    if parts:
        (options.out / "machine.json").write_text(json.dumps(_machine(options), indent=1) + "\n")
    for path in write_page(
        [row for part in ("cold", "slow", "field") for row in _read(options.out / f"{part}.csv", Row)],
        _read(options.out / "training.csv", TrainingRow),
        _read(options.out / "policies.csv", ExecutedRow),
        _read(options.out / "workloads.csv", PolicyRow),
        json.loads((options.out / "machine.json").read_text()),
        options.page,
    ):
        console.print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.loader", description=__doc__)
    parser.add_argument("--mib", type=int, default=128, help="MiB of samples a file; 512 or more takes hours")
    parser.add_argument("--rounds", type=int, default=3, help="of the cold comparison")
    parser.add_argument("--seconds", type=float, default=1.2, help="of steady state a reader at most")
    parser.add_argument("--shapes", default="", help="part of the name of a shape; default all")
    parser.add_argument(
        "--only",
        "--parts",
        dest="parts",
        default=",".join(PARTS),
        help=f"what to measure, of {', '.join(PARTS)}; the rest stays; empty: only the page",
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "out" / "bench" / "loader", help="for the files"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "loader")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "loader-results.md")
    return parser


def _cold(options: argparse.Namespace, console: Console) -> Iterator[Row]:
    """Every reader of every shape, round after round."""
    from bench.loader.readers import readers_of

    for shape in (each for each in SHAPES if options.shapes in each.name):
        path = make(shape, options.folder, options.mib << 20)
        readers = readers_of(shape, path)
        for number in range(options.rounds):
            for name, reader in readers.items():
                yield _told(
                    measured(
                        ("cold", shape.name, name, number),
                        reader,
                        path,
                        cold=True,
                        seconds=options.seconds,
                        size=options.mib << 20,
                    ),
                    console,
                )


def _slow(options: argparse.Namespace, console: Console) -> Iterator[Row]:
    """The same on emulated storage, where the file is warm and every operation sleeps."""
    from bench.loader.readers import emulated_readers

    shape = SHAPES[1]
    path = make(shape, options.folder, options.mib << 20)
    for model in SLOW:
        readers = emulated_readers(shape, path, model, pins=model is SLOW[0])
        for name, reader in readers.items():
            labels = (_label(model), shape.name, name, 0)
            size = options.mib << 20
            yield _told(measured(labels, reader, path, cold=False, seconds=3.0, size=size), console)


def _field(options: argparse.Namespace, console: Console) -> Iterator[Row]:
    """An evolving field, raw and as SZ chunks within a thousandth of its range."""
    from bench.loader.readers import field_readers

    files = field_files(options.folder, options.mib << 20, 1e-3)
    for model in (None, *SLOW):
        for name, (path, reader) in field_readers(files, FIELD.batch, model).items():
            labels = (_label(model) if model else "cold", "evolving field", name, 0)
            size = options.mib << 20
            yield _told(measured(labels, reader, path, cold=model is None, seconds=3.0, size=size), console)


def _training(options: argparse.Namespace, console: Console) -> Iterator[TrainingRow]:
    shape: Shape = SHAPES[1]
    path = make(shape, options.folder, options.mib << 20)  # 48 steps take 96 MiB
    for model in (None, SLOW[0]):
        for row in trained(path, shape, model):
            console.print(row)
            yield row


def _policies(options: argparse.Namespace, console: Console) -> Iterator[ExecutedRow]:
    """Policies of other loaders as plans of our executor, on slow storage."""
    path = make(SHAPES[1], options.folder, _POLICIES_AT * options.mib << 20)
    for part in (0.25, 0.5):
        for row in executed(path, part, SLOW[0]):
            console.print(row)
            yield row


def _workloads(options: argparse.Namespace, console: Console) -> Iterator[PolicyRow]:
    del options, console
    for model in SLOW:
        for workload in WORKLOADS:
            yield from counted(workload, model)


_PARTS: dict[str, Any] = {
    "cold": _cold,
    "slow": _slow,
    "field": _field,
    "training": _training,
    "policies": _policies,
    "workloads": _workloads,
}


def _label(model: StorageModel) -> str:
    return f"{model.alpha * 1e3:g} ms, {model.beta / 1e9:g} GB/s"


def _told(row: Row, console: Console) -> Row:
    console.print(
        f"{row.part:16} {row.shape:22} {row.reader:34} {row.mbs:7.0f} MB/s {row.cpu:6.1f} CPU s/GB",
        style=None,
    )
    return row


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    names = ("sciflow", "torch", "h5py", "zarr", "numpy")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "load": round(os.getloadavg()[2], 1),
        "mib": options.mib,
        "rounds": options.rounds,
        "packages": {name: version(name) for name in names},
    }


def _read(path: Path, kind: type[T]) -> list[T]:
    if not path.is_file():
        return []
    types: dict[str, Any] = {"str": str, "int": int, "float": float}
    columns = {entry.name: types[str(entry.type)] for entry in fields(kind)}  # type: ignore[arg-type]
    with path.open(newline="") as file:
        return [
            kind(**{name: columns[name](text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def _write(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            line = asdict(row)
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in line.items()})


if __name__ == "__main__":
    sys.exit(main())
