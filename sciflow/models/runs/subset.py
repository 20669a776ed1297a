"""Some samples of a source, as a source: what a split is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.base import Arena, Source
from sciflow.datasets.sources.fields import FieldSpec
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning.layout import Layout

__all__ = ["Subset"]


class Subset(Source):
    """The samples of another source with these numbers, in this order.

    Parameters
    ----------
    base : Source
        Where samples are.
    ids : ndarray, int64, shape (n,)
        Their numbers there. Rising numbers keep what lies together in the file together.

    Raises
    ------
    InvalidArgument
        If there is none, or the source has no such sample.
    """

    def __init__(self, base: Source, ids: NDArray[np.int64]) -> None:
        if ids.size == 0 or ids.min() < 0 or ids.max() >= len(base):
            raise InvalidArgument(f"a subset of {ids.size} samples: expected some of 0..{len(base) - 1}")
        self.base, self.ids = base, ids

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spec(self) -> tuple[FieldSpec, ...]:
        """See `Source.spec`."""
        return self.base.spec

    @property
    def samples_per_chunk(self) -> int:
        """How many of these samples one decode gives, about."""
        return max(1, round(self.base.samples_per_chunk * len(self) / len(self.base)))

    @property
    def layout(self) -> Layout:
        """See `Source.layout`."""
        return replace(self.base.layout, samples=len(self), samples_per_chunk=self.samples_per_chunk)

    @property
    def paths(self) -> tuple[Path, ...]:
        """See `Source.paths`."""
        return self.base.paths

    def fingerprint(self) -> dict[str, Any]:
        """See `Source.fingerprint`."""
        digest = hashlib.sha256(self.ids.astype("<i8").tobytes()).hexdigest()[:32]
        return {**self.base.fingerprint(), "samples": len(self), "subset": digest}

    def check(self) -> None:
        """See `Source.check`."""
        self.base.check()

    def read_into(
        self, ids: NDArray[np.int64], slots: NDArray[np.int64], arena: Arena, reading: Reading
    ) -> None:
        """See `Source.read_into`."""
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise InvalidArgument(f"sample {ids.min()}..{ids.max()}: expected 0..{len(self) - 1}")
        self.base.read_into(self.ids[ids], slots, arena, reading)
