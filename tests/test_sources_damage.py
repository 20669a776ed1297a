"""Files that are cut, damaged or changed give errors that name the file and the sample."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from sciflow.datasets.loading import FieldDataset
from sciflow.datasets.sources import FileListSource, HDF5Source, NetCDFSource, NpySource, Source, ZarrSource
from sciflow.datasets.sources.filters import decoder, fletcher32
from sciflow.datasets.sources.runs import merge_runs
from sciflow.errors import Corrupt, InvalidArgument, SourceChanged, Truncated, Unsupported


def values(samples: int = 20) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((samples, 40)).astype("f4")


def hdf5(path: Path, **layout: Any) -> HDF5Source:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values(), **layout)
    return HDF5Source(path, "x")


def npy(path: Path) -> NpySource:
    with path.open("wb") as file:
        np.save(file, values())
    return NpySource(path)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Change bytes, and nothing that a look at the file would show."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def place(source: Source, chunk: tuple[int, ...]) -> Any:
    from sciflow.datasets.sources import Reading

    table: Any = source._fields["x"].array
    return table.table.find(chunk, Reading())


@pytest.mark.parametrize(
    "layout", [{"compression": "gzip"}, {"fletcher32": True}], ids=["gzip", "fletcher32"]
)
def test_a_damaged_hdf5_chunk_names_file_and_samples(tmp_path: Path, layout: dict[str, Any]) -> None:
    source = hdf5(tmp_path / "a.h5", chunks=(4, 40), **layout)
    at = place(source, (2, 0))
    overwrite(tmp_path / "a.h5", at.offset + at.length // 2, b"\xff\x00\x55\xaa" * 8)
    with pytest.raises(Corrupt, match=r"a\.h5:/x, chunk \(2, 0\).*wanted by sample 11, 8\)"):
        source.take([0, 11, 8])
    np.testing.assert_array_equal(source.take([0, 12])["x"], values()[[0, 12]])


@pytest.mark.parametrize("codec", ["zstd", "gzip", "blosc", "crc32c"])
def test_a_damaged_zarr_chunk_names_file_and_samples(tmp_path: Path, codec: str) -> None:
    codecs = {
        "zstd": zarr.codecs.ZstdCodec(checksum=True),
        "gzip": zarr.codecs.GzipCodec(),
        "blosc": zarr.codecs.BloscCodec(),
        "crc32c": zarr.codecs.Crc32cCodec(),
    }
    zarr.create_array(tmp_path / "a.zarr", data=values(), chunks=(4, 40), compressors=codecs[codec])
    file = tmp_path / "a.zarr" / "c" / "2" / "0"
    overwrite(file, 0 if codec == "blosc" else file.stat().st_size // 2, b"\xff\x00\x55\xaa" * 4)
    with pytest.raises(Corrupt, match=r"chunk \(2, 0\).*wanted by sample 9\)"):
        ZarrSource(tmp_path / "a.zarr").take([0, 9])


def test_a_damaged_shard_index(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=values(), chunks=(2, 40), shards=(10, 40))
    file = tmp_path / "a.zarr" / "c" / "1" / "0"
    overwrite(file, file.stat().st_size - 20, b"\x01")
    source = ZarrSource(tmp_path / "a.zarr")
    with pytest.raises(Corrupt, match=r"c/1/0: crc32c of the shard index .*wanted by sample 12\)"):
        source.take([3, 12])
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(Truncated, match=r"c/1/0: holds 30 bytes"):
        ZarrSource(tmp_path / "a.zarr").take([12])


MAKERS: dict[str, Callable[[Path], Source]] = {
    "hdf5": lambda path: hdf5(path),
    "gzip": lambda path: hdf5(path, chunks=(4, 40), compression="gzip"),
    "lzf": lambda path: hdf5(path, chunks=(4, 40), compression="lzf"),
    "npy": lambda path: npy(path),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_that_changes_is_noticed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    source = MAKERS[kind](path)
    source.check()
    before = source.fingerprint()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceChanged, match="make the source and the plan anew"):
        source.check()
    with pytest.raises(SourceChanged, match=re.escape(str(path))):
        source.take([19])
    MAKERS[kind](path)
    os.utime(path, ns=(1, 1))
    assert MAKERS[kind](path).fingerprint() != before
    path.unlink()
    with pytest.raises(SourceChanged, match="is gone"):
        source.check()


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values())
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(Truncated, match=r"b\.npy: holds 3327 bytes, expected 3328"):
        NpySource(tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes(b"no such magic" * 9)
    with pytest.raises(Corrupt, match=r"c\.npy: not a \.npy file"):
        NpySource(tmp_path / "c.npy")
    hdf5(tmp_path / "a.h5")
    (tmp_path / "b.nc").write_bytes((tmp_path / "a.h5").read_bytes()[:-9])
    with pytest.raises(Corrupt, match=r"b\.nc: h5py cannot open it"):
        NetCDFSource(tmp_path / "b.nc", "x")


def test_a_table_that_points_behind_the_end_asks_for_no_memory(tmp_path: Path) -> None:
    source = hdf5(tmp_path / "a.h5", chunks=(4, 40), compression="gzip")
    array: Any = source._fields["x"].array
    array.table.lengths[3] = 1 << 60
    with pytest.raises(Truncated, match=r"chunk \(3, 0\).*wanted by sample 12\)"):
        source.take([12])


def test_requests_that_cannot_be(tmp_path: Path) -> None:
    source = hdf5(tmp_path / "a.h5")
    for ids in ([20], [-1]):
        with pytest.raises(InvalidArgument, match=r"expected 0\.\.19"):
            source.take(ids)
    with pytest.raises(InvalidArgument, match=r"no data set 'y'; it has x"):
        HDF5Source(tmp_path / "a.h5", "y")
    with pytest.raises(InvalidArgument, match="no whole sample"):
        source.pairs(20)
    with pytest.raises(InvalidArgument, match="no field 'y'"):
        source.windows({"a": ("y", 0)})
    with pytest.raises(InvalidArgument, match="smaller tile"):
        source.crops((41,))
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((3, 4))))
    with pytest.raises(Unsupported, match="Fortran"):
        NpySource(tmp_path / "f.npy")
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "long.npy", np.ones(4))
    with pytest.raises(InvalidArgument, match="different numbers of samples"):
        NpySource({"a": tmp_path / "short.npy", "b": tmp_path / "long.npy"})


def test_files_of_samples_must_be_alike(tmp_path: Path) -> None:
    for sample, shape in enumerate([(3,), (3,), (4,)]):
        np.save(tmp_path / f"{sample}.npy", np.ones(shape))
    source = FileListSource([tmp_path / f"{sample}.npy" for sample in range(3)])
    with pytest.raises(
        Corrupt, match=r"2\.npy: x is float64\[4\], expected float64\[3\].*wanted by sample 2"
    ):
        source.take([0, 2])


def test_fletcher32_is_that_of_hdf5(tmp_path: Path) -> None:
    for size in (1, 2, 7, 4096):
        data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            made = file.create_dataset("x", data=data, chunks=(size,), fletcher32=True)
            stored = made.id.read_direct_chunk((0,))[1]
        assert fletcher32(data) == int.from_bytes(stored[-4:], "little")
    assert fletcher32(np.zeros(8, np.uint8)) == 0


def test_an_expanding_stream_is_refused() -> None:
    bomb = np.frombuffer(numcodecs.Zlib().encode(np.zeros(1 << 22, np.uint8)), np.uint8)
    decode = decoder([(1, (4,))], chunk_bytes=1 << 10)
    assert decode is not None
    with pytest.raises(Corrupt, match="does not end within"):
        decode(bomb, 0)
    assert decoder([(32000, ())], chunk_bytes=1) is None


def test_runs_merge_over_small_gaps_only() -> None:
    rng = np.random.default_rng(5)
    starts = np.sort(rng.integers(0, 5000, 60))
    stops = starts + rng.integers(1, 120, 60)
    for gap, longest in [(0, 10**9), (50, 10**9), (50, 300)]:
        bounds = merge_runs(starts, stops, gap, longest)
        assert (bounds[0], bounds[-1]) == (0, 60)
        for lo, hi in itertools.pairwise(bounds.tolist()):
            assert stops[lo:hi].max() - starts[lo] <= longest or hi - lo == 1
            for i in range(lo + 1, hi):
                assert starts[i] - stops[lo:i].max() <= gap
            if hi < 60 and longest == 10**9:
                assert starts[hi] - stops[lo:hi].max() > gap


def _in_worker(dataset: FieldDataset, box: Any) -> None:
    box.put([sample["x"] for sample in dataset.__getitems__([3, 17])])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["gzip", "lzf", "shards"])
def test_a_source_works_in_workers(tmp_path: Path, method: str, kind: str) -> None:
    if kind == "shards":
        zarr.create_array(tmp_path / "a", data=values(), chunks=(2, 40), shards=(10, 40))
        dataset = FieldDataset(ZarrSource(tmp_path / "a"))
    else:
        dataset = FieldDataset(MAKERS[kind](tmp_path / "a"))
    dataset[0]  # files are open before the fork
    context: Any = multiprocessing.get_context(method)
    box = context.Queue()
    worker = context.Process(target=_in_worker, args=(dataset, box))
    worker.start()
    np.testing.assert_array_equal(box.get(timeout=60), values()[[3, 17]])
    worker.join(60)
    assert worker.exitcode == 0
    np.testing.assert_array_equal(dataset[5]["x"], values()[5])
    assert len(list(dataset)) == 20  # type: ignore[call-overload]
