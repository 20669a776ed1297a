"""numcodecs Zstd at its default level, lossless: the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numcodecs import Zstd

from bench.protocol import Array, Task


@dataclass(frozen=True, slots=True)
class NumcodecsZstd:
    """Zstandard on the raw bytes."""

    lossless: bool = True
    takes_specials: bool = True

    def encode(self, field: Array, task: Task) -> bytes:
        return bytes(Zstd().encode(field))

    def decode(self, stream: bytes, task: Task) -> Array:
        return np.frombuffer(Zstd().decode(stream), dtype=task.dtype).reshape(task.shape)


def make(_name: str) -> NumcodecsZstd:
    return NumcodecsZstd()
