"""An epoch on its way: which reads bring its picks, and the slots that they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sciflow.datasets.planning import EpochPlan

__all__ = ["Flight", "Grain", "reads_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grain:
    """How much one thread reads at a time.

    Parameters
    ----------
    unit : int
        Samples of a chunk, which is never cut.
    units : int
        Chunks of a read, about: fewer leave threads idle or pay for more operations, more make a step wait
        for one thread.
    """

    unit: int = 1
    units: int = 64


def reads_of(plan: EpochPlan, grain: Grain) -> Ints:
    """Where each read begins in the plan's ``visit_ids``, and their number behind that.

    Neighbouring visits that are due at the same step become one, so that their reads merge, and are dealt out
    in equal parts: the plan has room for all of them at once.

    Parameters
    ----------
    plan : EpochPlan
        Whose visits.
    grain : Grain
        Size of a part.

    Returns
    -------
    ndarray, int64, shape (reads + 1,)
    """
    count = len(plan.visit_ids)
    if not count:
        return np.zeros(1, np.int64)
    due = np.repeat(plan.visit_due, np.diff(plan.visit_ptr))
    fresh = np.append(True, np.diff(due) != 0)
    chunk = np.append(True, fresh[1:] | (np.diff(plan.visit_ids // grain.unit) != 0))
    group = np.cumsum(fresh) - 1
    chunks = np.bincount(group[chunk])
    rank = np.cumsum(chunk) - 1 - (np.cumsum(chunks) - chunks)[group]
    parts = np.maximum(np.rint(chunks / grain.units), 1).astype(np.int64)
    part = rank * parts[group] // chunks[group]
    begins = fresh | np.append(True, np.diff(part) != 0)
    return np.append(np.flatnonzero(begins), count)


class Flight:
    """An epoch that is being read or consumed.

    Parameters
    ----------
    plan : EpochPlan
        Of the epoch.
    grain : Grain
        Size of its reads.
    """

    def __init__(self, plan: EpochPlan, grain: Grain) -> None:
        self.plan = plan
        self._reads = reads_of(plan, grain)
        self._need = np.searchsorted(self._reads[:-1], plan.visit_ptr[plan.need])
        self.reads = len(self._reads) - 1
        self.carried = len(plan.carried)
        self.slots = np.full(self.carried + len(plan.visit_ids), -1, np.int64)
        self.adopted = self.carried == 0
        self.next_read = 0  # the next to get slots
        self.complete = 0  # all reads below are done
        self._done = np.zeros(self.reads, np.bool_)

    @property
    def allotted(self) -> bool:
        """Whether every read has its slots."""
        return self.next_read == self.reads

    def need(self, step: int) -> int:
        """Reads that must be complete before a step."""
        return int(self._need[step])

    def missing(self, read: int) -> Ints:
        """Picks of a read that are in no slot yet."""
        first, stop = (self.carried + self._reads[read : read + 2]).tolist()
        found: Ints = first + np.flatnonzero(self.slots[first:stop] < 0)
        return found

    def ids(self, picks: Ints) -> Ints:
        """Samples of picks that are not carried."""
        found: Ints = self.plan.visit_ids[picks - self.carried]
        return found

    def read_here(self, picks: Ints) -> NDArray[np.bool_]:
        """Which of these picks are read; a peer sends the others."""
        found: NDArray[np.bool_] = ~self.plan.arrives[picks - self.carried]
        return found

    def finish(self, read: int) -> None:
        """Note that a read is done."""
        self._done[read] = True
        while self.complete < self.reads and self._done[self.complete]:
            self.complete += 1

    def adopt(self, before: Flight) -> None:
        """Take over what the epoch before hands on."""
        self.slots[: self.carried] = before.slots[before.plan.carry_out]
        self.adopted = True

    def rows(self, step: int) -> Ints:
        """Picks of the rows of a step; -1 where a peer sends the row."""
        first, stop = self.plan.batch_ptr[step : step + 2].tolist()
        return self.plan.pick[first:stop]

    def released(self, step: int) -> Ints:
        """Slots that are free once a step is assembled."""
        first, stop = self.plan.release_ptr[step : step + 2].tolist()
        found: Ints = self.slots[self.plan.release_pick[first:stop]]
        return found
