"""The comparison with the peers: every codec on every field at every bound, rows written as they come.

```
jobs ─▶ fast codecs, one at a time ─▶ slow codecs, one a CPU ─▶ rows
```
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.child import cpus, one_a_cpu
from bench.fields import Source, read, shared_sources
from bench.measure import COLUMNS, Row
from bench.protocol import NAMES, load
from bench.simulations import NAMES as SIMULATED
from bench.simulations import simulated_sources
from bench.table import Table
from bench.worker import Job, rows

BOUNDS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
QUICK_FIELDS = ("atm_t_3d", "ecg_mitbih_100", "era5_temperature_2d", "ostia_sst_monthly", "turb_vorticity_3d")
SLOW = ("sciflow-max", "hdf5-sz3", "hdf5-sz", "hdf5-sperr")
"""Codecs far below the speed of memory: two of them, on two CPUs, do not get into each other's way."""

HUGE = 1 << 24
"""Values from which on the slow codecs run at `HUGE_BOUNDS` only."""

HUGE_BOUNDS = (1e-2, 1e-3, 1e-4)

Key = tuple[str, str, str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes
    ----------
    sources : tuple of Source
    codecs : tuple of str
    bounds : tuple of float
        Relative to the range of the valid cells; 0 asks for every bit.
    repeats : int
        Timed calls after the warm-up, at most.
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
    ours = tuple(name for name in SIMULATED if not wanted or name in wanted)
    with progress_bar(console) as progress:
        bars = {}

        def report(name: str, done: float) -> None:
            if name not in bars:
                bars[name] = progress.add_task(f"making {name}, once", total=1.0)
            progress.update(bars[name], completed=done)

        simulated = simulated_sources(cache / "fields", ours, report)
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
        field = read(source)
        for name in plan.codecs:
            codec = load(name)
            huge = name in SLOW and field.values.size >= HUGE
            bounds = tuple(bound for bound in plan.bounds if not huge or bound in HUGE_BOUNDS)
            fill = field.has_specials and not codec.takes_specials
            yield Job(source, name, (0.0,) if codec.lossless else bounds, not fill, plan.repeats, plan.limit)
            if fill:
                yield Job(source, name, (middle,), True, 1, plan.limit)


def undone(todo: Iterator[Job], done: Collection[Key]) -> list[Job]:
    """Return ``todo`` without the bounds whose rows are in ``done``."""
    left = []
    for job in todo:
        bounds = tuple(
            bound for bound in job.bounds if (job.source.name, job.codec, job.given, bound) not in done
        )
        if bounds:
            left.append(replace(job, bounds=bounds))
    return left


def run(
    plan: Plan, out: Path, console: Console, *, fresh: bool = False, paired: Collection[str] = SLOW
) -> None:
    """Measure what of ``plan`` is not yet in ``out`` (CSV; its machine beside it as JSON).

    The codecs ``paired`` run beside one another, one a CPU, after the others.
    """
    with Table(out, COLUMNS, fresh=fresh, settings={"repeats": plan.repeats}) as table:
        if table.note:
            console.print(f"[yellow]{table.note}[/yellow]")
        done = {(row["field"], row["codec"], row["given"], float(row["bound"])) for row in table.rows}
        if done:
            console.print(f"{out.name} has {len(done)} rows already: going on (--fresh starts over)")
        left = undone(jobs(plan), done)
        with progress_bar(console) as progress:
            bar = progress.add_task("measuring", total=sum(len(job.bounds) for job in left))
            for job, measured in _measured(left, paired):
                progress.update(bar, description=f"{job.source.name} {job.codec}", advance=len(job.bounds))
                for row in measured:
                    table.append(asdict(row))
                    _warn(row, console)


def progress_bar(console: Console) -> Progress:
    """Return the bar of all the bench's runs."""
    columns = (TextColumn("{task.description:<46.46}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _measured(left: Sequence[Job], paired: Collection[str]) -> Iterator[tuple[Job, list[Row]]]:
    """Yield each job with its rows: the fast codecs alone on the machine, then the slow ones, one a CPU."""

    def measure(job: Job, cpu: int) -> list[Row]:
        return list(rows(replace(job, cpu=cpu)))

    for job in left:
        if job.codec not in paired:
            yield job, measure(job, cpus()[-1])
    yield from one_a_cpu([job for job in left if job.codec in paired], measure)


def _warn(row: Row, console: Console) -> None:
    if row.status != "ok":
        console.print(f"[red]{row.field} {row.codec} {row.bound:g} ({row.given}): {row.status}[/red]")
