"""A stored array, read by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.reading import Reading
from sciflow.errors import SciflowError

__all__ = ["ReadFailed", "StoredArray", "Want"]


@dataclass(slots=True)
class Want:
    """Rows of an array and where they go.

    Parameters
    ----------
    rows : ndarray, int64, shape (k,)
        Indices along the sample axis, ascending; one may come twice.
    into : ndarray, shape (slots, ...)
        Where rows go; values are cast to its dtype.
    at : ndarray, int64, shape (k,)
        ``into[at[i]]`` becomes row ``rows[i]``.
    box : tuple of (int, int)
        Start and stop along each axis of a row.
    """

    rows: NDArray[np.int64]
    into: NDArray[Any]
    at: NDArray[np.int64]
    box: tuple[tuple[int, int], ...]


class StoredArray(Protocol):
    """An array in files whose rows (indices along one axis) can be read in any order, from any thread."""

    @property
    def name(self) -> str:
        """File and variable, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, then the axes of a row."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as they are delivered, in the machine's byte order."""

    @property
    def chunk_rows(self) -> int:
        """Rows that come together when one of them is read; 1 where each can be read by itself."""

    @property
    def encoded(self) -> bool:
        """Whether a chunk must be decoded as a whole."""

    def read(self, wants: list[Want], reading: Reading) -> None:
        """Fulfil all wants, each chunk read and decoded once.

        Raises
        ------
        ReadFailed
            If a chunk cannot be had.
        """

    def identity(self) -> dict[str, Any]:
        """Files, shape, dtype and a hash of the chunk table, ready for JSON."""

    def stored_bytes(self) -> int | None:
        """Bytes in the files, None where that is not known without reading."""

    def check(self) -> None:
        """Look whether the files are as they were.

        Raises
        ------
        SourceChanged
            If they are not.
        """


class ReadFailed(Exception):
    """A chunk cannot be had; the source turns it into an error that names the samples.

    Parameters
    ----------
    rows : tuple of (int, int)
        First and last row of the chunk.
    cause : SciflowError
        What to raise, and its message.
    """

    def __init__(self, rows: tuple[int, int], cause: SciflowError) -> None:
        super().__init__(rows, cause)
        self.rows = rows
        self.cause = cause
