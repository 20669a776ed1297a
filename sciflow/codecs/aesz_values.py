"""What both ends of AESZ do: latents out of their stream, and values out of predictions and residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs import sz
from sciflow.codecs.aesz_blocks import Grid
from sciflow.codecs.aesz_model import LATENT_FRACTION
from sciflow.codecs.stream import as_bytes_view
from sciflow.errors import Corrupt

__all__ = ["checksum", "read_latents", "reconstruct"]


def checksum(values: NDArray[Any]) -> int:
    """Return the CRC-32C of values, float32|float64 of any shape, as little-endian bytes."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return int(native.crc32c(as_bytes_view(little)))


def read_latents(
    coded: bytes | memoryview, grid: Grid, marks: NDArray[np.bool_], threads: int
) -> NDArray[np.int32]:
    """Decode latents, shape (blocks that are marked, latents), in units of 1 / LATENT_FRACTION.

    Raises
    ------
    Corrupt
        If they are not finite or too large; as `sciflow.codecs.sz.decode`.
    """
    field = sz.decode(coded, threads=threads)
    rows = field.reshape(len(field), grid.size)[:, marks].T.astype(np.float64) * LATENT_FRACTION
    if not np.isfinite(rows).all() or np.abs(rows).max(initial=0.0) >= 1 << 30:
        raise Corrupt("latents that are not finite, or too large: no encoder writes these")
    return np.rint(rows).astype(np.int32)


def reconstruct(
    grid: Grid,
    marks: NDArray[np.bool_],
    predicted: NDArray[np.int64],
    residual: NDArray[Any],
    bound: float,
) -> NDArray[Any]:
    """Values as stored: one product and one sum in binary64, then the dtype; bits are moved elsewhere."""
    blocks = grid.cut(residual)
    made = predicted * (bound / 128) + blocks[marks].astype(np.float64)
    with np.errstate(over="ignore"):
        blocks[marks] = made.astype(blocks.dtype)
    return grid.join(blocks)
