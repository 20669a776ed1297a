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
    "sciflow-safe": "balanced",
}


@dataclass(frozen=True, slots=True)
class SciflowSz:
    """`sciflow.SZ`; decode needs the bytes alone."""

    level: Level
    rewrite_safe: bool
    lossless: bool = False
    takes_specials: bool = True

    def encode(self, field: Array, task: Task) -> bytes:
        codec = SZ(
            Bound.abs(task.bound), level=self.level, preserve=task.preserve, rewrite_safe=self.rewrite_safe
        )
        return bytes(codec.encode(field))

    def decode(self, stream: bytes, task: Task) -> Array:
        return np.asarray(SZ(Bound.abs(1.0)).decode(stream)).reshape(task.shape)


def make(name: str) -> SciflowSz:
    return SciflowSz(LEVELS[name], rewrite_safe=name == "sciflow-safe")
