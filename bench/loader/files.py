"""The files that are read: six ways to store samples, and an evolving field with and without SZ."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELD", "SHAPES", "Shape", "field_files", "make", "paths_of"]

Level = Literal["fast", "balanced"]
Values = NDArray[np.float32]
_AT_ONCE = 16 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to store samples.

    Parameters
    ----------
    name : str
        As in the tables.
    side : tuple of int
        Shape of a sample, float32.
    batch : int
        Samples of a step.
    chunk, shard : int
        Samples of a chunk and of a Zarr shard; 0 for none.
    """

    name: str
    side: tuple[int, ...]
    batch: int
    chunk: int = 0
    shard: int = 0

    @property
    def sample_bytes(self) -> int:
        return 4 * int(np.prod(self.side))

    @property
    def file(self) -> str:
        return f"{self.name.replace(' ', '-')}.{'zarr' if self.shard else 'h5'}"


SHAPES = (
    Shape("contiguous 4 KB", (32, 32), 256),
    Shape("contiguous 64 KB", (128, 128), 32),
    Shape("contiguous 128 KB", (2, 128, 128), 32),
    Shape("gzip 16 x 64 KB", (128, 128), 32, chunk=16),
    Shape("gzip 64 x 4 KB", (32, 32), 256, chunk=64),
    Shape("zarr shards 16 x 64 KB", (128, 128), 32, chunk=16, shard=256),
)
FIELD = Shape("field", (128, 128), 32, chunk=16)


def make(shape: Shape, folder: Path, size: int) -> Path:
    """Write the file of a shape, `size` bytes of samples, unless it is there."""
    samples = size // shape.sample_bytes // 256 * 256
    path = folder / f"{size >> 20}" / shape.file
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.part")
    if shape.shard:
        _write_zarr(shape, half, samples)
    else:
        _write_hdf5(shape, half, samples, tagged(shape, samples))
    half.rename(path)
    _flush(path)
    return path


def tagged(shape: Shape, samples: int) -> Iterator[Values]:
    """Values of few bits, as of an instrument, the first one the number of the sample."""
    rng = np.random.default_rng(0)
    rows = max(256, _AT_ONCE // shape.sample_bytes // 256 * 256)
    for first in range(0, samples, rows):
        count = min(rows, samples - first)
        values = rng.integers(0, 4096, (count, *shape.side), dtype=np.int16).astype(np.float32)
        values.reshape(count, -1)[:, 0] = np.arange(first, first + count)
        yield values


def field_files(folder: Path, size: int, bound: float) -> dict[str, Path]:
    """One evolving field as a contiguous HDF5 file and as Zarr arrays of `sciflow.sz` chunks, by level."""
    samples = size // FIELD.sample_bytes // 256 * 256
    found = {"raw HDF5": folder / f"{size >> 20}" / "field.h5"}
    levels: dict[str, Level] = {f"SZ {level}": level for level in ("fast", "balanced")}
    for name, level in levels.items():
        found[name] = folder / f"{size >> 20}" / f"field-{bound:g}-{level}.zarr"
    for name, path in found.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_suffix(".part")
            if path.suffix == ".h5":
                _write_hdf5(Shape("field", FIELD.side, FIELD.batch), half, samples, _waves(samples))
            else:
                _write_sz(half, samples, bound, levels[name])
            half.rename(path)
        _flush(path)
    return found


def _write_sz(path: Path, samples: int, bound: float, level: Level) -> None:
    import zarr

    from sciflow import Bound
    from sciflow.codecs.zarr import SZ

    array = zarr.create_array(
        path,
        shape=(samples, *FIELD.side),
        chunks=(FIELD.chunk, *FIELD.side),
        shards=(256, *FIELD.side),
        dtype="f4",
        serializer=SZ(Bound.abs(2 * bound), level=level),  # the field runs from -1 to 1
        compressors=None,
    )
    first = 0
    for values in _waves(samples):
        array[first : first + len(values)] = values
        first += len(values)


def _waves(samples: int) -> Iterator[Values]:
    """Sixty moving waves of a turbulent spectrum with noise of 1e-4."""
    rng = np.random.default_rng(1)
    side = FIELD.side[0]
    y, x = np.meshgrid(*[np.arange(side) / side] * 2, indexing="ij")
    k = rng.uniform(-12, 12, (60, 2))
    speed, phase = rng.normal(0, 0.02, 60), rng.uniform(0, 2 * np.pi, 60)
    size = (1 + np.hypot(*k.T)) ** (-5 / 3)
    size /= size.sum()
    place = 2 * np.pi * (k[:, 0, None, None] * x + k[:, 1, None, None] * y) + phase[:, None, None]
    rows, cosine, sine = 256, np.cos(place).reshape(60, -1), np.sin(place).reshape(60, -1)
    for first in range(0, samples, rows):
        t = np.arange(first, min(first + rows, samples))[:, None] * speed
        values = (size * np.cos(t)) @ cosine - (size * np.sin(t)) @ sine
        values += rng.normal(0, 1e-4, values.shape)
        yield values.reshape(-1, *FIELD.side).astype(np.float32)


def _write_hdf5(shape: Shape, path: Path, samples: int, values: Iterator[Values]) -> None:
    import h5py

    chunks = (shape.chunk, *shape.side) if shape.chunk else None
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if shape.chunk else {}
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (samples, *shape.side), "f4", chunks=chunks, **packed)
        _fill(data.__setitem__, values)


def _write_zarr(shape: Shape, path: Path, samples: int) -> None:
    import zarr

    array = zarr.create_array(
        path,
        shape=(samples, *shape.side),
        chunks=(shape.chunk, *shape.side),
        shards=(shape.shard, *shape.side),
        dtype="f4",
        compressors=zarr.codecs.ZstdCodec(level=1),
    )
    _fill(array.__setitem__, tagged(shape, samples))


def _fill(put: Callable[[slice, Values], None], values: Iterator[Values]) -> None:
    first = 0
    for part in values:
        put(slice(first, first + len(part)), part)
        first += len(part)


def paths_of(path: Path) -> list[Path]:
    """The files of a data set."""
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]


def _flush(path: Path) -> None:
    """Dirty pages cannot be dropped."""
    for each in paths_of(path):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
