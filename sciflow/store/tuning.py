"""One absolute bound for a whole variable that meets a target of size or PSNR, found on some of its chunks.

```
up to 8 chunks, evenly spread ─ padded as Zarr pads them ─▶ search of sciflow.codecs.targets ─▶ Resolved
```
Where the variable has no more chunks than that a size is met, else as well as they stand for the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from sciflow.bounds import Bound, Resolved, ValueRange, resolve
from sciflow.codecs import sz
from sciflow.codecs.sz import Level, SZConfig
from sciflow.codecs.targeted import check_met, size_limit
from sciflow.codecs.targets import crops, loosest_for_psnr, tightest_for_size
from sciflow.errors import InvalidArgument
from sciflow.metrics import ErrorStats
from sciflow.metrics import psnr as psnr_of
from sciflow.store.running import Runner, as_blocks

__all__ = ["SAMPLE_CHUNKS", "tuned"]

SAMPLE_CHUNKS = 8
_UNSEEN = 0.99
"""Of a limit, where some chunks are not looked at."""


def tuned(
    name: str,
    variable: xr.Variable,
    bound: Bound,
    *,
    chunks: Sequence[int],
    level: Level,
    preserve: tuple[float, ...],
    value_range: ValueRange,
    run: Runner,
) -> Resolved:
    """Resolve a ``ratio``, ``nbytes`` or ``psnr`` bound for a variable.

    Parameters
    ----------
    name : str
        For messages.
    variable : Variable, float32|float64
        The values.
    bound : Bound
        The target.
    chunks : sequence of int
        Of the store.
    level, preserve
        As they will be encoded.
    value_range : ValueRange
        Of the whole variable; ``psnr`` refers to it.
    run : Runner
        What computes.

    Raises
    ------
    InvalidArgument
        If no bound meets the target.
    """
    blocks = [block for _, block in as_blocks(variable, chunks)]
    every = max(1.0, len(blocks) / SAMPLE_CHUNKS)
    chosen = [blocks[int((k + 0.5) * every)] for k in range(min(len(blocks), SAMPLE_CHUNKS))]
    dtype = variable.dtype.newbyteorder("=")
    values = [np.asarray(block).astype(dtype, copy=False) for block in run(chosen)]
    sample = _Sample(
        values=values,
        padded=[_padded(block, tuple(chunks)) for block in values],
        config=SZConfig(Bound.abs(1.0), level=level, preserve=preserve, verify=False),
        run=run,
    )
    if bound.kind == "psnr":
        return sample.for_psnr(bound, value_range)
    nbytes = variable.size * dtype.itemsize
    share = sum(block.nbytes for block in values) / nbytes
    limit = size_limit(bound, nbytes) * share * (_UNSEEN if len(chosen) < len(blocks) else 1.0)
    try:
        return sample.for_size(bound, limit)
    except InvalidArgument as error:
        raise InvalidArgument(f"variable {name!r}: {error}") from error


@dataclass(frozen=True)
class _Sample:
    values: list[NDArray[Any]]
    padded: list[NDArray[Any]]
    config: SZConfig
    run: Runner

    def for_size(self, bound: Bound, limit: float) -> Resolved:
        boxes = [(block, place) for block in self.padded for place in crops(block.shape, limit)]
        pieces = [np.ascontiguousarray(block[place]) for block, place in boxes]
        cells = sum(block.size for block in self.padded)
        ranges = [ValueRange.of(block, preserve=_numbers(self.config)) for block in self.values]
        nbytes = sum(block.nbytes for block in self.values)
        found = tightest_for_size(
            lambda eb: sum(map(len, self._encoded(self.padded, eb))),
            lambda eb: sum(map(len, self._encoded(pieces, eb))),
            limit=limit,
            sample_share=sum(piece.size for piece in pieces) / cells,
            nbytes=nbytes,
            width=reduce(ValueRange.merge, ranges, ValueRange()).scaled(1.0),
        )
        check_met(found, replace(bound, kind="nbytes", value=max(1.0, limit)), nbytes)
        return Resolved("abs", found.bound)

    def for_psnr(self, bound: Bound, value_range: ValueRange) -> Resolved:
        resolved = resolve(bound, value_range)
        if resolved.mse is None:
            return resolved
        width, preserve = value_range.scaled(1.0), _numbers(self.config)

        def reached(eb: float) -> tuple[int, float]:
            streams = self._encoded(self.padded, eb)
            pairs = zip(self.padded, streams, strict=True)
            stats = [
                ErrorStats.measure(block, sz.decode(stream), preserve=preserve) for block, stream in pairs
            ]
            return sum(map(len, streams)), psnr_of(width, ErrorStats.combine_all(stats).rmse)

        amplitude = value_range.scaled(10.0 ** (-bound.value / 20.0))
        found = loosest_for_psnr(reached, decibel=bound.value, amplitude=amplitude, start=resolved.value)
        return Resolved("abs", found.bound, resolved.mse)

    def _encoded(self, pieces: Sequence[NDArray[Any]], eb: float) -> list[bytes]:
        encode = delayed(
            _Encode(replace(self.config, bound=Resolved("abs", eb).bound())), pure=False, traverse=False
        )
        return self.run([encode(piece) for piece in pieces])


@dataclass(frozen=True, slots=True)
class _Encode:
    config: SZConfig

    def __call__(self, piece: NDArray[Any]) -> bytes:
        return sz.encode(piece, self.config)


def _numbers(config: SZConfig) -> list[float]:
    return [p for p in config.preserve if isinstance(p, float)]


def _padded(block: NDArray[Any], chunks: tuple[int, ...]) -> NDArray[Any]:
    """As Zarr stores a chunk at the edge."""
    if block.shape == chunks:
        return block
    whole = np.full(chunks, math.nan, block.dtype)
    whole[tuple(slice(n) for n in block.shape)] = block
    return whole
