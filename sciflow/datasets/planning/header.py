"""The header of a plan: a few numbers from which every epoch follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.layout import Layout
from sciflow.datasets.planning.order import Tail, steps_of
from sciflow.datasets.planning.storage import StorageModel
from sciflow.errors import InvalidArgument, Unsupported

__all__ = ["Header", "Overflow", "Strategy"]

Strategy = Literal["pin", "bof", "elevator"]
Overflow = Literal["peer", "read", "variable"]
FORMAT_VERSION = 1
LAP_UNITS = 256
"""Laps are counted in 1/256 of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All that a plan stores.

    Parameters
    ----------
    fingerprint : mapping
        Of the source.
    samples, sample_bytes, samples_per_chunk, filtered, stored_fraction
        N, s, m and the rest of the layout.
    num_nodes, global_batch_size : int
        W and G.
    tail, seed, order, order_digest
        Of the reference order.
    slots : int
        B, samples that a node holds at the same time, at most.
    strategy : "pin", "bof" or "elevator"
        How reads are arranged.
    overflow : "peer", "read" or "variable"
        What happens to samples that a node has beyond its share of a batch.
    pins : int
        Samples at the front of every node's stripe that stay for good.
    replicas : int
        Samples of every node's stripe that other nodes pin as well.
    guests : int
        Samples of peers that a node may keep for one more use.
    lap : int
        Elevator: 1/256 steps from one visit of a block to its next.
    block : int
        Elevator: samples of a block.
    lead : int
        Steps of read-ahead for which there is room.
    storage : StorageModel
        What the choice was made for; `gap_bytes` follows from it.
    predicted : mapping
        Expected seconds an epoch and node, by strategy.
    """

    fingerprint: Mapping[str, Any]
    samples: int
    sample_bytes: int
    samples_per_chunk: int = 1
    filtered: bool = False
    stored_fraction: float = 1.0
    num_nodes: int = 1
    global_batch_size: int
    tail: Tail = "drop"
    seed: int = 0
    order: str = "torch"
    order_digest: str = ""
    slots: int
    strategy: Strategy
    overflow: Overflow = "peer"
    pins: int = 0
    replicas: int = 0
    guests: int = 0
    lap: int = 0
    block: int = 1
    lead: int = 1
    storage: StorageModel = field(default_factory=StorageModel)
    predicted: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds in (("strategy", Strategy), ("overflow", Overflow), ("tail", Tail)):
            if (found := getattr(self, name)) not in get_args(kinds):
                raise InvalidArgument(
                    f"{name}: found {found!r}, expected one of {', '.join(get_args(kinds))}"
                )
        if self.num_nodes < 1 or self.global_batch_size < self.num_nodes:
            raise InvalidArgument(
                f"num_nodes: found {self.num_nodes} with global_batch_size {self.global_batch_size}, "
                "expected at least one node and one sample a node and batch"
            )
        if self.overflow != "variable" and self.global_batch_size % self.num_nodes:
            raise InvalidArgument(
                f"global_batch_size: found {self.global_batch_size}, expected a multiple of num_nodes "
                f"{self.num_nodes}; or overflow='variable'"
            )
        if self.steps < 1:
            raise InvalidArgument(
                f"global_batch_size: found {self.global_batch_size} for {self.samples} samples, "
                "expected at most as many, or tail='short' or 'pad'"
            )

    @property
    def steps(self) -> int:
        """S, steps of an epoch."""
        return steps_of(self.samples, self.global_batch_size, self.tail)

    @property
    def batch(self) -> int:
        """b, a node's mean share of a batch, rounded up."""
        return -(-self.global_batch_size // self.num_nodes)

    @property
    def gap_bytes(self) -> int:
        """Runs of a visit are merged over gaps of at most so many bytes."""
        return self.storage.gap_bytes

    @property
    def layout(self) -> Layout:
        """Where samples lie."""
        return Layout(
            samples=self.samples,
            samples_per_chunk=self.samples_per_chunk,
            filtered=self.filtered,
            stored_fraction=self.stored_fraction,
        )

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Stripe of node w: samples ``bounds[w]`` to ``bounds[w + 1]``, int64[W + 1], at whole chunks."""
        unit = self.layout.unit
        chunks = -(-self.samples // unit)
        edges = np.arange(self.num_nodes + 1, dtype=np.int64) * chunks // self.num_nodes
        return np.minimum(edges * unit, self.samples)

    def home(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The node in whose stripe each sample lies, int64."""
        unit = self.layout.unit
        chunks = -(-self.samples // unit)
        found: NDArray[np.int64] = ((ids.astype(np.int64) // unit + 1) * self.num_nodes - 1) // chunks
        return found

    def to_json(self) -> str:
        """A JSON object that `from_json` takes."""
        return json.dumps({"format_version": FORMAT_VERSION} | asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidArgument
            If it is no header.
        Unsupported
            If it is one of a later release.
        """
        try:
            given = json.loads(text)
            version = given.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidArgument(f"plan: {error!r}; expected what Plan.save wrote") from error
        if version != FORMAT_VERSION:
            raise Unsupported(f"plan: found format version {version}, this release reads {FORMAT_VERSION}")
        if unknown := set(given) ^ {each.name for each in fields(cls)}:
            raise InvalidArgument(
                f"plan: found unknown or no {', '.join(sorted(unknown))}; make the plan again"
            )
        return cls(**given | {"storage": StorageModel(**given["storage"])})

    def digest(self) -> str:
        """SHA-256 of what decides batches and reads."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
