"""The executor delivers exactly what the plan says, from real files, within its slots."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from sciflow.datasets.loading import LocalExchange
from sciflow.datasets.loading.flight import Grain, reads_of
from sciflow.datasets.loading.head import Start
from sciflow.datasets.loading.pipeline import Closed, Pipeline, Step
from sciflow.datasets.planning import Plan, StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source, NpySource, Reading, Source, ZarrSource
from sciflow.errors import Corrupt, InvalidArgument

N, G = 210, 12


def tagged(samples: int = N, width: int = 6) -> NDArray[np.float32]:
    """Values that tell which sample they are of."""
    return (np.arange(samples)[:, None] * 100 + np.arange(width)).astype("f4")


def stored(folder: Path, kind: str) -> Source:
    x = tagged()
    if kind == "npy":
        np.save(folder / "x.npy", x)
        return NpySource(folder / "x.npy")
    if kind == "shards":
        zarr.create_array(folder / "x.zarr", data=x, chunks=(4, 6), shards=(32, 6))
        return ZarrSource(folder / "x.zarr")
    with h5py.File(folder / "x.h5", "w") as file:
        chunks: dict[str, dict[str, Any]] = {
            "contiguous": {},
            "raw": {"chunks": (16, 6)},
            "gzip": {"chunks": (8, 6), "compression": "gzip"},
        }
        file.create_dataset("x", data=x, **chunks[kind])
    return HDF5Source(folder / "x.h5", "x")


def planned(source: Source, share: float, **options: Any) -> Plan:
    given: dict[str, Any] = {"global_batch_size": G, "order": "feistel", "storage": StorageModel()}
    given |= options
    nodes = given.get("num_nodes", 1)
    return make_plan(source, buffer_bytes=int(share * len(source) / nodes) * source.sample_bytes, **given)


def check(step: Step) -> None:
    np.testing.assert_array_equal(step.rows["x"], tagged()[step.ids])


def steps_of(pipeline: Pipeline, count: int) -> Iterator[Step]:
    for _ in range(count):
        step = pipeline.next()
        assert step is not None
        check(step)
        yield step


@pytest.mark.parametrize("kind", ["contiguous", "raw", "gzip", "shards", "npy"])
@pytest.mark.parametrize("strategy", ["pin", "bof", "elevator"])
@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_every_batch_is_the_planned_one(tmp_path: Path, kind: str, strategy: Any, share: float) -> None:
    source = stored(tmp_path, kind)
    plan = planned(source, share, strategy=strategy)
    pipeline = Pipeline(source, plan.epochs(0, stop=3), plan.header.slots, threads=3)
    try:
        for count, step in enumerate(steps_of(pipeline, 3 * plan.header.steps)):
            assert (step.epoch, step.step) == divmod(count, plan.header.steps)
            np.testing.assert_array_equal(step.ids, plan.ids(step.epoch, step.step))
        assert pipeline.next() is None
        assert pipeline.next() is None
        stats = pipeline.stats
    finally:
        pipeline.close()
    assert stats.peak_slots <= plan.header.slots
    assert stats.delivered == 3 * plan.header.steps * G
    assert stats.loads == sum(len(epoch.visit_ids) for epoch in plan.epochs(0, stop=3))
    assert stats.hits > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sciflow")]


def test_counters_are_those_of_the_plan(tmp_path: Path) -> None:
    source = stored(tmp_path, "gzip")
    plan = planned(source, 0.5, strategy="elevator")
    loads = sum(len(epoch.visit_ids) for epoch in plan.epochs(0, stop=3))
    decodes = sum(
        len(np.unique(epoch.visit_ids[a:b] // 8))
        for epoch in plan.epochs(0, stop=3)
        for a, b in zip(epoch.visit_ptr[:-1], epoch.visit_ptr[1:], strict=True)
    )
    pipeline = Pipeline(source, plan.epochs(0, stop=3), plan.header.slots, threads=1)
    list(steps_of(pipeline, 3 * plan.header.steps))
    pipeline.close()
    assert pipeline.stats.loads == loads
    assert loads / 8 <= pipeline.stats.decodes <= decodes


@pytest.mark.parametrize("unit", [1, 8])
def test_visits_of_a_step_are_read_together_and_in_parts(tmp_path: Path, unit: int) -> None:
    source = stored(tmp_path, "npy")
    plan = planned(source, 1.0, strategy="pin")
    epoch = next(plan.epochs(0))
    due = np.repeat(epoch.visit_due, np.diff(epoch.visit_ptr))
    for units in (1, 5, 10**6):
        starts = reads_of(epoch, Grain(unit, units))
        assert starts[0] == 0
        assert starts[-1] == len(epoch.visit_ids)
        for first, stop in itertools.pairwise(starts.tolist()):
            assert len(set(due[first:stop])) == 1
            assert (np.diff(epoch.visit_ids[first:stop]) > 0).all()
            assert len(set(epoch.visit_ids[first:stop] // unit)) <= max(1.5 * units, 1)
        cut = starts[1:-1]
        together = epoch.visit_ids[cut] // unit == epoch.visit_ids[cut - 1] // unit
        assert not (together & (due[cut] == due[cut - 1])).any()  # no chunk is cut
    assert len(starts) - 1 == len(set(epoch.visit_due))
    pipeline = Pipeline(source, plan.epochs(0, stop=1), plan.header.slots)
    list(steps_of(pipeline, plan.header.steps))
    pipeline.close()
    assert pipeline.stats.ops < pipeline.stats.loads / 4


class Late:
    """Plans that come when they are let."""

    def __init__(self, plan: Plan, start: tuple[int, int], stop: int) -> None:
        self.wait = threading.Event()
        self._plans = plan.epochs(0, start=start, stop=stop)

    def __iter__(self) -> Iterator[Any]:
        assert self.wait.wait(30)
        yield from self._plans


@pytest.mark.parametrize("strategy", ["pin", "bof", "elevator"])
@pytest.mark.parametrize("kind", ["npy", "gzip"])
@pytest.mark.parametrize("early", [0, 1, 3, N // G])
def test_batches_do_not_wait_for_the_plan(tmp_path: Path, strategy: Any, kind: str, early: int) -> None:
    source = stored(tmp_path, kind)
    plan = planned(source, 0.6, strategy=strategy)
    start, steps = (1, 2), plan.header.steps
    late = Late(plan, start, stop=4)
    begin = Start(*start, steps, lambda step: plan.batch(1, step, 0), chunked=kind == "gzip")
    pipeline = Pipeline(source, iter(late), plan.header.slots, start=begin)
    possible = min(plan.header.slots // G, steps - start[1] - 1)  # room for them, and never the last one
    try:
        taken = list(steps_of(pipeline, min(early, possible)))
        late.wait.set()
        taken += steps_of(pipeline, 3 * steps - start[1] - len(taken))
        assert pipeline.next() is None
        stats = pipeline.stats
    finally:
        late.wait.set()
        pipeline.close()
    for count, step in enumerate(taken, start[1]):
        assert (step.epoch - 1, step.step) == divmod(count, steps)
        np.testing.assert_array_equal(step.ids, plan.ids(step.epoch, step.step))
    assert stats.loads == sum(len(each.visit_ids) for each in plan.epochs(0, start=start, stop=4))
    assert stats.delivered == len(taken) * G
    assert stats.peak_slots <= plan.header.slots


def test_a_batch_with_a_sample_twice_waits_for_the_plan(tmp_path: Path) -> None:
    small = stored(tmp_path, "npy")
    plan = make_plan(
        small,
        global_batch_size=2 * N,
        buffer_bytes=4 * N * small.sample_bytes,
        tail="pad",
        order="feistel",
        storage=StorageModel(),
    )
    begin = Start(0, 0, plan.header.steps, lambda step: plan.batch(0, step, 0))
    pipeline = Pipeline(small, plan.epochs(0, stop=1), plan.header.slots, start=begin)
    (step,) = steps_of(pipeline, 1)
    pipeline.close()
    np.testing.assert_array_equal(step.ids, plan.ids(0, 0))


def test_a_start_in_the_middle_reads_what_it_needs(tmp_path: Path) -> None:
    source = stored(tmp_path, "contiguous")
    plan = planned(source, 0.4)
    pipeline = Pipeline(source, plan.epochs(0, start=(2, 5)), plan.header.slots)
    for step in steps_of(pipeline, 20):
        np.testing.assert_array_equal(step.ids, plan.ids(step.epoch, step.step))
    pipeline.close()


@pytest.mark.parametrize("overflow", ["peer", "read", "variable"])
@pytest.mark.parametrize("nodes", [2, 3])
def test_nodes_together_deliver_the_global_batch(tmp_path: Path, overflow: Any, nodes: int) -> None:
    source = stored(tmp_path, "gzip")
    plan = planned(source, 0.6, num_nodes=nodes, overflow=overflow)
    exchanges = LocalExchange.between(nodes)
    pipelines = [
        Pipeline(source, plan.epochs(node, stop=2), plan.header.slots, exchange=exchanges[node])
        for node in range(nodes)
    ]
    total = 2 * plan.header.steps
    found: list[list[Step]] = [[] for _ in range(nodes)]
    threads = [
        threading.Thread(target=lambda n=n: found[n].extend(steps_of(pipelines[n], total)))
        for n in range(nodes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pipeline in pipelines:
        pipeline.close()
    for parts in zip(*found, strict=True):
        together = np.sort(np.concatenate([part.ids for part in parts]))
        np.testing.assert_array_equal(together, np.sort(plan.ids(parts[0].epoch, parts[0].step)))
    assert [len(f) for f in found] == [total] * nodes
    moved = sum(pipeline.stats.moved for pipeline in pipelines)
    assert (moved > 0) == (overflow == "peer")
    assert all(pipeline.stats.peak_slots <= plan.header.slots for pipeline in pipelines)


@pytest.mark.parametrize("start", [(0, 0), (1, 3), (2, 3)])
def test_guests_are_kept_and_used(tmp_path: Path, start: tuple[int, int]) -> None:
    source, nodes = stored(tmp_path, "npy"), 3
    plan = planned(source, 1.12, num_nodes=nodes)
    assert plan.header.guests > 0
    stop = start[0] + 4
    total = 4 * plan.header.steps - start[1]
    exchanges = LocalExchange.between(nodes)
    pipelines = [
        Pipeline(source, plan.epochs(node, start, stop), plan.header.slots, exchange=exchanges[node])
        for node in range(nodes)
    ]
    found: list[list[Step]] = [[] for _ in range(nodes)]
    threads = [
        threading.Thread(target=lambda n=n: found[n].extend(steps_of(pipelines[n], total)))
        for n in range(nodes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pipeline in pipelines:
        pipeline.close()
    assert [len(each) for each in found] == [total] * nodes
    for parts in zip(*found, strict=True):
        together = np.sort(np.concatenate([part.ids for part in parts]))
        np.testing.assert_array_equal(together, np.sort(plan.ids(parts[0].epoch, parts[0].step)))
    epochs = [epoch for node in range(nodes) for epoch in plan.epochs(node, start, stop)]
    assert any(epoch.arrives.any() for epoch in epochs)
    assert sum(p.stats.loads for p in pipelines) == sum(int((~epoch.arrives).sum()) for epoch in epochs)
    assert all(pipeline.stats.peak_slots <= plan.header.slots for pipeline in pipelines)


def test_moves_without_an_exchange_are_refused(tmp_path: Path) -> None:
    source = stored(tmp_path, "npy")
    plan = planned(source, 1.0, num_nodes=2, overflow="peer")
    pipeline = Pipeline(source, plan.epochs(0), plan.header.slots)
    with pytest.raises(InvalidArgument, match="overflow='read'"):
        list(steps_of(pipeline, plan.header.steps))
    pipeline.close()


class Failing:
    """A source whose reads fail from some sample on."""

    def __init__(self, source: Source, sample: int) -> None:
        self._source, self._sample = source, sample

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read_into(
        self, ids: NDArray[np.int64], slots: NDArray[np.int64], arena: Any, reading: Reading
    ) -> None:
        if self._sample in ids:
            raise Corrupt(f"sample {self._sample} is damaged")
        self._source.read_into(ids, slots, arena, reading)


def test_a_reader_error_reaches_the_consumer_and_stops_everything(tmp_path: Path) -> None:
    source = stored(tmp_path, "npy")
    plan = planned(source, 0.3)
    failing: Any = Failing(source, 77)
    pipeline = Pipeline(failing, plan.epochs(0), plan.header.slots)
    with pytest.raises(Corrupt, match="sample 77"):
        list(steps_of(pipeline, plan.header.steps))
    with pytest.raises(Corrupt, match="sample 77"):
        pipeline.next()
    pipeline.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sciflow")]


def test_close_wakes_a_waiting_consumer(tmp_path: Path) -> None:
    source = stored(tmp_path, "npy")
    plan = planned(source, 0.3)
    going = threading.Event()

    def hold(_: int) -> None:
        going.wait(30)

    pipeline = Pipeline(source, plan.epochs(0), plan.header.slots, on_read=hold)
    met: list[BaseException] = []

    def consume() -> None:
        try:
            pipeline.next()
        except Closed as error:
            met.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    closer = threading.Thread(target=pipeline.close)
    closer.start()
    consumer.join(30)
    assert len(met) == 1
    going.set()
    closer.join(30)
    assert not closer.is_alive()
