"""``sciflow evaluate`` and ``sciflow compare``: what compression does to a surrogate, and to a field."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sciflow._options import Json, Level
from sciflow.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from sciflow.models.evaluation import Rung, Score

__all__ = ["compare", "evaluate"]

_WIDTH_IN_FILES = 120
_TRAINING, _COMPRESSION = "Training", "Compression"


class Window(StrEnum):
    """What a field is beyond its border."""

    hann = "hann"
    periodic = "periodic"


def evaluate(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="TOML of `sciflow train`, or a recipe of the catalogue.")
    ],
    bounds: Annotated[
        str,
        typer.Option(
            "--bounds",
            metavar="B,B,...",
            help="Parts of the range, or KIND:NUMBER: 1e-3,abs:0.1,ratio:20.",
            rich_help_panel=_COMPRESSION,
        ),
    ] = "1e-4,1e-3,1e-2,3e-2,1e-1",
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", help="Trainings a rung; 2 give an error bar.", min=1, rich_help_panel=_TRAINING
        ),
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder; default: the config's out, -evaluation behind it."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace a value of CONFIG: train.epochs=5. Repeatable.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Growth of the test loss that is accepted, in percent.")
    ] = 1.0,
    level: Annotated[
        Level,
        typer.Option("--level", help="Of the codec: bytes against seconds.", rich_help_panel=_COMPRESSION),
    ] = Level.balanced,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME|FILE|DIGEST",
            help="Predicts blocks, as for `sciflow compress`.",
            rich_help_panel=_COMPRESSION,
        ),
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            metavar="NAME=BOUND",
            help="Another bound for a variable, the same in all rungs: mask=lossless. Repeatable.",
            rich_help_panel=_COMPRESSION,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.", rich_help_panel=_TRAINING)
    ] = "auto",
    json: Json = False,
) -> None:
    """Find the coarsest bound that a surrogate does not notice.

    For each bound the data of CONFIG are compressed, a surrogate is trained on what they decode to, and
    tested on held-out samples that were never compressed. The same is done with the data as they are. The
    knee is the smallest store whose mean test loss has grown by the tolerance at most.

    DIR gets report.md, report.png, report.csv and report.json, and a folder a rung. Ctrl-C keeps what is
    done: the same command goes on from there, and rungs that are done are not done again.

    **Examples**

    * `sciflow evaluate fno.toml --bounds 1e-3,1e-2,1e-1 --out fno-ladder`

    * `sciflow evaluate fno.toml --seeds 3 --set train.epochs=20 --level max`

    * `sciflow evaluate cosmoflow.toml --bounds ratio:10,ratio:30,ratio:100`
    """
    try:
        from sciflow.models.evaluation import evaluate as run_ladder
        from sciflow.models.runs.recipes import find_config
        from sciflow.models.runs.stopping import REQUEUE
    except ImportError as error:
        raise Unsupported(f"{error}: pip install 'sciflow[surrogates]'") from error
    said = Console(stderr=True, soft_wrap=True)

    def tell(rung: Rung, score: Score) -> None:
        said.print(
            f"{rung.name}: {rung.ratio:.1f} times smaller, seed {score.seed}: "
            f"test loss {score.test_loss:.5g}, {score.epochs} epochs, {score.seconds:.0f} s",
            markup=False,
            highlight=False,
        )

    try:
        report = run_ladder(
            find_config(config, set=changes or []),
            bounds=[text.strip() for text in bounds.split(",") if text.strip()],
            seeds=seeds,
            out=out,
            level=level.value,
            model=model,
            per_variable=_bounds_by_name(var or []),
            tolerance=tolerance / 100.0,
            device=device,
            progress=True,
            watch=tell,
        )
    except InterruptedError as error:
        said.print(f"sciflow: {error}", markup=False, highlight=False)
        raise typer.Exit(REQUEUE) from error
    if json:
        sys.stdout.write(report.to_json())
    else:
        _console().print(report)


def compare(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="NetCDF, HDF5, Zarr: the reference.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="What is judged: a store, a prediction.")],
    var: Annotated[
        str | None, typer.Option("--var", metavar="T,U,...", help="Variables; default: all that both have.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="M,M,...", help="As bias,dssim; default: all that fit the field."),
    ] = None,
    vector: Annotated[
        list[str] | None,
        typer.Option(
            "--vector",
            metavar="V,U",
            help="Components in the order of the axes, for divergence and vorticity. Repeatable.",
        ),
    ] = None,
    space: Annotated[
        int | None, typer.Option("--space", help="Axes of space of a spectrum, the last ones.", min=1, max=3)
    ] = None,
    window: Annotated[
        Window, typer.Option("--window", help="Of the spectrum; periodic for periodic fields.")
    ] = Window.hann,
    json: Json = False,
) -> None:
    """Compare the fields of two files or stores by what a scientist looks at.

    Bias, RMSE, largest error, correlations, distances of distributions, extremes, power spectra, SSIM and
    data SSIM, of each variable; divergence and vorticity of vectors. Latitudes in degrees_north weight cells
    by their area. `sciflow verify` checks bounds and bits; this asks what they mean.

    **Examples**

    * `sciflow compare in.nc out.zarr`

    * `sciflow compare in.nc out.zarr --var t --metrics rmse,dssim,log_spectral_distance`

    * `sciflow compare run.nc run.zarr --vector v,u --window periodic`
    """
    import xarray as xr

    from sciflow.physics import compare_datasets
    from sciflow.store.source import open_variables

    with open_variables(original) as reference, open_variables(other) as candidate:
        found = compare_datasets(
            xr.decode_cf(reference, decode_times=False),
            xr.decode_cf(candidate, decode_times=False),
            variables=None if var is None else var.split(","),
            vectors=[tuple(text.split(",")) for text in vector or []],
            which=None if metrics is None else metrics.split(","),
            space=space,
            window=window.value,
        )
    if json:
        sys.stdout.write("[" + ",\n".join(each.to_json() for each in found.values()) + "]\n")
        return
    console = _console()
    for place, each in enumerate(found.values()):
        console.print(*([""] if place else []), each)


def _bounds_by_name(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, bound = text.partition("=")
        if not (name and bound):
            raise InvalidArgument(f"--var {text}: expected NAME=BOUND, as in t=rel:1e-4 or mask=lossless")
        found[name] = bound
    return found


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_IN_FILES
    return console
