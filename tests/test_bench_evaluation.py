"""The bench of training on compressed data: its cases are configs, its page is written from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

from bench.evaluation.__main__ import main
from bench.evaluation.cases import CASES
from sciflow import datasets
from sciflow.models import surrogates
from sciflow.models.evaluation import Report, Rung, Score

ROOT = Path(__file__).resolve().parents[1]


def rung(name: str, ratio: int, *losses: float) -> Rung:
    metrics = {"v": {"rmse": 0.5 * ratio, "pearson": 1.0}}
    scores = tuple(
        Score(seed=k, test_loss=loss, best_validation=loss, epochs=7, seconds=1.0, predictions=metrics)
        for k, loss in enumerate(losses)
    )
    data = {} if ratio == 1 else metrics
    return Rung(
        name=name, bytes_in=10**6, bytes_out=10**6 // ratio, compress_seconds=0.1, data=data, scores=scores
    )


def made_up(folder: Path) -> None:
    folder.mkdir()
    rungs = (rung("uncompressed", 1, 1.0, 1.2), rung("rel:0.01", 8, 1.0, 1.2), rung("rel:0.1", 20, 1.1, 1.3))
    report = Report(model="fno", data="d.nc", tolerance=0.01, rungs=rungs)
    (folder / f"{CASES[0].name}.json").write_text(report.to_json())
    machine = {"date": "2000-01-01", "cores": 2, "packages": {"torch": "2"}}
    (folder / "machine.json").write_text(json.dumps(machine))


def test_the_page_is_written_from_the_files(tmp_path: Path) -> None:
    made_up(tmp_path / "results")
    page = tmp_path / "page.md"
    assert main(["--page-only", "--out", str(tmp_path / "results"), "--page", str(page)]) == 0
    text = page.read_text()
    expected = [
        f"| {CASES[0].name} | rel:0.1: 20.0 | +9.09 | no | rel:0.01: 8.0 | 12.9 |",
        "epochs: 7, seeds: 2",
        "| rel:0.01 | predictions | v | 4 | 1 | - | - |",
        "(page.png)",
    ]
    for line in expected:
        assert line in text
    assert page.with_suffix(".png").stat().st_size > 1000


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert CASES[0].name in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_cases_are_configs(case: object, tmp_path: Path) -> None:
    from bench.evaluation.cases import Case

    assert isinstance(case, Case)
    config = case.config(tmp_path, threads=1)
    assert config.model.name in surrogates.names()
    assert case.recipe in datasets.names()
    assert set(case.parameters) <= set(datasets.recipe(case.recipe).parameters)


def test_the_committed_page_is_that_of_the_committed_files(tmp_path: Path) -> None:
    page = tmp_path / "evaluation-results.md"
    assert main(["--page-only", "--page", str(page)]) == 0
    assert page.read_text() == (ROOT / "docs" / "evaluation-results.md").read_text()
