"""One enhancer for a whole variable: fitted on some of its chunks, kept in the metadata of its array."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciflow.bounds import ValueRange, resolve
from sciflow.codecs.enhancer import fit_shared
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.codecs.zarr import GWLZ, SZ
from sciflow.errors import InvalidArgument
from sciflow.store.plan import BoundLike, as_bound, make_plan, make_request, sentinels_of
from sciflow.store.running import Runner, as_blocks, open_runner
from sciflow.store.source import open_source

__all__ = ["enhanced", "fit_enhancer"]

_CHUNKS = 8
"""Chunks of a variable that an enhancer is fitted on, spread over it evenly."""


def enhanced(codec: SZ, variable: xr.Variable, *, chunks: Sequence[int], run: Runner) -> GWLZ:
    """Return GWLZ over a codec, with an enhancer for the whole variable.

    Parameters
    ----------
    codec : SZ
        The base, its bound resolved.
    variable : Variable
        Raw values.
    chunks : sequence of int
        Shape of a chunk.
    run : Runner
        What reads the values.

    Raises
    ------
    InvalidArgument
        If the base is one that takes no enhancer.
    """
    config = GWLZConfig(codec)
    model = fit_shared(_some_chunks(variable, chunks, run), config)
    return GWLZ(codec, shared=model or None)


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
            blocks = _some_chunks(variable, p.chunks, run)
            preserve = sentinels_of(variable.attrs, p.dtype)
            seen = ValueRange()
            for block in blocks:
                seen = seen.merge(ValueRange.of(block, preserve=preserve))
            base = SZConfig(resolve(asked, seen).bound(), preserve=preserve)
            model = fit_shared(blocks, GWLZConfig(base))
            if model:
                found[p.name] = base64.b64encode(model).decode("ascii")
    return found


def _some_chunks(variable: xr.Variable, chunks: Sequence[int], run: Runner) -> list[np.ndarray[Any, Any]]:
    blocks = [block for _, block in as_blocks(variable, chunks)]
    step = max(1, len(blocks) // _CHUNKS)
    return [np.asarray(values) for values in run(blocks[step // 2 :: step][:_CHUNKS])]
