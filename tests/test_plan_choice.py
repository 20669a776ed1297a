"""What a plan is made of: choice of strategy, storage model, header, and what it says of itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciflow.datasets.planning import DescribedSource, Header, Layout, Plan, StorageModel, make_plan
from sciflow.errors import InvalidArgument, StalePlan, Unsupported
from tests.test_plan_batches import plan_of

PFS = StorageModel(alpha=1e-3, beta=1e9)
DECODING = StorageModel(alpha=1e-4, beta=1e9, decode=1e-8)


def chosen(size: int, part: float, storage: StorageModel, *, m: int = 1, samples: int = 16_384) -> Plan:
    source = DescribedSource(
        layout=Layout(samples=samples, samples_per_chunk=m, filtered=m > 1), sample_bytes=size
    )
    return make_plan(
        source,
        global_batch_size=64,
        buffer_bytes=int(part * samples) * size,
        order="feistel",
        storage=storage,
    )


@pytest.mark.parametrize(
    ("size", "part", "storage", "m", "strategy"),
    [
        (4 << 20, 0.5, PFS, 1, "pin"),
        (4096, 0.25, PFS, 1, "elevator"),
        (65_536, 0.5, PFS, 1, "elevator"),
        (65_536, 1.0, PFS, 1, "pin"),
        (65_536, 0.5, DECODING, 64, "elevator"),
        (65_536, 0.1, DECODING, 4, "bof"),
    ],
)
def test_the_cheapest_strategy_is_chosen(
    size: int, part: float, storage: StorageModel, m: int, strategy: str
) -> None:
    plan = chosen(size, part, storage, m=m)
    assert plan.header.strategy == strategy
    predicted = dict(plan.header.predicted)
    del predicted["plain"]
    assert min(predicted, key=lambda each: predicted[each]) == strategy


@pytest.mark.parametrize(("size", "part"), [(4096, 0.25), (65_536, 0.5), (65_536, 0.9), (4 << 20, 0.5)])
def test_the_prediction_is_what_the_simulation_costs(size: int, part: float) -> None:
    plan = chosen(size, part, PFS)
    counted = plan.simulate(3).steady
    seconds = counted["ops"] * PFS.alpha + counted["bytes"] / PFS.beta
    assert plan.header.predicted[plan.header.strategy] == pytest.approx(seconds, rel=0.15)


def test_the_explanation_names_choice_and_alternatives() -> None:
    told = chosen(65_536, 0.5, PFS).explain()
    assert "laps an epoch" in told
    assert "exact shuffle" in told
    for name in ("plain", "pin", "elevator"):
        assert name in told
    assert "matter" not in told
    assert "only the 50% held in memory is saved" in chosen(8 << 20, 0.5, PFS).explain()
    assert "no exact shuffle" in plan_of(1000, part=0.5, order="block:10").explain()


def test_a_changed_source_is_named() -> None:
    layout = Layout(samples=1000)
    source = DescribedSource(
        layout=layout, sample_bytes=1024, identity={"path": "a", "size": 5, "shape": (1, 2)}
    )
    plan = make_plan(source, global_batch_size=8, buffer_bytes=1 << 19, order="feistel", storage=PFS)
    plan.check(source)
    changed = dataclasses.replace(source, identity={"path": "a", "size": 6, "shape": (1, 2), "new": 1})
    with pytest.raises(StalePlan, match="new: planned for None, found 1; size: planned for 5, found 6"):
        plan.check(changed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buffer_bytes": 1024}, "32 samples, for batches of 16"),
        ({"num_nodes": 4, "global_batch_size": 4, "buffer_bytes": 3072}, "4 samples, for batches of 1"),
        ({"global_batch_size": 2000}, "expected at most as many"),
        ({"num_nodes": 3, "global_batch_size": 16}, "multiple of num_nodes"),
        ({"num_nodes": 0}, "at least one node"),
        ({"tail": "wrap"}, "tail"),
        ({"overflow": "send"}, "overflow"),
        ({"strategy": "belady"}, "strategy"),
        ({"order": "shuffle"}, "order"),
        ({"order": "block:0"}, "block:0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        plan_of(1000, part=0.5, **arguments)


def test_nodes_and_steps_that_are_not_there() -> None:
    plan = plan_of(1000, part=0.5)
    for node, start in ((1, (0, 0)), (0, (0, plan.header.steps)), (0, (-1, 0))):
        with pytest.raises(InvalidArgument):
            plan.epochs(node, start=start)
    with pytest.raises(InvalidArgument, match="epochs"):
        plan.simulate(0)


def test_a_header_is_what_its_json_says(tmp_path: Path) -> None:
    header = plan_of(1000, part=0.5, nodes=2, m=8).header
    assert Header.from_json(header.to_json()) == header
    fields = json.loads(header.to_json())
    for wrong, error in (
        ("[]", InvalidArgument),
        ("{", InvalidArgument),
        (json.dumps(fields | {"format_version": 99}), Unsupported),
        (json.dumps(fields | {"extra": 1}), InvalidArgument),
        (json.dumps({key: value for key, value in fields.items() if key != "lap"}), InvalidArgument),
        (json.dumps(fields | {"strategy": "none"}), InvalidArgument),
    ):
        (tmp_path / "plan.json").write_text(wrong)
        with pytest.raises(error):
            Plan.load(tmp_path / "plan.json")


def test_stripes_cover_the_samples_at_whole_chunks() -> None:
    for samples, nodes, m in ((1000, 7, 1), (1003, 4, 16), (5, 5, 1), (130, 3, 64)):
        layout = Layout(samples=samples, samples_per_chunk=m, filtered=m > 1)
        source = DescribedSource(layout=layout, sample_bytes=8)
        header = make_plan(
            source,
            global_batch_size=nodes,
            num_nodes=nodes,
            buffer_bytes=8 * 1000,
            order="feistel",
            storage=PFS,
        ).header
        ids = np.arange(samples)
        expected = np.searchsorted(header.bounds[1:], ids, side="right")
        np.testing.assert_array_equal(header.home(ids), expected)
        assert header.bounds[0] == 0
        assert header.bounds[-1] == samples
        assert set((header.bounds[1:-1] % layout.unit).tolist()) <= {0}


def test_storage_is_probed_within_its_time(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(1 << 22))

    class Compressed(DescribedSource):
        paths = (path,)
        reads = 0

        def read(self, first: int, stop: int) -> bytes:
            Compressed.reads += 1
            return b"".join(bytes([each % 251]) * 1000 for each in range(first, stop))

    source = Compressed(layout=Layout(samples=4096, samples_per_chunk=4, filtered=True), sample_bytes=1024)
    model = StorageModel.probe(source, seconds=0.2)
    assert 0 <= model.alpha < 1
    assert model.beta > 1e5
    assert 0 <= model.decode < 1e-3
    assert 1 <= Compressed.reads <= 8
    assert "data" in model.origin
    assert StorageModel.probe(DescribedSource(layout=Layout(samples=5), sample_bytes=1)) == StorageModel()


def test_a_storage_model_is_what_its_json_says() -> None:
    model = StorageModel(alpha=1e-4, beta=2e9, decode=3e-9, origin="here")
    assert StorageModel.from_json(model.to_json()) == model
    assert eval(repr(model)) == model
    assert model.gap_bytes == 200_000
    for wrong in ('{"alpha": -1}', '{"speed": 1}', "[", '{"beta": 0}'):
        with pytest.raises(InvalidArgument):
            StorageModel.from_json(wrong)
