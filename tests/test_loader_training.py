"""Training by planned reads gives the losses that torch's own loader gives; the example runs as it says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciflow.datasets.loading import FieldDataset, SolarLoader
from sciflow.datasets.planning import StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source

torch = pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "train_cnn.py"
N, G, EPOCHS = 120, 8, 2


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 7 * 7, 1),
    )


def losses_of(epoch: Any) -> list[float]:
    net, found = network(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for number in range(EPOCHS):
        for batch in epoch(number):
            loss = torch.nn.functional.mse_loss(net(batch["x"])[:, 0], batch["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found


def test_losses_are_those_of_the_plain_loader(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(N, 1, 16, 16)).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(8, 1, 16, 16), compression="gzip")
        file["y"] = x.mean(axis=(1, 2, 3)) * 10
    source = HDF5Source(tmp_path / "a.h5", ["x", "y"])
    data = torch.utils.data
    sampler = data.DistributedSampler(range(N), num_replicas=1, rank=0, seed=0, drop_last=True)
    plain = data.DataLoader(FieldDataset(source), G, sampler=sampler, drop_last=True)

    def by_torch(epoch: int) -> Any:
        sampler.set_epoch(epoch)
        return plain

    plan = make_plan(
        source,
        global_batch_size=G,
        buffer_bytes=N // 2 * source.sample_bytes,
        storage=StorageModel(),
    )
    with SolarLoader(source, plan) as loader:
        found = losses_of(lambda _: loader)
    assert found == losses_of(by_torch)
    assert np.mean(found[-5:]) < np.mean(found[:5])


def by_two_processes(folder: Path, checkpoint: Path) -> list[float]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(EXAMPLE), str(folder / "fields.h5"), "--checkpoint", str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


def test_the_example_stops_and_goes_on_with_two_processes(tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("train_cnn", EXAMPLE)
    assert found is not None
    assert found.loader is not None
    example = importlib.util.module_from_spec(found)
    found.loader.exec_module(example)
    file, options = tmp_path / "fields.h5", {"batch": 32, "buffer": 0.5}
    example.make_fields(file, 192)
    alone = example.train(file, tmp_path / "alone.pt", epochs=3, **options)
    assert len(alone) == 3
    assert alone[-1] < alone[0]
    first = example.train(file, tmp_path / "stopped.pt", epochs=1, **options)
    rest = by_two_processes(tmp_path, tmp_path / "stopped.pt")
    assert first + rest == pytest.approx(alone, rel=1e-4)
