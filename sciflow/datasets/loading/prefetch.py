"""Work done ahead of its use, in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls a function ahead of time, at most `depth` results in hand; None from it is the end.

    Parameters
    ----------
    make : callable
        Gives the next result; called in a thread of its own.
    depth : int
        Results that may wait.
    """

    def __init__(self, make: Callable[[], T | None], depth: int) -> None:
        self._make, self._depth = make, depth
        self._made: deque[T | None] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sciflow batches", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while len(self._made) >= self._depth and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
            try:
                made = self._make()
            except BaseException as error:  # noqa: BLE001 - raised again in next
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._made.append(made)
                self._changed.notify_all()
            if made is None:
                return

    def next(self) -> T | None:
        """The next result, in order.

        Raises
        ------
        Exception
            Whatever the function raised, once the results before it are taken.
        """
        with self._changed:
            while not self._made:
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return None
                self._changed.wait()
            if self._made[0] is None:  # the end stays the end
                return None
            made = self._made.popleft()
            self._changed.notify_all()
            return made

    def close(self, *, fill: bool = False) -> None:
        """Make no more; whoever waits gets None. Call `join` once the function can no longer block.

        Parameters
        ----------
        fill : bool
            Make as many as may wait before. Processes that exchange samples stop at the same one then.
        """
        with self._changed:
            while fill and len(self._made) < self._depth and self._error is None and None not in self._made:
                self._changed.wait()
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread."""
        if self._thread is not threading.current_thread():
            self._thread.join()
