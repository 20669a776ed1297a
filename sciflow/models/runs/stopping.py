"""Signals that end a run at a whole step, with a checkpoint.

| signal | who sends it | behind the checkpoint |
| --- | --- | --- |
| SIGTERM, SIGUSR1 | Slurm, before a limit or a preemption | `Result.stopped` names it; exit code 75 |
| SIGINT | Ctrl-C | KeyboardInterrupt; exit code 130 |
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["NO_SIGNAL", "REQUEUE", "name_of", "stop_signals"]

REQUEUE = 75
"""Exit code of a run that wants to be started again: EX_TEMPFAIL of sysexits.h."""
NO_SIGNAL = 0
_HEARD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def name_of(number: int) -> str:
    """Return "SIGTERM" for 15."""
    return signal.Signals(number).name


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Give a list that gets the number of each signal; the second one does what it did before.

    Outside of the main thread, where Python lets nobody listen, the list stays empty.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.getsignal(number) for number in _HEARD}

    def note(number: int, _: FrameType | None) -> None:
        heard.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in _HEARD:
        signal.signal(number, note)
    try:
        yield heard
    finally:
        for number in _HEARD:
            signal.signal(number, before[number])
