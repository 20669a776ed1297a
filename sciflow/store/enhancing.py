"""One enhancer for a whole variable: fitted on some of its chunks, kept in the metadata of its array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciflow.codecs.enhancer import fit_shared
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.zarr import GWLZ, SZ
from sciflow.store.running import Runner, as_blocks

__all__ = ["enhanced", "some_chunks"]

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
    model = fit_shared(some_chunks(variable, chunks, run), config)
    return GWLZ(codec, shared=model or None)


def some_chunks(variable: xr.Variable, chunks: Sequence[int], run: Runner) -> list[np.ndarray[Any, Any]]:
    """Read those that stand for a variable, in memory together."""
    blocks = [block for _, block in as_blocks(variable, chunks)]
    step = max(1, len(blocks) // _CHUNKS)
    return [np.asarray(values) for values in run(blocks[step // 2 :: step][:_CHUNKS])]
