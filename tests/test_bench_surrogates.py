"""The bench of surrogates: baselines and errors that are what they say, and rows that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")
pytest.importorskip("scipy")

import torch

from bench.surrogates import __main__ as command
from bench.surrogates.baselines import BASELINES, pooled, spectra
from bench.surrogates.judges import JUDGES
from bench.surrogates.parts import Part, part
from bench.surrogates.tasks import TASKS, Task
from sciflow import datasets
from sciflow.models.runs import open_data
from sciflow.models.surrogates import SampleSpec, build, describe, names
from sciflow.models.surrogates.diffraction import magnitudes

RANDOM = np.random.default_rng(0)


def halves(x: np.ndarray, y: np.ndarray) -> tuple[Part, Part, Part]:
    thirds = zip(np.array_split(x, 3), np.array_split(y, 3), strict=True)
    first, second, third = (Part(a.astype(np.float32), b.astype(np.float32)) for a, b in thirds)
    return first, second, third


def test_ridge_finds_a_linear_map_and_the_mean_does_not() -> None:
    x = RANDOM.normal(size=(240, 1, 8, 8))
    weights = RANDOM.normal(size=(64, 3))
    parts = halves(x, x.reshape(240, -1) @ weights + 5)
    none = Path()
    assert JUDGES["parameters"](parts[2], BASELINES["ridge"](*parts), none)["rms / spread"] < 0.05
    assert 0.9 < JUDGES["parameters"](parts[2], BASELINES["mean"](*parts), none)["rms / spread"] < 1.2


def test_a_stencil_finds_a_shift_and_persistence_does_not() -> None:
    x = RANDOM.normal(size=(12, 1, 16, 16))
    parts = halves(x, np.roll(x, (2, -1), (2, 3)))
    assert JUDGES["relative"](parts[2], BASELINES["stencil"](*parts), Path())["relative L2"] < 1e-3
    assert JUDGES["relative"](parts[2], BASELINES["persistence"](*parts), Path())["relative L2"] > 1


def test_a_spectrum_knows_slope_and_size_but_not_place() -> None:
    x = RANDOM.normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    found = spectra(np.concatenate([x, 10 * x, np.roll(x, 3, axis=2)]))
    np.testing.assert_allclose(found[4:], found[:2], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[2:4, :12] - found[:2, :12], np.log(100), rtol=1e-3)


@pytest.mark.parametrize(
    ("shape", "features"), [((3, 1, 48, 32), 256), ((2, 2, 16, 8, 24), 1024), ((1, 1, 7, 7), 49)]
)
def test_pooling_keeps_the_mean(shape: tuple[int, ...], features: int) -> None:
    x = RANDOM.normal(size=shape).astype(np.float32)
    assert pooled(x).shape == (shape[0], features)
    np.testing.assert_allclose(pooled(x).mean(), x.mean(), atol=1e-6)


def test_chi_of_the_truth_is_zero_and_of_another_crystal_is_not() -> None:
    y = np.zeros((4, 2, 8, 8, 8), np.float32)
    y[:, :, 2:6, 2:6, 2:6] = RANDOM.uniform(0.5, 1, (4, 2, 4, 4, 4))
    x = magnitudes(torch.from_numpy(y[:, :1]), torch.from_numpy(y[:, 1:])).numpy()
    assert JUDGES["chi"](Part(x, y), y, Path())["chi of magnitudes"] < 1e-5
    assert JUDGES["chi"](Part(x, y), y[::-1].copy(), Path())["chi of magnitudes"] > 0.05


def test_every_surrogate_has_a_task_that_it_can_take() -> None:
    assert sorted(task.name for task in TASKS) == list(names())
    for task in TASKS:
        assert {*task.make} <= {*datasets.recipe(task.dataset).parameters}
        assert {*task.settings} <= {*describe(task.name).settings}
        config = task.config(0, Path("out"))
        assert config.model.name == task.name
        assert task.digest(0) != task.digest(1)
        assert task.digest(0) != replace(task, settings={}).digest(0)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_fits_its_data(task: Task, tmp_path: Path) -> None:
    few = replace(task, make={**task.make, "samples": 14})
    datasets.make(few.dataset, few.file(tmp_path), settings=dict(few.make), workers=1)
    config = few.config(0, tmp_path)
    splits, data = open_data(config)
    assert splits.test is not None
    parts = [part(source, data) for source in (splits.train, splits.validation, splits.test)]
    network = build(few.name, data.spec, few.settings).eval()
    assert network(torch.from_numpy(parts[2].x)).shape == parts[2].y.shape
    for name in few.predictors:
        errors = JUDGES[few.judge](
            parts[2], BASELINES[name](parts[0], parts[1], parts[2]), few.file(tmp_path)
        )
        assert all(np.isfinite(error) and error >= 0 for error in errors.values())


def test_rows_are_measured_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = replace(
        next(task for task in TASKS if task.name == "fno"),
        make={"samples": 40, "size": 16},
        settings={"modes": 4, "width": 4, "layers": 1, "projection": 4},
        training={"epochs": 1, "batch_size": 10, "threads": 1},
    )
    monkeypatch.setattr(command, "TASKS", (tiny,))
    monkeypatch.setattr("bench.surrogates.page.TASKS", (tiny,))
    out, page = tmp_path / "rows.csv", tmp_path / "page.md"
    arguments = ["--folder", str(tmp_path / "work"), "--out", str(out), "--page", str(page), "--seeds"]
    assert command.main([*arguments, "0"]) == 0
    first = out.read_text()
    assert [line.split(",")[4] for line in first.splitlines()[1:]] == ["fno", "mean", "ridge"]
    assert describe("fno", SampleSpec((1, 16, 16), (1, 16, 16)), tiny.settings).parameters == int(
        first.splitlines()[1].split(",")[10]
    )
    assert command.main([*arguments, "0,1"]) == 0
    assert "seed 0: kept" in capsys.readouterr().out
    assert out.read_text().startswith(first)
    assert len(out.read_text().splitlines()) == 7
    assert "| `fno` | darcy | relative L2 |" in page.read_text()
    assert "over 2 seeds" in page.read_text()
    assert command.main([*arguments, "0", "--only", "none"]) == 2
