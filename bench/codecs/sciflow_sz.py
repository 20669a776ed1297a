"""sciflow's own codec at each of its levels; it is given the field as it is, NaN and fill values included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.protocol import Array, Task
from sciflow import SZ, Bound

Level = Literal["fast", "quick", "balanced", "max"]
LEVELS: dict[str, Level] = {
    "sciflow": "balanced",
    "sciflow-fast": "fast",
    "sciflow-quick": "quick",
    "sciflow-max": "max",
}


@dataclass(frozen=True, slots=True)
class SciflowSz:
    """`sciflow.SZ`; decode needs the bytes alone."""

    level: Level
    lossless: bool = False
    takes_specials: bool = True

    def encode(self, field: Array, task: Task) -> bytes:
        return bytes(SZ(Bound.abs(task.bound), level=self.level, preserve=task.preserve).encode(field))

    def decode(self, stream: bytes, task: Task) -> Array:
        return np.asarray(SZ(Bound.abs(task.bound)).decode(stream)).reshape(task.shape)


def make(name: str) -> SciflowSz:
    return SciflowSz(LEVELS[name])
