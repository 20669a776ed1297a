"""What a sample is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciflow.datasets.sources.array import StoredArray

__all__ = ["Field", "FieldSpec", "Tiles"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What one sample of a field is.

    Parameters
    ----------
    name : str
        Key in the sample.
    shape : tuple of int
        Of one sample.
    dtype : dtype
        In the machine's byte order.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Bytes of one sample."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Field:
    """Which rows of an array make a sample.

    Parameters
    ----------
    array : StoredArray
        Where they are.
    offsets : tuple of int
        Rows of sample i are ``i * stride + offset``.
    stacked : bool
        Whether a sample has an axis for its rows; False needs a single offset.
    box : tuple of (int, int), optional
        Part of a row; all of it where None.
    tiled : bool
        Whether the source's tiles cut this field.
    """

    array: StoredArray
    offsets: tuple[int, ...] = (0,)
    stacked: bool = False
    box: tuple[tuple[int, int], ...] | None = None
    tiled: bool = False

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """Start and stop along each axis of a row."""
        return self.box if self.box is not None else tuple((0, n) for n in self.array.shape[1:])

    def rows(self, stride: int) -> int:
        """How many samples the array has rows for."""
        usable = self.array.shape[0] - max(self.offsets)
        return max(0, -(-usable // stride))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Parts of a row that are samples of their own.

    Parameters
    ----------
    size : tuple of int
        Cells along each axis.
    starts : tuple of tuple of int
        First cell of each tile.
    """

    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
