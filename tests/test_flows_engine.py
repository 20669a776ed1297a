"""One store by many processes, and many files: the same bytes, nothing twice, nothing lost or hidden."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

pytest.importorskip("pydantic")

import sciflow
from sciflow.errors import InvalidArgument, StoreError
from sciflow.flows import many_files, one_store
from sciflow.flows.clusters import connect
from sciflow.flows.engine import DaskEngine, Policy, SerialEngine, Trouble
from sciflow.flows.manifest import read_folder
from sciflow.flows.many_files import compress_many, stores_of
from sciflow.flows.one_store import begin_store, compress_store, finish_store, manifest_of, write_part
from sciflow.flows.parameters import ClusterChoice, CompressSettings
from sciflow.store.allocation import ALLOCATION
from sciflow.store.jobs import Handle, Piece, check_alignment, join_job, open_job, pieces_of
from sciflow.store.running import open_runner
from tests.ocean import ocean, tree, waves

BOUND = "rel:1e-3"
SETTINGS = CompressSettings(chunks={"time": 2}, shards={"time": 4})
OPTIONS = {"bound": BOUND, "chunks": "time=2", "shards": "time=4"}
QUICK = Policy(retries=1, backoff=0.01)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.nc"
    ocean().to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def whole(source: Path) -> dict[str, bytes]:
    store = source.with_name("whole.zarr")
    sciflow.compress(source, store, bound=BOUND, chunks="time=2", shards="time=4")
    return tree(store)


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskEngine]:
    with connect(ClusterChoice(workers=2)) as client:
        yield DaskEngine(client, QUICK)


def lines_of(store: Path) -> list[str]:
    """Ids in a finished store's manifest."""
    lines = [json.loads(line) for line in manifest_of(store).read_text().splitlines()]
    return [line["id"] for line in lines if "id" in line]


def test_serial_gives_the_bytes_of_compress(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    store, request = tmp_path / "out.zarr", SETTINGS.request(BOUND)
    told: list[tuple[int, int]] = []
    done = compress_store(
        source,
        store,
        request,
        engine=SerialEngine(),
        advance=lambda done, total, _: told.append((done, total)),
    )
    assert tree(store) == whole
    assert done.written == done.pieces == len(lines_of(store)) == len(set(lines_of(store)))
    assert told[-1] == (done.pieces, done.pieces)
    assert done.report["ok"]
    assert sciflow.verify(source, store).ok
    again = compress_store(source, store, request, engine=SerialEngine())
    assert (again.written, again.pieces, again.report) == (0, done.pieces, done.report)
    with pytest.raises(StoreError, match="exists already"):
        compress_store(source, store, SETTINGS.request("rel:1e-2"), engine=SerialEngine())
    compress_store(source, store, SETTINGS.request("rel:1e-2"), engine=SerialEngine(), overwrite=True)
    assert tree(store) != whole
    assert not list(tmp_path.glob("*.partial"))


def test_dask_gives_the_same(
    source: Path, whole: dict[str, bytes], tmp_path: Path, cluster: DaskEngine
) -> None:
    done = compress_store(source, tmp_path / "out.zarr", SETTINGS.request(BOUND), engine=cluster)
    assert tree(tmp_path / "out.zarr") == whole
    assert done.written == len(set(lines_of(tmp_path / "out.zarr")))


def test_a_job_array_gives_the_same(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    store, request, engine = tmp_path / "out.zarr", SETTINGS.request(BOUND), SerialEngine()
    with pytest.raises(StoreError, match="no run is under way"):
        write_part(store, (0, 3), engine=engine)
    begun = begin_store(source, store, request, engine=engine)
    parts = [write_part(store, (element, 3), engine=engine) for element in (2, 0)]
    with pytest.raises(StoreError, match="pieces are not written"):
        finish_store(source, store, request, engine=engine)
    with join_job(store), pytest.raises(StoreError, match="another run is writing"):
        finish_store(source, store, request, engine=engine)
    parts.append(write_part(store, (1, 3), engine=engine))
    assert write_part(store, (1, 3), engine=engine).written == 0
    assert finish_store(source, store, request, engine=engine).report["ok"]
    assert sum(part.written for part in parts) == begun.pieces == len(set(lines_of(store)))
    assert tree(store) == whole
    assert finish_store(source, store, request, engine=engine).written == 0


def test_targets_and_regions_travel_with_the_plan(tmp_path: Path) -> None:
    source, settings = (
        tmp_path / "in.nc",
        CompressSettings.model_validate(
            {
                "regions": {"sst": {"mask": "mask", "bounds": {1: "abs:0.001"}}},
                "per_variable": {"flux": "psnr:60"},
            }
        ),
    )
    ocean().to_netcdf(source)
    compress_store(source, tmp_path / "a.zarr", settings.request(BOUND), engine=SerialEngine())
    sciflow.compress(source, tmp_path / "b.zarr", **settings.arguments(BOUND))
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")
    assert sciflow.verify(source, tmp_path / "a.zarr").ok


def test_aux_variables_are_written_after_the_others(tmp_path: Path, cluster: DaskEngine) -> None:
    data = {name: (("z", "y", "x"), waves((8, 40, 40), seed=seed)) for seed, name in enumerate("tu")}
    xr.Dataset(data).to_netcdf(tmp_path / "in.nc")
    settings = CompressSettings(aux={"t": ["u"]}, chunks={"z": 2})
    compress_store(tmp_path / "in.nc", tmp_path / "a.zarr", settings.request("rel:1e-2"), engine=cluster)
    sciflow.compress(tmp_path / "in.nc", tmp_path / "b.zarr", **settings.arguments("rel:1e-2"))
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")
    with pytest.raises(InvalidArgument, match="aux in a job array"):
        begin_store(
            tmp_path / "in.nc", tmp_path / "c.zarr", settings.request("rel:1e-2"), engine=SerialEngine()
        )


def test_pieces_that_share_a_file_are_refused(source: Path, tmp_path: Path) -> None:
    request = SETTINGS.request(BOUND)
    with open_runner(None) as run, open_job(source, tmp_path / "out.zarr", request, run=run) as job:
        plan = next(p for p in job.plan.variables if p.name == "sst")
        array = zarr.open_group(job.handle.url, mode="r")["sst"]
        assert isinstance(array, zarr.Array)
        check_alignment(plan, array)
        with pytest.raises(StoreError, match="lose values"):
            check_alignment(replace(plan, shards=None), array)
        with pytest.raises(StoreError, match="not whole chunks"):
            pieces_of(replace(plan, shards=(3, 30, 40)))
    with pytest.raises(InvalidArgument, match="multiple of its chunks of 2"):
        sciflow.compress(source, tmp_path / "out2.zarr", bound=BOUND, chunks="time=2", shards="time=3")


def test_a_piece_whose_file_is_gone_or_torn_is_written_again(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store, engine = tmp_path / "out.zarr", SerialEngine()
    begin_store(source, store, SETTINGS.request(BOUND), engine=engine)
    write_part(store, (0, 1), engine=engine)
    half = tmp_path / "out.zarr.partial" / "store" / "sst" / "c"
    (half / "0" / "0" / "0").unlink()
    torn = half / "1" / "0" / "0"
    torn.write_bytes(torn.read_bytes()[:-3])
    done = compress_store(source, store, SETTINGS.request(BOUND), engine=engine)
    assert done.written == 2
    assert tree(store) == whole


def test_a_source_that_changed_is_another_run(tmp_path: Path) -> None:
    source, engine = tmp_path / "in.nc", SerialEngine(Policy(retries=0))
    ocean().to_netcdf(source)
    begin_store(source, tmp_path / "out.zarr", SETTINGS.request(BOUND), engine=engine)
    os.utime(source, ns=(1, 1))
    with pytest.raises(StoreError, match="not the file that was planned"):
        write_part(tmp_path / "out.zarr", (0, 1), engine=engine)


SLOW = """
import os, sys, time
from sciflow.flows import one_store
write = one_store.write_entry
def slow(handle, piece):
    time.sleep(0.15)
    return write(handle, piece)
"""


def test_the_process_is_killed_and_another_goes_on(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    program = SLOW + (
        "one_store.write_entry = slow\n"
        "from sciflow.flows.engine import SerialEngine\n"
        "from sciflow.flows.parameters import CompressSettings\n"
        "request = CompressSettings(chunks={'time': 2}, shards={'time': 4}).request('rel:1e-3')\n"
        "one_store.compress_store(sys.argv[1], sys.argv[2], request, engine=SerialEngine())\n"
    )
    manifest = tmp_path / "out.zarr.partial" / "notes" / "manifest"
    with subprocess.Popen([sys.executable, "-c", program, str(source), str(store)]) as run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and sum(map(lines_in, manifest.glob("*.jsonl"))) < 5:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    key = json.loads((manifest / "main.jsonl").read_text().splitlines()[0])["key"]
    before = read_folder(manifest, key=key)
    assert before
    assert not store.exists()
    done = compress_store(source, store, SETTINGS.request(BOUND), engine=SerialEngine())
    assert done.written == done.pieces - len(before)
    assert tree(store) == whole


def lines_in(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def test_a_worker_is_killed_in_mid_run(
    source: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: DaskEngine,
) -> None:
    flag = tmp_path / "killed"
    monkeypatch.setattr(one_store, "write_entry", Killing(str(flag)))
    done = compress_store(source, tmp_path / "out.zarr", SETTINGS.request(BOUND), engine=cluster)
    assert flag.exists()
    assert tree(tmp_path / "out.zarr") == whole
    assert done.written == done.pieces == len(lines_of(tmp_path / "out.zarr"))


class Killing:
    """Writes pieces; the first process to reach the tenth is killed."""

    def __init__(self, flag: str) -> None:
        self.flag = flag

    def __call__(self, handle: Handle, piece: Piece) -> dict[str, object]:
        from sciflow.flows.one_store import write_entry

        if piece.name == "flux/1.0.0":
            try:
                os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return write_entry(handle, piece)


def test_a_call_that_hangs_is_ended_with_its_worker(tmp_path: Path, cluster: DaskEngine) -> None:
    engine = DaskEngine(cluster._client, Policy(retries=4, backoff=0.01, timeout=12.0))
    found = dict(pair for batch in engine.run(Hanging(str(tmp_path)), ["a", "b", "once"]) for pair in batch)
    assert found == {"a": "a", "b": "b", "once": "once"}
    assert (tmp_path / "once").exists()


class Hanging:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> str:
        flag = Path(self.folder, name)
        if name == "once" and not flag.exists():
            flag.touch()
            time.sleep(100)
        return name


def test_a_call_that_waits_is_not_late(cluster: DaskEngine) -> None:
    engine = DaskEngine(cluster._client, Policy(retries=0, timeout=6.0))
    threads = cluster._client.nthreads()  # type: ignore[no-untyped-call]
    items = list(range(4 * sum(threads.values())))
    found = dict(pair for batch in engine.run(Slow(4.0), items) for pair in batch)
    assert found == {item: item for item in items}


class Slow:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, item: int) -> int:
        time.sleep(self.seconds)
        return item


def test_no_disk_space_is_retried_then_said(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = one_store.write_entry, [0]

    def full(handle: Handle, piece: Piece) -> dict[str, object]:
        if piece.variable == "flux":
            tries[0] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, piece)

    store = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(one_store, "write_entry", full)
        with pytest.raises(StoreError, match=r"flux/0.0.0 could not be written: .*No space left.*2 attempts"):
            compress_store(source, store, SETTINGS.request(BOUND), engine=SerialEngine(QUICK))
    assert tries == [2]
    assert not store.exists()
    assert compress_store(source, store, SETTINGS.request(BOUND), engine=SerialEngine()).written > 0
    assert tree(store) == whole


def many_sources(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    for number in range(count):
        data = xr.Dataset({"t": (("y", "x"), waves((20, 30), seed=number))})
        data.to_netcdf(folder / f"{number:03}.nc")
    return sorted(map(str, folder.glob("*.nc")))


def test_a_corrupt_file_among_many(tmp_path: Path, cluster: DaskEngine) -> None:
    sources = many_sources(tmp_path / "in", 12)
    bad, gone = sources[7], sources[9]
    Path(bad).write_bytes(Path(bad).read_bytes()[:100])
    Path(gone).unlink()
    found = compress_many(sources, tmp_path / "out", {"bound": BOUND}, engine=cluster)
    assert set(found.failed) == {bad, gone}
    assert "xarray can read" in found.failed[bad]
    assert "no such file" in found.failed[gone]
    assert found.written == len(found.entries) == 10
    assert len(list((tmp_path / "out").glob("*.zarr"))) == 10
    assert not list((tmp_path / "out").glob("*.partial"))
    shutil.copy(sources[0], bad)
    again = compress_many(sources, tmp_path / "out", {"bound": BOUND}, engine=cluster)
    assert (set(again.failed), again.written, len(again.entries)) == ({gone}, 1, 11)
    with pytest.raises(StoreError, match="other settings"):
        compress_many(sources, tmp_path / "out", {"bound": "rel:1e-2"}, engine=cluster)


def test_many_files_in_a_job_array(tmp_path: Path) -> None:
    sources, engine = many_sources(tmp_path / "in", 5), SerialEngine()
    options = {"bound": BOUND}
    parts = [compress_many(sources, tmp_path / "out", options, engine=engine, part=(i, 2)) for i in (0, 1)]
    assert [part.written for part in parts] == [3, 2]
    assert compress_many(sources, tmp_path / "out", options, engine=engine).written == 0


def test_a_store_that_lost_its_line_is_checked_and_kept(tmp_path: Path) -> None:
    sources, engine = many_sources(tmp_path / "in", 2), SerialEngine(QUICK)
    compress_many(sources, tmp_path / "out", {"bound": BOUND}, engine=engine)
    before = tree(tmp_path / "out" / "000.zarr")
    manifest = tmp_path / "out" / many_files.MANIFESTS / "main.jsonl"
    manifest.write_text(manifest.read_text()[:-5])
    found = compress_many(sources, tmp_path / "out", {"bound": BOUND}, engine=engine)
    assert (found.failed, len(found.entries)) == ({}, 2)
    assert tree(tmp_path / "out" / "000.zarr") == before
    shutil.rmtree(tmp_path / "out" / many_files.MANIFESTS)
    other = compress_many(sources, tmp_path / "out", {"bound": "rel:1e-2"}, engine=engine)
    assert all("exists already" in why for why in other.failed.values())
    assert len(other.failed) == 2


def test_a_full_disk_on_a_worker_is_the_matter_of_one_file(tmp_path: Path) -> None:
    sources = many_sources(tmp_path / "in", 3)
    rng = np.random.default_rng(0)
    xr.Dataset({"t": (("y", "x"), rng.standard_normal((400, 400)))}).to_netcdf(sources[1])
    program = (
        "import resource, sys, json\n"
        "from sciflow.flows.engine import SerialEngine, Policy\n"
        "from sciflow.flows.many_files import compress_many\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "found = compress_many(sys.argv[2:], sys.argv[1], {'bound': 'rel:1e-6'},\n"
        "    engine=SerialEngine(Policy(retries=1, backoff=0.01)))\n"
        "print(json.dumps([dict(found.failed), found.written]))\n"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), *sources], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    failed, written = json.loads(done.stdout.splitlines()[-1])
    assert written == 2
    assert set(failed) == {sources[1]}
    assert "File too large" in failed[sources[1]]
    assert not (out / "001.zarr").exists()
    found = compress_many(sources, out, {"bound": "rel:1e-6"}, engine=SerialEngine())
    assert (found.failed, found.written) == ({}, 1)
    assert sciflow.verify(sources[1], out / "001.zarr").ok


def test_names_of_stores(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="another source"):
        stores_of(["/in/a.nc", "/in/a.h5"], "/out")
    with pytest.raises(InvalidArgument, match="no source"):
        stores_of([], tmp_path)


def test_what_cannot_succeed_is_not_tried_again() -> None:
    calls: list[str] = []

    def refuse(name: str) -> str:
        calls.append(name)
        raise InvalidArgument("never") if name == "final" else OSError("perhaps")

    batches = list(SerialEngine(QUICK).run(refuse, ["final", "later"]))
    assert calls == ["final", "later", "later"]
    assert [type(result) for batch in batches for _, result in batch] == [Trouble, Trouble]


def test_workers_keep_memory(cluster: DaskEngine) -> None:
    expected = {name: os.environ.get(name, value) for name, value in ALLOCATION.items()}
    found = cluster._client.run(_allocation)
    assert found
    assert all(each == expected for each in found.values())


def _allocation() -> dict[str, str | None]:
    """What malloc saw when the worker's process started, not what Python has been told since."""
    start = dict(line.split("=", 1) for line in Path("/proc/self/environ").read_text().split("\0") if line)
    return {name: start.get(name) for name in ALLOCATION}
