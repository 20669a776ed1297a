"""The ``sciflow`` command: every sub-command calls a public function and shows its result as a table or JSON.

Exit codes: 0 done; 1 a promise does not hold; 2 bad input or a bad command; 70 our bug; 75 start it again;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sciflow._deploy_command import deploy
from sciflow._evaluate_command import compare, evaluate
from sciflow._options import (
    OUTPUT,
    STORE,
    Abs,
    Aux,
    CodecKind,
    CodecSize,
    Json,
    Level,
    Model,
    Nbytes,
    Pointwise,
    Psnr,
    Ratio,
    Region,
    Rel,
    Var,
    Workers,
)
from sciflow._plan_command import plan
from sciflow._report_command import report
from sciflow._train_command import train
from sciflow._tune_command import tune
from sciflow.bounds import Bound, BoundKind
from sciflow.errors import BoundViolated, InvalidArgument, SciflowError
from sciflow.store.chunking import parse_chunks

if TYPE_CHECKING:
    from sciflow.store.results import Report

__all__ = ["app", "main", "run"]

_WIDTH_IN_FILES = 160
_PROMISE_BROKEN, _BAD_INPUT, _BUG, _INTERRUPTED = 1, 2, 70, 130

app = typer.Typer(
    name="sciflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Compress scientific arrays within an error bound that you name.\n\n"
    "`sciflow compress in.nc out.zarr --rel 1e-3` writes a Zarr store in which no value is further "
    "from the original than a thousandth of its variable's range; any xarray opens it.",
)


@app.command(no_args_is_help=True)
def compress(
    source: Annotated[str, typer.Argument(metavar="IN", help="NetCDF, HDF5, Zarr, GRIB with cfgrib.")],
    store: Annotated[str, typer.Argument(metavar="OUT", help="The Zarr store to make.")],
    rel: Rel = None,
    abs_: Abs = None,
    pointwise_rel: Pointwise = None,
    psnr: Psnr = None,
    ratio: Ratio = None,
    nbytes: Nbytes = None,
    var: Var = None,
    region: Region = None,
    level: Annotated[
        Level, typer.Option("--level", help="Bytes against seconds; the bound stays.", rich_help_panel=STORE)
    ] = Level.balanced,
    chunks: Annotated[
        str | None,
        typer.Option("--chunks", metavar="DIM=N,...", help="As in lat=64,lon=64.", rich_help_panel=STORE),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(
            "--shards", metavar="DIM=N,...", help="Cells of a file of many chunks.", rich_help_panel=STORE
        ),
    ] = None,
    rewrite_safe: Annotated[
        bool,
        typer.Option("--rewrite-safe", help="Parts of chunks may be written later.", rich_help_panel=STORE),
    ] = False,
    enhance: Annotated[
        bool,
        typer.Option("--enhance", help="Same bounds, less mean square error.", rich_help_panel=STORE),
    ] = False,
    aux: Aux = None,
    model: Model = None,
    workers: Workers = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it is a store.", rich_help_panel=STORE)
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(help="Go on from an interrupted run of the same command.", rich_help_panel=STORE),
    ] = True,
    flow: Annotated[
        bool,
        typer.Option("--flow", help="As a Prefect flow on --workers processes.", rich_help_panel=STORE),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done.", rich_help_panel=OUTPUT)
    ] = False,
    json: Json = False,
) -> None:
    """Compress a file into a Zarr store, every value within a bound.

    Fields of float32 and float64 are compressed. Coordinates, cell bounds and measures, integers, packed
    data, text and times keep every bit; fill values stay fill values. Every chunk is read back and compared
    with the source, and OUT gets its name when all of them are good. A run that was stopped goes on when the
    command is repeated.

    **Examples**

    * `sciflow compress in.nc out.zarr --rel 1e-3`

    * `sciflow compress in.nc out.zarr --rel 1e-3 --var t=abs:0.05 --var mask=lossless`

    * `sciflow compress in.nc out.zarr --ratio 20`

    * `sciflow compress in.nc out.zarr --abs 0.1 --region t=land:1:abs=0.01 --region t=land:2:lossless`

    * `sciflow compress in.nc out.zarr --psnr 70 --level max --chunks time=24,lat=-1,lon=-1`

    * `sciflow compress in.nc out.zarr --rel 1e-3 --dry-run`

    * `sciflow compress in.nc out.zarr --rel 1e-2 --enhance --aux baryons=dark_matter`

    * `sciflow compress in.nc out.zarr --rel 1e-3 --flow --workers 4`
    """
    from sciflow import store as stores

    bound = _one_bound(
        {
            "abs": abs_,
            "rel": rel,
            "pointwise_rel": pointwise_rel,
            "psnr": psnr,
            "ratio": ratio,
            "nbytes": nbytes,
        }
    )
    if flow and not dry_run:
        from sciflow._flow_command import compress_in_flow

        report = compress_in_flow(
            source,
            store,
            bound=None if bound is None else f"{bound.kind}:{bound.value!r}",
            settings={
                "per_variable": _bounds_by_name(var or []),
                "regions": {
                    name: {"mask": mask, "bounds": {label: b or "lossless" for label, b in bounds.items()}}
                    for name, (mask, bounds) in _regions_by_name(region or []).items()
                },
                "enhance": enhance,
                "aux": _aux_by_name(aux or []),
                "model": model,
                "level": level.value,
                "chunks": parse_chunks(chunks) if chunks else {},
                "shards": parse_chunks(shards) if shards else {},
                "rewrite_safe": rewrite_safe,
            },
            workers=workers,
            overwrite=overwrite,
            resume=resume,
        )
        _show(report, json=json)
        return
    report = stores.compress(
        source,
        store,
        bound=bound,
        per_variable=_bounds_by_name(var or []),
        regions=_regions_by_name(region or []),
        enhance=enhance,
        aux=_aux_by_name(aux or []),
        model=model,
        level=level.value,
        chunks=chunks,
        shards=shards,
        rewrite_safe=rewrite_safe,
        workers=workers,
        overwrite=overwrite,
        resume=resume,
        dry_run=dry_run,
    )
    _show(report, json=json)


@app.command(no_args_is_help=True)
def decompress(
    store: Annotated[str, typer.Argument(metavar="STORE", help="What `sciflow compress` made.")],
    netcdf: Annotated[Path, typer.Argument(metavar="OUT", help="The NetCDF-4 file to make.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Write a store back to a NetCDF-4 file, for programs that do not read Zarr.

    Values are those of the store, within its bounds; attributes, fill values and packing are those of the
    source.

    **Example**

    * `sciflow decompress out.zarr back.nc`
    """
    from sciflow.store import decompress

    decompress(store, netcdf, overwrite=overwrite)


@app.command(no_args_is_help=True)
def inspect(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A Zarr store.")],
    json: Json = False,
) -> None:
    """Show codec, bound, chunks, ratio and error reached of every variable, without reading the data.

    **Example**

    * `sciflow inspect out.zarr`
    """
    from sciflow import store as stores

    _show(stores.inspect(store), json=json)


@app.command(no_args_is_help=True)
def verify(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="What was compressed.")],
    store: Annotated[str, typer.Argument(metavar="STORE", help="What it was compressed to.")],
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Compare every value of a store with its original; exit with 1 if a promise does not hold.

    Bounds are resolved and errors measured anew. Lossless variables must agree in every bit, and attributes
    and dimensions must be those of the original.

    **Example**

    * `sciflow verify in.nc out.zarr`
    """
    from sciflow import store as stores

    report = stores.verify(original, store, workers=workers)
    _show(report, json=json)
    if not report.ok:
        console = Console(stderr=True, soft_wrap=True)
        for problem in report.problems():
            console.print(f"sciflow: {problem}", markup=False, highlight=False)
        raise typer.Exit(_PROMISE_BROKEN)


@app.command("fit-enhancer", no_args_is_help=True)
def fit_enhancer(
    source: Annotated[str, typer.Argument(metavar="IN", help="A Zarr store, NetCDF, HDF5.")],
    rel: Rel = None,
    abs_: Abs = None,
    psnr: Psnr = None,
    var: Var = None,
) -> None:
    """Fit one enhancer a variable and print them as JSON, for GWLZ(..., shared=...).

    `sciflow compress --enhance` does this by itself.

    **Example**

    * `sciflow fit-enhancer in.zarr --rel 1e-2 > enhancers.json`
    """
    import json

    from sciflow.store.fitting import fit_enhancer as fit

    asked = _one_bound({"abs": abs_, "rel": rel, "psnr": psnr})
    found = fit(source, bound=asked, per_variable=_bounds_by_name(var or []))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


@app.command("train-codec", no_args_is_help=True)
def train_codec(
    sources: Annotated[list[str], typer.Argument(metavar="IN...", help="Snapshots: Zarr, NetCDF, HDF5.")],
    variable: Annotated[str, typer.Option("--var", help="The variable to learn.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for model, card, checkpoint and curves.")],
    kind: Annotated[CodecKind, typer.Option("--kind", help="What to fit.")] = CodecKind.klt,
    block: Annotated[
        str,
        typer.Option(
            "--block",
            metavar="N,N,N",
            help="Cells of a block; for a linear model a patch, of 32 or more a side.",
        ),
    ] = "8,8,8",
    latents: Annotated[int, typer.Option("--latents", help="Of a block; 0: by the kind.", min=0)] = 0,
    size: Annotated[CodecSize, typer.Option("--size", help="Of an autoencoder.")] = CodecSize.small,
    epochs: Annotated[int, typer.Option("--epochs", help="Of an autoencoder, at most.", min=1)] = 60,
    patience: Annotated[int, typer.Option("--patience", help="Epochs without progress.", min=1)] = 10,
    limit: Annotated[int, typer.Option("--limit", help="Blocks to look at.", min=1)] = 20000,
    seed: Annotated[int, typer.Option("--seed", help="Of all that is random.", min=0)] = 0,
) -> None:
    """Fit or train a model that predicts blocks of a variable, on snapshots that are not compressed with it.

    OUT gets model.safetensors and CARD.md, and prints the model's digest. The last snapshots judge an
    autoencoder and are not trained on. Ctrl-C keeps what was done: the same command goes on from there.

    **Examples**

    * `sciflow train-codec run1.nc run2.nc --var u --kind linear --block 32,32,32 --out u-linear`

    * `sciflow train-codec run1.nc run2.nc --var u --out u-klt`

    * `sciflow train-codec run1.nc --var t --block 32,32 --kind autoencoder --out t-model`
    """
    from sciflow.models.cli import train

    found = train(
        sources,
        variable,
        out,
        {
            "kind": kind.value,
            "block": block,
            "latents": latents,
            "size": size.value,
            "limit": limit,
            "seed": seed,
        },
        {"epochs": epochs, "patience": patience, "seed": seed},
    )
    sys.stdout.write(found + "\n")


app.command(no_args_is_help=True)(plan)
app.command(no_args_is_help=True)(report)
app.command(no_args_is_help=True)(tune)
app.command(no_args_is_help=True)(train)
app.command(no_args_is_help=True)(evaluate)
app.command(no_args_is_help=True)(compare)
app.command(no_args_is_help=True)(deploy)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; whatever goes wrong is one line on standard error.

    Parameters
    ----------
    arguments : sequence of str
        Without the name of the program.

    Returns
    -------
    int
        The exit code.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        code = app(args=list(arguments), prog_name="sciflow", standalone_mode=False)
    except BoundViolated as error:
        return _complain(str(error), _PROMISE_BROKEN)
    except (SciflowError, OSError, MemoryError) as error:
        return _complain(_in_words(error), _BAD_INPUT)
    except Exception as error:
        say = getattr(error, "format_message", None)  # an error of the command line, which typer makes
        if say is not None:
            return _complain(f"{say()} (sciflow --help)", _BAD_INPUT) if str(error) else _BAD_INPUT
        if os.environ.get("SCIFLOW_DEBUG"):
            raise
        kind = type(error).__name__
        return _complain(f"{kind}: {error}; a bug, please report it (SCIFLOW_DEBUG=1 shows where)", _BUG)
    if code == _INTERRUPTED:
        return _complain("interrupted; the same command goes on from here (train: --resume)", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(run(sys.argv[1:]))


def _one_bound(asked: dict[BoundKind, float | None]) -> Bound | None:
    given = [(kind, value) for kind, value in asked.items() if value is not None]
    if len(given) > 1:
        options = " and ".join(f"--{kind.replace('_', '-')}" for kind, _ in given)
        raise InvalidArgument(f"{options}: give one bound for all fields, others with --var NAME=KIND:NUMBER")
    return Bound(*given[0]) if given else None


def _bounds_by_name(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, bound = text.partition("=")
        if not (name and bound):
            raise InvalidArgument(f"--var {text}: expected NAME=BOUND, as in t=rel:1e-4 or mask=lossless")
        found[name] = bound
    return found


def _regions_by_name(texts: list[str]) -> dict[str, tuple[str, dict[int, str | None]]]:
    found: dict[str, tuple[str, dict[int, str | None]]] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        mask, *behind = rest.split(":", 2)
        if not (name and mask and len(behind) == 2 and behind[0].lstrip("-").isdecimal()):
            raise InvalidArgument(
                f"--region {text}: expected NAME=MASK:LABEL:BOUND, as in t=land:1:abs=0.01, t=land:2:lossless"
            )
        known, bounds = found.setdefault(name, (mask, {}))
        if known != mask:
            raise InvalidArgument(f"--region {text}: the regions of {name!r} are those of {known!r} already")
        bounds[int(behind[0])] = behind[1]
    return found


def _aux_by_name(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, others = text.partition("=")
        if not (name and others):
            raise InvalidArgument(f"--aux {text}: expected NAME=OTHER or NAME=OTHER,OTHER as in t=u,v")
        found.setdefault(name, []).extend(others.split(","))
    return found


def _show(report: Report, *, json: bool) -> None:
    if json:
        sys.stdout.write(report.to_json() + "\n")
        return
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_IN_FILES
    console.print(report.table())


def _in_words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())


def _complain(text: str, code: int) -> int:
    Console(stderr=True, soft_wrap=True).print(f"sciflow: {text}", markup=False, highlight=False)
    return code


if __name__ == "__main__":
    main()
