"""Training in several processes is training on the global batch, whatever the overflow mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciflow.datasets.loading import SolarLoader, TorchExchange
from sciflow.datasets.planning import Plan, StorageModel, make_plan
from sciflow.datasets.sources import NpySource
from sciflow.errors import InvalidArgument

torch = pytest.importorskip("torch")

N, G, STEPS = 96, 12, 16


def source_at(folder: Path) -> NpySource:
    return NpySource({"x": folder / "x.npy", "y": folder / "y.npy"})


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()


def loss_of(net: Any, x: Any, y: Any) -> Any:
    return torch.nn.functional.mse_loss(net(x)[:, 0], y)


def weights(net: Any) -> list[float]:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).tolist()  # type: ignore[no-any-return]


def train(rank: int, folder: str, nodes: int, weighted: bool) -> None:
    """One rank: averages gradients itself, so that a batch may be empty."""
    import torch.distributed as dist

    where = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{where}/meet", rank=rank, world_size=nodes)
    plan, net = Plan.load(where / "plan.json"), model()
    step = torch.optim.SGD(net.parameters(), lr=0.1)
    exchange = TorchExchange() if plan.header.overflow == "peer" else None
    done = 0
    with SolarLoader(source_at(where), plan, exchange=exchange) as loader:
        while done < STEPS:
            for batch in loader:
                step.zero_grad()
                if len(batch["y"]):
                    (loss_of(net, batch["x"], batch["y"]) * (loader.loss_scale if weighted else 1)).backward()
                for p in net.parameters():
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                    dist.all_reduce(p.grad)
                    p.grad /= nodes
                step.step()
                done += 1
        moved = loader.stats.moved
    (where / f"{rank}.json").write_text(json.dumps({"weights": weights(net), "moved": moved}))
    dist.barrier()
    dist.destroy_process_group()


def trained(folder: Path, overflow: Any, nodes: int = 2, weighted: bool = True) -> tuple[float, int]:
    """Largest difference from one process with DistributedSampler's batches, and samples moved."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 5))
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", np.sin(x.sum(axis=1)))
    source = source_at(folder)
    plan = make_plan(
        source,
        global_batch_size=G,
        num_nodes=nodes,
        buffer_bytes=40 * source.sample_bytes,
        overflow=overflow,
        strategy="elevator",
        storage=StorageModel(),
    )
    plan.save(folder / "plan.json")
    torch.multiprocessing.spawn(train, (str(folder), nodes, weighted), nprocs=nodes)
    net = model()
    step = torch.optim.SGD(net.parameters(), lr=0.1)
    for number in range(STEPS):
        epoch, at = divmod(number, N // G)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch)).numpy()
        taken = source.take(order[at * G : at * G + G])
        step.zero_grad()
        loss_of(net, torch.from_numpy(taken["x"]), torch.from_numpy(taken["y"])).backward()
        step.step()
    each = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(nodes)]
    apart = max(float(np.abs(np.subtract(one["weights"], weights(net))).max()) for one in each)
    return apart, sum(one["moved"] for one in each)


@pytest.mark.parametrize("overflow", ["peer", "variable"])
def test_gradients_are_those_of_the_global_batch(tmp_path: Path, overflow: str) -> None:
    apart, moved = trained(tmp_path, overflow)
    assert apart < 1e-12
    assert (moved > 0) == (overflow == "peer")


def test_unequal_batches_need_the_scale(tmp_path: Path) -> None:
    apart, _ = trained(tmp_path, "variable", weighted=False)
    assert apart > 1e-4


SLOW, FAST = StorageModel(alpha=1e-2, beta=1e9), StorageModel(alpha=1e-9, beta=1e6)


def chosen(source: NpySource, storage: StorageModel, seed: int = 0) -> Plan:
    return make_plan(
        source,
        global_batch_size=2 * G,
        num_nodes=2,
        buffer_bytes=N // 3 * source.sample_bytes,
        seed=seed,
        storage=storage,
    )


def follow(rank: int, folder: str, seeds: tuple[int, int]) -> None:
    """One rank: makes its plan itself, of costs that it alone has found."""
    import torch.distributed as dist

    where = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{where}/meet", rank=rank, world_size=2)
    source = source_at(where)
    plan, found = chosen(source, (SLOW, FAST)[rank], seeds[rank]), []
    try:
        with SolarLoader(source, plan, exchange=TorchExchange()) as loader:
            for _ in range(2):
                found += [batch["y"].tolist() for batch in loader]
    except InvalidArgument as error:
        found.append(str(error))
    (where / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def followed(folder: Path, seeds: tuple[int, int]) -> tuple[NpySource, list[list[Any]]]:
    np.save(folder / "x.npy", np.zeros((N, 1024)))
    np.save(folder / "y.npy", np.arange(N))
    torch.multiprocessing.spawn(follow, (str(folder), seeds), nprocs=2)
    return source_at(folder), [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_ranks_that_measured_other_costs_follow_the_first(tmp_path: Path) -> None:
    source, (first, second) = followed(tmp_path, (0, 0))
    plans = [chosen(source, each) for each in (SLOW, FAST)]
    assert plans[0].header.strategy != plans[1].header.strategy
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        assert sorted(one + other) == sorted(plans[0].ids(*divmod(number, plans[0].header.steps)).tolist())
        assert len(one) == len(other)


def test_ranks_that_were_asked_for_other_batches_say_so(tmp_path: Path) -> None:
    _, found = followed(tmp_path, (0, 1))
    assert found == [["plan: rank 0 has seed 0, rank 1 1; make it alike on all ranks"]] * 2
