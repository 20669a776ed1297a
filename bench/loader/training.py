"""A small network trained by each loader: how long a step waits for its batch, and the loss."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from bench.loader.files import Shape
from bench.loader.measure import Cache
from bench.loader.readers import H5Samples, RawSamples, open_file
from sciflow.datasets.loading import EmulatedStorage, SolarLoader
from sciflow.datasets.planning import StorageModel, make_plan

__all__ = ["TrainingRow", "trained"]

Epoch = Callable[[int], Any]
STEPS = 48


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training run.

    Parameters
    ----------
    storage, reader : str
        What it read from, and how.
    step_ms, wait_ms : float
        Milliseconds of a step and of the wait for its batch, means over 48 steps of the second epoch.
    loss : float
        Mean of these steps.
    """

    storage: str
    reader: str
    step_ms: float
    wait_ms: float
    loss: float


def network() -> Any:
    """Takes a field (1, 128, 128) and gives it back, through a quarter of the cells and three layers."""
    torch.manual_seed(0)
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(1, 12, 5, stride=2, padding=2),
        layers.ReLU(),
        layers.Conv2d(12, 12, 3, padding=1),
        layers.ReLU(),
        layers.ConvTranspose2d(12, 1, 4, stride=2, padding=1),
    )


def trained(path: Path, shape: Shape, model: StorageModel | None) -> list[TrainingRow]:
    """Train two epochs with each loader, on cold files or on emulated storage."""
    label = f"{model.alpha * 1e3:g} ms, {model.beta / 1e9:g} GB/s" if model else "cold file"
    runs = {
        "pread, 0 workers": _plain(path, shape, model, 0),
        "pread, 2 workers": _plain(path, shape, model, 2),
    }
    if model is None:
        runs = {f"h5py, {workers} workers": _h5py(path, shape, workers) for workers in (0, 2)} | runs
    found = []
    for _ in range(2):
        found += [_run(label, name, each, path, cold=model is None) for name, each in runs.items()]
        with _solar(path, shape, model) as loader:
            found.append(_run(label, "solar 50%", _batches(loader), path, cold=model is None))
    return found


def _batches(loader: SolarLoader) -> Epoch:
    def epoch(number: int) -> Any:
        loader.set_epoch(number)
        return (batch["x"] for batch in loader)

    return epoch


def _h5py(path: Path, shape: Shape, workers: int) -> Epoch:
    return _epochs(H5Samples(path, len(open_file(path))), shape.batch, workers)


def _plain(path: Path, shape: Shape, model: StorageModel | None, workers: int) -> Epoch:
    slow = EmulatedStorage(model.alpha, model.beta) if model else None
    return _epochs(RawSamples(path, len(open_file(path)), shape.side, slow), shape.batch, workers)


def _epochs(data: Any, batch: int, workers: int) -> Epoch:
    sampler: Any = DistributedSampler(data, num_replicas=1, rank=0, drop_last=True)
    loader = DataLoader(
        data, batch, sampler=sampler, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )

    def epoch(number: int) -> Any:
        sampler.set_epoch(number)
        return loader

    return epoch


def _solar(path: Path, shape: Shape, model: StorageModel | None) -> SolarLoader:
    source = open_file(path)
    plan = make_plan(
        source,
        global_batch_size=shape.batch,
        buffer_bytes=len(source) // 2 * source.sample_bytes,
        storage=model,
    )
    return SolarLoader(source, plan, on_read=EmulatedStorage(model.alpha, model.beta) if model else None)


def _run(storage: str, name: str, epoch: Epoch, path: Path, *, cold: bool) -> TrainingRow:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    cache = Cache(path, cold)
    waits: list[float] = []
    steps: list[float] = []
    losses: list[float] = []
    for number in range(2):
        waits, steps, losses = [], [], []
        start = time.perf_counter()
        for batch in itertools.islice(epoch(number), STEPS):
            there = time.perf_counter()
            field = batch[:, None] / 4096
            loss = torch.nn.functional.mse_loss(net(field), field)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            waits.append(there - start)
            cache.drop()
            steps.append(time.perf_counter() - start)
            start = time.perf_counter()
    cache.close()
    waits, steps = waits[1:], steps[1:]  # a DataLoader makes the first batch of an epoch when it is asked
    mean = 1e3 / len(steps)
    return TrainingRow(storage, name, sum(steps) * mean, sum(waits) * mean, sum(losses) / len(losses))
