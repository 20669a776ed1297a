"""Policies of other loaders against plans at equal memory; and what an order of epochs is worth."""

from __future__ import annotations

import itertools

import numpy as np

from bench.loader.policies import lru, nopfs, ordered_epochs, shared_at_boundaries, solar_as_released
from sciflow.datasets.planning.order import FeistelOrder
from tests.test_plan_batches import plan_of

SAMPLES, NODES, BATCH, EPOCHS = 2048, 4, 16, 6
SIZES = {"nodes": NODES, "batch": BATCH, "slots": SAMPLES // NODES // 2}
SHUFFLES = [FeistelOrder(SAMPLES, 0).permutation(epoch).astype(np.int64) for epoch in range(EPOCHS)]


def test_pins_load_less_than_the_others() -> None:
    plan = plan_of(SAMPLES, part=0.5, nodes=NODES, batch=BATCH, strategy="pin", overflow="variable")
    ours = plan.simulate(EPOCHS).steady["loads"]
    others = {
        each.__name__: np.mean(each(SHUFFLES, **SIZES).loads[1:]) for each in (lru, nopfs, solar_as_released)
    }
    least = SAMPLES / 2
    assert least <= ours < 1.25 * least
    assert ours < others["nopfs"] < others["solar_as_released"] < others["lru"] <= SAMPLES


def test_nobody_loads_less_than_the_bound() -> None:
    for policy in (lru, nopfs, solar_as_released):
        loads = policy(SHUFFLES, **SIZES).loads
        assert loads[0] == SAMPLES
        assert sum(loads) >= SAMPLES + (EPOCHS - 1) * SAMPLES // 2


def test_epochs_in_order_share_more_and_save_next_to_nothing() -> None:
    shared = shared_at_boundaries(SHUFFLES, SAMPLES // 2)
    path = ordered_epochs(SHUFFLES, SAMPLES // 2)
    assert sorted(path) == list(range(EPOCHS))
    gained = [int(shared[pair]) for pair in itertools.pairwise(path)]
    given = [int(shared[pair]) for pair in itertools.pairwise(range(EPOCHS))]
    assert sum(given) <= sum(gained) < 1.1 * sum(given)
    before = sum(solar_as_released(SHUFFLES, **SIZES).loads)
    after = sum(solar_as_released([SHUFFLES[each] for each in path], **SIZES).loads)
    assert abs(after - before) < 0.02 * before
