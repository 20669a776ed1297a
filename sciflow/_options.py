"""Options that several commands have, or that one has many of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "BOUND",
    "OUTPUT",
    "STORE",
    "Abs",
    "Aux",
    "CodecKind",
    "CodecSize",
    "Json",
    "Level",
    "Model",
    "Nbytes",
    "Pointwise",
    "Psnr",
    "Ratio",
    "Region",
    "Rel",
    "Var",
    "Workers",
]


class Level(StrEnum):
    """Bytes against seconds."""

    fast = "fast"
    quick = "quick"
    balanced = "balanced"
    max = "max"


class CodecKind(StrEnum):
    """What a model is."""

    klt = "klt"
    linear = "linear"
    autoencoder = "autoencoder"


class CodecSize(StrEnum):
    """How large an autoencoder is."""

    small = "small"
    paper = "paper"


BOUND = "Bound, for every field (one of these)"
STORE = "Writing"
OUTPUT = "Output"
Rel = Annotated[
    float | None,
    typer.Option("--rel", help="|x - x'| <= REL (max - min) of the variable.", rich_help_panel=BOUND),
]
Abs = Annotated[
    float | None,
    typer.Option(
        "--abs", help="|x - x'| <= ABS, in the unit of the data; 0: no loss.", rich_help_panel=BOUND
    ),
]
Pointwise = Annotated[
    float | None,
    typer.Option("--pointwise-rel", help="|x - x'| <= R |x|, with R < 1.", rich_help_panel=BOUND),
]
Psnr = Annotated[float | None, typer.Option("--psnr", help="At least so many dB.", rich_help_panel=BOUND)]
Ratio = Annotated[
    float | None,
    typer.Option(
        "--ratio",
        help="The smallest error that fits into 1/RATIO of a field's bytes.",
        rich_help_panel=BOUND,
    ),
]
Nbytes = Annotated[
    float | None,
    typer.Option(
        "--nbytes", help="The smallest error that fits into so many bytes a field.", rich_help_panel=BOUND
    ),
]
Region = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="NAME=MASK:LABEL:BOUND",
        help="Another bound where the variable MASK holds LABEL: t=land:1:abs=0.01. Repeatable.",
        rich_help_panel=BOUND,
    ),
]
Var = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        metavar="NAME=BOUND",
        help="A bound for one variable: t=rel:1e-4, q=ratio:20, mask=lossless. Repeatable.",
        rich_help_panel=BOUND,
    ),
]
Aux = Annotated[
    list[str] | None,
    typer.Option(
        "--aux",
        metavar="NAME=OTHER,...",
        help="Enhance NAME with what other variables of the same shape decode to. Repeatable.",
        rich_help_panel=STORE,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE|DIGEST",
        help="Predict blocks with a model where that is smaller.",
        rich_help_panel=STORE,
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes of a Dask cluster; threads without.", min=1)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
