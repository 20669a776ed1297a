"""The README's Python runs as written, block after block, with warnings as errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_has_code() -> None:
    assert len(blocks()) >= 2


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks():
        exec(compile(block, str(README), "exec"), namespace)
    assert {"field.zarr", "mine.zarr", "ds.zarr"} <= {path.name for path in tmp_path.iterdir()}
