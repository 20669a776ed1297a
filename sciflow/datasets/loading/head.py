"""The first batches of a run, read as they are asked for while the first epoch is still being planned.

They are what a DataLoader would read: one batch at a time, in parts, by all threads. Their samples lie in
slots, which the plan takes over as soon as it is there, so that nothing is read twice and nothing is held
beside the slots.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.loading.flight import Flight

__all__ = ["Head", "Start"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Parameters
    ----------
    epoch, step, steps : int
        The first batch, and steps of an epoch.
    ids : callable
        ``ids(step)``: the node's samples of a step of that epoch.
    chunked : bool
        Whether a chunk of several samples is decoded for each: the plan uses all of them, so that it pays to
        wait for it as long as the run has lasted already before another batch is read without it.
    """

    epoch: int
    step: int
    steps: int
    ids: Callable[[int], Ints]
    chunked: bool = False


class Head:
    """What is read before the plan is there; its methods are called with the pipeline's lock held.

    Parameters
    ----------
    start : Start
        Where the run begins.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.errands: deque[tuple[Ints, Ints]] = deque()
        self.left = 0  # errands that are not done
        self.busy = False  # a batch is under way
        self.over = False  # no further one
        self._began = time.perf_counter()
        self._batches: list[Ints] = []

    @property
    def step(self) -> int:
        """The step that comes next."""
        return self.start.step + len(self._batches)

    @property
    def begun(self) -> bool:
        """Whether the first batch is there, or will not be read without the plan."""
        return self.over or (bool(self._batches) and not self.busy)

    @property
    def patience(self) -> float:
        """Seconds to wait for the plan before the next batch is read without it."""
        chunked = self.start.chunked and bool(self._batches)
        return time.perf_counter() - self._began if chunked else 0.0

    def fits(self, ids: Ints, free: int) -> bool:
        """Whether the next batch may be read: never an epoch's last one, nor one with a sample twice."""
        last = self.step + 1 >= self.start.steps
        return not self.over and not last and len(ids) <= free and len(np.unique(ids)) == len(ids)

    def send(self, ids: Ints, slots: Ints, parts: int) -> None:
        """Deal a batch out to threads, by place in the file."""
        order = np.argsort(ids, kind="stable")
        cut = [each for each in np.array_split(order, parts) if len(each)]
        self.errands.extend((ids[each], slots[each]) for each in cut)
        self.left = len(cut)
        self._batches.append(slots)

    def done(self) -> None:
        """Note that an errand is done."""
        self.left -= 1

    def hand_over(self, flight: Flight) -> list[Ints]:
        """Put slots where the plan says; what is free again because of steps that are over."""
        first = self.start.step
        for step, slots in enumerate(self._batches, first):
            flight.slots[flight.rows(step)] = slots
        return [flight.released(step) for step in range(first, self.step)]
