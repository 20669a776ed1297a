"""The codecs from many threads at once: the same bytes, the same values."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Literal

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


@pytest.mark.parametrize("level", ["fast", "balanced"])
def test_more_threads_than_processors_or_blocks_change_no_byte(level: Literal["fast", "balanced"]) -> None:
    values = field(2)
    alone = SZ(Bound.rel(1e-3), level=level, block_values=3_000).encode(values)
    for threads in (2, 5, 100):
        codec = SZ(Bound.rel(1e-3), level=level, block_values=3_000, threads=threads)
        assert codec.encode(values) == alone
        assert_same_bits(codec.decode(alone), SZ(Bound.rel(1e-3)).decode(alone))


def test_large_and_small_arrays_in_turn_reuse_memory_and_change_no_byte() -> None:
    """What a call leaves to the next is longer or shorter than needed, and full of other values."""
    rng = np.random.default_rng(0)
    fields = [
        rng.normal(size=size).cumsum().astype(kind) for size in (5, 300_000, 700) for kind in ("f4", "f8")
    ]
    codec = SZ(Bound.rel(1e-4), level="fast", threads=2, block_values=100_000)
    streams = [codec.encode(each) for each in fields]
    for index in (5, 0, 3, 2, 4, 1, 3, 0):
        assert codec.encode(fields[index]) == streams[index]
        assert np.ptp(fields[index]) * 1.001e-4 >= np.abs(codec.decode(streams[index]) - fields[index]).max()


FORKING = """
import os, sys, threading
import numpy as np
from sciflow.bounds import Bound
from sciflow.codecs.numcodecs import SZ

values = np.random.default_rng(0).normal(size=60_000).cumsum().astype("f4")
codec = SZ(Bound.rel(1e-3), block_values=10_000, threads=3)
stream = codec.encode(values)
stop = threading.Event()

def busy():
    while not stop.is_set():
        codec.decode(codec.encode(values))

threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
failed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        same = codec.encode(values) == stream and codec.decode(stream).shape == values.shape
        os._exit(0 if same else 1)
    failed += os.waitpid(child, 0)[1] != 0
stop.set()
for thread in threads:
    thread.join()
sys.exit(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_others_encode_encodes_too() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], check=True, timeout=120)
