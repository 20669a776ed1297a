"""What a plan costs, counted: the bounds that theory sets, and where each strategy meets them."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sciflow.datasets.planning import DescribedSource, Layout, Plan, StorageModel, make_plan
from sciflow.datasets.planning.simulate import counted
from tests.naive_plan import elevator_visits, fewest_loads, replay
from tests.test_plan_batches import plan_of

SLOW_DISK = StorageModel(alpha=1e-3, beta=1e9)


def loads_of(plan: Plan, epochs: int) -> list[int]:
    return [each.loads for each in plan.simulate(epochs).epochs]


@pytest.mark.parametrize("nodes", [1, 2, 4, 8])
@pytest.mark.parametrize("part", [0.25, 0.5, 0.9, 1.0])
def test_pins_attain_the_least_number_of_loads(nodes: int, part: float) -> None:
    epochs = 4
    plan = plan_of(4096, part=part, nodes=nodes, batch=64 // nodes, strategy="pin", overflow="variable")
    pinned = nodes * plan.header.pins
    assert sum(loads_of(plan, epochs)) == 4096 + (epochs - 1) * (4096 - pinned)
    on_the_way = (plan.header.lead + 1) * 64 // nodes
    assert (
        plan.header.pins >= min(plan.header.slots - on_the_way - 5 * math.sqrt(on_the_way), 4096 // nodes) - 1
    )


@pytest.mark.parametrize("nodes", [2, 4, 8])
@pytest.mark.parametrize("part", [0.25, 0.75, 1.0])
def test_equal_batches_cost_few_loads_more(nodes: int, part: float) -> None:
    plan = plan_of(8192, part=part, nodes=nodes, batch=32, strategy="pin", overflow="read")
    least = 8192 - nodes * plan.header.pins
    for loads in loads_of(plan, 4)[2:]:  # pins come with their first use at home, a few of them in epoch 1
        assert least <= loads <= least + 0.45 / math.sqrt(32) * 8192


@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_belady_attains_the_least_number_of_loads(part: float) -> None:
    plan = plan_of(4096, part=part, strategy="bof")
    kept = [len(each.carry_out) for each in plan.epochs(0, stop=4)]
    held = plan.header.slots - (plan.header.lead + 1) * plan.header.batch
    assert kept == [held] * 4
    assert loads_of(plan, 4) == [4096] + [4096 - held] * 3


@pytest.mark.parametrize("samples", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_eviction_at_all_does_better(samples: int, seed: int) -> None:
    epochs = 3
    for slots in range(2, samples + 1):
        plan = plan_of(samples, part=slots / samples, batch=1, strategy="bof", seed=seed)
        assert plan.header.lead == 0 or slots >= 4
        uses = [plan.ids(*step).item() for step in itertools.product(range(epochs), range(samples))]
        room = slots - (plan.header.lead + 1)
        best = fewest_loads(uses, room)
        assert best == samples + (epochs - 1) * (samples - room)
        assert sum(loads_of(plan, epochs)) == best


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75, 0.9])
def test_the_elevator_reads_few_passes_in_few_operations(part: float) -> None:
    samples, size = 20_480, 65_536
    source = DescribedSource(layout=Layout(samples=samples), sample_bytes=size)
    plan = make_plan(
        source,
        global_batch_size=32,
        buffer_bytes=int(part * samples) * size,
        strategy="elevator",
        order="feistel",
        storage=SLOW_DISK,
    )
    passes = 2 * (1 - part) if part > 0.5 else 1 / (2 * part)
    for each in plan.simulate(4).epochs[1:]:
        assert each.bytes <= 1.1 * passes * samples * size
        assert each.ops <= 1.1 * each.bytes / (plan.header.block * size) + 2
        assert each.peak <= plan.header.slots
        assert each.late == 0


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("start", [(0, 0), (2, 77)])
def test_a_cold_start_costs_little_more_than_a_pass(part: float, start: tuple[int, int]) -> None:
    samples, size = 20_480, 65_536
    source = DescribedSource(layout=Layout(samples=samples), sample_bytes=size)
    memory = int(part * samples) * size
    plan = make_plan(
        source, global_batch_size=32, buffer_bytes=memory, order="feistel", storage=StorageModel()
    )
    steady = plan.simulate(3).steady
    cold = counted(plan.header, [next(plan.epochs(0, start=start))])
    assert cold.bytes <= steady["bytes"] + 1.3 * samples * size
    assert cold.ops <= 1.5 * (steady["ops"] + 2 * samples * size / (4 << 20))
    first = next(plan.epochs(0, start=start))
    assert first.visit_ptr[first.need[start[1]]] <= 32 + plan.header.block  # the first batch waits for itself


@pytest.mark.parametrize(("part", "decodes"), [(0.5, 1.1), (0.25, 2.3)])
def test_the_elevator_decodes_chunks_seldom(part: float, decodes: float) -> None:
    plan = plan_of(16_384, part=part, batch=64, m=16, strategy="elevator")
    assert plan.simulate(3).steady["decodes"] <= decodes * 16_384 / 16
    at_random = plan_of(16_384, part=part, batch=64, m=16, strategy="pin")
    assert at_random.simulate(3).steady["decodes"] >= 8 * (1 - part) * 16_384 / 16


@pytest.mark.parametrize("part", [0.3, 0.6])
def test_the_elevator_is_the_one_of_the_rule(part: float) -> None:
    plan = plan_of(300, part=part, batch=10, strategy="elevator")
    header, found = plan.header, {}
    for each in plan.epochs(0, stop=4):
        assert each.late == 0
        for visit, due in enumerate(each.visit_due.tolist()):
            ids = each.visit_ids[each.visit_ptr[visit] : each.visit_ptr[visit + 1]].tolist()
            if each.epoch and min(ids) >= header.pins:
                found[each.epoch * header.steps + due, (ids[0] - header.pins) // header.block] = set(ids)
    expected = elevator_visits(plan, 4)
    assert found == {key: picks for key, picks in expected.items() if key[0] >= header.steps}


@pytest.mark.parametrize("strategy", ["pin", "elevator", "bof"])
def test_slots_are_never_exceeded(strategy: str) -> None:
    for part, nodes, m in itertools.product((0.1, 0.2, 0.55, 0.97), (1, 3), (1, 8)):
        plan = plan_of(1200, part=part, nodes=nodes, batch=12, m=m, strategy=strategy, tail="pad")
        replay(plan, 4)  # counts slots itself


def test_slots_are_not_exceeded_where_a_lap_is_too_long() -> None:
    from dataclasses import replace

    plan = plan_of(1200, part=0.4, batch=12, strategy="elevator")
    greedy = Plan(replace(plan.header, lap=2 * plan.header.lap))
    replay(greedy, 3)
    assert sum(each.late for each in greedy.simulate(3).epochs) > 0


def test_the_order_of_epochs_changes_no_load(tmp_path: Path) -> None:
    lists = np.random.default_rng(1).permuted(np.tile(np.arange(1024), (5, 1)), axis=1)
    counts: dict[str, set[int]] = {}
    for number, order in enumerate(([0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [1, 0, 4, 2, 3])):
        path = tmp_path / f"{number}.npy"
        np.save(path, lists[order])
        for strategy in ("pin", "bof"):
            plan = plan_of(1024, part=0.4, strategy=strategy, order=f"explicit:{path}")
            counts.setdefault(strategy, set()).add(sum(loads_of(plan, 5)))
    assert {name: len(each) for name, each in counts.items()} == {"pin": 1, "bof": 1}


def test_replicas_make_moves_rare() -> None:
    moved = {}
    for part in (1.0, 1.5):
        plan = plan_of(16_384, part=part, nodes=8, batch=128, strategy="pin")
        moved[part] = plan.simulate(3).steady["moved"] / 16_384
    assert 0.02 < moved[1.0] < 0.05
    assert moved[1.5] < 0.005


def test_variable_batches_stretch_a_step() -> None:
    plan = plan_of(16_384, part=1.0, nodes=8, batch=128, overflow="variable")
    assert 1.08 < plan.simulate(2).steady["stretch"] < 1.2
    assert plan_of(16_384, part=1.0, nodes=8, batch=128).simulate(2).steady["stretch"] == 1.0


def test_ten_million_samples_fit_into_little() -> None:
    samples, size, nodes = 10_000_000, 65_536, 64
    tracemalloc.start()
    plan = make_plan(
        DescribedSource(layout=Layout(samples=samples), sample_bytes=size),
        global_batch_size=64 * nodes,
        num_nodes=nodes,
        buffer_bytes=samples // nodes // 2 * size,
        order="feistel",
        storage=SLOW_DISK,
    )
    planned = next(plan.epochs(17))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.header.strategy == "elevator"
    assert len(planned.ids) == plan.header.steps * 64
    assert len(plan.header.to_json()) < 10_000
    assert most < 50 * samples
