"""Counts what a plan would do, without reading: operations, bytes, decodes, moves and slots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from sciflow.datasets.planning.epoch import EpochPlan
from sciflow.datasets.planning.header import Header

__all__ = ["Counters", "Simulation", "counted", "simulated"]

READ_BYTES = 8 << 20
"""A longer run is read in several operations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One epoch, over all nodes.

    Parameters
    ----------
    epoch : int
        Which.
    uses, loads, hits : int
        Samples delivered, put into slots, and delivered again from a slot.
    ops, bytes, decodes : int
        Read operations, bytes read (stored ones) and chunks decoded.
    moved : int
        Samples sent from node to node.
    late : int
        Samples read alone at their step because there was no room for them earlier.
    peak : int
        Most slots in use on a node.
    stretch : float
        Largest local batches over mean ones, summed over steps: compute time lost to unequal batches.
    """

    epoch: int
    uses: int
    loads: int
    hits: int
    ops: int
    bytes: int
    decodes: int
    moved: int
    late: int
    peak: int
    stretch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Epochs of a cold run, counted.

    Parameters
    ----------
    epochs : tuple of Counters
        From epoch 0 on.
    """

    epochs: tuple[Counters, ...]

    @property
    def steady(self) -> dict[str, float]:
        """Means over epochs but the first, in which buffers fill; of the only epoch, if there is one."""
        settled = self.epochs[1:] or self.epochs
        names = [each.name for each in fields(Counters) if each.name != "epoch"]
        return {name: float(np.mean([getattr(each, name) for each in settled])) for name in names}

    def to_json(self) -> str:
        """All counters, JSON."""
        return json.dumps({"epochs": [asdict(each) for each in self.epochs], "steady": self.steady})


def simulated(header: Header, nodes: Sequence[Iterator[EpochPlan]]) -> Simulation:
    """Walk through the epochs of all nodes.

    Parameters
    ----------
    header : Header
        Of the plan.
    nodes : sequence of iterator of EpochPlan
        The same epochs of each node.

    Returns
    -------
    Simulation
    """
    return Simulation(epochs=tuple(counted(header, list(each)) for each in zip(*nodes, strict=True)))


def counted(header: Header, nodes: list[EpochPlan]) -> Counters:
    """Add up one epoch of all nodes."""
    reads = np.array([_reads(header, each) for each in nodes]).sum(axis=0).tolist()
    rows = np.array([np.diff(each.batch_ptr) for each in nodes])
    uses, loads = int(rows.sum()), sum(int((~each.arrives).sum()) for each in nodes)
    return Counters(
        epoch=nodes[0].epoch,
        uses=uses,
        loads=loads,
        hits=max(uses - loads, 0),
        ops=reads[0],
        bytes=reads[1],
        decodes=reads[2],
        moved=sum(len(each.send_ids) for each in nodes),
        late=sum(each.late for each in nodes),
        peak=max(each.peak for each in nodes),
        stretch=float(rows.max(axis=0).sum() * len(nodes) / max(uses, 1)),
    )


def _reads(header: Header, plan: EpochPlan) -> tuple[int, int, int]:
    """Operations, bytes and decodes: runs of visits due together, merged over gaps of at most `gap_bytes`."""
    read = ~plan.arrives
    if not read.any():
        return 0, 0, 0
    unit = header.layout.unit
    due = np.repeat(plan.visit_due, np.diff(plan.visit_ptr))[read]
    chunk = plan.visit_ids[read] // unit
    new = np.append(True, (np.diff(chunk) != 0) | (np.diff(due) != 0))
    chunk, due = chunk[new], due[new]
    chunk_bytes = unit * header.sample_bytes * header.stored_fraction
    gaps = np.diff(chunk) - 1
    starts = np.flatnonzero(
        np.append(True, (np.diff(due) != 0) | (gaps < 0) | (gaps * chunk_bytes > header.gap_bytes))
    )
    ends = np.append(starts[1:], len(chunk)) - 1
    sizes = (chunk[ends] - chunk[starts] + 1) * chunk_bytes
    decodes = len(chunk) if header.filtered else 0
    return int(np.ceil(sizes / max(READ_BYTES, chunk_bytes)).sum()), int(sizes.sum()), decodes
