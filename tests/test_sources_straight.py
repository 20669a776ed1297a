"""Large raw rows are read straight into their slots: the same values, over gaps, twice, and in any number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow.datasets.sources import NpySource, Reading
from sciflow.errors import SourceChanged, Truncated

ROW = 5000  # float32, above the least row that is read straight


@pytest.fixture
def values(tmp_path: Path) -> NDArray[np.float32]:
    made = np.random.default_rng(0).random((700, ROW)).astype("f4")
    np.save(tmp_path / "x.npy", made)
    return made


@pytest.mark.parametrize("gap_bytes", [0, 50_000, 1 << 30])
@pytest.mark.parametrize(
    "ids", [[3], [3, 4, 5], [0, 2, 9, 699], [7, 7, 8], range(700)], ids=["one", "run", "gaps", "twice", "all"]
)
def test_rows_are_those_of_the_file(
    tmp_path: Path, values: NDArray[np.float32], ids: list[int], gap_bytes: int
) -> None:
    reading = Reading(gap_bytes=gap_bytes, run_bytes=1 << 30)
    slots = np.random.default_rng(1).permutation(len(ids))
    arena = {"x": np.zeros((len(ids), ROW), np.float32)}
    NpySource(tmp_path / "x.npy").read_into(np.array(ids), slots, arena, reading)
    np.testing.assert_array_equal(arena["x"][slots], values[list(ids)])
    if gap_bytes == 1 << 30:
        assert reading.ops == 1


def test_short_reads_go_on_where_they_ended(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: whole(fd, [buffers[0][:17_001]], at))
    arena = {"x": np.zeros((4, ROW), np.float32)}
    NpySource(tmp_path / "x.npy").read_into(np.array([1, 2, 4, 9]), np.arange(4), arena, Reading())
    np.testing.assert_array_equal(arena["x"], values[[1, 2, 4, 9]])


def test_a_file_that_ends_is_named(tmp_path: Path, values: NDArray[np.float32]) -> None:
    source = NpySource(tmp_path / "x.npy")
    os.truncate(tmp_path / "x.npy", 699 * ROW * 4)
    arena = {"x": np.zeros((3, ROW), np.float32)}
    with pytest.raises((Truncated, SourceChanged), match=r"x\.npy"):
        source.read_into(np.array([697, 698, 699]), np.arange(3), arena, Reading())
    assert len(values) == 700
