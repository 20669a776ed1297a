"""What delivers batches: DataLoader as users write it, as well as it can be tuned, and SolarLoader.

```
as users write it   h5py: file["x"][i]                 zarr: array[i]          0 and 2 workers
tuned               os.pread of each sample            h5py with rdcc_nbytes=0 FieldDataset, which merges and
                                                                               decodes a chunk once a batch
ours                SolarLoader with a buffer of 10 to 90 %
```
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler

from bench.loader.files import Shape
from sciflow.datasets.loading import EmulatedStorage, FieldDataset, SolarLoader
from sciflow.datasets.planning import StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source, Source, ZarrSource

__all__ = ["BUFFERS", "Running", "emulated_readers", "field_readers", "open_file", "readers_of", "solar"]

BUFFERS = (0.1, 0.25, 0.5, 0.9)
Storage = Callable[[int], None]


@dataclass(slots=True)
class Running:
    """Batches of one reader, epoch after epoch, and what it counts.

    Parameters
    ----------
    batches : iterator of tensors
        Without an end.
    counters : callable
        Operations, bytes and decodes so far; NaN where nobody counts.
    close : callable
        Ends workers and threads.
    skip : int
        Batches before the steady state.
    """

    batches: Iterator[Any]
    counters: Callable[[], tuple[float, float, float]]
    close: Callable[[], None] = field(default=lambda: None)
    skip: int = 1


Reader = Callable[[], Running]


class H5Samples:
    """A data set as tutorials write it: opened on first use in each worker, one sample a call."""

    def __init__(self, path: Path, samples: int, **options: Any) -> None:
        self._path, self._samples, self._options = path, samples, options
        self._data: Any = None

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> torch.Tensor:
        import h5py

        if self._data is None:
            self._data = h5py.File(self._path, "r", **self._options)["x"]
        return torch.from_numpy(self._data[index])


class ZarrSamples:
    """The same with zarr-python."""

    def __init__(self, path: Path, samples: int) -> None:
        self._path, self._samples = path, samples
        self._data: Any = None

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> torch.Tensor:
        import zarr

        if self._data is None:
            self._data = zarr.open_array(self._path, mode="r")
        return torch.from_numpy(np.asarray(self._data[index]))


class RawSamples:
    """Contiguous data without h5py: one pread a sample, straight into its tensor."""

    def __init__(
        self, path: Path, samples: int, side: tuple[int, ...], storage: Storage | None = None
    ) -> None:
        import h5py

        with h5py.File(path, "r") as file:
            self._offset = file["x"].id.get_offset()
        self._file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
        self._samples, self._side, self._storage = samples, side, storage

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> torch.Tensor:
        values = torch.empty(self._side)
        if self._storage is not None:
            self._storage(4 * values.numel())
        os.preadv(self._file, [values.numpy().data], self._offset + index * 4 * values.numel())
        return values


def open_file(path: Path) -> Source:
    """The source of a file of the bench."""
    return ZarrSource(path) if path.suffix == ".zarr" else HDF5Source(path, "x")


def _nobody() -> tuple[float, float, float]:
    return (float("nan"),) * 3


def _by_torch(data: Any, batch: int, workers: int = 0) -> Running:
    """DataLoader with DistributedSampler's shuffles."""
    sampler: Any = DistributedSampler(data, num_replicas=1, rank=0, drop_last=True)
    loader = DataLoader(data, batch, sampler=sampler, drop_last=True, num_workers=workers)

    def batches() -> Generator[Any, None, None]:
        epoch = 0
        while True:
            sampler.set_epoch(epoch)
            yield from loader
            epoch += 1

    going = batches()
    reading = data.reading if isinstance(data, FieldDataset) and not workers else None
    counters = (lambda: (reading.ops, reading.bytes, reading.decodes)) if reading else _nobody
    return Running((_values(each) for each in going), counters, going.close)


def _values(batch: Any) -> Any:
    return batch["x"] if isinstance(batch, dict) else batch


def solar(
    path: Path,
    batch: int,
    part: float,
    *,
    storage: StorageModel | None = None,
    on_read: EmulatedStorage | None = None,
    strategy: Any = "auto",
) -> Running:
    """SolarLoader with room for a part of the data; its storage is probed where it is not given."""
    source = open_file(path)
    plan = make_plan(
        source,
        global_batch_size=batch,
        buffer_bytes=int(part * len(source)) * source.sample_bytes,
        storage=storage,
        strategy=strategy,
    )
    loader = SolarLoader(source, plan, on_read=on_read)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    def counters() -> tuple[float, float, float]:
        found = loader.stats
        return found.ops, found.bytes, found.decodes

    return Running((_values(each) for each in batches()), counters, loader.close, skip=len(loader))


def readers_of(shape: Shape, path: Path) -> dict[str, Reader]:
    """Everything that reads a cold file, baselines first."""
    source = open_file(path)
    samples, batch = len(source), shape.batch
    found: dict[str, Reader] = {}
    for workers in (0, 2):
        if shape.shard:
            found[f"zarr, {workers} workers"] = lambda n=workers: _by_torch(  # type: ignore[misc]
                ZarrSamples(path, samples), batch, n
            )
        else:
            found[f"h5py, {workers} workers"] = lambda n=workers: _by_torch(  # type: ignore[misc]
                H5Samples(path, samples), batch, n
            )
        found[f"tuned: FieldDataset, {workers} workers"] = lambda n=workers: _by_torch(  # type: ignore[misc]
            FieldDataset(source), batch, n
        )
    if not shape.chunk:
        found["tuned: pread"] = lambda: _by_torch(RawSamples(path, samples, shape.side), batch)
    elif not shape.shard:
        found["tuned: h5py, rdcc_nbytes=0"] = lambda: _by_torch(
            H5Samples(path, samples, rdcc_nbytes=0), batch
        )
    for part in BUFFERS:
        found[f"solar {part:.0%}"] = lambda c=part: solar(path, batch, c)  # type: ignore[misc]
    return found


def emulated_readers(shape: Shape, path: Path, model: StorageModel, *, pins: bool) -> dict[str, Reader]:
    """What reads a slow storage that does one operation at a time; more workers cannot help there."""
    source = open_file(path)

    def slow() -> EmulatedStorage:
        return EmulatedStorage(model.alpha, model.beta)

    def ours(part: float, strategy: str) -> Reader:
        return lambda: solar(path, shape.batch, part, storage=model, on_read=slow(), strategy=strategy)

    found: dict[str, Reader] = {
        "tuned: FieldDataset, 0 workers": lambda: _by_torch(
            FieldDataset(source, gap_bytes=model.gap_bytes, on_read=slow()), shape.batch
        )
    }
    if not shape.chunk:
        found["tuned: pread"] = lambda: _by_torch(
            RawSamples(path, len(source), shape.side, slow()), shape.batch
        )
    found |= {f"solar {part:.0%}": ours(part, "auto") for part in BUFFERS}
    if pins:
        found |= {f"pins only {part:.0%}": ours(part, "pin") for part in BUFFERS}
    return found


def field_readers(
    files: Mapping[str, Path], batch: int, model: StorageModel | None
) -> dict[str, tuple[Path, Reader]]:
    """The same samples from raw HDF5 and from SZ chunks, by FieldDataset and with half of them in memory."""
    found: dict[str, tuple[Path, Reader]] = {}
    for name, path in files.items():
        slow = EmulatedStorage(model.alpha, model.beta) if model else None
        source = open_file(path)
        gap = model.gap_bytes if model else 64 << 10
        found[f"{name}: FieldDataset, 0 workers"] = (
            path,
            lambda s=source, r=slow, g=gap: _by_torch(FieldDataset(s, gap_bytes=g, on_read=r), batch),  # type: ignore[misc]
        )
        found[f"{name}: solar 50%"] = (
            path,
            lambda p=path, s=source, r=slow: solar(p, batch, 0.5, storage=_decoding(s, model), on_read=r),  # type: ignore[misc]
        )
    return found


def _decoding(source: Source, model: StorageModel | None) -> StorageModel | None:
    """A storage's costs with the measured one of decoding."""
    return replace(model, decode=StorageModel.probe(source).decode) if model else None
