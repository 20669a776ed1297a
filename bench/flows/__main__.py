"""``python -m bench.flows``: measure, write bench/results/flows/flows.csv and the table of docs/flows.md."""

from __future__ import annotations

import argparse
import atexit
import csv
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- bench:flows -->", "<!-- /bench:flows -->"
BOUND = "rel:1e-3"


@dataclass(frozen=True, slots=True)
class Row:
    """One number: the median of some repeats, and their spread."""

    what: str
    value: float
    low: float
    high: float
    unit: str
    repeats: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, write the CSV and the table; return 0."""
    options = _parser().parse_args(arguments)
    console = Console()
    folder = options.out
    if not options.only_page:
        scratch = Path(tempfile.mkdtemp(prefix="sciflow-bench-"))
        atexit.register(
            shutil.rmtree, scratch, ignore_errors=True
        )  # after Prefect's server, which stops at exit
        os.environ |= _settings(scratch)
        rows = []
        for row in _rows(scratch, options):
            console.print(f"{row.what:52} {row.value:10.3g} {row.unit}")
            rows.append(row)
        _write(folder, rows, options)
    page(folder, options.page)
    console.print(f"wrote {options.page}")
    return 0


def _rows(scratch: Path, options: argparse.Namespace) -> Iterator[Row]:
    yield from _compression(scratch, options)
    yield from _manifest(scratch, options)
    yield from _dask(options)
    yield from _prefect(options)


def _compression(scratch: Path, options: argparse.Namespace) -> Iterator[Row]:
    """The plain loop, the engine in one process, and 1, 2, 4 workers on one file, in turns."""
    import sciflow
    from sciflow.flows.clusters import open_engine
    from sciflow.flows.engine import Policy
    from sciflow.flows.one_store import compress_store
    from sciflow.flows.parameters import ClusterChoice, CompressSettings

    source, store = scratch / "in.nc", scratch / "out.zarr"
    nbytes = _field(source, options.mib)
    small, warm = scratch / "small.nc", scratch / "warm.zarr"
    _field(small, 64)
    request = CompressSettings(chunks={"t": 4}).request(BOUND)

    def plain() -> None:
        import dask

        with dask.config.set(scheduler="synchronous"):
            sciflow.compress(source, store, bound=BOUND, chunks="t=4", progress=False)

    def timed(call: Callable[[], object]) -> float:
        _remove(store)
        start = time.perf_counter()
        call()
        return nbytes / 1e6 / (time.perf_counter() - start)

    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        found.setdefault("compress, plain loop, one thread", []).append(timed(plain))
        for workers in (0, 1, 2, 4):
            kind = "local" if workers else "serial"
            cluster = ClusterChoice.model_validate({"kind": kind, "workers": workers or None})
            with open_engine(cluster, Policy()) as engine:
                name = f"compress, {workers} Dask workers" if workers else "compress, serial engine"
                _remove(warm)
                compress_store(small, warm, request, engine=engine)  # every worker has imported what it needs
                rate = timed(lambda run=engine: compress_store(source, store, request, engine=run))  # type: ignore[misc]
                found.setdefault(name, []).append(rate)
        start = time.perf_counter()
        with open_engine(ClusterChoice(), Policy()) as engine:
            compress_store(source, store, request, engine=engine)
        found.setdefault("again, nothing to do, cluster started", []).append(time.perf_counter() - start)
    for name, values in found.items():
        yield _row(name, values, "s" if name.startswith("again") else "MB/s")


def _manifest(scratch: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Lines as the run before has left them, a hundred thousand times."""
    from sciflow.flows.manifest import open_manifest, read_manifest
    from sciflow.flows.one_store import manifest_of

    found = read_manifest(manifest_of(scratch / "out.zarr"))
    entry = next(line for name, line in found.items() if name.startswith("f/"))
    size = len(json.dumps(entry, separators=(",", ":"))) + 1
    yield _row("manifest line of a compressed piece", [size], "bytes")
    appends, reads = [], []
    for number in range(options.repeats):
        folder = scratch / f"manifest-{number}"
        with open_manifest(folder, key="k") as manifest:
            manifest.append(entry | {"id": f"f/{n}"} for n in range(100_000))
            start = time.perf_counter()
            for n in range(50):
                manifest.append([entry | {"id": f"g/{n}"}])
            appends.append(20.0 * (time.perf_counter() - start))
        start = time.perf_counter()
        read_manifest(folder / "main.jsonl", key="k")
        reads.append(time.perf_counter() - start)
    yield _row("manifest, one line appended and on disk", appends, "ms")
    yield _row("manifest of 100,000 lines, read", reads, "s")


def _dask(options: argparse.Namespace) -> Iterator[Row]:
    from sciflow.flows.clusters import connect
    from sciflow.flows.engine import DaskEngine, Policy
    from sciflow.flows.parameters import ClusterChoice

    starts, calls = [], []
    for _ in range(options.repeats):
        start = time.perf_counter()
        with connect(ClusterChoice(workers=2)) as client:
            starts.append(time.perf_counter() - start)
            engine = DaskEngine(client, Policy())
            sum(map(len, engine.run(abs, range(50))))
            start = time.perf_counter()
            sum(map(len, engine.run(abs, range(1000))))
            calls.append(time.perf_counter() - start)
    yield _row("Dask cluster of 2 workers, start", starts, "s")
    yield _row("Dask task through the engine, 2 workers", calls, "ms")


def _prefect(options: argparse.Namespace) -> Iterator[Row]:
    from prefect import flow, task
    from prefect.logging import disable_run_logger

    @task
    def nothing() -> int:
        return 0

    @flow
    def empty() -> int:
        return 0

    @flow
    def tasks() -> float:
        start = time.perf_counter()
        for _ in range(100):
            nothing()
        return 10.0 * (time.perf_counter() - start)

    with disable_run_logger():
        start = time.perf_counter()
        empty()
        yield _row("first flow run, server started for it", [time.perf_counter() - start], "s")
        runs, each = [], []
        for _ in range(options.repeats):
            start = time.perf_counter()
            empty()
            runs.append(time.perf_counter() - start)
            each.append(tasks())
    yield _row("flow run that does nothing", runs, "s")
    yield _row("Prefect task that does nothing", each, "ms")


def page(folder: Path, target: Path) -> None:
    """Write the table of a page from the CSV."""
    rows = list(_read(folder / "flows.csv"))
    machine = json.loads((folder / "machine.json").read_text())
    plain = next((r.value for r in rows if r.what.startswith("compress, plain")), None)
    lines = [
        f"`python -m bench.flows` on {machine['date']}: {machine['cores']} cores ({machine['processor']}), "
        f"load {machine['load']} when it ended, {machine['mib']} MiB of float32, `{BOUND}`, 8 MB chunks, "
        f"warm workers; medians and extremes of {machine['repeats']}; "
        f"Prefect {machine['packages']['prefect']}, Dask "
        f"{machine['packages']['distributed']}.",
        "",
        "| what | median | least | most | over the plain loop |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        over = f"{r.value / plain:.2f}" if plain and r.unit == "MB/s" else ""
        lines.append(f"| {r.what} | {r.value:.3g} {r.unit} | {r.low:.3g} | {r.high:.3g} | {over} |")
    text = target.read_text()
    before, _, rest = text.partition(BEGIN)
    target.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.partition(END)[2])


def _field(path: Path, mib: int) -> int:
    """A smooth field with some noise, in slabs of 2 MiB."""
    y, x = np.mgrid[:512, :1024].astype("f4")
    rng = np.random.default_rng(0)
    pattern = np.sin(x / 37) * np.cos(y / 23)
    field = np.stack([np.roll(pattern, 5 * t, axis=1) for t in range(mib // 2)])
    field += 0.01 * rng.standard_normal(field.shape, dtype="f4")
    xr.Dataset({"f": (("t", "y", "x"), field)}).to_netcdf(
        path, engine="netcdf4", encoding={"f": {"chunksizes": (1, 512, 1024)}}
    )
    return int(field.nbytes)


def _remove(store: Path) -> None:
    shutil.rmtree(store, ignore_errors=True)
    store.with_name(store.name + ".manifest.jsonl").unlink(missing_ok=True)


def _row(what: str, values: Sequence[float], unit: str) -> Row:
    return Row(what, statistics.median(values), min(values), max(values), unit, len(values))


def _settings(scratch: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(scratch / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }


def _write(folder: Path, rows: Sequence[Row], options: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "flows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            line = asdict(row)
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in line.items()})
    machine = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
        "mib": options.mib,
        "repeats": options.repeats,
        "packages": {name: version(name) for name in ("sciflow", "prefect", "distributed", "zarr")},
    }
    (folder / "machine.json").write_text(json.dumps(machine, indent=1) + "\n")


def _read(path: Path) -> Iterator[Row]:
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            numbers = {name: float(line[name]) for name in ("value", "low", "high")}
            yield Row(what=line["what"], unit=line["unit"], repeats=int(line["repeats"]), **numbers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.flows", description=__doc__)
    parser.add_argument("--mib", type=int, default=128, help="MiB of the field")
    parser.add_argument("--repeats", type=int, default=3, help="of every measurement")
    parser.add_argument("--only-page", action="store_true", help="write the table from the CSV")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "flows")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "flows.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
