"""Samples as a map-style data set, for torch's own DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.reading import Reading

if TYPE_CHECKING:
    from sciflow.datasets.sources.base import Source

__all__ = ["FieldDataset"]

Sample = dict[str, NDArray[Any]]


class FieldDataset:
    """A source as a PyTorch data set; for ``DataLoader(FieldDataset(source), batch_size=...)``.

    It has ``__len__``, ``__getitem__`` and ``__getitems__``, so that a batch's reads are merged and each
    chunk is decoded once a batch. It pickles, and works in forked and in spawned workers. torch is not needed
    to make one.

    Parameters
    ----------
    source : Source
        Where samples are.
    transform : callable, optional
        Takes a sample, gives what the data set returns.
    gap_bytes : int
        Reads with at most so many bytes between them are merged.
    on_read : callable, optional
        See `Reading`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sciflow.datasets.sources import NpySource
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "u.npy"
    >>> np.save(path, np.arange(6, dtype="f4").reshape(3, 2))
    >>> FieldDataset(NpySource(path))[2]
    {'x': array([4., 5.], dtype=float32)}
    """

    def __init__(
        self,
        source: Source,
        transform: Callable[[Sample], Any] | None = None,
        *,
        gap_bytes: int = 64 << 10,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        self.source = source
        self.transform = transform
        self._gap_bytes = gap_bytes
        self._on_read = on_read
        self._reading: tuple[int, Reading] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):  # what ends a plain for loop
            raise IndexError(f"sample {index}: expected 0..{len(self) - 1}")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Samples of a batch, each in memory of its own batch."""
        taken = self.source.take(np.asarray(indices, np.int64), reading=self.reading)
        samples = [{name: rows[i, ...] for name, rows in taken.items()} for i in range(len(indices))]
        return samples if self.transform is None else [self.transform(sample) for sample in samples]

    @property
    def reading(self) -> Reading:
        """Scratch memory and counters of this process."""
        if self._reading is None or self._reading[0] != os.getpid():
            self._reading = (os.getpid(), Reading(gap_bytes=self._gap_bytes, on_read=self._on_read))
        return self._reading[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None}
