"""zfp in accuracy mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zfpy

from bench.protocol import Array, Task, fold

MAX_NDIM = 4


@dataclass(frozen=True, slots=True)
class Zfp:
    """zfp with ``tolerance=bound``; its stream has a header, so decode needs the bytes alone."""

    lossless: bool = False
    takes_specials: bool = False

    def encode(self, field: Array, task: Task) -> bytes:
        return bytes(zfpy.compress_numpy(field.reshape(fold(task.shape, MAX_NDIM)), tolerance=task.bound))

    def decode(self, stream: bytes, task: Task) -> Array:
        return np.asarray(zfpy.decompress_numpy(stream)).reshape(task.shape)


def make(_name: str) -> Zfp:
    return Zfp()
