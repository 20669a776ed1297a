"""Every global batch is that of the reference shuffle, whatever is planned behind it."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciflow.datasets.planning import DescribedSource, Layout, Plan, StorageModel, make_plan
from sciflow.datasets.planning.order import FeistelOrder, make_order, sequence
from sciflow.errors import InvalidArgument, StalePlan
from tests.naive_plan import Reader, replay

STRATEGIES = ("pin", "elevator", "bof")


def plan_of(samples: int, *, part: float, nodes: int = 1, batch: int = 16, m: int = 1, **more: Any) -> Plan:
    """A plan for samples of 1 KiB on a slow disk, with room for `part` of them."""
    layout = Layout(samples=samples, samples_per_chunk=m, filtered=m > 1)
    arguments: dict[str, Any] = {
        "global_batch_size": batch * nodes,
        "num_nodes": nodes,
        "buffer_bytes": 1024 * int(part * samples / nodes),
        "order": "feistel",
        "storage": StorageModel(),
    }
    return make_plan(DescribedSource(layout=layout, sample_bytes=1024), **(arguments | more))


def reference(plan: Plan, epochs: int) -> list[list[int]]:
    steps = itertools.product(range(epochs), range(plan.header.steps))
    return [plan.ids(epoch, step).tolist() for epoch, step in steps]


def test_the_reference_is_the_distributed_sampler() -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    samples, nodes, batch, epochs = 203, 4, 8, 3
    for tail, drop in (("drop", True), ("short", False)):
        plan = plan_of(
            samples - samples % nodes, part=0.7, nodes=nodes, batch=batch, order="torch", tail=tail
        )
        samplers = [
            torch_data.DistributedSampler(range(plan.header.samples), nodes, rank, seed=0, drop_last=drop)
            for rank in range(nodes)
        ]
        for epoch in range(epochs):
            for sampler in samplers:
                sampler.set_epoch(epoch)
            ranks = [list(sampler) for sampler in samplers]
            for step in range(plan.header.steps):
                expected = [rank[step * batch : (step + 1) * batch] for rank in ranks]
                assert Counter(plan.ids(epoch, step).tolist()) == Counter(itertools.chain(*expected))


def test_padding_is_that_of_the_distributed_sampler() -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    plan = plan_of(203, part=0.7, nodes=4, batch=8, order="torch", tail="pad", seed=3)
    width = plan.header.global_batch_size
    ranks = [list(torch_data.DistributedSampler(range(203), width, rank, seed=3)) for rank in range(width)]
    for step in range(plan.header.steps):
        assert Counter(plan.ids(0, step).tolist()) == Counter(rank[step] for rank in ranks)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tail", ["drop", "short", "pad"])
@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_nodes_together_assemble_every_batch(strategy: str, tail: str, nodes: int) -> None:
    for part, overflow in ((0.3, "peer"), (0.7, "read"), (0.5, "variable"), (1.5, "peer")):
        plan = plan_of(1003, part=part, nodes=nodes, strategy=strategy, overflow=overflow, tail=tail)
        for assembled, expected in zip(replay(plan, 3), reference(plan, 3), strict=True):
            assert Counter(assembled) == Counter(expected)


@pytest.mark.parametrize("tail", ["drop", "short", "pad"])
@pytest.mark.parametrize("start", [(0, 0), (0, 5), (1, 5)])
def test_guests_change_moves_and_not_batches(tail: str, start: tuple[int, int]) -> None:
    plan = plan_of(1003, part=1.1, nodes=4, tail=tail)
    assert plan.header.guests > 0
    expected = reference(plan, start[0] + 3)[start[0] * plan.header.steps + start[1] :]
    found = replay(plan, 3, start)[start[1] :]
    for assembled, wanted in zip(found, expected, strict=True):
        assert Counter(assembled) == Counter(wanted)


def test_guests_of_an_order_that_ends(tmp_path: Path) -> None:
    lists = np.stack([np.random.default_rng(epoch).permutation(1000) for epoch in range(3)])
    np.save(tmp_path / "order.npy", lists)
    plan = plan_of(1000, part=1.1, nodes=4, order=f"explicit:{tmp_path / 'order.npy'}")
    assert plan.header.guests > 0
    for assembled, wanted in zip(replay(plan, 3), reference(plan, 3), strict=True):
        assert Counter(assembled) == Counter(wanted)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_chunks_change_reads_and_not_batches(strategy: str) -> None:
    plan = plan_of(1003, part=0.4, nodes=3, m=16, strategy=strategy, tail="short")
    for assembled, expected in zip(replay(plan, 3), reference(plan, 3), strict=True):
        assert Counter(assembled) == Counter(expected)


@pytest.mark.parametrize("overflow", ["peer", "read"])
@pytest.mark.parametrize("part", [0.5, 1.0, 1.5])
def test_local_batches_are_equal(overflow: str, part: float) -> None:
    plan = plan_of(2000, part=part, nodes=5, overflow=overflow, tail="short")
    whole = plan.header.samples // plan.header.global_batch_size
    for node in range(5):
        sizes = np.diff(next(plan.epochs(node)).batch_ptr)
        assert set(sizes[:whole]) == {16}
        assert set(sizes[whole:]) <= {(2000 - whole * 80) // 5, (2000 - whole * 80) // 5 + 1}


def test_local_batches_are_what_batch_returns() -> None:
    for overflow in ("peer", "variable"):
        plan = plan_of(500, part=0.5, nodes=3, overflow=overflow)
        for node in range(3):
            planned = next(plan.epochs(node))
            for step in range(planned.steps):
                rows = planned.ids[planned.batch_ptr[step] : planned.batch_ptr[step + 1]]
                np.testing.assert_array_equal(rows, plan.batch(0, step, node))


def test_batches_do_not_depend_on_the_number_of_nodes() -> None:
    batch = 48
    plans = [plan_of(1000, part=0.5, nodes=n, batch=batch // n, order="feistel") for n in (1, 2, 3, 4)]
    for epoch, step in ((0, 0), (3, 7), (9, 19)):
        found = [plan.ids(epoch, step).tolist() for plan in plans]
        assert found == [found[0]] * 4


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("start", "nodes"), [((0, 5), 4), ((2, 0), 2), ((3, 17), 3)])
def test_a_resumed_run_goes_on_with_the_same_batches(
    strategy: str, start: tuple[int, int], nodes: int
) -> None:
    plan = plan_of(1000, part=0.6, nodes=nodes, batch=48 // nodes, strategy=strategy)
    found = replay(plan, 2, start=start)
    assert found[: start[1]] == [[]] * start[1]
    epochs = [
        (start[0] + number // plan.header.steps, number % plan.header.steps) for number in range(len(found))
    ]
    for (epoch, step), assembled in zip(epochs[start[1] :], found[start[1] :], strict=True):
        assert Counter(assembled) == Counter(plan.ids(epoch, step).tolist())


def test_a_plan_is_a_function_of_its_header(tmp_path: Path) -> None:
    plan = plan_of(1000, part=0.4, nodes=2)
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.header == plan.header
    assert again.hash == plan.hash
    for ours, theirs in zip(plan.epochs(1, stop=3), again.epochs(1, stop=3), strict=True):
        np.testing.assert_array_equal(ours.visit_ids, theirs.visit_ids)
        np.testing.assert_array_equal(ours.pick, theirs.pick)


@pytest.mark.parametrize("kind", ["feistel", "block:10", "torch"])
@pytest.mark.parametrize("samples", [1, 2, 17, 64, 1000])
def test_orders_are_permutations_and_differ(kind: str, samples: int) -> None:
    if kind == "torch":
        pytest.importorskip("torch")
    order = make_order(kind, samples, 7)
    epochs = [order.permutation(epoch).tolist() for epoch in range(3)]
    assert [sorted(each) for each in epochs] == [list(range(samples))] * 3
    if samples > 2:
        assert epochs[0] != epochs[1] != epochs[2]
    assert make_order(kind, samples, 7).permutation(1).tolist() == epochs[1]


def test_feistel_has_an_inverse() -> None:
    order = FeistelOrder(1000, 5)
    positions = np.arange(1000)
    np.testing.assert_array_equal(order.position_of(3, order.at(3, positions)), positions)
    np.testing.assert_array_equal(order.at(3, positions[10:20]), order.permutation(3)[10:20])


def test_feistel_leaves_no_trace_of_the_order() -> None:
    samples = 1 << 14
    found = FeistelOrder(samples, 0).permutation(0).astype(np.float64)
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 4 / np.sqrt(samples)
    assert abs(np.corrcoef(found, np.arange(samples))[0, 1]) < 4 / np.sqrt(samples)
    halves = np.bincount((found[: samples // 2] * 16 / samples).astype(int), minlength=16)
    assert np.all(np.abs(halves - samples / 32) < 5 * np.sqrt(samples / 32))


def test_a_block_order_keeps_neighbours_together() -> None:
    order = make_order("block:100", 10_000, 0)
    first = order.permutation(0)[:1600]
    assert len(np.unique(first // 100)) == 16
    assert not np.array_equal(np.sort(first), first)


def test_tails() -> None:
    ids = np.arange(10)
    assert sequence(ids, 4, "drop").tolist() == list(range(8))
    assert sequence(ids, 4, "short").tolist() == list(range(10))
    assert sequence(ids, 4, "pad").tolist() == [*range(10), 0, 1]
    assert sequence(ids[:3], 8, "pad").tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_explicit_orders(tmp_path: Path) -> None:
    path = tmp_path / "order.npy"
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(300), (3, 1)), axis=1)
    np.save(path, lists)
    plan = plan_of(300, part=0.5, order=f"explicit:{path}")
    assert plan.ids(2, 1).tolist() == lists[2, 16:32].tolist()
    assert [each.epoch for each in plan.epochs(0, stop=3)] == [0, 1, 2]
    with pytest.raises(InvalidArgument, match="found 3 epochs"):
        plan.ids(3, 0)
    plan.save(tmp_path / "plan.json")
    np.save(path, lists[::-1])
    with pytest.raises(StalePlan, match=r"order\.npy"):
        Plan.load(tmp_path / "plan.json")
    np.save(path, lists // 2)
    with pytest.raises(InvalidArgument, match="not a permutation"):
        plan_of(300, part=0.5, order=f"explicit:{path}")
    np.save(path, lists[0])
    with pytest.raises(InvalidArgument, match="expected integers of shape"):
        plan_of(300, part=0.5, order=f"explicit:{path}")


def test_the_reader_of_these_tests_sees_a_wrong_plan() -> None:
    plan = plan_of(300, part=0.4)
    with pytest.raises(AssertionError):
        Reader(slots=30).epoch(next(plan.epochs(0)))
    planned = next(plan.epochs(0))
    planned.need.setflags(write=True)
    planned.need[5:] -= 1
    with pytest.raises((AssertionError, KeyError)):
        Reader(slots=120).epoch(planned)
