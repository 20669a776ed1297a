"""Which reads become one."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["merge_runs"]


def merge_runs(
    starts: NDArray[np.int64], stops: NDArray[np.int64], gap_bytes: int, run_bytes: int
) -> NDArray[np.int64]:
    """Where each merged read begins, as indices into `starts`, and ``len(starts)`` behind them.

    Where an operation costs ``alpha + bytes / beta``, merging two neighbours is best exactly when the gap
    between them is at most ``alpha * beta`` bytes. That holds gap by gap, so going from left to right is
    optimal.

    Parameters
    ----------
    starts, stops : ndarray, int64, shape (pieces,)
        Byte ranges, in ascending order of `starts`; they may overlap.
    gap_bytes : int
        Largest gap that is read over.
    run_bytes : int
        A run ends once it would be longer, unless one piece alone is.

    Returns
    -------
    ndarray, int64, shape (runs + 1,)

    Examples
    --------
    >>> merge_runs(np.array([0, 10, 50]), np.array([8, 20, 60]), 4, 100)
    array([0, 2, 3])
    """
    reach = np.maximum.accumulate(stops)
    cuts = np.flatnonzero(starts[1:] - reach[:-1] > gap_bytes) + 1
    bounds = np.concatenate([[0], cuts, [len(starts)]]).astype(np.int64)
    lengths = reach[bounds[1:] - 1] - starts[bounds[:-1]]
    if lengths.max(initial=0) <= run_bytes:
        return bounds
    return _split(starts, stops, bounds, run_bytes)


def _split(
    starts: NDArray[np.int64], stops: NDArray[np.int64], bounds: NDArray[np.int64], run_bytes: int
) -> NDArray[np.int64]:
    split = []
    for first, last in itertools.pairwise(bounds.tolist()):
        reach = np.maximum.accumulate(stops[first:last])
        begin = int(first)
        while begin < last:
            split.append(begin)
            fits = int(np.searchsorted(reach, starts[begin] + run_bytes, side="right")) + int(first)
            begin = max(fits, begin + 1)
    return np.array([*split, len(starts)], np.int64)
