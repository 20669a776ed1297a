"""What a loader did: counters, and a log of who was busy when."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Event", "LoaderStats", "Timeline"]

_MAX_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class LoaderStats:
    """Counters since the loader was made.

    Parameters
    ----------
    delivered : int
        Samples in batches so far.
    loads : int
        Samples that were read from storage; those that are read ahead count too.
    hits : int
        Samples delivered that an earlier epoch had left in a slot.
    moved : int
        Samples delivered that another node had read.
    ops, bytes, decodes : int
        Read operations, bytes that they brought, chunks that were decoded.
    stall_s : float
        Seconds that batches waited for reads.
    peak_slots : int
        Most samples held at once.
    """

    delivered: int = 0
    loads: int = 0
    hits: int = 0
    moved: int = 0
    ops: int = 0
    bytes: int = 0
    decodes: int = 0
    stall_s: float = 0.0
    peak_slots: int = 0

    def __add__(self, other: LoaderStats) -> LoaderStats:
        return LoaderStats(
            self.delivered + other.delivered,
            self.loads + other.loads,
            self.hits + other.hits,
            self.moved + other.moved,
            self.ops + other.ops,
            self.bytes + other.bytes,
            self.decodes + other.decodes,
            self.stall_s + other.stall_s,
            max(self.peak_slots, other.peak_slots),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One thread, busy with one thing.

    Parameters
    ----------
    kind : str
        "read", "gather" or "wait".
    thread : str
        Its name.
    start, stop : float
        Seconds since the log began.
    """

    kind: str
    thread: str
    start: float
    stop: float


class Timeline:
    """The last hundred thousand events, or none where it is switched off.

    Parameters
    ----------
    on : bool
        Whether to keep events.
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self._began = time.perf_counter()
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)

    @property
    def events(self) -> list[Event]:
        """All that are kept, in the order in which they ended."""
        return list(self._events)

    @contextmanager
    def span(self, kind: str) -> Iterator[None]:
        """Log what happens inside."""
        if not self.on:
            yield
            return
        start = time.perf_counter() - self._began
        try:
            yield
        finally:
            stop = time.perf_counter() - self._began
            self._events.append(Event(kind, threading.current_thread().name, start, stop))

    def plot(self, axes: Any = None) -> Any:
        """Draw who was busy when; needs matplotlib.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where to draw; a new figure where it is not given.

        Returns
        -------
        matplotlib Axes
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(9, 2.5), layout="constrained").subplots()
        events = self.events
        threads = sorted({event.thread for event in events})
        colours = {"read": "tab:blue", "gather": "tab:green", "wait": "tab:red"}
        for kind, colour in colours.items():
            for row, thread in enumerate(threads):
                mine = [e for e in events if e.kind == kind and e.thread == thread]
                bars = [(e.start, e.stop - e.start) for e in mine]
                axes.broken_barh(bars, (row - 0.4, 0.8), color=colour, label=kind if row == 0 else None)
        axes.set_yticks(range(len(threads)), threads)
        axes.set_xlabel("seconds")
        if events:
            axes.legend(loc="upper right", ncols=3)
        return axes
