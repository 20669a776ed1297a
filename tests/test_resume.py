"""A run that is killed at any point and started again ends with the same store; half a store is never whole.

The kill is real (SIGKILL) and falls on a change to the file system: a driver process forks a child for each,
whose audit hook counts changes and strikes at the one that it was given.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sciflow
import sciflow.store.jobs
from sciflow.bounds import Bound
from sciflow.errors import StoreError
from sciflow.store.plan import Plan
from sciflow.store.staging import open_staging
from sciflow.store.write import VariableOutcome, finish
from tests.ocean import ocean, raw, tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

DRIVER = """
import json, os, signal, sys
import dask, netCDF4, numpy, xarray, zarr
import sciflow, sciflow.store, sciflow.codecs.zarr

CHANGES = {"os.rename", "os.remove", "os.rmdir"}  # mkdir: as often as threads happen to meet

def compress(source, store, strike, overwrite, scheduler):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR) and store in str(arguments[0])
        if event in CHANGES or writes:
            seen += 1
            if seen == strike:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    dask.config.set(scheduler=scheduler, num_workers=2)
    sciflow.compress(source, store, bound="rel:1e-3", chunks="time=2", overwrite=overwrite)
    if not strike:
        print(seen, file=open(store + ".changes", "w"), flush=True)

def fork(*arguments):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            compress(*arguments)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

source, runs, *options = json.loads(sys.argv[1])
print(json.dumps([[fork(source, store, strike, *options), os.path.exists(store)] for store, strike in runs]))
"""
KILLED = -signal.SIGKILL


def drive(
    source: Path, runs: Sequence[tuple[Path, int]], *, overwrite: bool = False, scheduler: str = "synchronous"
) -> list[tuple[int, bool]]:
    """Run a child for each store and strike (0: none); return exit codes, and whether the store is there."""
    request = json.dumps([str(source), [(str(s), int(n)) for s, n in runs], overwrite, scheduler])
    done = subprocess.run(
        [sys.executable, "-B", "-c", DRIVER, request],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(code, there) for code, there in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.nc"
    ocean().to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def whole(source: Path) -> dict[str, bytes]:
    """The store that a run makes which nobody kills."""
    store = source.with_name("whole.zarr")
    assert drive(source, [(store, 0)]) == [(0, True)]
    return tree(store)


@pytest.fixture(scope="module")
def changes(source: Path, whole: dict[str, bytes]) -> int:
    """How often a run changes something on disk; the last few are the renaming and cleaning up."""
    assert whole
    return int(source.with_name("whole.zarr.changes").read_text())


def partial(store: Path) -> Path:
    return store.with_name(store.name + ".partial")


def test_killed_again_and_again(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    strikes = [1, 2, 3, 5, 8, 13, 21, 34, 55, 70, 80]
    ends = drive(source, [(store, strike) for strike in [*strikes, 0]], scheduler="threads")
    assert ends == [(KILLED, False)] * len(strikes) + [(0, True)]
    assert tree(store) == whole
    assert not partial(store).exists()


def test_killed_anywhere(source: Path, whole: dict[str, bytes], changes: int, tmp_path: Path) -> None:
    strikes = [*range(1, changes - 12, 31), *range(changes - 12, changes + 1)]
    stores = [(tmp_path / f"{strike}.zarr", strike) for strike in strikes]
    ends = drive(source, stores)
    assert [code for code, _ in ends[:-4]] == [KILLED] * (len(ends) - 4)
    for (store, strike), (_, there) in zip(stores, ends, strict=True):
        assert not there or tree(store) == whole, f"{strike}: it has its name, so it must be whole"
    drive(source, [(store, 0) for store, _ in stores])
    for store, strike in stores:
        assert tree(store) == whole, strike
        assert not partial(store).exists(), strike


def test_killed_while_replacing(source: Path, whole: dict[str, bytes], changes: int, tmp_path: Path) -> None:
    sciflow.compress(source, tmp_path / "old.zarr", bound="abs:3")
    old = tree(tmp_path / "old.zarr")
    strikes = [*range(changes - 7, changes + 3), *range(changes + 10, changes + 100, 40)]
    stores = [(tmp_path / f"{strike}.zarr", strike) for strike in strikes]
    for store, _ in stores:
        shutil.copytree(tmp_path / "old.zarr", store)
    ends = drive(source, stores, overwrite=True)
    assert [code for code, _ in ends[:10]] == [KILLED] * 10
    for (store, strike), (_, there) in zip(stores, ends, strict=True):
        assert not there or tree(store) in (old, whole), strike
    drive(source, [(store, 0) for store, _ in stores], overwrite=True)
    for store, strike in stores:
        assert tree(store) == whole, strike
        assert not partial(store).exists(), strike


def test_killed_at_a_moment_of_the_clock(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    command = [sys.executable, "-m", "sciflow.cli", "compress", str(source), str(store), "--rel", "1e-3"]
    for delay in (0.8, 1.2):
        with subprocess.Popen(
            [*command, "--chunks", "time=2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            time.sleep(delay)
            run.kill()
    done = subprocess.run(
        [*command, "--chunks", "time=2"], capture_output=True, text=True, timeout=120, check=False
    )
    assert tree(store) == whole, done.stderr
    assert not partial(store).exists()


def stopped(
    source: Path | xr.Dataset, store: Path, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    """Leave a half-written store with all of its chunks."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sciflow.store.jobs, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            sciflow.compress(source, store, **{"bound": "rel:1e-3", "chunks": "time=2"} | options)  # type: ignore[arg-type]


def test_a_half_written_store_is_told_apart(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "out.zarr"
    stopped(source, store, monkeypatch)
    assert not store.exists()
    assert json.loads((partial(store) / "request.json").read_text())["stage"] == "writing"
    for half in (partial(store) / "store", (partial(store) / "store").rename(tmp_path / "stolen.zarr")):
        if half.exists():
            with pytest.raises(StoreError, match="half-written"):
                sciflow.open(half)
            with pytest.raises(StoreError, match="half-written"):
                sciflow.verify(source, half)


def test_another_request_does_not_go_on_from_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "out.zarr"
    stopped(source, store, monkeypatch)
    left = tree(partial(store))
    with pytest.raises(StoreError, match="another request"):
        sciflow.compress(source, store, bound=Bound.rel(1e-2))
    assert tree(partial(store)) == left
    assert sciflow.compress(source, store, bound=Bound.rel(1e-2), resume=False).ok
    assert not partial(store).exists()


def test_a_changed_source_is_another_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ocean().to_netcdf(tmp_path / "in.nc")
    stopped(tmp_path / "in.nc", tmp_path / "out.zarr", monkeypatch)
    (2 * ocean()[["sst", "flux"]]).to_netcdf(tmp_path / "in.nc")
    with pytest.raises(StoreError, match="another request"):
        sciflow.compress(tmp_path / "in.nc", tmp_path / "out.zarr", bound="rel:1e-3", chunks="time=2")
    report = sciflow.compress(tmp_path / "in.nc", tmp_path / "out.zarr", bound="rel:1e-3", overwrite=True)
    assert report.ok
    assert sciflow.verify(tmp_path / "in.nc", tmp_path / "out.zarr").ok


def test_chunks_that_are_there_are_checked_not_believed(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "out.zarr"
    stopped(source, store, monkeypatch)
    chunks = sorted((partial(store) / "store" / "sst" / "c").rglob("0"))
    torn = [chunk for chunk in chunks if chunk.is_file()]
    torn[0].write_bytes(torn[0].read_bytes()[:-7])
    torn[1].write_bytes(b"")
    torn[2].write_bytes(torn[3].read_bytes())
    (torn[4].parent / "0.0123456789abcdef.partial").write_bytes(b"what a killed run leaves")
    report = sciflow.compress(source, store, bound="rel:1e-3", chunks="time=2")
    assert report.ok
    assert report["sst"].compress_mb_s is not None
    assert report["flux"].compress_mb_s is None, "its chunks were there"
    assert tree(store) == whole


def test_text_that_was_torn_is_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "out.zarr"
    stopped(source, store, monkeypatch)
    (partial(store) / "store" / "station" / "c" / "0").write_bytes(b"torn")
    with pytest.raises(StoreError, match="station: chunk c/0 cannot be read"):
        sciflow.compress(source, store, bound="rel:1e-3", chunks="time=2")
    assert sciflow.compress(source, store, bound="rel:1e-3", chunks="time=2", resume=False).ok


def test_a_dataset_in_memory_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "out.zarr"
    stopped(ocean(), store, monkeypatch)
    assert sciflow.compress(ocean(), store, bound="rel:1e-3", chunks="time=2")["sst"].compress_mb_s is None
    stopped(ocean(), tmp_path / "other.zarr", monkeypatch, bound="abs:0.01")
    changed = ocean()
    changed["flux"][3, 4, 5] += 1
    report = sciflow.compress(changed, tmp_path / "other.zarr", bound="abs:0.01", chunks="time=2")
    assert report.ok, "only the chunk that is no longer within the bound is written again"
    assert sciflow.verify(changed, tmp_path / "other.zarr").ok


def test_two_runs_do_not_write_one_store(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    with open_staging(str(store), digest="0" * 64, overwrite=False, resume=True):
        with pytest.raises(StoreError, match="another run is writing"):
            sciflow.compress(source, store, bound="rel:1e-3")
        with pytest.raises(StoreError, match="another run is writing"):
            sciflow.compress(source, store, bound="rel:1e-3", overwrite=True)


def test_a_store_that_appears_meanwhile_is_not_replaced(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "out.zarr"

    def finish_late(url: str, plan: Plan, outcomes: Mapping[str, VariableOutcome]) -> None:
        finish(url, plan, outcomes)
        store.mkdir()
        (store / "zarr.json").write_text("somebody's")

    monkeypatch.setattr(sciflow.store.jobs, "finish", finish_late)
    with pytest.raises(StoreError, match="exists already"):
        sciflow.compress(source, store, bound="rel:1e-3")
    assert (store / "zarr.json").read_text() == "somebody's"


def test_values_of_a_resumed_store(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "out.zarr"
    stopped(source, store, monkeypatch)
    sciflow.compress(source, store, bound="rel:1e-3", chunks="time=2")
    original, found = raw(source), raw(store)
    assert found["station"].values.tolist() == original["station"].values.tolist()
    np.testing.assert_array_equal(found["time"].values, original["time"].values)
