"""Carries out the plan of one node: reads ahead into slots, hands out batches, frees slots.

```
planner thread ─▶ EpochPlan, one ahead
                     │ reads, in order
reader threads ──▶ take slots for a whole read (turnstile) ─▶ Source.read_into ─▶ complete
                                                                                     │ need(t) reads complete
consumer ─────────────────────────────────────────────────▶ gather step t ─▶ free its slots
```

Slots are taken in the order of the visits by one thread at a time, and the plan promises that the visits
which step t needs fit beside whatever is still held, so that nobody waits for ever. An epoch's last visits
and the next epoch's first ones overlap. Until the first plan is there, batches are read as they are asked
for (`Head`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.loading.arena import SlotStack, page_aligned
from sciflow.datasets.loading.exchange import Exchange
from sciflow.datasets.loading.flight import Flight, Grain
from sciflow.datasets.loading.head import Head, Start
from sciflow.datasets.loading.stats import LoaderStats, Timeline
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning import EpochPlan
    from sciflow.datasets.sources.base import Source
    from sciflow.datasets.sources.fields import FieldSpec

__all__ = ["Closed", "Pipeline", "Step"]

Ints = NDArray[np.int64]
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
    grain : Grain
        How much a thread reads at a time.
    start : Start, optional
        The batches to begin with before the first plan is there; without effect with an exchange, where all
        nodes go by their plans.
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
        grain: Grain = Grain(),  # noqa: B008 - frozen
        start: Start | None = None,
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
        self._grain = grain
        self._head = Head(start) if start is not None and exchange is None else None
        self._flights: deque[Flight] = deque()
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

    @property
    def _stopped(self) -> bool:
        return self._closed or self._error is not None

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Hold the lock and wait."""
        while not ready():
            if self._stopped:
                raise Closed
            self._changed.wait()
        if self._closed:
            raise Closed

    def _plan(self) -> None:
        self._source.check()
        if (head := self._head) is not None:
            with self._changed:  # planning beside the first batch would keep its readers waiting for the GIL
                self._wait(lambda: head.begun)
        for plan in self._plans:
            with self._changed:
                flight = Flight(plan, self._grain)
                self._follow(flight)
                self._wait(lambda: len(self._flights) < 2)
                self._flights.append(flight)
                self._changed.notify_all()
            self._source.check()  # once an epoch, while the next one is planned
        with self._changed:
            self._planned = True
            self._changed.notify_all()

    def _follow(self, flight: Flight) -> None:
        """Hold the lock; let the first plan go on behind the batches that are read already."""
        head = self._head
        if head is None:
            return
        head.over = True
        self._changed.notify_all()
        self._wait(lambda: not head.busy)
        for slots in head.hand_over(flight):
            self._free.give(slots)
        self._step, self._head = head.step, None

    def _reader(self, reading: Reading) -> Callable[[], None]:
        def read() -> None:
            while True:
                ids, slots, done = self._take()
                with self._timeline.span("read"):
                    self._source.read_into(ids, slots, self._arena, reading)
                with self._changed:
                    done()
                    self._loads += len(ids)
                    self._changed.notify_all()

        return read

    def _take(self) -> tuple[Ints, Ints, Callable[[], None]]:
        """What a thread reads next, where to, and what to call when it is there."""
        with self._changed:
            self._wait(lambda: self._errand() or self._can_take())
            if (head := self._head) is not None and head.errands:
                return (*head.errands.popleft(), head.done)
            flight = self._reading_flight()
            assert flight is not None
            read = flight.next_read
            picks = flight.missing(read)
            slots = flight.slots[picks] = self._free.take(len(picks))
            flight.next_read += 1
            self._changed.notify_all()
            here = flight.read_here(picks)
            return flight.ids(picks[here]), slots[here], partial(flight.finish, read)

    def _errand(self) -> bool:
        return self._head is not None and bool(self._head.errands)

    def _can_take(self) -> bool:
        flight = self._reading_flight()
        if flight is None:
            return False
        wanted = len(flight.missing(flight.next_read))
        if wanted > self._slots:
            raise InvalidArgument(
                f"read of {wanted} samples, {self._slots} slots: the plan is not for this loader"
            )
        return wanted <= self._free.free

    def _reading_flight(self) -> Flight | None:
        """The epoch whose read is next; adopts what the epoch before hands on."""
        before: Flight | None = None
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
        early = self._early()
        if early is not None:
            return early
        with self._timeline.span("wait"), self._stalled():
            flight = self._ready_flight()
        if flight is None:
            return None
        assert self._step is not None
        with self._timeline.span("gather"):
            found = self._assemble(flight, self._step)
        with self._changed:
            self._free.give(flight.released(self._step))
            self._step += 1
            self._changed.notify_all()
        return found

    @contextmanager
    def _stalled(self) -> Iterator[None]:
        """Hold the lock and count the seconds inside; what a thread met is raised here."""
        started = time.perf_counter()
        with self._changed:
            try:
                yield
            except Closed:
                if self._error is not None:
                    raise self._error from None
                raise
            finally:
                self._stall += time.perf_counter() - started

    def _early(self) -> Step | None:
        """The next batch while there is no plan; None where it is the plan's turn."""
        head = self._head
        if head is None:
            return None
        ids = head.start.ids(min(head.step, head.start.steps - 1))
        with self._timeline.span("wait"), self._stalled():
            self._changed.wait_for(lambda: head.over or self._stopped, head.patience)
            if self._stopped:
                raise Closed
            if not head.fits(ids, self._free.free):
                head.over = True
                self._changed.notify_all()
                return None
            head.busy = True
            slots, step = self._free.take(len(ids)), head.step
            head.send(ids, slots, len(self._readings))
            self._changed.notify_all()
            self._wait(lambda: not head.left)
        rows = {spec.name: self._gathered(spec, slots) for spec in self._specs}
        with self._changed:
            head.busy = False
            self._delivered += len(ids)
            self._changed.notify_all()
        return Step(head.start.epoch, step, head.start.steps, ids, rows)

    def _gathered(self, spec: FieldSpec, slots: Ints) -> NDArray[Any]:
        rows = self._empty(spec, len(slots))
        np.take(self._arena[spec.name], slots, axis=0, out=rows, mode="clip")
        return rows

    def _ready_flight(self) -> Flight | None:
        """Hold the lock; wait until the next step can be assembled."""
        self._wait(lambda: bool(self._flights) or self._planned)
        if not self._flights:
            return None
        flight = self._flights[0]
        if self._step is None:
            self._step = flight.plan.first_step
        if self._step == flight.plan.steps:
            self._wait(lambda: flight.complete == flight.reads and (len(self._flights) > 1 or self._planned))
            if len(self._flights) == 1:
                return None
            following = self._flights[1]
            if not following.adopted:
                following.adopt(flight)
            self._flights.popleft()
            self._changed.notify_all()
            flight, self._step = following, following.plan.first_step
        needed = flight.need(self._step)
        self._wait(lambda: flight.complete >= needed)
        return flight

    def _assemble(self, flight: Flight, step: int) -> Step:
        plan = flight.plan
        first, stop = plan.batch_ptr[step : step + 2].tolist()
        pick = plan.pick[first:stop]
        here = plan.source[first:stop] == plan.node
        slots = np.where(here, flight.slots[pick], 0)  # rows that are not here are filled by the exchange
        rows = {spec.name: self._gathered(spec, slots) for spec in self._specs}
        self._swap(flight, step, rows, ~here)
        kept = np.flatnonzero(~here & (pick >= 0))
        for name, values in rows.items() if len(kept) else ():
            self._arena[name][flight.slots[pick[kept]]] = values[kept]
        self._delivered += stop - first
        self._hits += int(np.count_nonzero(here & (pick < flight.carried)))
        self._moved += int(np.count_nonzero(~here))
        return Step(plan.epoch, step, plan.steps, plan.ids[first:stop], rows)

    def _swap(self, flight: Flight, step: int, rows: Rows, missing: NDArray[np.bool_]) -> None:
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
