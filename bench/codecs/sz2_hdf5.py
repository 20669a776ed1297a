"""SZ 2 as the HDF5 filter of hdf5plugin."""

from __future__ import annotations

from dataclasses import dataclass

import hdf5plugin

from bench.hdf5 import decode_chunk, encode_chunk
from bench.protocol import Array, Task, fold

MAX_NDIM = 4


@dataclass(frozen=True, slots=True)
class Hdf5Sz2:
    """hdf5plugin.SZ in absolute mode, the whole field as one chunk."""

    lossless: bool = False
    takes_specials: bool = False

    def encode(self, field: Array, task: Task) -> bytes:
        folded = field.reshape(fold(task.shape, MAX_NDIM))
        return encode_chunk(folded, hdf5plugin.SZ(absolute=task.bound))

    def decode(self, stream: bytes, task: Task) -> Array:
        options = hdf5plugin.SZ(absolute=task.bound)
        return decode_chunk(stream, fold(task.shape, MAX_NDIM), task.dtype, options).reshape(task.shape)


def make(_name: str) -> Hdf5Sz2:
    return Hdf5Sz2()
