"""Four ranks of DistributedDataParallel train as one process does on the global batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciflow.datasets.loading import SolarLoader, TorchExchange
from sciflow.datasets.planning import Plan, StorageModel, make_plan
from sciflow.datasets.sources import NpySource

torch = pytest.importorskip("torch")

N, G, RANKS, STEPS = 192, 32, 4, 16
RUNS = {"peer": "peer", "read": "read", "variable": "variable", "unweighted": "variable"}


def source_at(folder: Path) -> NpySource:
    return NpySource({"x": folder / "x.npy", "y": folder / "y.npy"})


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()


def mean_loss(net: Any, batch: Any) -> Any:
    """The mean over the rows; 0 with a gradient of 0 where there are none."""
    return ((net(batch["x"])[:, 0] - batch["y"]) ** 2).sum() / max(len(batch["y"]), 1)


def weights(net: Any) -> list[float]:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).tolist()  # type: ignore[no-any-return]


def rank_of_four(rank: int, folder: str) -> None:
    """Train once for each overflow mode, in one process group."""
    import torch.distributed as dist

    where = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{where}/meet", rank=rank, world_size=RANKS)
    found = {}
    for run, overflow in RUNS.items():
        net = torch.nn.parallel.DistributedDataParallel(network())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        exchange = TorchExchange() if overflow == "peer" else None
        done = 0
        with SolarLoader(
            source_at(where), Plan.load(where / f"{overflow}.json"), exchange=exchange
        ) as loader:
            while done < STEPS:
                for batch in loader:
                    optimizer.zero_grad()
                    scale = 1.0 if run == "unweighted" else loader.loss_scale
                    (mean_loss(net, batch) * scale).backward()
                    optimizer.step()
                    done += 1
                    if done == STEPS:
                        break
        found[run] = weights(net)
    (where / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Largest difference of a weight from DistributedSampler's batches in one process, for each run."""
    folder = tmp_path_factory.mktemp("ddp")
    x = np.random.default_rng(1).normal(size=(N, 5))
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", np.sin(x.sum(axis=1)))
    source = source_at(folder)
    for overflow in dict.fromkeys(RUNS.values()):
        plan = make_plan(
            source,
            global_batch_size=G,
            num_nodes=RANKS,
            buffer_bytes=40 * source.sample_bytes,
            overflow=overflow,  # type: ignore[arg-type]
            storage=StorageModel(),
        )
        plan.save(folder / f"{overflow}.json")
    torch.multiprocessing.spawn(rank_of_four, (str(folder),), nprocs=RANKS)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for number in range(STEPS):
        epoch, at = divmod(number, N // G)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch)).numpy()
        taken = source.take(order[at * G : at * G + G])
        optimizer.zero_grad()
        mean_loss(net, {name: torch.from_numpy(values) for name, values in taken.items()}).backward()
        optimizer.step()
    each = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]
    return {
        run: max(float(np.abs(np.subtract(one[run], weights(net))).max()) for one in each) for run in RUNS
    }


@pytest.mark.parametrize("run", ["peer", "read", "variable"])
def test_weights_are_those_of_one_process(apart: dict[str, float], run: str) -> None:
    assert apart[run] <= 1e-12


def test_averages_over_unequal_batches_are_other_gradients(apart: dict[str, float]) -> None:
    assert apart["unweighted"] > 1e-4
