"""What a planner asks of a source: how many samples there are, how large, what one read or decode gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sciflow.errors import InvalidArgument

__all__ = ["DescribedSource", "Layout", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where samples lie: chunk k holds samples k m to (k + 1) m - 1.

    Parameters
    ----------
    samples : int
        N.
    samples_per_chunk : int, default 1
        m, the samples that one decode gives; 1 where a sample can be read alone, also out of chunks without
        filters.
    filtered : bool, default False
        A chunk must be decoded as a whole.
    stored_fraction : float, default 1.0
        Stored bytes over raw bytes; only the cost model looks at it.
    """

    samples: int
    samples_per_chunk: int = 1
    filtered: bool = False
    stored_fraction: float = 1.0

    def __post_init__(self) -> None:
        for name in ("samples", "samples_per_chunk"):
            if (value := getattr(self, name)) < 1:
                raise InvalidArgument(f"{name}: found {value}, expected at least 1")
        if not self.stored_fraction > 0:
            raise InvalidArgument(f"stored_fraction: found {self.stored_fraction}, expected more than 0")

    @property
    def unit(self) -> int:
        """Samples that cannot be had apart: m of filtered chunks, otherwise 1."""
        return self.samples_per_chunk if self.filtered else 1


class Source(Protocol):
    """What a plan is made for."""

    @property
    def sample_bytes(self) -> int:
        """Raw bytes of a sample, over all its arrays."""

    @property
    def layout(self) -> Layout:
        """Where samples lie."""

    def __len__(self) -> int: ...

    def fingerprint(self) -> Mapping[str, Any]:
        """What must not change between planning and reading: flat, JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedSource:
    """A source that is only numbers: to plan for a file that is not there yet, or on another machine.

    Parameters
    ----------
    layout : Layout
        Where samples lie.
    sample_bytes : int
        Raw bytes of a sample.
    identity : mapping, optional
        What `fingerprint` returns beside the numbers.
    """

    layout: Layout
    sample_bytes: int
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.layout.samples

    def fingerprint(self) -> dict[str, Any]:
        """The numbers and `identity`."""
        return {"samples": len(self), "sample_bytes": self.sample_bytes, **self.identity}
