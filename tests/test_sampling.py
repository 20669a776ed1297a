"""Sets of samples: the same for any number of processes, in files that are whole, by the command line."""

from __future__ import annotations

import csv
import importlib
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bench import datasets as bench
from sciflow import datasets
from sciflow.datasets import __main__ as command_line
from sciflow.datasets import bragg, catalog, darcy, sampling
from sciflow.errors import InvalidArgument, StoreError
from tests.sample_sets import SMALL, beam, cosmos, values_of


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_depends_on_seed_and_number_alone(name: str) -> None:
    few = catalog.simulate(name, {**SMALL[name], "samples": 3})
    more = catalog.simulate(name, SMALL[name])
    xr.testing.assert_identical(few.drop_attrs(deep=False), more.isel(sample=slice(3)).drop_attrs(deep=False))
    for variable in more.data_vars.values():
        if variable.dims[0] == "sample" and variable.ndim > 1:
            assert len({variable.values[i].tobytes() for i in range(7)}) == 7


def test_random_numbers_are_those_that_numpy_spawns() -> None:
    parameters = cosmos(seed=11)
    children = np.random.SeedSequence(11).spawn(3)
    expected = np.random.default_rng(children[2]).random(4)
    np.testing.assert_array_equal(sampling.generator(parameters, 2).random(4), expected)


@pytest.mark.parametrize("name", SMALL)
def test_a_file_is_what_was_simulated_in_chunks_of_samples(name: str, tmp_path: Path) -> None:
    path = datasets.make(name, tmp_path / "a.nc", settings=SMALL[name], workers=1)
    expected = catalog.simulate(name, SMALL[name])
    with xr.open_dataset(path, decode_times=False) as found:
        xr.testing.assert_equal(found.load(), expected)
        assert found.attrs["sciflow_recipe"] == expected.attrs["sciflow_recipe"]
        for variable in found.data_vars.values():
            if variable.dims[0] == "sample":
                assert variable.encoding["chunksizes"][1:] == variable.shape[1:]
                assert not variable.encoding["zlib"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.nc"]


def test_processes_draw_what_one_draws(tmp_path: Path) -> None:
    alone = datasets.make("darcy", tmp_path / "one.nc", settings=SMALL["darcy"], workers=1)
    both = datasets.make("darcy", tmp_path / "two.nc", settings=SMALL["darcy"], workers=2)
    with xr.open_dataset(alone) as one, xr.open_dataset(both) as two:
        xr.testing.assert_identical(one.load(), two.load())


def test_a_client_that_is_open_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setattr(sampling, "_in_processes", None)
    there = {"processes": False, "n_workers": 1, "dashboard_address": None}
    with (
        LocalCluster(**there, scheduler_kwargs={"dashboard_address": ":0"}) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster),  # type: ignore[no-untyped-call]
    ):
        seen: list[float] = []
        made = datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], progress=seen.append)
    assert len(seen) == 9
    with xr.open_dataset(made) as found:
        xr.testing.assert_equal(found.load(), catalog.simulate("darcy", SMALL["darcy"]))


def test_a_process_that_ends_is_no_riddle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(sampling, "_in_processes", killed)
    with pytest.raises(StoreError, match=r"too little memory.*__main__"):
        datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], workers=2)


def test_samples_feed_the_loader(tmp_path: Path) -> None:
    path = datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], workers=1)
    source = datasets.open_samples(path, "permeability", "pressure")
    with xr.open_dataset(path) as found:
        np.testing.assert_array_equal(source.take([6, 0])["pressure"], found.pressure.values[[6, 0]])
    assert source.samples_per_chunk == 1
    path = datasets.make("turbulence-2d", tmp_path / "b.nc", settings=SMALL["turbulence-2d"], workers=1)
    assert [spec.shape for spec in datasets.open_samples(path, "vorticity").spec] == [(2, 16, 16)]


def test_a_set_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, drawn = darcy.draw, []

    def stopped(parameters: Any, number: int) -> Any:
        if number == 4:
            raise KeyboardInterrupt
        return whole(parameters, number)

    monkeypatch.setattr(darcy, "draw", stopped)
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        datasets.make("darcy", out, settings=SMALL["darcy"], workers=1)
    assert not out.exists()
    folder = tmp_path / "a.nc.unfinished"
    first = folder / "000000000.npz"
    first.write_bytes(first.read_bytes()[:-7])  # as a machine that lost its power leaves it

    def counted(parameters: Any, number: int) -> Any:
        drawn.append(number)
        return whole(parameters, number)

    monkeypatch.setattr(darcy, "draw", counted)
    seen: list[float] = []
    datasets.make("darcy", out, settings=SMALL["darcy"], workers=1, progress=seen.append)
    assert drawn == [0, 4, 5, 6]
    assert seen[0] > 0.3
    assert seen == sorted(seen)
    assert seen[-1] == 1
    with xr.open_dataset(out) as found:
        xr.testing.assert_equal(found.load(), catalog.simulate("darcy", SMALL["darcy"]))
    assert not folder.exists()


def test_parts_of_other_settings_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a.nc.unfinished"
    folder.mkdir()
    (folder / "recipe.txt").write_text("darcy: samples=3")
    with pytest.raises(StoreError, match=r"found parts of 'darcy: samples=3'.*remove the folder"):
        datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], workers=1)
    (folder / "recipe.txt").rename(folder / "mine.txt")
    with pytest.raises(StoreError, match="found other files"):
        datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], workers=1)
    assert (folder / "mine.txt").read_text() == "darcy: samples=3"


def test_blocks_hold_a_few_megabytes_and_do_not_depend_on_processes() -> None:
    parameters = beam(samples=100_000)
    template = bragg.template(parameters)
    assert sampling.block_of(template, 100_000) * 3 * 32**3 * 4 <= 8 << 20
    assert sampling.block_of(template, 128) == 2
    assert sampling.block_of(template, 5) == 1


def test_the_bench_fills_page_and_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    for page in ("docs/datasets.md", "datasets/darcy/CARD.md"):
        (tmp_path / page).parent.mkdir(parents=True)
        (tmp_path / page).write_text((repository / page).read_text())
    monkeypatch.setattr(bench, "SAMPLES", {"darcy": 1})
    assert bench.main(["--out", str(tmp_path), "--root", str(tmp_path)]) == 0
    (row,) = csv.DictReader((tmp_path / "datasets.csv").read_text().splitlines())
    assert row["name"] == "darcy"
    assert int(row["sample_bytes"]) > 2 * 64 * 64 * 4
    assert "| darcy | " in (tmp_path / "docs/datasets.md").read_text()
    card = (tmp_path / "datasets/darcy/CARD.md").read_text()
    assert " ms of CPU" in card
    assert card.count("bench:cost") == 2


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *[(name, "samples", 0) for name in SMALL],
        *[(name, "seed", -1) for name in SMALL],
        *[(name, "size", 7) for name in SMALL],
        ("bragg-cdi", "oversampling", 1.9),
        ("bragg-cdi", "edge", 0),
        ("bragg-cdi", "strain", "inf"),
        ("bragg-cdi", "strain_length", 0.5),
        ("bragg-cdi", "dislocations", 1.1),
        ("bragg-cdi", "photons", 0),
        ("cosmology-boxes", "box", "nan"),
        ("cosmology-boxes", "lowest_matter", 0.04),
        ("cosmology-boxes", "highest_matter", 1.2),
        ("cosmology-boxes", "highest_sigma", 0.5),
        ("cosmology-boxes", "baryons", 0),
        ("cosmology-boxes", "hubble", 70),
        ("darcy", "field", "smooth"),
        ("darcy", "low", 0),
        ("darcy", "high", 2),
        ("darcy", "spread", 6),
        ("darcy", "smoothness", 1),
        ("ptychography", "scan", 0),
        ("ptychography", "step", 0),
        ("ptychography", "photons", "inf"),
        ("ptychography", "aperture", 1.5),
        ("ptychography", "defocus", "nan"),
        ("ptychography", "grain", 1),
        ("ptychography", "phase_spread", 2),
        ("ptychography", "absorption_spread", 0.2),
        ("ptychography", "correlation", -2),
        ("turbulence-2d", "snapshots", 1),
        ("turbulence-2d", "viscosity", 0),
        ("turbulence-2d", "spin_up", -1),
        ("turbulence-2d", "lowest_peak", 0.5),
        ("turbulence-2d", "highest_peak", 22),
    ],
)
def test_a_parameter_out_of_its_domain_is_named(name: str, key: str, value: str | float) -> None:
    module = importlib.import_module(f"sciflow.datasets.{datasets.recipe(name).module}")
    changed = {**values_of(name), key: type(datasets.recipe(name).parameters[key])(value)}
    with pytest.raises(InvalidArgument, match=rf"^{key}: found .*expected"):
        module.Parameters(**changed)


def test_workers_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="workers: found 0"):
        datasets.make("darcy", tmp_path / "a.nc", settings=SMALL["darcy"], workers=0)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_makes_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "darcy.nc"
    asked = ["make", "darcy", str(out), "--set", "samples=3", "--set", "size=8", "--set", "field=lognormal"]
    assert command_line.main([*asked, "--workers", "1"]) == 0
    with xr.open_dataset(out) as dataset:
        assert dataset.sizes["sample"] == 3
    assert command_line.main(["show", "darcy"]) == 0
    shown = capsys.readouterr().out
    assert "wrote" in shown
    assert "-div(a grad u) = f" in shown
    with pytest.raises(SystemExit):
        command_line.main(["make", "--help"])
    assert "--set samples=4096" in capsys.readouterr().out
