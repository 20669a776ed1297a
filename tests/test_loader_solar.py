"""SolarLoader, FieldDataset and PlannedBatchSampler as a training script uses them."""

from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow.datasets.loading import EmulatedStorage, FieldDataset, PlannedBatchSampler, SolarLoader
from sciflow.datasets.planning import Plan, StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source, Source
from sciflow.errors import InvalidArgument, SourceChanged, StalePlan

N, G = 101, 10


@pytest.fixture
def source(tmp_path: Path) -> Source:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = (np.arange(N)[:, None] * 10 + np.arange(4)).astype("f4")
        file.create_dataset("x", data=x, chunks=(8, 4), compression="gzip")
        file["label"] = np.arange(N)
    return HDF5Source(tmp_path / "a.h5", ["x", "label"])


def planned(source: Source, **options: Any) -> Plan:
    given: dict[str, Any] = {
        "global_batch_size": G,
        "order": "feistel",
        "storage": StorageModel(),
        "share": 0.5,
    }
    given |= options
    share = given.pop("share")
    return make_plan(source, buffer_bytes=int(share * N) * source.sample_bytes, **given)


def loader(source: Source, plan: Plan | None = None, **options: Any) -> SolarLoader:
    return SolarLoader(source, plan or planned(source), **{"as_numpy": True} | options)


def labels(batches: Any) -> list[list[int]]:
    return [batch["label"].tolist() for batch in batches]


def expected(plan: Plan, epoch: int) -> list[list[int]]:
    return [plan.ids(epoch, step).tolist() for step in range(plan.header.steps)]


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sciflow")]


@pytest.mark.parametrize("prefetch", [0, 3])
def test_epochs_follow_one_another(source: Source, prefetch: int) -> None:
    plan = planned(source)
    with loader(source, plan, prefetch=prefetch) as batches:
        assert len(batches) == N // G
        for epoch in (0, 1, 2):
            found = list(batches)
            assert labels(found) == expected(plan, epoch)
            for batch in found:
                np.testing.assert_array_equal(batch["x"][:, 0], batch["label"] * 10)
        batches.set_epoch(1)
        assert labels(batches) == expected(plan, 1)
        assert batches.epoch == 2
        assert batches.stats.peak_slots <= plan.header.slots
        assert batches.stats.delivered >= 40 * G
    assert not own_threads()


def test_batches_are_those_of_a_distributed_sampler(source: Source) -> None:
    torch = pytest.importorskip("torch")
    sampler = torch.utils.data.DistributedSampler(range(N), num_replicas=1, rank=0, seed=5, drop_last=True)
    sampler.set_epoch(3)
    reference = list(sampler)
    with loader(source, planned(source, seed=5, order="torch")) as batches:
        batches.set_epoch(3)
        assert labels(batches) == [reference[i * G : i * G + G] for i in range(N // G)]


def test_the_short_way(source: Source) -> None:
    torch = pytest.importorskip("torch")
    memory = 60 * source.sample_bytes
    with SolarLoader(source, batch_size=G, buffer_bytes=memory, drop_last=False, pin_memory=True) as batches:
        found = list(batches)
    assert [len(batch["x"]) for batch in found] == [G] * 10 + [1]
    assert isinstance(found[0]["x"], torch.Tensor)
    assert torch.equal(torch.sort(torch.cat([batch["label"] for batch in found])).values, torch.arange(N))


@pytest.mark.parametrize("nodes", [1, 2])
def test_resume_in_the_middle_with_other_nodes(source: Source, nodes: int) -> None:
    first = loader(source)
    batches = iter(first)
    seen = [next(batches) for _ in range(4)]
    state = json.loads(json.dumps(first.state_dict()))
    first.close()
    plan = planned(source, num_nodes=nodes, overflow="read", share=0.8)
    assert (state["epoch"], state["step"]) == (0, 4)
    rest: list[list[list[int]]] = []
    for node in range(nodes):
        with loader(source, plan, node=node) as again:
            again.load_state_dict(state)
            again.set_epoch(0)  # as training scripts do; it does not undo the resume
            rest.append(labels(again))
            assert len(list(again)) == len(again)  # the epoch behind it is whole
    joined = [sorted(itertools.chain(*parts)) for parts in zip(*rest, strict=True)]
    assert joined == [sorted(batch) for batch in expected(planned(source), 0)[4:]]
    assert labels(seen) == expected(planned(source), 0)[:4]


def test_state_of_other_batches_is_refused(source: Source) -> None:
    state = loader(source).state_dict()
    with pytest.raises(InvalidArgument, match="seed"):
        loader(source, planned(source, seed=1)).load_state_dict(state)
    with pytest.raises(InvalidArgument, match="version"):
        loader(source).load_state_dict({"version": 9})


def test_an_epoch_that_is_left_begins_anew(source: Source) -> None:
    plan = planned(source)
    with loader(source, plan) as batches:
        for _, batch in zip(range(3), batches, strict=False):
            assert batch["x"].shape == (G, 4)
        assert labels(batches) == expected(plan, 0)
        one, _ = iter(batches), next(iter(batches))
        with pytest.raises(InvalidArgument, match="another iteration"):
            next(one)


def test_transform_and_collate(source: Source) -> None:
    def noisy(sample: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        return {"x": sample["x"] + rng.random(), "label": sample["label"]}

    def run(nodes: int) -> dict[int, float]:
        plan = planned(source, num_nodes=nodes, overflow="read", share=0.8)
        found: dict[int, float] = {}
        for node in range(nodes):
            with loader(source, plan, node=node, transform=noisy, collate_fn=list) as batches:
                found |= {
                    int(sample["label"]): float(sample["x"][0]) for batch in batches for sample in batch
                }
        return found

    assert run(1) == run(2)
    with loader(source, transform=noisy) as batches:
        assert next(iter(batches))["x"].shape == (G, 4)


def test_loss_scale_makes_unequal_batches_exact(source: Source) -> None:
    plan = planned(source, num_nodes=3, overflow="variable", share=0.9)
    total = np.zeros(plan.header.steps)
    sizes = set()
    for node in range(3):
        with loader(source, plan, node=node) as batches:
            for step, batch in enumerate(batches):
                sizes.add(len(batch["label"]))
                if len(batch["label"]):
                    total[step] += batches.loss_scale * batch["label"].mean() / 3
    np.testing.assert_allclose(total, [np.mean(ids) for ids in expected(plan, 0)])
    assert len(sizes) > 1


def test_errors_reach_the_training_loop(source: Source, tmp_path: Path) -> None:
    def fails(sample: dict[str, NDArray[Any]], _: np.random.Generator) -> None:
        raise ZeroDivisionError(f"sample {sample['label']}")

    with pytest.raises(ZeroDivisionError, match="sample"):
        list(loader(source, transform=fails))
    assert not own_threads()
    batches = loader(source)
    (tmp_path / "a.h5").write_bytes(b"something else")
    with pytest.raises((SourceChanged, StalePlan), match=r"a\.h5"):
        list(batches)
    assert not own_threads()
    with pytest.raises(InvalidArgument, match="either a plan or a batch_size"):
        SolarLoader(source)


def test_a_plan_for_other_files_is_refused(source: Source, tmp_path: Path) -> None:
    plan = planned(source)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"], file["label"] = np.zeros((N, 4), "f4"), np.arange(N)
    with pytest.raises(StalePlan, match="make the plan again"):
        loader(HDF5Source(tmp_path / "b.h5", ["x", "label"]), plan)


def test_plans_are_for_as_many_processes(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(source, num_nodes=2, overflow="read", share=0.9)
    with pytest.raises(InvalidArgument, match="num_nodes=1"):
        loader(source, plan)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert loader(source, plan).node == 1


def test_a_forgotten_loader_stops_its_threads(source: Source) -> None:
    batches = loader(source)
    iterator = iter(batches)
    next(iterator)
    assert own_threads()
    del iterator, batches
    gc.collect()
    for _ in range(100):
        if not own_threads():
            break
        time.sleep(0.05)
    assert not own_threads()


def test_emulated_storage_counts_every_operation(source: Source) -> None:
    storage = EmulatedStorage(latency=1e-4, bandwidth=1e9)
    with loader(source, on_read=storage, prefetch=0) as batches:
        list(batches)
    stats = batches.stats
    assert storage.busy == pytest.approx(stats.ops * 1e-4 + stats.bytes / 1e9)


def test_timeline_and_progress(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    with loader(source, log_timeline=True, progress=True) as batches:
        list(batches)
    assert {event.kind for event in batches.timeline.events} == {"read", "wait", "gather"}
    pytest.importorskip("matplotlib")
    assert batches.timeline.plot().get_xlabel() == "seconds"
    with loader(source) as quiet:
        capsys.readouterr()
        list(quiet)
    assert capsys.readouterr() == ("", "")
    assert quiet.timeline.events == []


def test_batch_sampler_gives_the_same_batches(source: Source) -> None:
    data = pytest.importorskip("torch.utils.data")
    plan = planned(source)
    sampler = PlannedBatchSampler(plan)
    batches = data.DataLoader(FieldDataset(source), batch_sampler=sampler)
    assert labels(batches) == expected(plan, 0)
    assert labels(batches) == expected(plan, 1)
    state = sampler.state_dict()
    again = PlannedBatchSampler(planned(source, num_nodes=2, overflow="read", share=0.9), node=0)
    again.load_state_dict(state)
    part = next(iter(again))
    assert len(part) == G // 2
    assert set(part) <= set(expected(plan, 2)[0])


def test_data_loader_with_workers(source: Source) -> None:
    data = pytest.importorskip("torch.utils.data")
    batches = data.DataLoader(
        FieldDataset(source), batch_size=G, num_workers=1, multiprocessing_context="spawn"
    )
    assert labels(batches) == [list(range(i, min(i + G, N))) for i in range(0, N, G)]


def test_nothing_here_loads_torch_or_h5py() -> None:
    code = (
        "import sys, sciflow.datasets, sciflow.datasets.sources, sciflow.datasets.loading as l; "
        "l.SolarLoader; "
        "l.FieldDataset; l.PlannedBatchSampler; print([m for m in ('torch', 'h5py', 'zarr', 'rich') if m in "
        "sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def _labels_in_child(batches: SolarLoader, box: Any) -> None:
    box.put(labels(batches))
    batches.close()


def test_a_loader_that_was_used_goes_on_in_a_fork(source: Source) -> None:
    plan = planned(source)
    with loader(source, plan) as batches:
        list(batches)
        context: Any = multiprocessing.get_context("fork")
        box = context.Queue()
        child = context.Process(target=_labels_in_child, args=(batches, box))
        child.start()
        assert box.get(timeout=60) == expected(plan, 1)
        child.join(60)
        assert child.exitcode == 0
        assert labels(batches) == expected(plan, 1)
