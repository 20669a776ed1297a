"""The codecs from many threads at once: the same bytes, the same values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.numcodecs import SZ
from sciflow.errors import Corrupt
from sciflow.testing import assert_same_bits

THREADS = 8
ROUNDS = 6


def field(seed: int) -> NDArray[Any]:
    """Another shape, texture and dtype for each seed, so that scratch memory cannot fit by luck."""
    rng = np.random.default_rng(seed)
    shape = [(40_000,), (150, 211), (23, 37, 41), (6, 7, 19, 30)][seed % 4]
    walk = rng.normal(size=shape).cumsum(axis=-1)
    walk[rng.random(shape) < 0.01] = np.nan
    return np.asarray(walk).astype("f4" if seed % 3 else "f8")


@pytest.mark.parametrize("inner", [1, 3])
def test_eight_threads_encode_and_decode_at_once(inner: int) -> None:
    fields = [field(seed) for seed in range(THREADS)]
    codecs = [
        SZ(bound, level=level, block_values=10_000, threads=inner)
        for bound in (Bound.rel(1e-3), Bound.pointwise_rel(1e-2))
        for level in ("fast", "balanced")
    ]
    alone = [[codec.encode(each) for each in fields] for codec in codecs]
    start = Barrier(THREADS)

    def work(thread: int) -> None:
        start.wait()
        for turn in range(ROUNDS):
            for codec, streams in zip(codecs, alone, strict=True):
                index = (thread + turn) % THREADS
                stream = codec.encode(fields[index])
                assert stream == streams[index]
                assert_same_bits(codec.decode(stream), codec.decode(streams[index]))
                with pytest.raises(Corrupt):
                    codec.decode(stream[:-7])

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, thread) for thread in range(THREADS)]:
            done.result()
