"""The Python of the README and of the how-to page runs as written, with warnings as errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(page: str) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), namespace)


@pytest.mark.parametrize("page", ["README.md", "docs/evaluation.md", "docs/targets.md"])
def test_the_page_has_code(page: str) -> None:
    assert len(blocks(page)) >= 2


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("README.md")
    assert {"field.zarr", "mine.zarr", "ds.zarr"} <= {path.name for path in tmp_path.iterdir()}


def test_the_page_of_targets_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("docs/targets.md")
    assert {"error.zarr", "quality.zarr", "size.zarr", "storm.zarr"} == {
        path.name for path in tmp_path.iterdir()
    }


def test_the_page_of_evaluation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    run("docs/evaluation.md")
    assert {path.name for path in tmp_path.iterdir()} == {"t.zarr"}
