"""Whatever goes wrong below a loader is raised in the training loop, and nothing is left running."""

from __future__ import annotations

import ctypes
import errno
import gc
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciflow.datasets.loading import LocalExchange, SolarLoader
from sciflow.datasets.planning import StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source
from sciflow.errors import Corrupt, SourceChanged, Truncated

N, G = 160, 16


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = shared_memory()
    yield
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sciflow")]
    assert shared_memory() <= before


def shared_memory() -> set[str]:
    """Files of shared memory that this process has mapped."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return {line.split(maxsplit=5)[5] for line in lines if "/dev/shm" in line}


def stored(path: Path, **layout: Any) -> HDF5Source:
    with h5py.File(path, "w") as file:
        x = np.random.default_rng(0).random((N, 1024)).astype("f4")
        file.create_dataset("x", data=x, **layout)
    return HDF5Source(path, "x")


def loader(source: HDF5Source, **options: Any) -> SolarLoader:
    nodes = options.pop("nodes", 1)
    plan = make_plan(
        source,
        global_batch_size=G,
        num_nodes=nodes,
        buffer_bytes=N // 2 * source.sample_bytes,
        order="feistel",
        storage=StorageModel(),
    )
    return SolarLoader(source, plan, as_numpy=True, **options)


def epochs(batches: SolarLoader, count: int = 3) -> None:
    for _ in range(count):
        for batch in batches:
            assert batch["x"].shape[1:] == (1024,)


class Stop(BaseException):
    """What kills a thread."""


def test_a_reader_thread_that_is_killed_ends_the_epoch(tmp_path: Path) -> None:
    source, calls = stored(tmp_path / "a.h5"), itertools.count()

    def killed(_: int) -> None:
        if next(calls) == 3:
            ident = ctypes.c_ulong(threading.get_ident())
            assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Stop)) == 1

    with pytest.raises(Stop):
        epochs(loader(source, on_read=killed))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_is_raised_once_and_the_loader_goes_on_after_it(tmp_path: Path, prefetch: int) -> None:
    source, calls = stored(tmp_path / "a.h5"), itertools.count()

    def fails(_: int) -> None:
        if next(calls) == 5:
            raise OSError(errno.EIO, "the storage is away")

    with loader(source, on_read=fails, prefetch=prefetch) as batches:
        with pytest.raises(OSError, match="storage is away"):
            epochs(batches)
        epochs(batches, 1)


@pytest.mark.parametrize("layout", [{}, {"chunks": (8, 1024), "compression": "gzip"}], ids=["plain", "gzip"])
def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    source = stored(tmp_path / "a.h5", **layout)
    with loader(source) as batches:
        next(iter(batches))
        os.truncate(tmp_path / "a.h5", 50_000)
        with pytest.raises((Truncated, SourceChanged), match=r"a\.h5"):
            epochs(batches)


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.h5", chunks=(8, 1024), compression="gzip")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        chunk = file["x"].id.get_chunk_info(7)
    stat = (tmp_path / "a.h5").stat()
    with (tmp_path / "a.h5").open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(bytes(64))
    os.utime(tmp_path / "a.h5", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with loader(source) as batches, pytest.raises(Corrupt, match=r"a\.h5.*chunk \(7, 0\)"):
        epochs(batches)


def test_a_file_that_is_written_again(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.h5")
    with loader(source) as batches:
        epochs(batches, 1)
        os.utime(tmp_path / "a.h5", ns=(1, 1))
        with pytest.raises(SourceChanged, match=r"a\.h5"):
            epochs(batches)


def test_a_rank_that_fails_does_not_leave_the_other_waiting(tmp_path: Path) -> None:
    source, calls = stored(tmp_path / "a.h5"), itertools.count()
    exchanges = LocalExchange.between(2)
    met: dict[int, BaseException] = {}

    def fails(_: int) -> None:
        if next(calls) == 2:
            raise OSError(errno.EIO, "the storage is away")

    def run(node: int) -> None:
        with loader(
            source, nodes=2, node=node, exchange=exchanges[node], on_read=fails if node else None
        ) as batches:
            try:
                epochs(batches)
            except Exception as error:  # noqa: BLE001 - looked at below
                met[node] = error

    ranks = [threading.Thread(target=run, args=(node,)) for node in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert not any(rank.is_alive() for rank in ranks)
    assert isinstance(met[1], OSError)
    assert "a.h5" in str(met[1].__notes__)
    assert 0 in met


def test_a_loader_may_be_closed_at_any_time(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.h5")
    for steps in range(5):
        with loader(source) as batches:
            for _ in zip(range(steps), batches, strict=False):
                pass
        batches.close()
