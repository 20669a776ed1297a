"""``python -m sciflow.datasets list | make NAME OUT.nc [--set key=value]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from sciflow.datasets.catalog import make, names, recipe
from sciflow.errors import InvalidArgument, SciflowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line that says what was wrong."""
    console, errors = Console(), Console(stderr=True)
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            _list(console)
        else:
            _make(console, options.name, options.out, _settings(options.settings))
    except SciflowError as error:
        errors.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m sciflow.datasets", description="Data sets made on the spot.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the catalogue and its parameters")
    making = commands.add_parser("make", help="make a data set")
    making.add_argument("name", help="name in the catalogue")
    making.add_argument("out", help="NetCDF file to write")
    about = "a parameter that differs from the recipe's; may be given several times"
    making.add_argument("--set", dest="settings", action="append", default=[], metavar="K=V", help=about)
    return parser


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidArgument(f"--set: found {pair!r}, expected KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _list(console: Console) -> None:
    for name in names():
        entry = recipe(name)
        parameters = " ".join(f"{key}={value}" for key, value in entry.parameters.items())
        console.print(f"[bold]{name}[/bold]  {entry.title}\n    {parameters}", highlight=False)


def _make(console: Console, name: str, out: str, settings: dict[str, str]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=1.0)
        path = make(name, out, settings=settings, progress=lambda done: bar.update(task, completed=done))
    console.print(f"wrote {path} ({path.stat().st_size / 1e6:.0f} MB)", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
