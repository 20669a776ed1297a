"""``sciflow report``: a page with figures about a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sciflow._options import Workers
from sciflow.errors import BoundViolated

__all__ = ["report"]


def report(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="What was compressed.")],
    store: Annotated[str, typer.Argument(metavar="STORE", help="What it was compressed to.")],
    out: Annotated[Path, typer.Argument(metavar="PAGE", help="The HTML file to make.")] = Path("report.html"),
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace PAGE.")] = False,
) -> None:
    """Verify a store, and draw fields, errors, their spectrum and autocorrelation into one HTML file.

    Exits with 1 if a promise does not hold; the page is written in any case.

    **Example**

    * `sciflow report in.nc out.zarr report.html`
    """
    from sciflow.report import report as write

    found = write(original, store, out, workers=workers, overwrite=overwrite)
    Console().print(
        f"{out}: {len(found.rows)} variables, " + ("every promise holds" if found.ok else "see there")
    )
    if not found.ok:
        raise BoundViolated("; ".join(found.problems()))
