"""SZ3 as a numcodecs codec, so that GWLZ can wrap it, and the fields that both are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import register_codec
from numcodecs.abc import Codec
from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

from bench.fields import Field
from bench.protocol import Array, fold
from sciflow.codecs.enhancement import DEFAULT_GROUPS

if TYPE_CHECKING:
    from sciflow._native import EnhanceOptions

__all__ = ["MOST_CELLS", "SZ3", "filters", "leading"]

MOST_CELLS = 1 << 21
"""A field is cut to as many of its leading rows as hold this many cells: what one chunk holds."""


class SZ3(Codec):  # type: ignore[misc] # numcodecs ships no types
    """SZ3 as `pysz` ships it, in absolute-bound mode; shape and dtype travel in front of its stream."""

    codec_id = "bench.sz3"

    def __init__(self, eb: float = 1.0) -> None:
        self.eb = eb

    def encode(self, buf: Array) -> bytes:
        folded = np.ascontiguousarray(buf).reshape(fold(tuple(n for n in buf.shape if n > 1) or (1,), 4))
        config = szConfig(folded.shape)
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = self.eb
        config.cmprAlgo = szAlgorithm.INTERP_LORENZO
        config.openmp = False
        stream, _ratio = sz.compress(folded, config)
        head = np.array([folded.itemsize, folded.ndim, *folded.shape], "<u4").tobytes()
        return head + bytes(stream)

    def decode(self, buf: bytes, out: Any = None) -> Array:
        itemsize, ndim = np.frombuffer(buf, "<u4", 2)
        shape = tuple(int(n) for n in np.frombuffer(buf, "<u4", int(ndim), 8))
        stream = np.frombuffer(buf, np.uint8, offset=8 + 4 * int(ndim))
        field, _config = sz.decompress(stream, np.dtype(f"f{itemsize}"), shape)
        return np.asarray(field).reshape(shape)


register_codec(SZ3)


def filters(size: int) -> EnhanceOptions:
    """Return what the engine is asked for: filters worth their bytes beside a base stream of `size`."""
    return {
        "groups": 0,
        "n_groups": DEFAULT_GROUPS,
        "worth": 0.3 * size,
        "own": True,
        "shared": b"",
        "preserve": [],
        "bound": 0.0,
    }


def leading(field: Field) -> Array:
    """Return the leading rows of a field, cells that are no data filled with the mean."""
    values = field.filled() if field.has_specials else field.values
    while values.ndim > 1 and values.size > MOST_CELLS:
        rows = max(1, MOST_CELLS * values.shape[0] // values.size)
        values = values[:rows] if rows > 1 else values[0]
    return np.ascontiguousarray(values[:MOST_CELLS])
