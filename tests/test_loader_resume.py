"""Training that stops anywhere goes on with the sample that comes next, on any number of nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sciflow.datasets.loading import SolarLoader
from sciflow.datasets.planning import Plan, StorageModel, make_plan
from sciflow.datasets.sources import NpySource

N, G, EPOCHS = 123, 12, 4


@pytest.fixture
def source(tmp_path: Path) -> NpySource:
    np.save(tmp_path / "x.npy", np.arange(N))
    return NpySource(tmp_path / "x.npy")


def planned(source: NpySource, nodes: int) -> Plan:
    return make_plan(
        source,
        global_batch_size=G,
        num_nodes=nodes,
        buffer_bytes=max(N // 2 // nodes, 30) * source.sample_bytes,
        overflow="read",
        order="feistel",
        tail="pad",
        storage=StorageModel(),
    )


def part(
    source: NpySource, nodes: int, state: dict[str, object] | None, steps: int
) -> tuple[list[list[int]], dict[str, object]]:
    """So many global batches from a state on, each sorted, and the state behind them."""
    batches: list[list[int]] = [[] for _ in range(steps)]
    states = []
    for node in range(nodes):
        with SolarLoader(source, planned(source, nodes), node=node, as_numpy=True) as loader:
            if state is not None:
                loader.load_state_dict(state)
            done = 0
            while done < steps:
                for batch in loader:
                    batches[done] += batch["x"].tolist()
                    done += 1
                    if done == steps:
                        break
            states.append(json.loads(json.dumps(loader.state_dict())))
    assert all({**each, "plan_hash": ""} == {**states[0], "plan_hash": ""} for each in states)
    return [sorted(batch) for batch in batches], states[0]


@pytest.mark.parametrize("seed", range(4))
def test_four_nodes_then_two_then_three(source: NpySource, seed: int) -> None:
    steps = planned(source, 1).header.steps
    stops = np.sort(np.random.default_rng(seed).choice(EPOCHS * steps - 1, 2, replace=False)) + 1
    lengths = np.diff(np.concatenate([[0], stops, [EPOCHS * steps]])).tolist()
    found: list[list[int]] = []
    state: dict[str, object] | None = None
    for nodes, length in zip((4, 2, 3), lengths, strict=True):
        batches, state = part(source, nodes, state, length)
        found += batches
    reference = planned(source, 1)
    expected = [
        sorted(reference.ids(epoch, step).tolist()) for epoch in range(EPOCHS) for step in range(steps)
    ]
    assert found == expected


SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from sciflow.datasets.loading import SolarLoader
from sciflow.datasets.planning import Plan
from sciflow.datasets.sources import NpySource

folder, last = Path(sys.argv[1]), int(sys.argv[2])
log, saved = folder / "log.jsonl", folder / "state.json"
done = 0
with SolarLoader(NpySource(folder / "x.npy"), Plan.load(folder / "plan.json"), as_numpy=True) as loader:
    if saved.exists():
        loader.load_state_dict(json.loads(saved.read_text()))
    for batch in loader:
        with log.open("a") as file:
            file.write(json.dumps(batch["x"].tolist()) + "\\n")
        saved.write_text(json.dumps(loader.state_dict()))
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_loses_nothing(source: NpySource, tmp_path: Path) -> None:
    plan = planned(source, 1)
    plan.save(tmp_path / "plan.json")
    codes = [
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), str(last)], check=False).returncode
        for last in (3, 0)
    ]
    assert codes == [-signal.SIGKILL, 0]
    found = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert found == [plan.ids(0, step).tolist() for step in range(plan.header.steps)]
