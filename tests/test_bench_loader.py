"""Every reader of the loader's bench delivers the same batches; the page says what the CSVs say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the loader's bench trains")
pytest.importorskip("matplotlib", reason="the figures of the bench need matplotlib")

from bench.loader import __main__ as command_line
from bench.loader.executed import (
    BATCH,
    NODES,
    ExecutedRow,
    executed,
    nopfs_turns,
    plain_turns,
    solar_turns,
)
from bench.loader.files import Shape, make
from bench.loader.measure import Row, measured
from bench.loader.page import write_page
from bench.loader.policies import nopfs, solar_as_released
from bench.loader.readers import Running, readers_of
from bench.loader.training import TrainingRow
from bench.loader.workloads import PolicyRow
from sciflow.datasets.planning import StorageModel
from sciflow.datasets.planning.order import FeistelOrder

ROOT = Path(__file__).resolve().parents[1]


def first(running: Running, count: int) -> list[list[int]]:
    """Numbers of the samples of some batches."""
    found = []
    for _, batch in zip(range(count), running.batches, strict=False):
        found.append(batch.reshape(len(batch), -1)[:, 0].numpy().astype(int).tolist())
    running.close()
    return found


@pytest.mark.parametrize(
    "shape",
    [
        Shape("contiguous", (64, 64), 8),
        Shape("gzip", (64, 64), 8, chunk=16),
        Shape("zarr", (64, 64), 8, chunk=16, shard=64),
    ],
    ids=lambda shape: shape.name,
)
def test_all_readers_deliver_the_same_batches(tmp_path: Path, shape: Shape) -> None:
    path = make(shape, tmp_path, 4 << 20)
    found = {
        name: first(reader(), 34)
        for name, reader in readers_of(shape, path).items()
        if "2 workers" not in name
    }
    assert len(found) >= 6
    expected = found.popitem()[1]
    assert sorted(np.concatenate(expected[:32]).tolist()) == list(range(256))
    assert all(each == expected for each in found.values())


def test_policies_are_executed_on_the_same_samples(tmp_path: Path) -> None:
    path = make(Shape("contiguous", (16, 16), BATCH), tmp_path, 2 << 20)
    rows = list(executed(path, 0.5, StorageModel(alpha=0, beta=1e12), ranks=2))  # looks at every batch
    assert [row.policy.split(",")[0] for row in rows] == [
        "DataLoader",
        "NoPFS",
        "SOLAR as released",
        "sciflow",
    ]
    assert rows[0].loads == 1
    assert all(row.loads < 1 for row in rows[1:3])


def test_executed_policies_read_what_counted_ones_load() -> None:
    order = FeistelOrder(4096, 0)
    epochs = [order.permutation(epoch).astype(np.int64) for epoch in range(4)]
    sizes = {"nodes": NODES, "batch": BATCH, "slots": 200}
    counted = {
        nopfs_turns: nopfs(epochs, **sizes).loads,
        solar_turns: solar_as_released(epochs, **sizes).loads,
    }
    for policy, loads in {plain_turns: (4096,) * 4, **counted}.items():
        found = [[turn for rank in turns for turn in rank] for turns in policy(epochs, **sizes)]
        reads = [sum(len(turn.read) for turn in each) for each in found]
        assert reads == pytest.approx(loads, rel=0.01)  # SOLAR's buffer is emptied behind a step, not within
        for each, whole in zip(found, epochs, strict=True):
            assert sorted(sample for turn in each for sample in turn.ids) == sorted(whole.tolist())


def test_a_row_counts_what_was_delivered(tmp_path: Path) -> None:
    shape = Shape("contiguous", (64, 64), 8)
    path = make(shape, tmp_path, 4 << 20)
    reader = readers_of(shape, path)["solar 50%"]
    row = measured(("cold", "contiguous", "solar 50%", 0), reader, path, cold=True, seconds=60, size=4 << 20)
    assert row.delivered == pytest.approx(3 * (4 << 20) / 1e6)
    assert row.first_s > 0
    assert row.whole_mbs > 0
    assert row.bytes > 0.3


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    results = ROOT / "bench" / "results" / "loader"
    rows = [
        row for part in ("cold", "slow", "field") for row in command_line._read(results / f"{part}.csv", Row)
    ]
    page = tmp_path / "loader-results.md"
    write_page(
        rows,
        command_line._read(results / "training.csv", TrainingRow),
        command_line._read(results / "policies.csv", ExecutedRow),
        command_line._read(results / "workloads.csv", PolicyRow),
        json.loads((results / "machine.json").read_text()),
        page,
    )
    assert page.read_text() == (ROOT / "docs" / "loader-results.md").read_text()
    assert page.with_suffix(".png").stat().st_size > 1000
