"""Many calls of one plain function: here, one by one, or on Dask workers, a few in flight for each thread.

```
items ─▶ submit (2 a thread) ─▶ worker: call, catch ─▶ batch of (item, result | Trouble) ─▶ submit more
                 ▲                                                        │
                 └──────────── again, later, elsewhere ◀── trouble ───────┘
```
Results are small; they are fetched and let go at once, so a worker that dies takes only its running calls
with it. Those run again: a call must be one that may be repeated.
"""

from __future__ import annotations

import heapq
import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sciflow.errors import SciflowError, StoreError
from sciflow.store.running import ClusterRunner, Runner, open_runner

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskEngine", "Engine", "Policy", "SerialEngine", "Trouble"]

T = TypeVar("T")
R = TypeVar("R")

_logger = logging.getLogger(__name__)

_IN_FLIGHT = 2
"""Calls handed out for each thread: one runs, one waits."""

_TICK = 0.5
"""Seconds between looks at clocks and workers."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens when a call fails.

    Parameters
    ----------
    retries : int
        Further attempts, on another worker where there is one; none where no attempt could end otherwise.
    backoff : float
        Seconds before the second attempt, twice as many before each further one.
    timeout : float, optional
        Seconds that a call may take from when a worker begins it. One that takes longer has its worker
        process restarted. Without Dask there is no time-out.
    patience : float
        Seconds without any worker, after which the run is given up.
    """

    retries: int = 2
    backoff: float = 1.0
    timeout: float | None = None
    patience: float = 900.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that failed.

    Parameters
    ----------
    message : str
        One line.
    final : bool
        Whether another attempt could only end the same way.
    attempts : int
        How many there were.
    where : str
        Host, and process or worker.
    """

    message: str
    final: bool = False
    attempts: int = 1
    where: str = ""

    def __str__(self) -> str:
        times = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{self.message}{times}{f' on {self.where}' if self.where else ''}"


class Engine(Protocol):
    """Runs calls."""

    def runner(self) -> AbstractContextManager[Runner]:
        """Give what computes Dask's delayed tasks, for plans."""

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[list[tuple[T, R | Trouble]]]:
        """Yield what came of the items, some at a time; calls under way are dropped when it is closed."""


class SerialEngine:
    """Runs calls in this process, one by one.

    Parameters
    ----------
    policy : Policy
        What happens when one fails.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy()

    def runner(self) -> AbstractContextManager[Runner]:
        """Dask's threads, for plans."""
        return open_runner(None)

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[list[tuple[T, R | Trouble]]]:
        """Yield what came of each item, in their order."""
        for item in items:
            for attempt in range(1, self._policy.retries + 2):
                result = attempted(call, item)
                if not isinstance(result, Trouble):
                    break
                result = Trouble(result.message, result.final, attempt)
                if result.final or attempt > self._policy.retries:
                    break
                time.sleep(self._policy.backoff * 2 ** (attempt - 1))
            yield [(item, result)]


class DaskEngine:
    """Runs calls on the workers of a Dask cluster, however many there are at the moment.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    policy : Policy
        What happens when a call fails.
    """

    def __init__(self, client: Client, policy: Policy | None = None) -> None:
        self._client, self._policy = client, policy or Policy()

    def runner(self) -> AbstractContextManager[Runner]:
        """The cluster, for plans."""
        return nullcontext(ClusterRunner(self._client))

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[list[tuple[T, R | Trouble]]]:
        """Yield what came of the items, in the order in which they are done.

        Raises
        ------
        StoreError
            If there is no worker for as long as the policy's patience.
        """
        run = _Run(self._client, self._policy, call, iter(items))
        try:
            while not run.over():
                run.submit()
                done = run.collect()
                if done:
                    yield done
                run.look_at_clocks()
        finally:
            run.cancel()


def attempted(call: Callable[[T], R], item: T) -> R | Trouble:
    """Call once; what goes wrong comes back as a value, which any process can read."""
    try:
        return call(item)
    except Exception as error:  # noqa: BLE001 - one of thousands of calls; the others go on
        text = " ".join((str(error) or type(error).__name__).split())
        told = text if isinstance(error, SciflowError) else f"{type(error).__name__}: {text}"
        _logger.warning("%s: %s", item, told)
        return Trouble(told, _is_final(error), where=socket.gethostname())


def _announced(topic: str, call: Callable[[T], R], item: T) -> R | Trouble:
    """The same on a worker, which says first that it has begun."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, worker.get_current_task())
    return attempted(call, item)


def _is_final(error: Exception) -> bool:
    if isinstance(error, StoreError):
        return not isinstance(error.__cause__, OSError)
    return isinstance(error, SciflowError | FileNotFoundError | IsADirectoryError)


@dataclass(slots=True)
class _Flight:
    item: Any
    attempt: int


class _Run:
    """The state of one `DaskEngine.run`."""

    def __init__(
        self, client: Client, policy: Policy, call: Callable[[Any], Any], items: Iterator[Any]
    ) -> None:
        self._client, self._policy, self._call, self._items = client, policy, call, items
        self._flying: dict[Future[Any], _Flight] = {}
        self._landed: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Any, int, str]] = []
        self._count, self._exhausted = 0, False
        self._threads, self._looked, self._alone_since = 0, -_TICK, time.monotonic()
        self._failed: list[tuple[Any, Any]] = []
        self._topic, self._began = f"sciflow-{id(self):x}", dict[str, float]()
        if policy.timeout is not None:
            client.subscribe_topic(self._topic, self._begin)  # type: ignore[no-untyped-call]

    def over(self) -> bool:
        return self._exhausted and not (self._flying or self._later or self._failed)

    def submit(self) -> None:
        """Fill up the flight."""
        self._count_threads()
        while len(self._flying) < max(_IN_FLIGHT, _IN_FLIGHT * self._threads):
            if self._later and self._later[0][0] <= time.monotonic():
                _, _, item, attempt, avoid = heapq.heappop(self._later)
                self._launch(item, attempt, avoid)
                continue
            try:
                item = next(self._items)
            except StopIteration:
                self._exhausted = True
                return
            self._launch(item, 1, "")

    def collect(self) -> list[tuple[Any, Any]]:
        """What has come back, waiting a moment for the first."""
        landed = [] if self._failed else self._next_landed()
        flights = {future: self._flying.pop(future) for future in landed if future in self._flying}
        finished = [future for future in flights if future.status == "finished"]
        values = dict(zip(finished, self._gather(finished), strict=True))
        done, self._failed = self._failed, []
        for future, flight in flights.items():
            result = values[future] if future in values else _broken(future)
            self._began.pop(str(future.key), None)
            future.release()  # type: ignore[no-untyped-call]
            if isinstance(result, Trouble) and self._again(flight, result):
                continue
            if isinstance(result, Trouble):
                result = Trouble(result.message, result.final, flight.attempt, result.where)
            done.append((flight.item, result))
        return done

    def look_at_clocks(self) -> None:
        """Restart workers whose calls take too long; give up where there are none."""
        now = time.monotonic()
        if self._threads:
            self._alone_since = now
        elif now - self._alone_since > self._policy.patience:
            raise StoreError(
                f"no Dask worker for {self._policy.patience:g} s; what is done is kept: repeat the request"
            )
        if self._policy.timeout is None:
            return
        began = {future: self._began.get(str(future.key), now) for future in self._flying}
        for future in [future for future, since in began.items() if now - since > self._policy.timeout]:
            flight = self._flying.pop(future)
            where = self._stop(future)
            for key in list(self._began):  # some ran beside it, and begin again elsewhere
                self._began[key] = now
            trouble = Trouble(
                f"not done after {self._policy.timeout:g} s", attempts=flight.attempt, where=where
            )
            if not self._again(flight, trouble):
                self._failed.append((flight.item, trouble))

    def cancel(self) -> None:
        """Drop what is under way."""
        if self._policy.timeout is not None and self._client.status == "running":
            self._client.unsubscribe_topic(self._topic)  # type: ignore[no-untyped-call]
        if self._flying and self._client.status == "running":
            self._client.cancel(list(self._flying), force=True)  # type: ignore[no-untyped-call]
        self._flying.clear()

    def _begin(self, event: tuple[float, str]) -> None:
        """Called in the client's thread when a worker begins a call, again where another one repeats it."""
        self._began[event[1]] = time.monotonic()

    def _launch(self, item: Any, attempt: int, avoid: str) -> None:
        call = attempted if self._policy.timeout is None else partial(_announced, self._topic)
        others = [w for w in self._workers() if w != avoid] if avoid else []
        self._count += 1
        future = self._client.submit(
            call,
            self._call,
            item,
            key=f"sciflow-{id(self):x}-{self._count}",
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        self._flying[future] = _Flight(item, attempt)
        future.add_done_callback(self._landed.put)  # type: ignore[no-untyped-call]

    def _again(self, flight: _Flight, trouble: Trouble) -> bool:
        if trouble.final or flight.attempt > self._policy.retries:
            return False
        pause = self._policy.backoff * 2 ** (flight.attempt - 1)
        self._count += 1
        entry = (time.monotonic() + pause, self._count, flight.item, flight.attempt + 1, trouble.where)
        heapq.heappush(self._later, entry)
        return True

    def _next_landed(self) -> list[Future[Any]]:
        found = []
        with suppress(queue.Empty):
            found.append(self._landed.get(timeout=_TICK if self._flying or self._later else 0))
            while True:
                found.append(self._landed.get_nowait())
        return found

    def _gather(self, futures: list[Future[Any]]) -> list[Any]:
        if not futures:
            return []
        try:
            return list(self._client.gather(futures))  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - their worker died meanwhile: they run again
            return [Trouble(f"result was lost ({type(error).__name__})")] * len(futures)

    def _stop(self, future: Future[Any]) -> str:
        """End a call that hangs, with its worker process; return the worker."""
        processing = self._client.processing()  # type: ignore[no-untyped-call]
        where = next((str(worker) for worker, keys in processing.items() if future.key in keys), "")
        self._client.cancel([future], force=True)  # type: ignore[no-untyped-call]
        if where and not where.startswith("inproc"):
            # Q: why not restart_workers? A: it waits for the call that hangs. A nanny starts another process.
            self._client.run(_end_process, workers=[where], wait=False)
        return where

    def _count_threads(self) -> None:
        if time.monotonic() - self._looked < _TICK:
            return
        self._threads = sum(self._nthreads().values())
        self._looked = time.monotonic()
        if not self._threads:  # nothing is late while nobody works
            self._began.clear()

    def _workers(self) -> list[str]:
        return list(self._nthreads())

    def _nthreads(self) -> dict[str, int]:
        found: dict[str, int] = self._client.nthreads()  # type: ignore[no-untyped-call]
        return found


async def _end_process() -> None:
    """Run by a worker's event loop, beside the thread that hangs."""
    os._exit(1)


def _broken(future: Future[Any]) -> Trouble:
    """A call of which Dask itself says that it failed: its worker died too often, or could not read it."""
    if future.status != "error":
        return Trouble(f"was {future.status}")
    error = future.exception()  # type: ignore[no-untyped-call]
    kind = type(error).__name__
    text = "its worker process died again and again" if kind == "KilledWorker" else str(error)
    return Trouble(f"{kind}: {' '.join(text.split())[:300]}")
