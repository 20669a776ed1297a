"""``sciflow plan``: what it prints and writes, and one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sciflow.cli import run
from sciflow.datasets.planning import Plan

Captured = pytest.CaptureFixture[str]
NUMBERS = ["--samples", "4096", "--sample-bytes", "65536", "--order", "feistel"]


def test_plan_explains(capsys: Captured) -> None:
    assert run(["plan", *NUMBERS, "--explain", "--buffer", "50%"]) == 0
    told = capsys.readouterr().out
    for text in ("exact shuffle", "2048 samples a node, 50%", "elevator", "laps an epoch", "plain"):
        assert text in told


def test_plan_writes_what_it_plans(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    options = [
        "--nodes",
        "2",
        "--batch",
        "32",
        "--buffer",
        "40MiB",
        "--alpha",
        "5",
        "--beta",
        "300",
        "--decode",
        "100",
    ]
    assert run(["plan", *NUMBERS, *options, "--out", str(path), "--json"]) == 0
    header = Plan.load(path).header
    assert capsys.readouterr().out == header.to_json()
    assert (header.slots, header.num_nodes, header.global_batch_size) == (640, 2, 32)
    assert (header.storage.alpha, header.storage.beta, header.storage.decode) == (5e-3, 3e8, 1e-8)


def test_plan_counts(capsys: Captured) -> None:
    assert run(["plan", *NUMBERS, "--simulate", "2", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert [each["uses"] for each in counted["epochs"]] == [4096, 4096]
    assert run(["plan", *NUMBERS, "--simulate", "2"]) == 0
    assert "ops" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "3"], "--samples and --sample-bytes"),
        (["in.h5", *NUMBERS], "expected one of them"),
        ([*NUMBERS, "--buffer", "much"], "expected bytes"),
        ([*NUMBERS, "--buffer", "1kB"], "128 samples, for batches of 64"),
    ],
)
def test_what_is_wrong_is_one_line(capsys: Captured, arguments: list[str], message: str) -> None:
    assert run(["plan", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert told.err.count("\n") == 1
