"""``python -m sciflow.datasets list | show NAME | make NAME OUT.nc [--set key=value] [--workers N]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sciflow.datasets.catalog import card, make, names, recipe
from sciflow.errors import InvalidArgument, SciflowError

EXAMPLES = """\
examples:
  python -m sciflow.datasets list
  python -m sciflow.datasets show darcy
  python -m sciflow.datasets make shallow-water sea.nc
  python -m sciflow.datasets make darcy darcy.nc --set samples=4096 --set field=lognormal --workers 2

Sets of samples (those with a parameter `samples`) are drawn in parallel; one that was stopped goes on with
the same command. Train on them with SolarLoader, compress any of them with `sciflow compress`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line that says what was wrong."""
    console, errors = Console(), Console(stderr=True)
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            _list(console)
        elif options.command == "show":
            console.out(card(options.name), highlight=False)
        else:
            _make(console, options)
    except SciflowError as error:
        errors.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        return 2
    except KeyboardInterrupt:
        errors.print("stopped; a set of samples goes on with the same command", highlight=False)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m sciflow.datasets",
        description="Data sets made on the spot by real forward models; the seed fixes every value.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="list the catalogue: names, titles, parameters with their defaults")
    showing = commands.add_parser(
        "show", help="show the card of a data set: what it is, equations, cost, limits"
    )
    showing.add_argument("name", help="name in the catalogue")
    making = commands.add_parser(
        "make",
        help="make a data set",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    making.add_argument("name", help="name in the catalogue")
    making.add_argument("out", help="NetCDF file to write; it must not exist")
    about = "a parameter that differs from the recipe's (see list); may be given several times"
    making.add_argument("--set", dest="settings", action="append", default=[], metavar="K=V", help=about)
    about = "processes that draw samples, by default one for each core; values do not depend on it"
    making.add_argument("--workers", type=int, metavar="N", help=about)
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


def _make(console: Console, options: argparse.Namespace) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    settings = _settings(options.settings)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(options.name, total=1.0)
        path = make(
            options.name,
            options.out,
            settings=settings,
            workers=options.workers,
            progress=lambda done: bar.update(task, completed=done),
        )
    console.print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
