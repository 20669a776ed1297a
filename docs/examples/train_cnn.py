"""Train a small network on fields in a file, in exact shuffles, on one or several processes.

```
python docs/examples/train_cnn.py fields.h5
torchrun --nproc-per-node 2 docs/examples/train_cnn.py fields.h5     # the same losses
```

The file is made if it is not there. A checkpoint is written after every epoch and taken up again, by any
number of processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional

from sciflow.datasets import SolarLoader, make_plan
from sciflow.datasets.loading import TorchExchange
from sciflow.datasets.sources import HDF5Source


def make_fields(path: Path, samples: int) -> None:
    """Waves, and how steep they are."""
    import h5py

    rng = np.random.default_rng(0)
    steep, phase = rng.uniform(1, 6, samples), rng.uniform(0, 6, samples)
    place = np.linspace(0, np.pi, 32)
    x = np.sin(steep[:, None, None] * place[:, None] + place + phase[:, None, None])
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = x[:, None].astype("f4"), steep.astype("f4")


def network() -> torch.nn.Module:
    """Fields (rows, 1, 32, 32) in, one number a row out."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 6 * 6, 1),
    )


def train(file: Path, checkpoint: Path, *, batch: int, epochs: int, buffer: float) -> list[float]:
    """Train up to so many epochs; return the mean loss of each that was trained here."""
    several = dist.is_initialized()
    ranks = dist.get_world_size() if several else 1
    source = HDF5Source(file, ["x", "y"])
    plan = make_plan(
        source,
        global_batch_size=batch,
        num_nodes=ranks,
        buffer_bytes=int(buffer * len(source) / ranks) * source.sample_bytes,
    )
    net = network()
    model = torch.nn.parallel.DistributedDataParallel(net) if several else net
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    with SolarLoader(source, plan, exchange=TorchExchange() if several else None) as loader:
        if checkpoint.exists():
            state = torch.load(checkpoint)
            net.load_state_dict(state["model"])
            loader.load_state_dict(state["loader"])
        while loader.epoch < epochs:
            total = torch.zeros(())
            for step in loader:
                loss = functional.mse_loss(model(step["x"])[:, 0], step["y"])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
            if several:
                dist.all_reduce(total)
            losses.append(total.item() / len(loader) / ranks)
            if not several or dist.get_rank() == 0:
                torch.save({"model": net.state_dict(), "loader": loader.state_dict()}, checkpoint)
    return losses


def main() -> None:
    """Read the arguments, train, say the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoint.pt"))
    parser.add_argument("--samples", type=int, default=1024, help="of the file that is made")
    parser.add_argument("--batch", type=int, default=32, help="samples of a step, over all processes")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--buffer", type=float, default=0.5, help="part of the data that is held in memory")
    given = parser.parse_args()
    first = int(os.environ.get("RANK", "0")) == 0
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    if first and not given.file.exists():
        make_fields(given.file, given.samples)
    if dist.is_initialized():
        dist.barrier()
    losses = train(given.file, given.checkpoint, batch=given.batch, epochs=given.epochs, buffer=given.buffer)
    if first:
        sys.stdout.writelines(f"{loss:.6f}\n" for loss in losses)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
