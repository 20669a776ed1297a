"""SZ3 3.4 as `pysz` ships it: its default (interpolation or Lorenzo, chosen by trial) and LORENZO_REG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

from bench.protocol import Array, Task, fold

MAX_NDIM = 4


@dataclass(frozen=True, slots=True)
class Pysz:
    """SZ3 in absolute-bound mode; it takes at most four axes, so a fifth is folded into the first."""

    algorithm: int
    lossless: bool = False
    takes_specials: bool = False

    def encode(self, field: Array, task: Task) -> bytes:
        folded = field.reshape(fold(task.shape, MAX_NDIM))
        config = szConfig(folded.shape)
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = task.bound
        config.cmprAlgo = self.algorithm
        config.openmp = False
        stream, _ratio = sz.compress(folded, config)
        return bytes(stream)

    def decode(self, stream: bytes, task: Task) -> Array:
        buffer = np.frombuffer(stream, dtype=np.uint8)
        field, _config = sz.decompress(buffer, np.dtype(task.dtype), fold(task.shape, MAX_NDIM))
        return np.asarray(field).reshape(task.shape)


def make(name: str) -> Pysz:
    return Pysz(szAlgorithm.LORENZO_REG if name == "pysz-lorenzo" else szAlgorithm.INTERP_LORENZO)
