"""What a read costs: alpha seconds an operation, beta bytes a second, and seconds to decode a byte.

```
T(read of n bytes) = alpha + n / beta        T(decode of n raw bytes) = decode n
```
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciflow.datasets.planning.layout import Source
from sciflow.errors import InvalidArgument

__all__ = ["StorageModel"]

_SMALL, _LARGE = 4096, 2 << 20
_FEWEST = 3
_SMALL_READS, _LARGE_READS, _DECODES = 16, 3, 3
"""What a probe does at most: the first batch waits for it."""
_LEAST_ALPHA = 2e-5
"""Seconds: a read of our own takes as long even out of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageModel:
    """Costs of a storage system; the defaults are those of a parallel file system under load.

    Parameters
    ----------
    alpha : float, default 1e-3
        Seconds an operation takes before its first byte.
    beta : float, default 1e9
        Bytes a second of a long sequential read.
    decode : float, default 0.0
        Seconds of one core to decode one raw byte.
    origin : str, default "assumed"
        Where the numbers come from.
    """

    alpha: float = 1e-3
    beta: float = 1e9
    decode: float = 0.0
    origin: str = "assumed"

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < float("inf") and self.beta > 0 and 0 <= self.decode < float("inf")):
            raise InvalidArgument(
                f"storage: found alpha={self.alpha}, beta={self.beta}, decode={self.decode}; expected "
                "alpha >= 0 s, beta > 0 B/s, decode >= 0 s/B"
            )

    @property
    def gap_bytes(self) -> int:
        """Alpha beta: over a gap of at most so many bytes, reading on is cheaper than a second operation."""
        return int(min(self.alpha * self.beta, 2.0**40))

    def to_json(self) -> str:
        """A JSON object that `from_json` takes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StorageModel:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidArgument
            For other fields or values.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"storage: {error}; expected alpha, beta, decode, origin") from error

    @classmethod
    def probe(cls, source: Source, *, seconds: float = 2.0) -> StorageModel:
        """Measure on the files of a source: small reads at random, long ones in order, a few decodes.

        Files are dropped from this process's page cache first, where the system lets it. The probe is small:
        a busy file system gives other numbers a minute later, and a plan is exact whatever the numbers are.

        Parameters
        ----------
        source : Source
            Its attribute ``paths`` names files; its method ``read(first, stop)`` decodes. Where it has
            neither, the defaults are returned.
        seconds : float, default 2.0
            After which no further read starts.

        Returns
        -------
        StorageModel
        """
        model = cls()
        paths = [Path(each) for each in getattr(source, "paths", ()) if Path(each).is_file()]
        if paths:
            alpha, beta = _probe_files(paths, seconds / 2)
            model = cls(alpha=alpha, beta=beta, origin=f"probed on {paths[0].name}")
        read: Callable[[int, int], Any] | None = getattr(source, "read", None)
        if source.layout.filtered and read is not None:
            decode = _probe_decode(source, read, seconds / 2)
            model = cls(alpha=model.alpha, beta=model.beta, decode=decode, origin=model.origin)
        return model


def _probe_files(paths: Sequence[Path], seconds: float) -> tuple[float, float]:
    """Alpha and beta by lower quartiles of reads of the largest file."""
    path = max(paths, key=lambda each: each.stat().st_size)
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        offsets = np.random.default_rng(0).integers(0, max(size - _SMALL, 1), _SMALL_READS).tolist()
        small = _timed(descriptor, offsets, _SMALL, seconds / 2)
        offsets = list(range(0, max(size - _LARGE, 1), _LARGE))[:_LARGE_READS]
        large = _timed(descriptor, offsets, _LARGE, seconds / 2)
    finally:
        os.close(descriptor)
    per_small, per_large = (float(np.percentile(taken, 25)) for taken in (small, large))  # others read, too
    rest = min(_LARGE, size) - _SMALL
    beta = rest / (per_large - per_small) if rest > 0 and per_large > per_small else _SMALL / per_small
    return max(per_small - _SMALL / beta, _LEAST_ALPHA), beta


def _timed(descriptor: int, offsets: Sequence[int], count: int, seconds: float) -> list[float]:
    taken: list[float] = []
    buffer = np.zeros(count, np.uint8)  # touched, so that pages are not counted
    stop = time.perf_counter() + seconds
    for offset in offsets:
        start = time.perf_counter()
        os.preadv(descriptor, [buffer.data], offset)
        taken.append(time.perf_counter() - start)
        if start > stop and len(taken) >= _FEWEST:
            break
    return taken


def _probe_decode(source: Source, read: Callable[[int, int], Any], seconds: float) -> float:
    """CPU seconds per raw byte of decoding whole chunks, so that waiting for the disk is not in it."""
    unit, taken = source.layout.unit, []
    stop = time.perf_counter() + seconds
    for first in range(0, min(len(source), _DECODES * unit), unit):
        last = min(first + unit, len(source))
        start = time.thread_time()
        read(first, last)
        taken.append((time.thread_time() - start) / ((last - first) * source.sample_bytes))
        if time.perf_counter() > stop:
            break
    return float(np.median(taken))
