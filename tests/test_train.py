"""Training: what it learns, what it writes, how it is stopped, and that a stop changes nothing."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pydantic")

from sciflow.datasets.sources import HDF5Source  # noqa: E402
from sciflow.errors import Diverged, InvalidArgument, StoreError  # noqa: E402
from sciflow.models.checkpoints import Checkpoints, read_checkpoint  # noqa: E402
from sciflow.models.runs import Config, Predictor, Result, open_data, predict, train  # noqa: E402
from sciflow.models.runs.state import Run  # noqa: E402
from tests.tiny_surrogate import SAMPLES, SIDE, tiny_config  # noqa: E402


def steps_of(folder: Path) -> list[list[str]]:
    with (folder / "steps.csv").open() as file:
        return list(csv.reader(file))[1:]


def without_seconds(history: tuple[Mapping[str, float], ...]) -> list[dict[str, float]]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


def best_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_checkpoint(folder / "checkpoints" / "best.weights")
    return found


# ---------------------------------------------------------------- what it learns


def test_it_learns_and_writes_a_folder(tmp_path: Path) -> None:
    seen: list[Mapping[str, float]] = []
    config = tiny_config(tmp_path, train={"epochs": 12, "rate": 0.03}, model={"settings": {"dropout": 0.0}})
    result = train(config, watch=seen.append)
    assert result.stopped == "epochs"
    assert result.finished
    assert result.steps == 12 * ((SAMPLES - 2 * 5) // 8)
    assert result.validation < 0.3 * result.history[0]["validation"]
    assert seen == list(result.history)
    names = {path.name for path in result.folder.iterdir()}
    assert {"config.toml", "plan.json", "steps.csv", "epochs.csv", "checkpoints"} <= names
    assert len(steps_of(result.folder)) == result.steps


def test_predictions_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train={"epochs": 25, "rate": 0.03}, model={"settings": {"dropout": 0.0}})
    folder = train(config).folder
    with h5py.File(config.data.path) as file:
        x, y = file["x"][...], file["y"][...]
    found = predict(folder, x)
    assert found.shape == (SAMPLES, 1, SIDE, SIDE)
    assert np.sqrt(((found[:, 0] - y) ** 2).mean()) < 0.3 * y.std()
    np.testing.assert_allclose(predict(folder, x[5]), found[5:6], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(predict(folder, {"x": x}), found)
    np.testing.assert_array_equal(predict(folder, HDF5Source(config.data.path, ["x", "y"])), found)
    with pytest.raises(InvalidArgument, match=r"found shape \(48, 3, 8\), expected"):
        predict(folder, x[:, :3])


def test_a_network_may_learn_without_targets(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path,
        data={"targets": [], "normalise": "maximum"},
        model={"name": "tests.tiny_surrogate:Mirror"},
        train={"epochs": 20, "rate": 0.05},
    )
    result = train(config)
    assert result.validation < 0.1 * result.history[0]["validation"]
    with h5py.File(config.data.path) as file:
        x = file["x"][:3]
    found = predict(result.folder, x)  # as the network gives it: it predicts no variable of the file
    assert found.shape == (3, 1, SIDE, SIDE)
    np.testing.assert_allclose(found[:, 0], x / abs(x).max(), atol=1.5)


def test_bfloat16_is_near_float32(tmp_path: Path) -> None:
    found = [
        train(tiny_config(tmp_path, out=str(tmp_path / name), train={"precision": name})).validation
        for name in ("float32", "bfloat16")
    ]
    assert found[0] != found[1]
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_gradients_of_several_batches_are_those_of_a_large_one(tmp_path: Path) -> None:
    losses = []
    for name, size, times in (("one", 16, 1), ("four", 4, 4)):
        (tmp_path / name).mkdir()
        exact = {"precision": "float64", "clip": 0, "batch_size": size, "accumulate": times, "epochs": 1}
        result = train(tiny_config(tmp_path / name, train=exact, model={"settings": {"dropout": 0.0}}))
        losses.append([float(row[2]) for row in steps_of(result.folder)][:2])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("data", "shapes"),
    [
        ({"targets": ["y"]}, ((8, 1, 8, 8), (8, 1, 8, 8))),
        ({"inputs": ["x", "y"], "targets": ["p"]}, ((8, 2, 8, 8), (8, 2))),
        ({"targets": []}, ((8, 1, 8, 8), None)),
        ({"inputs": ["u"], "targets": [], "layout": "next-step"}, ((8, 1, 8, 8), (8, 1, 8, 8))),
    ],
)
def test_samples_become_tensors(tmp_path: Path, data: dict[str, Any], shapes: Any) -> None:
    splits, made = open_data(tiny_config(tmp_path, data=data))
    x, target = made.tensors(splits.train.take(range(8)))
    assert (tuple(x.shape), None if target is None else tuple(target.shape)) == shapes
    assert made.spec.input == shapes[0][1:]
    assert made.spec.target == (None if shapes[1] is None else shapes[1][1:])
    whole, _ = made.tensors(splits.train.take(range(len(splits.train))))
    if "layout" not in data:
        assert abs(float(whole.mean())) < 1e-5
        assert float(whole.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_parameters_come_back_in_their_units(tmp_path: Path) -> None:
    splits, made = open_data(tiny_config(tmp_path, data={"targets": ["p"]}))
    rows = splits.validation.take(range(3))
    _, target = made.tensors(rows)
    assert target is not None
    np.testing.assert_allclose(made.undo(target).numpy(), rows["p"], rtol=1e-5)


def test_trajectories_are_split_whole(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, data={"inputs": ["u"], "targets": [], "layout": "next-step", "test": 0.2})
    splits, _ = open_data(config)
    assert splits.test is not None
    found = [set((split.ids // 4).tolist()) for split in (splits.train, splits.validation, splits.test)]  # type: ignore[attr-defined]
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [36, 4, 8]
    assert found[0] | found[1] | found[2] == set(range(12))
    assert sum(map(len, found)) == 12
    pair = splits.train.take([0])["u"][0]
    np.testing.assert_allclose(pair[1], 0.8 * pair[0], rtol=1e-5)
    again, _ = open_data(config)
    assert again.train.fingerprint() == splits.train.fingerprint()
    other, _ = open_data(config.replace(seed=4))
    assert other.train.fingerprint() != splits.train.fingerprint()


def test_one_trajectory_is_split_in_time(tmp_path: Path) -> None:
    path = tmp_path / "series.h5"
    with h5py.File(path, "w") as file:
        file["u"] = np.arange(20, dtype="f4")[None, :, None, None] * np.ones((1, 1, SIDE, SIDE), "f4")
    config = tiny_config(
        tmp_path, data={"path": str(path), "inputs": ["u"], "targets": [], "layout": "next-step"}
    )
    splits, _ = open_data(config)
    assert splits.test is not None
    parts = (splits.train, splits.validation, splits.test)
    states = [np.unique(part.take(range(len(part)))["u"][..., 0, 0]).tolist() for part in parts]
    assert states == [list(range(14)), [14, 15, 16], [17, 18, 19]]


def test_statistics_are_of_the_training_split_alone(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    splits, before = open_data(config)
    with h5py.File(config.data.path, "r+") as file:
        file["y"][int(splits.validation.ids[0])] = 1e9  # type: ignore[attr-defined]
    _, after = open_data(config)
    assert after.normalisation.statistics == before.normalisation.statistics
    with h5py.File(config.data.path, "r+") as file:
        file["y"][int(splits.train.ids[7]), 0, 0] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgument, match="y: sample 7 of the training split"):
        open_data(config)


# ---------------------------------------------------------------- stopping and going on


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run that nothing stopped."""
    return train(tiny_config(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    ("number", "at"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 3), (signal.SIGTERM, 4), (signal.SIGINT, 2)]
)
def test_a_signal_saves_and_the_rest_is_as_without_it(
    tmp_path: Path, whole: Result, number: signal.Signals, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path)
    advance = Run.advance

    def interrupted(run: Run, *arguments: Any) -> float:
        if run.step == at:
            os.kill(os.getpid(), number)
        return advance(run, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "advance", interrupted)
        if number is signal.SIGINT:
            with pytest.raises(KeyboardInterrupt, match="--resume"):
                train(config)
        else:
            result = train(config)
            assert result.stopped == number.name
            assert not result.finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(steps_of(Path(config.out))) == at + 2  # the signal is seen at the end of the next step
    result = train(config, resume=True)
    assert without_seconds(result.history) == without_seconds(whole.history)
    assert steps_of(result.folder) == steps_of(whole.folder)
    one, other = best_of(result.folder)["network"], best_of(whole.folder)["network"]
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, whole: Result) -> None:
    config = tiny_config(tmp_path)
    first = train(config)
    assert without_seconds(first.history) == without_seconds(whole.history)
    with pytest.raises(StoreError, match="has a run already; resume it"):
        train(config)
    assert train(config, resume=True) == first
    with pytest.raises(InvalidArgument, match=r"train\.rate 0\.01, now 0\.5"):
        train(config.replace(train={"rate": 0.5}), resume=True)


def test_a_run_goes_on_with_a_larger_buffer_elsewhere(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train={"patience": 1})
    train(config)
    moved = tmp_path / "moved.h5"
    Path(config.data.path).rename(moved)
    changed = config.replace(data={"path": str(moved), "buffer": "2MiB"}, train={"patience": 0})
    assert train(changed, resume=True).finished


def test_patience_ends_it(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train={"epochs": 30, "patience": 2, "rate": 1e-12, "ema": 0})
    result = train(config)
    assert result.stopped == "patience"
    assert len(result.history) < 30


# ---------------------------------------------------------------- losses that are not to be trusted


def test_one_bad_step_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = Run.gradients

    def bad_once(run: Run, batches: Any) -> tuple[float, float]:
        loss, norm = gradients(run, batches)
        return (np.nan, norm) if run.step == 6 else (loss, norm)

    monkeypatch.setattr(Run, "gradients", bad_once)
    result = train(tiny_config(tmp_path))
    assert [row[5] for row in steps_of(result.folder)].count("skip") == 1
    assert np.isfinite(result.validation)


def test_bad_steps_in_a_row_go_back_with_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gradients, bad = Run.gradients, iter(range(3))

    def bad_for_a_while(run: Run, batches: Any) -> tuple[float, float]:
        loss, norm = gradients(run, batches)
        return (loss, 1e9) if run.step >= 11 and next(bad, None) is not None else (loss, norm)

    monkeypatch.setattr(Run, "gradients", bad_for_a_while)
    config = tiny_config(tmp_path, train={"epochs": 4})
    with caplog.at_level(logging.WARNING):
        result = train(config)
    assert "back to step 12 with the rate times 0.5" in caplog.text
    rows = steps_of(result.folder)
    assert [int(row[0]) for row in rows] == list(range(1, result.steps + 1))
    plain = train(config.replace(out=str(tmp_path / "plain")))
    rates = [[float(row[4]) for row in steps_of(each.folder)] for each in (result, plain)]
    assert rates[0][:12] == rates[1][:12]
    np.testing.assert_allclose(rates[0][12:], np.array(rates[1][12:]) / 2)


def test_a_run_that_diverges_says_where(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, model={"settings": {"bad_after": 7}}, train={"epochs": 4})
    with pytest.raises(Diverged, match=r"step \d+ has loss nan .* after 3 returns to a checkpoint"):
        train(config)
    report = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert report["rollbacks"] == 3
    assert all(len(step["samples"]) == 8 for step in report["steps"])
    assert max(max(step["samples"]) for step in report["steps"]) < SAMPLES
    assert Checkpoints(tmp_path / "run" / "checkpoints").load_latest() is not None


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"batch_size": 100}}, "train.batch_size = 100: the training split has 38 samples"),
        ({"data": {"inputs": ["q"]}}, "'q'"),
        ({"data": {"inputs": ["x", "p"]}}, "expected one shape"),
        ({"data": {"targets": []}}, "learns from targets"),
        ({"data": {"layout": "next-step", "inputs": ["p"], "targets": []}}, "expected .channel, .space"),
        ({"data": {"test": 0.5, "validation": 0.49}}, "none is left to train on"),
        ({"data": {"buffer": "1kB"}}, "buffer_bytes: found 1000"),
        ({"model": {"name": "nothing"}}, "surrogate: found 'nothing', expected one of"),
        ({"model": {"settings": {"depth": 3}}}, "depth"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        train(tiny_config(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_out_of_memory_names_a_batch_size_that_may_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> tuple[float, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Run, "gradients", no_memory)
    with pytest.raises(InvalidArgument, match=r"batch_size = 4 and train\.accumulate = 2"):
        train(tiny_config(tmp_path))


def test_no_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="device 'teapot'"):
        train(tiny_config(tmp_path), device="teapot")


def test_a_config_is_what_it_was(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert Config.of(config.model_dump(mode="json")) == config
    assert Predictor(train(config).folder).config == config
