"""Two processes train as one does, also from a checkpoint of the other number."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pydantic")

from sciflow.models.checkpoints import read_checkpoint  # noqa: E402
from sciflow.models.runs import Config, train  # noqa: E402
from tests.tiny_surrogate import tiny_config  # noqa: E402

RANKS = 2
EXACT = {"model": {"settings": {"dropout": 0.0}}}
TRAIN = {"precision": "float64", "clip": 0, "accumulate": 2, "batch_size": 6, "epochs": 2}


def rank_of_two(rank: int, tables: list[tuple[dict[str, Any], bool]], port: int) -> None:
    """Train several runs, one behind the other, in one process group."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    for table, resume in tables:
        train(Config.of(table), resume=resume)
    dist.destroy_process_group()


def columns(folder: Path, *names: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    with (folder / "steps.csv").open() as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One process, two processes, and each going on with what the other began."""
    folder = tmp_path_factory.mktemp("ddp")
    whole = tiny_config(folder, train=TRAIN, **EXACT)
    made = {name: whole.replace(out=str(folder / name)) for name in ("one", "two", "one-two", "two-one")}
    train(made["one"])
    stopped_after(made["one-two"], 3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tables = [(made["two"].model_dump(mode="json"), False), (made["one-two"].model_dump(mode="json"), True)]
    torch.multiprocessing.spawn(rank_of_two, (tables, port), nprocs=RANKS)
    cut_back(made["two"], made["two-one"])
    train(made["two-one"], resume=True)
    return {name: Path(config.out) for name, config in made.items()}


def stopped_after(config: Config, steps: int) -> None:
    """Train some steps and leave, as at SIGTERM."""
    import os
    import signal

    from sciflow.models.runs.state import Run

    advance = Run.advance

    def interrupted(run: Run, *arguments: Any) -> float:
        if run.step == steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(run, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "advance", interrupted)
        assert train(config).stopped == "SIGTERM"


def cut_back(whole: Config, to: Config) -> None:
    """Copy a run as it was before its last checkpoint."""
    import shutil

    shutil.copytree(whole.out, to.out)
    newest, *_ = sorted((Path(to.out) / "checkpoints").glob("step-*.ckpt"), reverse=True)
    newest.unlink()


def test_two_processes_have_the_gradients_of_one(runs: dict[str, Path]) -> None:
    assert json.loads((runs["two"] / "plan.json").read_text())["num_nodes"] == RANKS
    alone, both = (columns(runs[name], "loss", "gradient_norm") for name in ("one", "two"))
    np.testing.assert_allclose(both, alone, rtol=1e-10)
    one, two = (read_checkpoint(runs[name] / "checkpoints" / "best.weights") for name in ("one", "two"))
    assert two["validation"] == pytest.approx(one["validation"], rel=1e-10)
    for name, weights in one["network"].items():
        np.testing.assert_allclose(two["network"][name].numpy(), weights.numpy(), atol=1e-10)


@pytest.mark.parametrize("name", ["one-two", "two-one"])
def test_another_number_of_processes_goes_on(runs: dict[str, Path], name: str) -> None:
    np.testing.assert_allclose(columns(runs[name], "loss"), columns(runs["one"], "loss"), rtol=1e-10)
