"""Carries out the plan of one node: reads ahead into slots, hands out batches, frees slots.

```
planner thread ─▶ EpochPlan, one ahead
                     │ visits, in order
reader threads ──▶ take slots for a whole visit (turnstile) ─▶ Source.read_into ─▶ complete
                                                                                     │ need[t] visits complete
consumer ─────────────────────────────────────────────────▶ gather step t ─▶ free its slots
```

Slots are taken in the order of the visits by one thread at a time, and the plan promises that the visits
which step t needs fit beside whatever is still held, so that nobody waits for ever. An epoch's last visits
and the next epoch's first ones overlap.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.loading.arena import SlotStack, page_aligned
from sciflow.datasets.loading.exchange import Exchange
from sciflow.datasets.loading.stats import LoaderStats, Timeline
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning import EpochPlan
    from sciflow.datasets.sources.base import Source
    from sciflow.datasets.sources.fields import FieldSpec

__all__ = ["Closed", "Pipeline", "Step"]

_JOINED_BYTES = 4 << 20
"""Visits that are due at the same step are read together while they hold fewer bytes."""

Rows = dict[str, NDArray[Any]]
Empty = Callable[["FieldSpec", int], NDArray[Any]]


class Closed(Exception):
    """The pipeline was closed while somebody waited for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch of one node.

    Parameters
    ----------
    epoch, step, steps : int
        Which one, and how many the epoch has.
    ids : ndarray, int64, shape (rows,)
        Samples.
    rows : dict of str to ndarray, shape (rows, ...)
        Their values, in memory of their own.
    """

    epoch: int
    step: int
    steps: int
    ids: NDArray[np.int64]
    rows: Rows


def joined_visits(plan: EpochPlan, together: int) -> NDArray[np.int64]:
    """Visits at which a read begins, and the number of visits behind them.

    Neighbours that are due at the same step become one, so that its reads merge: the plan has room for all of
    them at once. Their samples ascend still.

    Parameters
    ----------
    plan : EpochPlan
        Whose visits.
    together : int
        Samples after which another read begins.

    Returns
    -------
    ndarray, int64, shape (reads + 1,)
    """
    due, first = plan.visit_due, plan.visit_ptr[:-1]
    if not len(due):
        return np.zeros(1, np.int64)
    fresh = np.append(True, np.diff(due) != 0)
    part = (first - first[fresh][np.cumsum(fresh) - 1]) // together
    fresh[1:] |= np.diff(part) != 0
    return np.append(np.flatnonzero(fresh), len(due))


class _Flight:
    """An epoch that is being read or consumed."""

    def __init__(self, plan: EpochPlan, together: int) -> None:
        self.plan = plan
        starts = joined_visits(plan, together)
        self.visit_ptr = plan.visit_ptr[starts]
        self.need = np.searchsorted(starts[:-1], plan.need)
        self.visits = len(starts) - 1
        self.carried = len(plan.carried)
        self.slots = np.full(self.carried + len(plan.visit_ids), -1, np.int64)
        self.adopted = self.carried == 0
        self.next_visit = 0  # the next to get slots
        self.complete = 0  # all visits below are read
        self._read = np.zeros(self.visits, np.bool_)

    @property
    def allotted(self) -> bool:
        return self.next_visit == self.visits

    def picks(self, visit: int) -> slice:
        first, stop = self.visit_ptr[visit : visit + 2].tolist()
        return slice(self.carried + first, self.carried + stop)

    def finish(self, visit: int) -> None:
        self._read[visit] = True
        while self.complete < self.visits and self._read[self.complete]:
            self.complete += 1

    def adopt(self, before: _Flight) -> None:
        self.slots[: self.carried] = before.slots[before.plan.carry_out]
        self.adopted = True


class Pipeline:
    """Batches of one node, in order, without an end unless the plans have one.

    Parameters
    ----------
    source : Source
        Where samples are.
    plans : iterator of EpochPlan
        From the first step on; asked for in a thread of its own.
    slots : int
        Samples that may be held at once.
    threads : int
        Threads that read.
    gap_bytes : int
        Reads with at most so many bytes between them are merged.
    on_read : callable, optional
        See `Reading`.
    exchange : Exchange, optional
        Brings samples of other nodes; needed where the plan moves some.
    empty : callable, optional
        Makes the memory of a batch from a field and a number of rows.
    timeline : Timeline, optional
        Where to log.
    """

    def __init__(
        self,
        source: Source,
        plans: Iterator[EpochPlan],
        slots: int,
        *,
        threads: int = 2,
        gap_bytes: int = 64 << 10,
        on_read: Callable[[int], None] | None = None,
        exchange: Exchange | None = None,
        empty: Empty | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.pid = os.getpid()
        self._source, self._plans, self._exchange = source, plans, exchange
        self._empty = empty or _fresh
        self._timeline = timeline or Timeline(on=False)
        self._specs = source.spec
        self._arena = page_aligned(self._specs, slots)
        self._free, self._slots = SlotStack(slots), slots
        self._together = max(1, _JOINED_BYTES // source.sample_bytes)
        self._flights: deque[_Flight] = deque()
        self._planned = False  # no plan will follow
        self._error: BaseException | None = None
        self._closed = False
        self._step: int | None = None
        self._delivered = self._loads = self._hits = self._moved = 0
        self._stall = 0.0
        self._changed = threading.Condition()
        self._readings = [Reading(gap_bytes=gap_bytes, on_read=on_read) for _ in range(threads)]
        jobs: list[tuple[str, Callable[[], None]]] = [("planner", self._plan)]
        jobs += [(f"reader {n}", self._reader(reading)) for n, reading in enumerate(self._readings)]
        self._threads = [
            threading.Thread(target=self._guarded, args=(job,), name=f"sciflow {name}", daemon=True)
            for name, job in jobs
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stats(self) -> LoaderStats:
        """Counters so far."""
        return LoaderStats(
            delivered=self._delivered,
            loads=self._loads,
            hits=self._hits,
            moved=self._moved,
            ops=sum(reading.ops for reading in self._readings),
            bytes=sum(reading.bytes for reading in self._readings),
            decodes=sum(reading.decodes for reading in self._readings),
            stall_s=self._stall,
            peak_slots=self._free.peak,
        )

    def close(self) -> None:
        """Stop the threads and wait for them; a read under way is finished. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._exchange is not None:
            self._exchange.close()
        if self.pid == os.getpid():
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again where batches are asked for
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Hold the lock and wait."""
        while not ready():
            if self._error is not None or self._closed:
                raise Closed
            self._changed.wait()
        if self._closed:
            raise Closed

    def _plan(self) -> None:
        self._source.check()
        for plan in self._plans:
            with self._changed:
                self._wait(lambda: len(self._flights) < 2)
                self._flights.append(_Flight(plan, self._together))
                self._changed.notify_all()
            self._source.check()  # once an epoch, while the next one is planned
        with self._changed:
            self._planned = True
            self._changed.notify_all()

    def _reader(self, reading: Reading) -> Callable[[], None]:
        def read() -> None:
            while True:
                flight, visit, slots = self._take_visit()
                first, stop = flight.visit_ptr[visit : visit + 2].tolist()
                with self._timeline.span("read"):
                    self._source.read_into(flight.plan.visit_ids[first:stop], slots, self._arena, reading)
                with self._changed:
                    flight.finish(visit)
                    self._loads += stop - first
                    self._changed.notify_all()

        return read

    def _take_visit(self) -> tuple[_Flight, int, NDArray[np.int64]]:
        with self._changed:
            self._wait(self._can_take)
            flight = self._reading_flight()
            assert flight is not None
            visit = flight.next_visit
            picks = flight.picks(visit)
            slots = self._free.take(picks.stop - picks.start)
            flight.slots[picks] = slots
            flight.next_visit += 1
            self._changed.notify_all()
            return flight, visit, slots

    def _can_take(self) -> bool:
        flight = self._reading_flight()
        if flight is None:
            return False
        picks = flight.picks(flight.next_visit)
        if picks.stop - picks.start > self._slots:
            raise InvalidArgument(
                f"visit of {picks.stop - picks.start} samples, {self._slots} slots: the plan is not for "
                "this loader"
            )
        return bool(picks.stop - picks.start <= self._free.free)

    def _reading_flight(self) -> _Flight | None:
        """The epoch whose visit is next; adopts what the epoch before hands on."""
        before: _Flight | None = None
        for flight in self._flights:
            if not flight.adopted:
                if before is None:
                    raise InvalidArgument("the first plan holds samples from before; expected a cold start")
                flight.adopt(before)
            if not flight.allotted:
                return flight
            before = flight
        return None

    def next(self) -> Step | None:
        """The next batch; None behind the last one.

        Raises
        ------
        Closed
            If the pipeline is closed.
        Exception
            Whatever a reader met: it names file and samples.
        """
        started = time.perf_counter()
        with self._timeline.span("wait"), self._changed:
            try:
                flight = self._ready_flight()
            except Closed:
                if self._error is not None:
                    raise self._error from None
                raise
            finally:
                self._stall += time.perf_counter() - started
        if flight is None:
            return None
        assert self._step is not None
        with self._timeline.span("gather"):
            found = self._assemble(flight, self._step)
        with self._changed:
            first, stop = flight.plan.release_ptr[self._step : self._step + 2].tolist()
            self._free.give(flight.slots[flight.plan.release_pick[first:stop]])
            self._step += 1
            self._changed.notify_all()
        return found

    def _ready_flight(self) -> _Flight | None:
        """Hold the lock; wait until the next step can be assembled."""
        self._wait(lambda: bool(self._flights) or self._planned)
        if not self._flights:
            return None
        flight = self._flights[0]
        if self._step is None:
            self._step = flight.plan.first_step
        if self._step == flight.plan.steps:
            self._wait(lambda: flight.complete == flight.visits and (len(self._flights) > 1 or self._planned))
            if len(self._flights) == 1:
                return None
            following = self._flights[1]
            if not following.adopted:
                following.adopt(flight)
            self._flights.popleft()
            self._changed.notify_all()
            flight, self._step = following, following.plan.first_step
        needed = int(flight.need[self._step])
        self._wait(lambda: flight.complete >= needed)
        return flight

    def _assemble(self, flight: _Flight, step: int) -> Step:
        plan = flight.plan
        first, stop = plan.batch_ptr[step : step + 2].tolist()
        pick = plan.pick[first:stop]
        rows = {spec.name: self._empty(spec, stop - first) for spec in self._specs}
        here = pick >= 0
        slots = flight.slots[pick[here]]
        for name, into in rows.items():
            if here.all():
                np.take(self._arena[name], slots, axis=0, out=into, mode="clip")
            else:
                into[here] = self._arena[name][slots]
        self._swap(flight, step, rows, ~here)
        self._delivered += stop - first
        self._hits += int(np.count_nonzero(here & (pick < flight.carried)))
        self._moved += int(np.count_nonzero(~here))
        return Step(plan.epoch, step, plan.steps, plan.ids[first:stop], rows)

    def _swap(self, flight: _Flight, step: int, rows: Rows, missing: NDArray[np.bool_]) -> None:
        plan = flight.plan
        first, stop = plan.send_ptr[step : step + 2].tolist()
        if self._exchange is None:
            if missing.any() or stop > first:
                raise InvalidArgument(
                    "the plan moves samples between nodes and no exchange is given: make the plan with "
                    "overflow='read' or 'variable', or give exchange="
                )
            return
        slots = flight.slots[plan.send_pick[first:stop]]
        outgoing = {name: arena[slots] for name, arena in self._arena.items()}
        source = plan.source[slice(*plan.batch_ptr[step : step + 2].tolist())][missing]
        incoming = {name: np.empty((len(source), *into.shape[1:]), into.dtype) for name, into in rows.items()}
        self._exchange.swap(outgoing, plan.send_to[first:stop], incoming, source)
        for name, into in rows.items():
            into[missing] = incoming[name]


def _fresh(spec: FieldSpec, rows: int) -> NDArray[Any]:
    return np.empty((rows, *spec.shape), spec.dtype)
