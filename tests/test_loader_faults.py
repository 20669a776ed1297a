"""Whatever goes wrong below a loader is raised in the training loop, and nothing is left running."""

from __future__ import annotations

import ctypes
import errno
import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
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


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts /proc/self/fd")
def test_loaders_leave_no_descriptors_threads_or_shared_memory(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.h5")
    epochs(loader(source), 1)  # keeps the file open, as sources do
    gc.collect()
    threads, opened = threading.active_count(), descriptors()

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "the storage is away")

    for turn in range(12):
        batches = loader(source, on_read=fails if turn % 3 == 2 else None, prefetch=turn % 2)
        try:
            for _ in zip(range(turn), batches, strict=False):
                pass
        except OSError:
            pass
        if turn % 2:
            batches.close()  # or is forgotten
        del batches
    gc.collect()
    for _ in range(200):  # a forgotten loader's threads end when its finalizer has run
        if threading.active_count() == threads:
            break
        time.sleep(0.02)
    assert threading.active_count() == threads
    assert descriptors() == opened


IN_A_CELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = [
    "from sciflow.datasets import SolarLoader",
    "from sciflow.datasets.sources import HDF5Source",
    "source = HDF5Source(PATH, 'x')",
    "loader = SolarLoader(source, batch_size=16, buffer_bytes=1 << 20, as_numpy=True, progress=True)",
    "first = next(iter(loader))['x'].shape",
    "rows = sum(len(batch['x']) for batch in loader)",  # the cell is run again: the epoch begins anew
    "rows = sum(len(batch['x']) for batch in loader)",
]
shell.user_ns["PATH"] = sys.argv[1]
for cell in cells:
    shell.run_cell(cell).raise_error()
print(shell.user_ns["first"], shell.user_ns["rows"])
"""


def test_a_notebook_may_leave_a_loader_open(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    pytest.importorskip("torch")
    stored(tmp_path / "a.h5")
    command = [sys.executable, "-c", IN_A_CELL, str(tmp_path / "a.h5")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == f"(16, 1024) {N}"


def _rows(path: str, box: Any) -> None:
    with loader(HDF5Source(path, "x")) as batches:
        box.put(sum(len(batch["x"]) for batch in batches))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_makes_a_loader_of_its_own(tmp_path: Path, method: str) -> None:
    source = stored(tmp_path / "a.h5")
    context: Any = multiprocessing.get_context(method)
    with loader(source) as batches:
        next(iter(batches))  # its threads run while the process starts
        box = context.Queue()
        child = context.Process(target=_rows, args=(str(tmp_path / "a.h5"), box))
        child.start()
        assert box.get(timeout=100) == N
        child.join(60)
        assert child.exitcode == 0
        epochs(batches, 1)
    box.close()
    box.join_thread()
