"""The bench measures what it says: on one small field, with every codec that is here and some that lie."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("matplotlib", reason="the figures of the bench need matplotlib: pip install -e .[bench]")

from bench import __main__ as command_line
from bench import measure as measuring
from bench.fields import FILLS, Field, Source, read, shared_sources
from bench.measure import COLUMNS, Row, measure
from bench.protocol import NAMES, Task, fold, load
from bench.results import Results
from bench.worker import Job, rows

BOUND = 1e-3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the shared one, with one field that has NaN in it."""
    folder = tmp_path_factory.mktemp("data")
    waves = np.sin(np.linspace(0, 20, 24 * 20 * 16)).reshape(24, 20, 16).astype(np.float32)
    waves[:3, :3] = np.nan
    np.save(folder / "waves.npy", waves)
    (folder / "catalog.json").write_text(json.dumps([{"name": "waves", "file": "waves.npy"}]))
    return folder


@pytest.fixture
def waves(data: Path) -> Field:
    return read(shared_sources(data)[0])


def test_a_run_writes_the_columns_and_the_page(data: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "run.csv", tmp_path / "docs" / "benchmarks.md"
    arguments = [
        "--data",
        str(data),
        "--fields",
        "waves",
        "--codecs",
        "sciflow,zstd",
        "--bounds",
        "1e-2,1e-3",
    ]
    assert command_line.main(["run", "--out", str(out), "--repeats", "1", *arguments]) == 0
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == COLUMNS
    assert [(row["codec"], float(row["bound"])) for row in found] == [
        ("sciflow", 1e-2),
        ("sciflow", 1e-3),
        ("zstd", 0.0),
    ]
    for row in found:
        assert (row["status"], row["given"], row["specials_lost"]) == ("ok", "as is", "0")
        assert float(row["ratio"]) == pytest.approx(24 * 20 * 16 * 4 / int(row["bytes"]))
        assert float(row["comp_mbs"]) > 0
        assert int(row["violations"]) == 0
    assert command_line.main(["table", "--csv", str(out), "--page", str(page)]) == 0
    assert "| waves | " in page.read_text()
    assert {path.suffix for path in page.parent.iterdir()} == {".md", ".png"}


def test_nothing_to_measure_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["run", "--data", str(tmp_path), "--fields", "waves", "--out", str(tmp_path / "run.csv")]
    assert command_line.main(nowhere) == 2
    said = capsys.readouterr().out
    assert "skipped: the shared fields" in said
    assert "no field or no codec is left" in said


@pytest.mark.parametrize("name", NAMES)
def test_every_codec_keeps_its_bound_on_an_easy_field(name: str, waves: Field) -> None:
    try:
        codec = load(name)
    except ImportError as error:
        pytest.skip(f"{name}: {error}")
    bound = 0.0 if codec.lossless else BOUND
    row = measure(name, waves, bound=bound, as_is=codec.takes_specials, repeats=1)
    assert row.maxerr_over_bound <= 1
    assert row.violations == 0
    assert row.specials == 9 * 16
    assert row.specials_lost == 0


class Liar:
    """A codec that keeps nothing but the shape."""

    lossless = False
    takes_specials = True

    def encode(self, field: NDArray[Any], task: Task) -> bytes:
        return b"nothing"

    def decode(self, stream: bytes, task: Task) -> NDArray[Any]:
        return np.zeros(task.shape, task.dtype)


def test_the_measurement_sees_a_broken_bound_and_lost_nans(
    waves: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "load", lambda _: Liar())
    row = measure("liar", waves, bound=BOUND, as_is=True, repeats=1)
    assert row.maxerr_over_bound == pytest.approx(np.nanmax(np.abs(waves.values)) / row.abs_bound)
    assert row.violations > 7000
    assert row.specials_lost == row.specials


def test_another_shape_is_not_accepted(waves: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(Liar):
        def decode(self, stream: bytes, task: Task) -> NDArray[Any]:
            return super().decode(stream, task).ravel()

    monkeypatch.setattr(measuring, "load", lambda _: Flat())
    with pytest.raises(ValueError, match="expected float32"):
        measure("flat", waves, bound=BOUND, as_is=True, repeats=1)


def test_a_failing_bound_costs_itself_alone(data: Path) -> None:
    source = shared_sources(data)[0]
    job = Job(source, "no-such-codec", (1e-2, 1e-3), as_is=True, repeats=1, limit=60.0)
    found = list(rows(job))
    assert [row.bound for row in found] == [1e-2, 1e-3]
    assert all(row.status.startswith("error: KeyError") for row in found)


def test_a_hanging_codec_is_ended(data: Path) -> None:
    job = Job(shared_sources(data)[0], "zstd", (0.0,), as_is=True, repeats=1, limit=0.01)
    (row,) = rows(job)
    assert row.status == "time-out after 0.01 s"


def test_fill_values_are_not_data(tmp_path: Path) -> None:
    name, fills = next(iter(FILLS.items()))
    np.save(tmp_path / "field.npy", np.array([1.0, *fills, 3.0, np.inf], dtype=np.float32))
    field = read(Source(name, tmp_path / "field.npy"))
    assert field.valid.tolist() == [True, *[False] * len(fills), True, False]
    assert field.value_range == 2.0
    np.testing.assert_array_equal(field.filled()[~field.valid], 2.0)


def test_a_filled_row_counts_before_one_as_it_is() -> None:
    row = Row("f", "float32", "10x10x10000", "pysz", "as is", BOUND, 1.0, "ok", ratio=2.0)
    filled = replace(row, given="mean fill", ratio=4.0)
    ours = replace(row, codec="sciflow", ratio=8.0)
    crashed = replace(row, codec="zfpy", status="crashed (SIGSEGV)")
    results = Results((row, filled, ours, crashed), {})
    assert results.at("pysz", "f", BOUND) == filled
    assert results.at("zfpy", "f", BOUND) is None
    mean, count = results.relative_ratio("sciflow", BOUND)
    assert mean == pytest.approx(2.0)
    assert count == 1
    assert results.large_fields() == ["f"]


def test_leading_axes_are_folded() -> None:
    assert fold((2, 3, 4, 5, 6), 3) == (24, 5, 6)
    assert fold((5,), 3) == (5,)
