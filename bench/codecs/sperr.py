"""SPERR as the HDF5 filter of hdf5plugin."""

from __future__ import annotations

from dataclasses import dataclass

import hdf5plugin

from bench.hdf5 import decode_chunk, encode_chunk
from bench.protocol import Array, Task, fold

MAX_NDIM = 3


@dataclass(frozen=True, slots=True)
class Sperr:
    """hdf5plugin.Sperr in point-wise error mode; it handles two or three axes, so leading ones are folded.

    The filter reads the chunk's shape fastest axis first. A C-ordered chunk needs ``swap=True``: the bytes
    are those of the reversed chunk shape, and the natural order was not smaller in any of 180 cases.
    """

    lossless: bool = False
    takes_specials: bool = False

    def encode(self, field: Array, task: Task) -> bytes:
        return encode_chunk(field.reshape(fold(task.shape, MAX_NDIM)), _options(task))

    def decode(self, stream: bytes, task: Task) -> Array:
        folded = fold(task.shape, MAX_NDIM)
        return decode_chunk(stream, folded, task.dtype, _options(task)).reshape(task.shape)


def _options(task: Task) -> hdf5plugin.Sperr:
    return hdf5plugin.Sperr(absolute=task.bound, swap=True)


def make(_name: str) -> Sperr:
    return Sperr()
