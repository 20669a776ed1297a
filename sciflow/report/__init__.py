"""One page about a store: what was promised, whether it holds, and what the errors look like.

```
original ─┬─ verify: every value ─▶ table
store ────┴─ a slice and a sample of each compressed variable ─▶ figures ─▶ one HTML file
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sciflow.errors import StoreError, Unsupported

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.store.results import Report

__all__ = ["report"]


def report(
    original: xr.Dataset | str | os.PathLike[str],
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool | None = None,
    overwrite: bool = False,
) -> Report:
    """Verify a store against its original and write a page about it: one HTML file, figures within.

    The table is of every value, as `sciflow.verify` gives it. Figures are of the middle slice over the last
    two axes, and the distribution of errors of a sample of at most 4 million values.

    Parameters
    ----------
    original : Dataset or path or URL
        What was compressed.
    store : path or URL
        What it was compressed to.
    out : path
        The file to make, whole or not at all.
    workers, progress
        As for `sciflow.verify`.
    overwrite : bool
        Replace `out`.

    Returns
    -------
    Report
        What `sciflow.verify` returned.

    Raises
    ------
    StoreError
        If `out` exists or cannot be written.
    StoreError, FileNotFoundError, InvalidArgument
        As `sciflow.verify`.
    Unsupported
        If matplotlib or SciPy is missing.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise StoreError(f"{path}: found a file, expected none; choose another name or pass overwrite")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: its folder {path.parent} does not exist; make it first")
    with _needs():
        from sciflow.report.figures import draw
        from sciflow.report.page import write_page
        from sciflow.report.samples import samples_of
    from sciflow.store import verify

    found = verify(original, store, workers=workers, progress=progress)
    figures = {sample.row.variable: draw(sample) for sample in samples_of(original, os.fspath(store), found)}
    write_page(path, found, figures)
    return found


@contextmanager
def _needs() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise Unsupported(f"a report needs {error.name}: pip install 'sciflow[report]'") from error
