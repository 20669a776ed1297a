"""A study: a small table of measurements beside the comparison, each made in a process of its own.

```
tasks ─▶ one child a task: measure ─▶ CSV ─▶ section of docs/performance.md
```
A study is a module of `bench.studies` that has what `Study` lists.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from rich.console import Console

from bench.child import one_a_cpu, spawn
from bench.run import progress_bar
from bench.table import Table

Record = dict[str, Any]
"""One line: what was to be measured, and what was found. Read back from a CSV all values are text."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where data and cache are, and whether a look is enough."""

    data: Path
    cache: Path
    quick: bool


class Unavailable(Exception):
    """A study cannot run here; the message says what it lacks."""


class Study(Protocol):
    """What a module of `bench.studies` has.

    ``KEYS`` are the columns of a task, ``FOUND`` those that `measure` adds. `tasks` may make files in the
    cache; `measure` runs in a child. With ``TIMED`` nothing else of ours runs beside it.
    """

    TIMED: bool
    KEYS: tuple[str, ...]
    FOUND: tuple[str, ...]
    LIMIT: float

    def tasks(self, setting: Setting) -> list[Record]:
        """Return what is to be measured.

        Raises
        ------
        Unavailable
            The study cannot run here.
        """
        ...

    def measure(self, task: Record, setting: Setting) -> Record:
        """Return the values of ``FOUND`` for ``task``."""
        ...

    def section(self, rows: Sequence[Record]) -> str:
        """Return the tables of ``rows``, Markdown without a heading."""
        ...


NAMES = ("memory", "threads", "scaling", "chunks", "profile")


def load_study(name: str) -> Study:
    """Return the study called ``name``."""
    return cast(Study, importlib.import_module(f"bench.studies.{name}"))


def run_study(name: str, setting: Setting, out: Path, console: Console, *, fresh: bool) -> bool:
    """Measure what of study ``name`` is not yet in ``out``; return whether it could run here."""
    study = load_study(name)
    try:
        with console.status(f"{name}: preparing"):
            tasks = study.tasks(setting)
    except Unavailable as error:
        console.print(f"[yellow]skipped: {name}; {error}[/yellow]")
        return False
    with Table(out, (*study.KEYS, *study.FOUND, "status"), fresh=fresh) as table:
        if table.note:
            console.print(f"[yellow]{table.note}[/yellow]")
        done = {tuple(row[key] for key in study.KEYS) for row in table.rows}
        left = [task for task in tasks if tuple(str(task[key]) for key in study.KEYS) not in done]
        with progress_bar(console) as progress:
            bar = progress.add_task(name, total=len(left))
            for task, (found, ending) in _measured(name, left, setting):
                what = " ".join(str(task[key]) for key in study.KEYS)
                progress.update(bar, description=f"{name}: {what}")
                table.append({**dict.fromkeys(study.FOUND, ""), **task, **found, "status": ending or "ok"})
                if ending:
                    console.print(f"[red]{name} {what}: {ending}[/red]")
                progress.advance(bar)
    return True


def _measured(
    name: str, left: Sequence[Record], setting: Setting
) -> Iterator[tuple[Record, tuple[Record, str]]]:
    """Yield each task with what was found and how its child ended: one after the other if timed."""
    study = load_study(name)

    def measure(task: Record, _cpu: int) -> tuple[Record, str]:
        return _run(name, task, setting, study.LIMIT)

    if study.TIMED:
        yield from ((task, measure(task, 0)) for task in left)
    else:
        yield from one_a_cpu(left, measure)


def _run(name: str, task: Record, setting: Setting, limit: float) -> tuple[Record, str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        place = {"data": str(setting.data), "cache": str(setting.cache), "quick": setting.quick}
        ending = spawn(
            "bench.study", json.dumps({"name": name, "task": task, "setting": place, "out": str(out)}), limit
        )
        return (json.loads(out.read_text()) if out.exists() else {}), ending


def main() -> None:
    """Read a task from standard input, measure it and write what was found."""
    request = json.load(sys.stdin)
    place = request["setting"]
    setting = Setting(Path(place["data"]), Path(place["cache"]), place["quick"])
    found = load_study(request["name"]).measure(request["task"], setting)
    Path(request["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
