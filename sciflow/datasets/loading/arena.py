"""Memory for the samples that are held: one slot a sample, allotted once."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.fields import FieldSpec

__all__ = ["SlotStack", "page_aligned"]


def page_aligned(specs: Sequence[FieldSpec], slots: int) -> dict[str, NDArray[Any]]:
    """An array for each field, each on pages of its own; pages cost memory once they are written.

    Parameters
    ----------
    specs : sequence of FieldSpec
        Fields of a sample.
    slots : int
        Samples that fit.

    Returns
    -------
    dict of str to ndarray, shape (slots, ...)
    """
    arena = {}
    for spec in specs:
        size = max(slots * spec.bytes, 1)
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        values = np.frombuffer(pages, spec.dtype, slots * spec.bytes // spec.dtype.itemsize)
        arena[spec.name] = values.reshape(slots, *spec.shape)
    return arena


class SlotStack:
    """Free slots, the last one freed given out first.

    Parameters
    ----------
    slots : int
        Slots there are.

    Attributes
    ----------
    free, peak : int
        Slots that are free, and the most that were in use at once.
    """

    def __init__(self, slots: int) -> None:
        self._stack = np.arange(slots - 1, -1, -1, dtype=np.int64)
        self.free = slots
        self.peak = 0

    def take(self, count: int) -> NDArray[np.int64]:
        """So many free slots.

        Parameters
        ----------
        count : int
            At most `free`.

        Returns
        -------
        ndarray, int64, shape (count,)
        """
        self.free -= count
        self.peak = max(self.peak, len(self._stack) - self.free)
        return self._stack[self.free : self.free + count].copy()

    def give(self, slots: NDArray[np.int64]) -> None:
        """Free some slots."""
        self._stack[self.free : self.free + len(slots)] = slots
        self.free += len(slots)
