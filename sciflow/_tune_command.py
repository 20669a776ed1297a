"""``sciflow tune``: what each bound would cost, before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sciflow._options import Json
from sciflow.errors import InvalidArgument, Unsupported

__all__ = ["tune"]


def tune(
    source: Annotated[str, typer.Argument(metavar="IN", help="NetCDF, HDF5, Zarr, GRIB with cfgrib.")],
    var: Annotated[list[str] | None, typer.Option("--var", help="A field; all by default.")] = None,
    bounds: Annotated[
        str, typer.Option("--bounds", metavar="B,B,...", help="Of each field's range.")
    ] = "1e-1,1e-2,1e-3,1e-4,1e-5",
    levels: Annotated[
        str, typer.Option("--levels", metavar="L,L,...", help="Of fast, quick, balanced, max.")
    ] = "balanced",
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw the curves into this image.")] = None,
    json: Json = False,
) -> None:
    """Try bounds on the middle of every field and show ratio, PSNR, spectrum and speed; writes no store.

    *spectrum kept*: the part of the wavenumbers, from the largest scale on, at which the power of the decoded
    field is within 1 % of the original's.

    **Examples**

    * `sciflow tune in.nc`
    * `sciflow tune in.nc --var t --bounds 1e-2,3e-3,1e-3 --levels balanced,max --plot curve.png`
    """
    from sciflow.store.curve import tune as measure

    asked: Any = [level.strip() for level in levels.split(",")]  # tune refuses what is no level
    curve = measure(source, variables=var, bounds=_numbers(bounds), levels=asked)
    if plot is not None:
        try:
            curve.plot(plot)
        except ImportError as error:
            raise Unsupported("--plot needs matplotlib: pip install 'sciflow[report]'") from error
    if json:
        sys.stdout.write(curve.to_json() + "\n")
    else:
        Console().print(curve)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidArgument(f"--bounds {text}: expected numbers, as 1e-2,1e-3") from error
