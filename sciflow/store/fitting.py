"""Enhancers for the variables of a file or store, to be passed as ``GWLZ(..., shared=...)``."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

import xarray as xr

from sciflow.bounds import ValueRange, resolve
from sciflow.codecs.enhancer import fit_shared
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.errors import InvalidArgument
from sciflow.store.enhancing import some_chunks
from sciflow.store.plan import BoundLike, as_bound, make_plan, make_request, sentinels_of
from sciflow.store.running import open_runner
from sciflow.store.source import open_source

__all__ = ["fit_enhancer"]


def fit_enhancer(
    data: xr.Dataset | str | os.PathLike[str],
    *,
    bound: BoundLike,
    per_variable: Mapping[str, BoundLike] | None = None,
    chunks: Mapping[str, int] | str | None = None,
) -> dict[str, str]:
    """Fit one enhancer a variable, for ``GWLZ(..., shared=...)``.

    Parameters
    ----------
    data : Dataset or path or URL
        Anything that xarray opens: a Zarr store, a NetCDF file.
    bound, per_variable, chunks
        As for `sciflow.compress`; relative bounds refer to the chunks that are looked at.

    Returns
    -------
    dict of str to str
        In base64, by variable; without those that no enhancer is worth its bytes for.

    Raises
    ------
    FileNotFoundError, InvalidArgument
        As `sciflow.compress`.
    """
    request = make_request(
        bound=bound, per_variable=per_variable, level="balanced", chunks=chunks, rewrite_safe=False
    )
    found: dict[str, str] = {}
    with open_source(data) as source, open_runner(None) as run:
        for p in make_plan(source, request, version="").variables:
            asked = as_bound(p.bound)
            if asked is None:
                continue
            if asked.kind not in ("abs", "rel", "psnr"):
                raise InvalidArgument(
                    f"variable {p.name!r}: an enhancer goes with abs, rel and psnr, not with {asked!r}"
                )
            variable = source.variables[p.name]
            blocks = some_chunks(variable, p.chunks, run)
            preserve = sentinels_of(variable.attrs, p.dtype)
            seen = ValueRange()
            for block in blocks:
                seen = seen.merge(ValueRange.of(block, preserve=preserve))
            base = SZConfig(resolve(asked, seen).bound(), preserve=preserve)
            model = fit_shared(blocks, GWLZConfig(base))
            if model:
                found[p.name] = base64.b64encode(model).decode("ascii")
    return found
