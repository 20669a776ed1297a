"""The bench measures what it says: on one small field, with every codec that is here and some that lie."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("matplotlib", reason="the figures of the bench need matplotlib: pip install -e .[bench]")

from bench import __main__ as command_line
from bench import measure as measuring
from bench import run as running
from bench import simulations, study
from bench.derive import (
    Mean,
    Worst,
    bits_at,
    bits_at_equal_psnr,
    bytes_over,
    bytes_over_oracle,
    fields_lost,
    oracle,
    roofline,
    speed,
    worst,
)
from bench.fields import FILLS, Field, Source, read, shared_sources
from bench.markdown import fill_section
from bench.measure import COLUMNS, Row, measure
from bench.protocol import NAMES, Task, fold, load
from bench.results import Results, load_results
from bench.studies import profile
from bench.synthetic import gaussian, lognormal
from bench.table import Table, newest, read_rows
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


# ---------------------------------------------------------------- what the page derives


def row(codec: str, field: str = "f", bound: float = BOUND, **found: Any) -> Row:
    values: dict[str, Any] = {"abs_bound": bound, "status": "ok", "bytes": 1000, "ratio": 1.0, **found}
    return Row(field, "float32", "100x100x100", codec, "as is", bound, **values)


def assert_mean(found: Mean, value: float, fields: int) -> None:
    assert found.value == pytest.approx(value)
    assert found.fields == fields


def test_a_filled_row_counts_before_one_as_it_is() -> None:
    as_is = row("pysz", bytes=100)
    filled = replace(as_is, given="mean fill", bytes=200)
    crashed = replace(as_is, codec="zfpy", status="crashed (SIGSEGV)")
    for order in ((as_is, filled, crashed), (filled, as_is, crashed)):
        results = Results((*order, row("sciflow", bytes=50)), {})
        assert results.at("pysz", "f", BOUND) == filled
        assert results.at("zfpy", "f", BOUND) is None
        assert_mean(bytes_over(results, "sciflow", BOUND), 0.25, 1)
        assert results.large_fields() == ["f"]


def test_the_oracle_is_the_smallest_peer_that_kept_the_bound() -> None:
    results = Results(
        (
            row("sciflow", bytes=90),
            row("sciflow-max", bytes=10),
            row("pysz", bytes=100),
            row("hdf5-sperr", bytes=20, violations=1),
            row("pco", bound=0.0, bytes=60),
        ),
        {},
    )
    best = oracle(results, "f", BOUND)
    assert best is not None
    assert best.codec == "pco"
    assert_mean(bytes_over_oracle(results, "sciflow", BOUND), 1.5, 1)
    assert worst(results, "sciflow", BOUND) == Worst("f", 90 / 60, "pco")
    assert fields_lost(results, "sciflow", BOUND) == Mean(1.0, 1)
    assert fields_lost(results, "sciflow-max", BOUND) == Mean(0.0, 1)


def test_means_are_geometric_and_over_the_fields_that_both_have() -> None:
    rows_of = [row("pysz", name, bytes=100) for name in "abc"]
    rows_of += [row("sciflow", "a", bytes=50), row("sciflow", "b", bytes=200)]
    assert_mean(bytes_over(Results(tuple(rows_of), {}), "sciflow", BOUND), 1.0, 2)


def test_bits_are_interpolated_and_never_extrapolated() -> None:
    points = [(40.0, 1.0), (60.0, 4.0), (80.0, 8.0)]
    assert bits_at(points, 50.0) == pytest.approx(2.0)
    assert bits_at(points[::-1], 60.0) == pytest.approx(4.0)
    assert math.isnan(bits_at(points, 39.9))
    assert math.isnan(bits_at(points, 80.1))
    # A point that another beats in both is no point of the curve; neither is one without an error.
    assert bits_at([*points, (55.0, 5.0), (math.inf, 20.0)], 50.0) == pytest.approx(2.0)


def test_bytes_at_equal_psnr_are_over_those_of_the_anchor() -> None:
    found = [row("sciflow", bound=bound, psnr=psnr, bits_per_value=bits)
             for bound, psnr, bits in ((1e-2, 40.0, 1.0), (1e-3, 60.0, 4.0))]  # fmt: skip
    anchor = row("hdf5-sperr", bound=1e-2, psnr=50.0, bits_per_value=4.0)
    beyond = row("hdf5-sperr", "g", bound=1e-2, psnr=70.0, bits_per_value=4.0)
    results = Results((*found, anchor, beyond), {})
    assert_mean(bits_at_equal_psnr(results, "sciflow", "hdf5-sperr", 1e-2), 0.5, 1)
    assert bits_at_equal_psnr(results, "sciflow", "hdf5-sperr", 1e-3).fields == 0


def test_speed_is_by_cpu_time_and_over_memcpy() -> None:
    slow: dict[str, Any] = {"comp_cpu_mbs": 100.0, "decomp_cpu_mbs": 400.0, "memcpy_mbs": 8000.0}
    fast: dict[str, Any] = {"comp_cpu_mbs": 200.0, "decomp_cpu_mbs": 200.0, "memcpy_mbs": 8000.0}
    results = Results((row("pysz", **slow), row("sciflow", **fast, bits_per_value=16.0)), {})
    found = speed(results, "sciflow", BOUND)
    assert found.mbs == pytest.approx((200, 200))
    assert found.over_reference == pytest.approx((2, 0.5))
    assert found.over_memcpy == pytest.approx((0.025, 0.025))
    floor = roofline(results, "sciflow", BOUND)
    assert floor.moved == pytest.approx(6)
    assert floor.least == pytest.approx(6 / (2 * 8000e6) * 1e9)
    assert floor.compress == pytest.approx(4 / 200e6 * 1e9)


def test_a_csv_of_fewer_columns_is_read(tmp_path: Path) -> None:
    old = [name for name in COLUMNS if name != "memcpy_mbs"]
    with (tmp_path / "old.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, old, extrasaction="ignore")
        writer.writeheader()
        writer.writerow(asdict(row("pysz", memcpy_mbs=5.0)))
    (found,) = load_results(tmp_path / "old.csv").rows
    assert found == row("pysz", memcpy_mbs=0.0)


# ---------------------------------------------------------------- a run that goes on


def test_a_second_run_measures_what_is_missing(data: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run.csv"
    arguments = [
        "run",
        "--data",
        str(data),
        "--fields",
        "waves",
        "--codecs",
        "zstd,sciflow",
        "--out",
        str(out),
    ]
    assert command_line.main([*arguments, "--bounds", "1e-2"]) == 0
    first = read_rows(out)
    out.write_text(out.read_text() + "waves,float32,24x20")  # a line that was being written
    assert command_line.main([*arguments, "--bounds", "1e-2,1e-3"]) == 0
    second = read_rows(out)
    assert second[: len(first)] == first
    assert [(each["codec"], each["bound"]) for each in second[len(first) :]] == [("sciflow", "0.001")]
    assert "2 rows already" in capsys.readouterr().out
    assert command_line.main([*arguments, "--bounds", "1e-3", "--fresh"]) == 0
    assert len(read_rows(out)) == 2


def test_rows_of_another_engine_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "2000-01-01.csv"
    with Table(path, ("a", "b")) as table:
        table.append({"a": 1, "b": 2})
    with Table(path, ("a", "b")) as table:
        assert (table.rows, table.note) == ([{"a": "1", "b": "2"}], "")
    described = path.with_suffix(".json")
    described.write_text(json.dumps({**json.loads(described.read_text()), "engine": "another"}))
    with Table(path, ("a", "b")) as table:
        assert table.rows == []
        assert "another engine" in table.note


def test_the_newest_csv_is_that_of_the_latest_date(tmp_path: Path) -> None:
    for name in ("2026-01-02", "2026-01-10", "2026-01-11-memory", "2026-01-01-memory", "quick"):
        (tmp_path / f"{name}.csv").touch()
    assert newest(tmp_path) == tmp_path / "2026-01-10.csv"
    assert newest(tmp_path, "memory") == tmp_path / "2026-01-11-memory.csv"
    assert newest(tmp_path, "chunks") is None


def test_a_call_of_a_second_counts_by_itself_once_the_process_is_warm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    calls: list[int] = []
    _, cold = measuring.timed(lambda: calls.append(1), 5, warm=False)
    assert (len(calls), cold.repeats) == (2, 1)
    _, warm = measuring.timed(lambda: calls.append(1), 5, warm=True)
    assert (len(calls), warm.repeats, warm.wall) == (3, 1, 2)


def test_slow_codecs_run_at_fewer_bounds_on_huge_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "f.npy", np.arange(10, dtype=np.float32))
    plan = running.Plan((Source("f", tmp_path / "f.npy"),), ("sciflow", "sciflow-max"), (1e-2, 1e-6), 1, 9.0)
    assert [job.bounds for job in running.jobs(plan)] == [(1e-2, 1e-6), (1e-2, 1e-6)]
    monkeypatch.setattr(running, "HUGE", 10)
    assert [job.bounds for job in running.jobs(plan)] == [(1e-2, 1e-6), (1e-2,)]


# ---------------------------------------------------------------- the studies


@pytest.mark.parametrize("name", ["memory", "threads", "scaling", "chunks"])
def test_a_study_measures_its_tasks_and_shows_them(name: str, data: Path, tmp_path: Path) -> None:
    setting = study.Setting(data, tmp_path, quick=True)
    chosen = study.load_study(name)
    task = chosen.tasks(setting)[0]
    assert tuple(task) == chosen.KEYS
    found = chosen.measure(task, setting)
    assert tuple(found) == chosen.FOUND
    assert all(value >= 0 for value in found.values())
    assert name == "memory" or any(value > 0 for value in found.values())
    text = chosen.section([{key: str(value) for key, value in (task | found).items()}])
    assert str(task[chosen.KEYS[0]]) in text or name == "chunks"
    assert "nan" not in text


def test_functions_go_by_their_bare_names() -> None:
    report = """
    10.00%  _native.cpython-311.so  [.] sciflow::v4::(anonymous namespace)::model_grid<int>
    10.00%  _native.cpython-311.so  [.] sciflow::v3::(anonymous namespace)::model_grid<long>
     5.00%  _native.cpython-311.so  [.] sciflow::each<sciflow::row(int const*)::{lambda(unsigned long)#1}>
     5.00%  [kernel.kallsyms]       [k] clear_page_erms
    10.00%  libc.so.6               [.] __memmove_avx512_unaligned_erms
    60.00%  python3.11              [.] _PyEval_EvalFrameDefault
    """
    found = profile.shares(report)
    assert found == {"model_grid": 50.0, profile.LIBRARY: 25.0, "each": 12.5, profile.KERNEL: 12.5}


def test_synthetic_fields_are_the_same_at_every_call_and_standardised() -> None:
    field = gaussian(32)
    np.testing.assert_array_equal(field, gaussian(32))
    assert field.dtype == np.float32
    assert abs(float(field.mean())) < 1e-3
    assert float(field.std()) == pytest.approx(1, abs=0.2)
    spectrum = np.abs(np.fft.rfftn(field)) ** 2
    assert spectrum[1, 0, 0] > 100 * spectrum[12, 0, 0]
    assert float(lognormal(16).min()) > 0


def test_our_own_fields_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"size": 16, "snapshots": 2, "spin_up": 0.01, "duration": 0.01}
    small = simulations.Simulation("tiny", "navier-stokes-3d", settings, ("u", "pressure"), last_only=True)
    monkeypatch.setattr(simulations, "SIMULATIONS", (small,))
    monkeypatch.setattr(simulations, "NAMES", ("tiny:u", "tiny:pressure"))
    said: list[float] = []
    found = simulations.simulated_sources(tmp_path, ("tiny:u",), lambda _name, done: said.append(done))
    assert [source.name for source in found] == ["tiny:u"]
    assert read(found[0]).values.shape == (16, 16, 16)
    assert said[-1] == pytest.approx(1)
    said.clear()
    assert (
        simulations.simulated_sources(tmp_path, ("tiny:u",), lambda _name, done: said.append(done)) == found
    )
    assert said == []


def test_a_section_of_a_page_is_replaced_and_one_that_is_missing_is_added() -> None:
    page = fill_section("# Page\n", "memory", "first\n")
    assert page.count("first") == 1
    again = fill_section(page + "\nend\n", "memory", "second\n")
    assert "first" not in again
    assert again.startswith("# Page\n")
    assert again.endswith("end\n")


def test_a_quick_look_leaves_the_committed_pages_alone(repository: Path) -> None:
    options = command_line._parser().parse_args(["all", "--quick"])
    command_line._place(options)
    quick = repository / "out" / "bench" / "quick"
    assert {options.results, options.page.parent, options.performance.parent} == {quick}


def test_leading_axes_are_folded() -> None:
    assert fold((2, 3, 4, 5, 6), 3) == (24, 5, 6)
    assert fold((5,), 3) == (5,)
