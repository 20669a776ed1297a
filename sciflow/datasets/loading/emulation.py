"""A slow storage on a fast disk, to test and measure what a loader does on a parallel file system."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from sciflow.errors import InvalidArgument

__all__ = ["EmulatedStorage"]


@dataclass(slots=True)
class EmulatedStorage:
    """Makes each read operation take ``latency + bytes / bandwidth`` seconds, one after the other.

    It sleeps in the real read path, in addition to what the read itself takes.

    Parameters
    ----------
    latency : float
        Seconds an operation.
    bandwidth : float
        Bytes a second.

    Attributes
    ----------
    busy : float
        Seconds slept so far.

    Raises
    ------
    InvalidArgument
        If the latency is negative or the bandwidth is not positive.
    """

    latency: float
    bandwidth: float
    busy: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.latency < 0 or self.bandwidth <= 0:
            raise InvalidArgument(
                f"latency={self.latency} s, bandwidth={self.bandwidth} B/s: expected at least 0 and more "
                "than 0"
            )

    def __call__(self, length: int) -> None:
        """Take the time of one operation."""
        seconds = self.latency + length / self.bandwidth
        with self._lock:
            time.sleep(seconds)
            self.busy += seconds

    def __getstate__(self) -> tuple[float, float]:
        return self.latency, self.bandwidth

    def __setstate__(self, state: tuple[float, float]) -> None:
        self.latency, self.bandwidth = state
        self.busy, self._lock = 0.0, threading.Lock()
