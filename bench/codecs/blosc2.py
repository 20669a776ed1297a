"""Blosc2 as the HDF5 filter of hdf5plugin: zstd with byte shuffle, lossless."""

from __future__ import annotations

from dataclasses import dataclass

import hdf5plugin

from bench.hdf5 import decode_chunk, encode_chunk
from bench.protocol import Array, Task

OPTIONS = hdf5plugin.Blosc2(cname="zstd", clevel=5, filters=hdf5plugin.Blosc2.SHUFFLE)


@dataclass(frozen=True, slots=True)
class Blosc2:
    """hdf5plugin.Blosc2, the whole field as one chunk."""

    lossless: bool = True
    takes_specials: bool = True

    def encode(self, field: Array, task: Task) -> bytes:
        return encode_chunk(field, OPTIONS)

    def decode(self, stream: bytes, task: Task) -> Array:
        return decode_chunk(stream, task.shape, task.dtype, OPTIONS)


def make(_name: str) -> Blosc2:
    return Blosc2()
