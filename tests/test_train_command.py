"""``sciflow train``: exit codes, one line an error, configs that teach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

from sciflow.cli import run
from sciflow.models.runs import Config, load_config, to_toml
from sciflow.models.runs.recipes import recipe_names
from sciflow.models.runs.state import Run
from tests.tiny_surrogate import tiny_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(to_toml(tiny_config(tmp_path)))
    return path


def test_it_trains_and_says_where(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "elsewhere"
    assert run(["train", str(config), "--set", "train.epochs=1", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("best validation loss ")
    assert said.out.endswith(f"{out}/checkpoints/best.weights\n")
    assert said.err == ""
    assert run(["train", str(config), "--set", "train.epochs=1", "--out", str(out)]) == 2
    assert "has a run already; resume it (--resume)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_signals_have_exit_codes(
    config: Path,
    number: signal.Signals,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advance = Run.advance

    def interrupted(made: Run, *arguments: Any) -> float:
        if made.step == 0:
            os.kill(os.getpid(), number)
        return advance(made, *arguments)

    monkeypatch.setattr(Run, "advance", interrupted)
    assert run(["train", str(config)]) == code
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(["train", str(config), "--resume"]) == 0


def test_a_divergence_is_exit_code_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["train", str(config), "--set", "model.settings={bad_after=2}", "--set", "train.epochs=4"]) == 1
    )
    said = capsys.readouterr().err
    assert "diverged.json" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "found no CONFIG"),
        (["nothing.toml"], "nothing.toml: no such file, and no recipe"),
        (["{config}", "--set", "train.lr=1"], "train.lr: unknown key, expected one of epochs, batch_size"),
        (
            ["{config}", "--set", "train.rate=fast"],
            "train.rate: input should be a valid number, found 'fast'",
        ),
        (["{config}", "--set", "train.epochs=0"], "train.epochs: input should be greater than or equal to 1"),
        (["{config}", "--set", "train"], "--set train: expected KEY=VALUE"),
        (["{config}", "--set", "data.path=none.h5"], "data.path: none.h5: no such file"),
        (["{config}", "--device", "cuda:9"], "torch sees no GPU here"),
    ],
)
def test_mistakes_are_one_line(
    config: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--resume", *(text.format(config=config) for text in given)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_example_is_a_config_that_explains_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--example"]) == 0
    text = capsys.readouterr().out
    made = Config.of(tomllib.loads(text))
    assert to_toml(made) == text
    keys = [line.split(" = ")[0] for line in text.splitlines() if " = " in line and not line.startswith("#")]
    sections: list[Any] = [made, made.data, made.model, made.train, made.checkpoint]
    fields = {name for section in sections for name in type(section).model_fields}
    assert set(keys) == fields - {"data", "model", "train", "checkpoint"}


def test_the_docs_have_every_key_with_its_default(repository: Path) -> None:
    text = (repository / "docs" / "training.md").read_text()
    sample = Config.of({"data": {"path": "fields.h5", "inputs": ["permeability"]}, "model": {"name": "fno"}})
    for table in ("data", "model", "train", "checkpoint"):
        section = getattr(sample, table)
        for name, field in type(section).model_fields.items():
            default = "" if field.is_required() else f"`{to_toml_value(getattr(section, name))}`"
            assert f"| `{table}.{name}` | {default} | {field.description} |" in text, f"{table}.{name}"
    assert f"| `seed` | `0` | {Config.model_fields['seed'].description} |" in text


def to_toml_value(value: Any) -> str:
    from sciflow.models.runs.config import _toml

    return _toml(value)


def test_recipes_are_configs(repository: Path) -> None:
    wanted = ("autophasenn", "cosmoflow", "fno-darcy", "ptychonn", "unet-turbulence")
    assert recipe_names() == wanted
    for name in wanted:
        path = repository / "models" / name / "recipe.toml"
        assert load_config(path).out == f"out/{name}"
        assert (path.parent / "CARD.md").read_text().startswith("# ")


def test_nothing_shows_where_there_is_no_terminal(config: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sciflow.cli", "train", str(config), "--set", "train.epochs=1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert (done.returncode, done.stderr) == (0, "")
