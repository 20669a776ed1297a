"""Manifests: torn and broken lines, other settings, many writers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sciflow.errors import Corrupt, StoreError
from sciflow.flows.manifest import open_manifest, read_folder, read_manifest, read_report, write_manifest


def written(folder: Path, *names: str, key: str = "k", writer: str = "main") -> Path:
    with open_manifest(folder, key=key, writer=writer) as manifest:
        manifest.append({"id": name, "bytes_out": 1} for name in names)
    return folder / f"{writer}.jsonl"


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    written(tmp_path, "a", "b")
    with open_manifest(tmp_path, key="k") as manifest:
        assert set(manifest.entries) == {"a", "b"}
        manifest.append([{"id": "c"}])
        assert set(read_manifest(tmp_path / "main.jsonl", key="k")) == {"a", "b", "c"}


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_line_is_not_done(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(read_manifest(path, key="k")) == {"a"}
    written(tmp_path, "c")
    assert set(read_manifest(path, key="k")) == {"a", "c"}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_torn_first_line_is_an_empty_manifest(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    written(tmp_path, "a")
    assert set(read_manifest(path, key="k")) == {"a"}


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a", "b")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\n" + lines[2])
    with pytest.raises(Corrupt, match="line 2"):
        read_manifest(path, key="k")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="other settings"), open_manifest(tmp_path, key="other"):
        pass
    assert path.read_bytes() == before


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        open_manifest(tmp_path, key="k"),
        pytest.raises(StoreError, match="another process"),
        open_manifest(tmp_path, key="k"),
    ):
        pass


def test_writers_are_read_together_and_merged_in_order(tmp_path: Path) -> None:
    written(tmp_path / "m", "b", writer="part-1")
    written(tmp_path / "m", "a", "c", writer="part-0")
    found = read_folder(tmp_path / "m", key="k")
    write_manifest(tmp_path / "all.jsonl", key="k", entries=found, report={"ok": True})
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line.get("id") for line in lines[1:-1]] == ["a", "b", "c"]
    assert read_report(tmp_path / "all.jsonl", key="k") == {"ok": True}
    assert read_report(tmp_path / "all.jsonl", key="other") is None
    assert read_report(tmp_path / "none.jsonl", key="k") is None
