"""numcodecs Blosc (zstd, byte shuffle), lossless: what most Zarr stores use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numcodecs import Blosc, blosc

from bench.protocol import Array, Task


@dataclass(frozen=True, slots=True)
class NumcodecsBlosc:
    """Blosc with zstd level 5 and byte shuffle, one thread."""

    lossless: bool = True
    takes_specials: bool = True

    def encode(self, field: Array, task: Task) -> bytes:
        return bytes(Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE).encode(field))

    def decode(self, stream: bytes, task: Task) -> Array:
        return np.frombuffer(Blosc().decode(stream), dtype=task.dtype).reshape(task.shape)


def make(_name: str) -> NumcodecsBlosc:
    blosc.set_nthreads(1)
    return NumcodecsBlosc()
