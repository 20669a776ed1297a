"""The run: every codec on every field at every bound, rows written as they come."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.fields import Source, read, shared_sources, simulated_sources
from bench.measure import COLUMNS, Row
from bench.protocol import NAMES, load
from bench.worker import Job, rows

BOUNDS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
QUICK_FIELDS = ("atm_t_3d", "ecg_mitbih_100", "era5_temperature_2d", "ostia_sst_monthly", "turb_vorticity_3d")
PACKAGES = ("sciflow", "pysz", "zfpy", "pcodec", "hdf5plugin", "h5py", "numcodecs", "numpy")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes
    ----------
    sources : tuple of Source
    codecs : tuple of str
    bounds : tuple of float
        Relative to the range of the valid cells.
    repeats : int
        Timed calls after the warm-up.
    limit : float
        Seconds a bound may take before its process is ended.
    """

    sources: tuple[Source, ...]
    codecs: tuple[str, ...]
    bounds: tuple[float, ...]
    repeats: int
    limit: float


def find_sources(data: Path, cache: Path, wanted: Sequence[str], console: Console) -> tuple[Source, ...]:
    """Return the fields at hand, or those ``wanted``; say which are missing and go on without them."""
    shared = shared_sources(data)
    if not shared:
        console.print(f"[yellow]skipped: the shared fields; found no {data / 'catalog.json'}[/yellow]")
    if wanted and not any(":" in name for name in wanted):
        simulated = []
    else:
        with console.status("making our own simulations, a minute at most"):
            simulated = simulated_sources(cache)
    found = {source.name: source for source in [*shared, *simulated]}
    for name in wanted:
        if name not in found:
            console.print(f"[yellow]skipped: field {name}; found {', '.join(found) or 'none'}[/yellow]")
    return tuple(source for name, source in found.items() if not wanted or name in wanted)


def find_codecs(wanted: Sequence[str], console: Console) -> tuple[str, ...]:
    """Return the names of the codecs that are installed, of all or of those ``wanted``; say which are not."""
    found = []
    for name in wanted or NAMES:
        try:
            load(name)
            found.append(name)
        except ImportError as error:
            console.print(f"[yellow]skipped: codec {name}; {error}[/yellow]")
        except KeyError:
            console.print(f"[yellow]skipped: codec {name}; there are {', '.join(NAMES)}[/yellow]")
    return tuple(found)


def jobs(plan: Plan) -> Iterator[Job]:
    """Yield the jobs of ``plan``; a codec not meant for special values gets a field with them filled.

    What it does to the field as it is, is asked once, at the middle bound: some take minutes over NaN.
    """
    middle = plan.bounds[len(plan.bounds) // 2]
    for source in plan.sources:
        has_specials = read(source).has_specials
        for name in plan.codecs:
            codec = load(name)
            bounds = (0.0,) if codec.lossless else plan.bounds
            fill = has_specials and not codec.takes_specials
            yield Job(source, name, bounds, not fill, plan.repeats, plan.limit)
            if fill:
                yield Job(source, name, (middle,), True, 1, plan.limit)


def run(plan: Plan, out: Path, console: Console) -> None:
    """Measure ``plan`` and write ``out`` (CSV) and its machine description beside it (JSON)."""
    todo = list(jobs(plan))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(machine(plan), indent=2) + "\n")
    with out.open("w", newline="") as file, Progress(console=console) as progress:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        bar = progress.add_task("measuring", total=len(todo))
        for job in todo:
            progress.update(bar, description=f"{job.source.name} {job.codec}")
            for row in rows(job):
                writer.writerow(asdict(row))
                _warn(row, console)
            file.flush()
            progress.advance(bar)


def machine(plan: Plan) -> dict[str, str]:
    """Return what the numbers depend on: processor, system, versions, date, repeats."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "repeats": str(plan.repeats),
        **versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _warn(row: Row, console: Console) -> None:
    if row.status != "ok":
        console.print(f"[red]{row.field} {row.codec} {row.bound:g} ({row.given}): {row.status}[/red]")
