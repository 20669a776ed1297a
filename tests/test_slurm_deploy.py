"""``sciflow deploy`` without a server, deployments that are files, and jobs that train."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from pydantic import ValidationError

from sciflow.cli import run
from sciflow.flows.deployment import FLOWS
from sciflow.flows.slurm.site import Site
from sciflow.flows.training import CodecSettings, TrainSettings, commands, job_script

yaml = pytest.importorskip("yaml")


def test_example_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "--example"]) == 0
    assert Site.model_validate(tomllib.loads(capsys.readouterr().out)).mode == "alloc"


def test_dry_run_prints_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "slurm.toml"
    site.write_text('partition = "short"\nmode = "alloc"\nnodes = 2\nntasks = 2\n')
    assert run(["deploy", "--cluster", str(site), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "#SBATCH --partition=short" in printed
    assert f"#SBATCH --output={tmp_path}/slurm-logs/%x-%j.log" in printed
    assert "prefect flow-run execute" in printed
    assert "dask_scheduler" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run"], "--example"),
        (["--cluster", "nowhere.toml"], "nowhere.toml"),
        (["--pool", "x", "--flow", "nothing"], "expected some of compress, evaluate, train, pipeline"),
    ],
)
def test_bad_commands_say_what_to_do(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", *words]) == 2
    assert said in capsys.readouterr().err


def test_prefect_yaml_deploys_every_flow_and_takes_nothing_from_the_environment(repository: Path) -> None:
    text = (repository / "flows" / "prefect.yaml").read_text()
    assert "$" not in text
    entrypoints = {f"{module}.{name}" for name, module in FLOWS.items()}
    found = yaml.safe_load(text)["deployments"]
    for pool in ("local", "slurm"):
        assert {
            one["entrypoint"] for one in found if one["work_pool"]["name"] == pool == one["name"]
        } == entrypoints


def test_entry_points_are_the_flows_of_the_package(repository: Path) -> None:
    for name, module in FLOWS.items():
        assert f"from {module} import {name}\n" in (repository / "flows" / f"{name}.py").read_text()
        assert (repository / Path(*module.split("."))).with_suffix(".py").exists()


def test_one_training_is_one_command() -> None:
    (words,) = commands(TrainSettings(config="a.toml", out="run", changes=["train.rate=1e-4"]))
    assert words[1:] == [
        "-m", "sciflow.cli", "train", "a.toml", "--out", "run", "--resume", "--device", "auto",
        "--set", "train.rate=1e-4",
    ]  # fmt: skip
    (words,) = commands(TrainSettings(config="a.toml", out="run", processes=2))
    assert "torch.distributed.run" in words


def test_sweep_is_a_command_each() -> None:
    sweep = [[f"seed={seed}"] for seed in range(11)]
    made = commands(TrainSettings(config="a.toml", out="run", sweep=sweep))
    assert [words[words.index("--out") + 1] for words in made] == [f"run/{index:02}" for index in range(11)]
    assert made[3][-1] == "seed=3"


def test_codec_model_is_a_command() -> None:
    (words,) = commands(TrainSettings(codec=CodecSettings(sources=["a.nc"], variable="t"), out="m"))
    assert words[3:7] == ["train-codec", "a.nc", "--var", "t"]


def test_training_over_nodes_is_a_process_a_rank() -> None:
    script = job_script(
        TrainSettings(config="a.toml", out="run", processes=4),
        Site(nodes=2, ntasks=2, gpus=4, container="apptainer exec a.sif"),
    )
    assert "#SBATCH --ntasks=8" in script
    assert "srun --ntasks=8 --ntasks-per-node=4" in script
    assert "apptainer exec a.sif python -m sciflow.cli train a.toml" in script
    assert 'scancel --signal=TERM "$SLURM_JOB_ID"' in script
    alone = job_script(TrainSettings(config="a.toml", out="run"), Site())
    assert "srun" not in alone
    assert 'kill -TERM "$pid"' in alone


@pytest.mark.parametrize("bad", [{}, {"config": "a", "codec": {"sources": ["b"], "variable": "t"}}])
def test_config_or_codec(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="one of them"):
        TrainSettings.model_validate({"out": "run", **bad})
