"""The command line of the bench; ``python -m bench --help`` shows it."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import lossless, study
from bench.child import Interrupted
from bench.markdown import fill_section
from bench.page import roofline_section, write_page
from bench.run import BOUNDS, QUICK_FIELDS, Plan, find_codecs, find_sources, run
from bench.table import newest, read_rows

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCS, OUT = ROOT / "bench" / "results", ROOT / "docs", ROOT / "out" / "bench"

COMMANDS = {
    "all": "everything below, then the pages (the default)",
    "run": "the comparison: every codec on every field at every bound",
    "lossless": "every bit: our levels at bound 0 against pcodec and Zstandard",
    "memory": "bytes a value that a call takes above its input and output",
    "threads": "one thread and two within a call, on arrays of 8 to 64 MiB",
    "scaling": "time of a value in cubes of 32^3 to 512^3",
    "profile": "functions of the engine that the time goes to (needs perf and the dev tools)",
    "chunks": "bytes in chunks of 64^3 and 32^3 over bytes in one piece",
    "table": "write the pages and figures from the newest CSVs",
}

EPILOG = """\
examples:
  python -m bench --quick                        a look at everything, kept in out/bench/quick
  python -m bench                                everything; after Ctrl-C the same command goes on
  python -m bench run --fields hurricane_isabel_wind --codecs sciflow,pysz --bounds 1e-3,1e-5
  python -m bench scaling --fresh                this study again from its start
  python -m bench table --csv bench/results/2026-11-21.csv

Rows go to bench/results/DATE.csv and DATE-STUDY.csv, each with its machine in a JSON beside it. Rows of today
stay if machine, packages and engine are the same; otherwise the CSV starts over. Speeds need an idle machine.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 where there was nothing to do, 130 when interrupted."""
    console = Console()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0] not in COMMANDS and given[0] not in ("-h", "--help")):
        given.insert(0, "all")
    options = _parser().parse_args(given)
    _place(options)
    try:
        return 0 if _run(options, console) else 2
    except (KeyboardInterrupt, Interrupted):
        console.print("[yellow]interrupted; the same command goes on where this one stopped[/yellow]")
        return 130


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    about = "sciflow against its peers, and what it costs. Without a command: all."
    parser = argparse.ArgumentParser(
        "python -m bench", description=about, epilog=EPILOG, formatter_class=plain
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, epilog=EPILOG, formatter_class=plain)
        _options(command, name)
    return parser


def _options(parser: argparse.ArgumentParser, command: str) -> None:
    shared = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="folder of .npy fields with a catalog.json")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder of our own fields, made once")
    parser.add_argument("--page", type=Path, help="page of the comparison; default docs/benchmarks.md")
    parser.add_argument("--performance", type=Path, help="page of the studies; default docs/performance.md")
    parser.add_argument(
        "--csv", type=Path, help="CSV of the comparison that the page shows; default the newest"
    )
    parser.add_argument(
        "--quick", action="store_true", help="five fields, one bound, one repeat, small cubes"
    )
    if command == "table":
        return
    parser.add_argument("--results", type=Path, help="folder of the CSVs; default bench/results")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there of today")
    if command in ("all", "run", "lossless"):
        parser.add_argument("--out", type=Path, help="CSV to write")
        parser.add_argument("--fields", type=_names, default=(), help="comma-separated; default all")
        parser.add_argument(
            "--codecs", type=_names, default=(), help="comma-separated; default all installed"
        )
        parser.add_argument("--bounds", type=_bounds, default=BOUNDS, help="relative to the range")
        parser.add_argument("--repeats", type=int, default=5, help="timed calls at most; the median counts")
        parser.add_argument("--limit", type=float, default=120.0, help="seconds a bound may take")


def _place(options: argparse.Namespace) -> None:
    """Fill in where results and pages go: a quick look leaves the committed ones alone."""
    quick = OUT / "quick"
    options.data, options.cache = options.data.resolve(), options.cache.resolve()
    options.results = getattr(options, "results", None) or (quick if options.quick else RESULTS)
    options.page = options.page or (quick if options.quick else DOCS) / "benchmarks.md"
    options.performance = options.performance or (quick if options.quick else DOCS) / "performance.md"


def _run(options: argparse.Namespace, console: Console) -> bool:
    steps: dict[str, Callable[[argparse.Namespace, Console], bool]] = {
        "run": _compare,
        "lossless": _lossless,
        **dict.fromkeys(study.NAMES, _study),
        "table": _pages,
    }
    if options.command != "all":
        return steps[options.command](options, console)
    done = []
    for name, step in steps.items():
        console.rule(f"{name}: {COMMANDS[name]}")
        options.command = name
        done.append(step(options, console))
    return all(done)


def _csv(options: argparse.Namespace, name: str) -> Path:
    """Return the CSV of today for study ``name``, empty for the comparison."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    folder: Path = options.results
    return folder / (f"{today}-{name}.csv" if name else f"{today}.csv")


def _plan(options: argparse.Namespace, console: Console, names: Sequence[str]) -> Plan | None:
    fields = QUICK_FIELDS if options.quick and not options.fields else options.fields
    sources = find_sources(options.data, options.cache, fields, console)
    codecs = find_codecs(names, console)
    if not sources or not codecs:
        console.print("[red]error:[/red] no field or no codec is left to measure")
        return None
    bounds, repeats = ((1e-3,), 1) if options.quick else (options.bounds, options.repeats)
    return Plan(sources, codecs, bounds, repeats, options.limit)


def _compare(options: argparse.Namespace, console: Console) -> bool:
    plan = _plan(options, console, options.codecs)
    if plan is None:
        return False
    out = options.out or _csv(options, "")
    run(plan, out, console, fresh=options.fresh)
    console.print(f"wrote {out}")
    return True


def _lossless(options: argparse.Namespace, console: Console) -> bool:
    why = lossless.available()
    if why:
        console.print(f"[yellow]skipped: every bit; the codec takes no bound of 0 ({why})[/yellow]")
        return True
    own = options.command == "lossless" and options.codecs
    plan = _plan(options, console, own or lossless.CODECS)
    if plan is None:
        return False
    out = _csv(options, "lossless")
    every_bit = replace(plan, bounds=(0.0,))
    run(every_bit, out, console, fresh=options.fresh, paired=plan.codecs)
    console.print(f"wrote {out}")
    return True


def _study(options: argparse.Namespace, console: Console) -> bool:
    name: str = options.command
    setting, out = study.Setting(options.data, options.cache, options.quick), _csv(options, name)
    if study.run_study(name, setting, out, console, fresh=options.fresh):
        console.print(f"wrote {out}")
        _fill(options, name, out, console)
    return True


def _fill(options: argparse.Namespace, name: str, csv: Path, console: Console) -> None:
    """Write section ``name``, of a study or the roofline of the comparison, into the page of the studies."""
    page: Path = options.performance
    source = page if page.is_file() else DOCS / "performance.md"
    text = roofline_section(csv) if name == "roofline" else study.load_study(name).section(read_rows(csv))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(fill_section(source.read_text(), name, f"From `{csv.name}`. {text}"))
    console.print(f"filled section {name} of {page}")


def _pages(options: argparse.Namespace, console: Console) -> bool:
    csv = options.csv or getattr(options, "out", None) or newest(options.results)
    if csv is None or not csv.is_file():
        where = csv or options.results
        console.print(f"[red]error:[/red] found no CSV ({where}); make one with python -m bench run")
        return False
    for path in write_page(csv, options.page, newest(options.results, "lossless")):
        console.print(f"wrote {path}")
    _fill(options, "roofline", csv, console)
    for name in study.NAMES:
        found = newest(options.results, name)
        if found is not None:
            _fill(options, name, found, console)
    return True


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _bounds(text: str) -> tuple[float, ...]:
    return tuple(float(bound) for bound in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
