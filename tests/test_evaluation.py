"""The ladder: rungs on a tiny linear model, resume, the knee of made-up numbers, files, bad requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sciflow.cli import run
from sciflow.errors import Diverged, InvalidArgument
from sciflow.models.evaluation import Report, Rung, Score
from sciflow.models.evaluation.page import draw, markdown

torch = pytest.importorskip("torch")
pytest.importorskip("pydantic")

from sciflow.models.evaluation import evaluate, work  # noqa: E402 - needs torch
from sciflow.models.runs import Config, to_toml  # noqa: E402 - needs pydantic
from sciflow.models.surrogates import Surrogate  # noqa: E402 - needs torch

Captured = pytest.CaptureFixture[str]
BOUNDS = [1e-3, 0.3]


@dataclass(frozen=True, slots=True)
class Settings:
    loss: str = "squared"


class Line(Surrogate):
    """A weight for each cell of a window."""

    settings_class = Settings
    about, paper, takes = "one convolution", "none", "input (C, y, x), target (C', y, x)"

    def __init__(self, spec: Any, settings: Settings) -> None:
        super().__init__(spec, settings)
        self.layer = torch.nn.Conv2d(spec.input[0], spec.target[0], 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class Mean(Line):
    """Parameters from means."""

    def __init__(self, spec: Any, settings: Settings) -> None:
        Surrogate.__init__(self, spec, settings)
        self.layer = torch.nn.Linear(spec.input[0], spec.target[0])

    def forward(self, x: Any) -> Any:
        return self.layer(x.mean(dim=(-2, -1)))


def fields(samples: int = 48, side: int = 16) -> xr.Dataset:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((samples, side, side))
    moved = [np.roll(noise, (i, j), (1, 2)) for i in range(4) for j in range(4)]
    smooth = np.sum(moved, axis=0) / 4.0
    target = np.roll(smooth, 1, 1) - 2.0 * smooth + 0.3 * noise
    return xr.Dataset(
        {
            "a": (("sample", "y", "x"), smooth.astype("f4")),
            "b": (("sample", "y", "x"), (100.0 + 5.0 * target).astype("f4")),
            "p": (("sample", "parameter"), smooth.mean(axis=(1, 2))[:, None].astype("f4")),
        }
    )


def config(folder: Path, **data: Any) -> Config:
    path = folder / "in.nc"
    if not path.exists():
        fields().to_netcdf(path)
    table = {
        "out": str(folder / "run"),
        "data": {"path": str(path), "inputs": ["a"], "targets": ["b"], "test": 0.25, **data},
        "model": {"name": f"{__name__}:Line"},
        "train": {"epochs": 2, "batch_size": 8, "rate": 0.05, "threads": 1},
    }
    return Config.of(table)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, Report]:
    folder = tmp_path_factory.mktemp("ladder")
    made = config(folder).replace(train={"epochs": 6, "batch_size": 2})
    return made, folder / "out", evaluate(made, bounds=BOUNDS, out=folder / "out")


# The ladder itself


def test_rungs_in_order(ladder: tuple[Config, Path, Report]) -> None:
    _, _, report = ladder
    assert [rung.name for rung in report.rungs] == ["uncompressed", "rel:0.001", "rel:0.3"]
    assert [[score.seed for score in rung.scores] for rung in report.rungs] == [[0, 1]] * 3
    first, fine, coarse = report.rungs
    assert first.ratio == 1.0
    assert 1.0 < fine.ratio < coarse.ratio
    assert first.bytes_in == fine.bytes_in == 2 * 48 * 16 * 16 * 4
    assert abs(report.change(fine)) < 0.01 < report.change(coarse)
    assert report.knee is fine


def test_losses_are_those_of_the_uncompressed_file(ladder: tuple[Config, Path, Report]) -> None:
    from sciflow.models.runs import Predictor, open_data

    made, out, report = ladder
    for rung, place in zip(report.rungs, ("uncompressed", "rel-0.001", "rel-0.3"), strict=True):
        splits, data = open_data(made)
        assert splits.test is not None
        batch = splits.test.take(np.arange(len(splits.test)))
        predicted = Predictor(out / place / "seed-0" / "run")(splits.test)[:, 0]
        _, (scale,) = data.normalisation.statistics["b"]
        expected = np.mean(((predicted.astype("f8") - batch["b"]) / scale) ** 2)
        assert rung.scores[0].test_loss == pytest.approx(expected, rel=1e-4)
        rmse = rung.scores[0].predictions["b"]["rmse"]
        assert rmse == pytest.approx(scale * expected**0.5, rel=1e-4)


def test_physics_of_the_data(ladder: tuple[Config, Path, Report]) -> None:
    _, _, report = ladder
    _, fine, coarse = report.rungs
    assert set(fine.data) == {"a", "b"}
    width = float(np.ptp(fields()["b"].values))
    assert 0 < fine.data["b"]["max_error"] <= 1e-3 * width < coarse.data["b"]["max_error"] <= 0.3 * width
    assert fine.data["b"]["dssim"] > coarse.data["b"]["dssim"]


def test_files_of_the_report(ladder: tuple[Config, Path, Report]) -> None:
    _, out, report = ladder
    told = json.loads((out / "report.json").read_text())
    assert told["knee"] == "rel:0.001"
    assert Report.from_dict(told) == report
    rows = (out / "report.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 2
    assert rows[1].startswith("uncompressed,1,98304,98304,0,")
    page = (out / "report.md").read_text()
    for text in ("# ", "| rel:0.3 |", "(report.png)", report.verdict(), "## Predictions against the truth"):
        assert text in page
    assert (out / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_done_is_kept(ladder: tuple[Config, Path, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    made, out, report = ladder

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("done again")

    monkeypatch.setattr(work, "train", refuse)
    monkeypatch.setattr(work, "compress", refuse)
    assert evaluate(made, bounds=BOUNDS, out=out) == report
    assert evaluate(made, bounds=BOUNDS[:1], seeds=1, out=out).rungs[1].scores == report.rungs[1].scores[:1]
    evaluate(made, bounds=BOUNDS, out=out)  # the report of all of them again
    with pytest.raises(AssertionError, match="done again"):
        evaluate(made.replace(train={"rate": 0.01}), bounds=BOUNDS, out=out.parent / "other")


def test_a_change_of_the_request_is_done_anew(tmp_path: Path) -> None:
    made, out = config(tmp_path), tmp_path / "out"
    first = evaluate(made, bounds=[0.1], seeds=1, out=out)
    store = out / "rel-0.1" / "data.zarr"
    before = store.stat().st_mtime_ns
    slower = evaluate(made.replace(train={"rate": 0.01}), bounds=[0.1], seeds=1, out=out)
    assert slower.rungs[1].scores[0].test_loss != first.rungs[1].scores[0].test_loss
    assert store.stat().st_mtime_ns == before  # the data are the same
    evaluate(made, bounds=[0.1], seeds=1, out=out, level="fast")
    assert store.stat().st_mtime_ns != before
    told = json.loads((out / "rel-0.1" / "seed-0" / "result.json").read_text())
    (out / "rel-0.1" / "seed-0" / "result.json").write_text("{")
    again = evaluate(made, bounds=[0.1], seeds=1, out=out, level="fast")
    assert again.rungs[1].scores[0].test_loss == told["test_loss"]


def test_an_interrupted_ladder_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, out = config(tmp_path), tmp_path / "out"
    train, trained = vars(work)["train"], list[str]()

    def stops(run: Config, **options: Any) -> Any:
        if "rel-0.3" in run.out and not trained.count("stopped"):
            train(run, **options)  # all but the result
            trained.append("stopped")
            raise KeyboardInterrupt
        trained.append(run.out)
        return train(run, **options)

    monkeypatch.setattr(work, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        evaluate(made, bounds=BOUNDS, seeds=1, out=out)
    done = list(trained)
    report = evaluate(made, bounds=BOUNDS, seeds=1, out=out)
    assert len(done) == 3
    assert len(trained) == 4
    monkeypatch.undo()
    assert _results(evaluate(made, bounds=BOUNDS, seeds=1, out=tmp_path / "whole")) == _results(report)


def _results(report: Report) -> list[float]:
    return [score.test_loss for rung in report.rungs for score in rung.scores]


def test_a_diverged_rung_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train: Any = vars(work)["train"]

    def diverges(run: Config, **options: Any) -> Any:
        if "rel-0.3" in run.out:
            raise Diverged("made up")
        return train(run, **options)

    monkeypatch.setattr(work, "train", diverges)
    report = evaluate(config(tmp_path), bounds=BOUNDS, seeds=1, out=tmp_path / "out")
    assert report.rungs[2].test_loss == np.inf
    assert not report.accepted(report.rungs[2])
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rungs"][2]["test_loss"] is None


def test_parameters_keep_every_bit(tmp_path: Path) -> None:
    made = config(tmp_path, targets=["p"]).replace(model={"name": f"{__name__}:Mean"})
    report = evaluate(made, bounds=["abs:1.0"], seeds=1, out=tmp_path / "out")
    assert report.rungs[1].data["p"]["max_error"] == 0.0
    assert 0.5 < report.rungs[1].data["a"]["max_error"] <= 1.0
    assert set(report.rungs[1].scores[0].predictions) == {"p"}
    assert "log_spectral_distance" not in report.rungs[1].scores[0].predictions["p"]
    worse = evaluate(made, bounds=["abs:1.0"], seeds=1, out=tmp_path / "out", per_variable={"p": "abs:0.5"})
    assert worse.rungs[1].data["p"]["max_error"] > 0.0


def test_trajectories(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    state = rng.standard_normal((12, 5, 12, 12)).cumsum(axis=1)
    path = tmp_path / "runs.nc"
    xr.Dataset({"u": (("sample", "time", "y", "x"), state.astype("f4"))}).to_netcdf(path)
    made = config(tmp_path, path=str(path), inputs=["u"], targets=[], layout="next-step")
    report = evaluate(made, bounds=[1e-2], seeds=1, out=tmp_path / "out")
    assert set(report.rungs[1].data) == {"u"}
    assert report.rungs[1].ratio > 2.0


@pytest.mark.parametrize("layout", ["samples", "next-step"])
def test_arrays_of_numpy(layout: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    state = rng.standard_normal((12, 4, 11, 13)).cumsum(axis=1).astype("f4")
    folder = tmp_path / "arrays"
    folder.mkdir()
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", state if layout == "next-step" else state[:, 0])
    one, both = {"path": str(folder / "a.npy"), "inputs": ["a"], "targets": []}, {"path": str(folder)}
    made = config(tmp_path, layout=layout, **(one if layout == "next-step" else both))
    report = evaluate(made, bounds=[1e-2], seeds=1, out=tmp_path / "out")
    assert report.rungs[0].bytes_in == (4 if layout == "next-step" else 2) * state[:, 0].nbytes
    assert 0.0 < report.rungs[1].data["a"]["max_error"] <= 0.01 * np.ptp(state)


# The knee, on made-up numbers


def rung(name: str, ratio: float, *losses: float) -> Rung:
    scores = tuple(
        Score(seed=seed, test_loss=loss, best_validation=loss, epochs=1, seconds=1.0, predictions={})
        for seed, loss in enumerate(losses)
    )
    return Rung(
        name=name, bytes_in=1000, bytes_out=round(1000 / ratio), compress_seconds=0.0, data={}, scores=scores
    )


def report(*rungs: Rung, tolerance: float = 0.01) -> Report:
    return Report(
        model="m", data="d.nc", tolerance=tolerance, rungs=(rung("uncompressed", 1, 1.0, 3.0), *rungs)
    )


def test_the_knee_is_the_largest_accepted_ratio() -> None:
    fine, good, bad = rung("a", 4, 1.0, 3.01), rung("b", 10, 1.01, 3.02), rung("c", 20, 1.1, 3.1)
    made = report(fine, good, bad)
    assert made.knee is good
    assert made.change(good) == pytest.approx(0.03 / 4)
    assert made.spread(good) == pytest.approx(abs(0.01 - 0.02 / 3) / 2**0.5)
    assert made.noise == pytest.approx(2**0.5 / 2)
    assert replace(made, tolerance=0.06).knee is bad
    assert report(bad).knee is None
    assert "With every bound" in report(bad).verdict()
    assert report(rung("better", 30, 0.5, 2.0), good).knee is not good  # a smaller loss is no harm


def test_noise_is_judged_by_paired_seeds() -> None:
    wobbling, steady = rung("w", 10, 1.03, 2.97), rung("s", 10, 1.005, 3.015)
    made = report(wobbling, steady)
    assert made.within_noise(wobbling)
    assert not made.within_noise(steady)
    assert "beyond the noise of 2 seeds" in report(steady).verdict()
    alone = Report(
        model="m", data="d", tolerance=0.01, rungs=(rung("uncompressed", 1, 1.0), rung("a", 2, 1.0))
    )
    assert not np.isfinite(alone.noise)
    assert "one seed" in alone.verdict()
    assert json.loads(alone.to_json())["noise"] is None


def test_a_report_without_its_reference_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'uncompressed' first"):
        Report(model="m", data="d", tolerance=0.01, rungs=(rung("a", 2, 1.0),))
    with pytest.raises(InvalidArgument, match="the same for each rung"):
        report(rung("a", 2, 1.0))


def test_a_page_and_figure_of_any_report(tmp_path: Path) -> None:
    odd = report(rung("a", 4, np.inf, np.nan), rung("b", 5, 40.0, 90.0))
    assert draw(odd, tmp_path / "odd.png").stat().st_size > 1000
    page = markdown(odd, tmp_path / "odd.png")
    assert "predicts no variable" in page
    assert "(odd.png)" in page
    assert "(none.png)" not in markdown(odd, tmp_path / "none.png")


# Bad requests, the command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": []}, "found none"),
        ({"bounds": [1e-3, "rel:0.001"]}, "named twice"),
        ({"bounds": ["lossless"]}, "the uncompressed rung is always there"),
        ({"bounds": ["much"]}, "much"),
        ({"bounds": [1e-3], "seeds": 0}, "seeds 0"),
    ],
)
def test_bad_requests_are_one_line(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        evaluate(config(tmp_path), out=tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_config_without_a_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nothing is held out"):
        evaluate(config(tmp_path, test=0.0), bounds=[1e-3])


def test_collections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"data\.layout = 'well'.*expected one of samples, next-step"):
        evaluate(config(tmp_path, layout="well"), bounds=[1e-3])


def test_command(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "line.toml"
    path.write_text(to_toml(config(tmp_path)))
    arguments = [
        "evaluate",
        str(path),
        "--bounds",
        "1e-3,abs:2",
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "o"),
    ]
    assert run([*arguments, "--set", "train.epochs=1"]) == 0
    told = capsys.readouterr()
    for text in ("trained on", "abs:2", "one seed"):
        assert text in told.out
    assert told.err.count("test loss") == 3
    assert run([*arguments, "--set", "train.epochs=1", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["rungs"]][1:] == [
        "rel:0.001",
        "abs:2",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "nowhere.toml"),
        (["CONFIG", "--set", "train.lr=1"], "train.lr: unknown key"),
        (["CONFIG", "--bounds", "x"], "x"),
        (["CONFIG", "--var", "x"], "expected NAME=BOUND"),
        (["CONFIG", "--seeds", "0"], "--seeds"),
    ],
)
def test_command_line_mistakes(arguments: list[str], message: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "line.toml"
    path.write_text(to_toml(config(tmp_path)))
    arguments = [str(path) if each == "CONFIG" else each for each in arguments]
    assert run(["evaluate", *arguments, "--out", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err


def test_compare_command(tmp_path: Path, capsys: Captured) -> None:
    dataset = fields()
    dataset.to_netcdf(tmp_path / "a.nc")
    (dataset + 0.5).to_netcdf(tmp_path / "b.nc")
    files = [str(tmp_path / "a.nc"), str(tmp_path / "b.nc")]
    assert run(["compare", *files, "--var", "a", "--metrics", "bias,rmse"]) == 0
    told = capsys.readouterr().out
    assert "bias" in told
    assert "dssim" not in told
    assert run(["compare", *files, "--json", "--vector", "b,a"]) == 0
    found = {each["title"]: each["metrics"] for each in json.loads(capsys.readouterr().out)}
    assert set(found) == {"a", "b", "p", "b,a"}
    assert found["a"]["bias"] == pytest.approx(0.5, abs=1e-6)
    assert found["b,a"]["divergence_error"] < 1e-5
    assert run(["compare", *files, "--metrics", "rms"]) == 2
    assert "metric 'rms'" in capsys.readouterr().err
