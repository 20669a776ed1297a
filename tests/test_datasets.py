"""The simulations: what physics promises, the same values at every run, and files that follow CF."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sciflow import datasets
from sciflow.datasets import __main__ as command_line
from sciflow.datasets import catalog, cosmology, navier_stokes, shallow_water
from sciflow.errors import InvalidArgument, StoreError

SMALL: dict[str, dict[str, str | float]] = {
    "navier-stokes-3d": {"size": 32, "snapshots": 3, "spin_up": 0.2, "duration": 0.2, "viscosity": 0.02},
    "cosmology-lognormal": {"size": 32, "box": 50.0},
    "shallow-water": {"columns": 96, "rows": 64, "snapshots": 4, "days": 0.5},
    "bragg-cdi": {"samples": 5, "size": 16},
    "cosmology-boxes": {"samples": 5, "size": 8},
    "darcy": {"samples": 5, "size": 16},
    "ptychography": {"samples": 5, "size": 32},
    "turbulence-2d": {"samples": 5, "size": 32, "snapshots": 3, "duration": 0.5, "viscosity": 0.02},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small file of each data set."""
    folder = tmp_path_factory.mktemp("datasets")
    return {n: datasets.make(n, folder / f"{n}.nc", settings=SMALL[n], workers=1) for n in SMALL}


def digest(dataset: xr.Dataset) -> str:
    whole = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        whole.update(name.encode() + np.ascontiguousarray(dataset[name].values).tobytes())
    return whole.hexdigest()


def test_the_catalogue_lists_what_is_tested_here() -> None:
    assert set(datasets.names()) == set(SMALL)


def test_every_recipe_has_a_card(repository: Path) -> None:
    for name in datasets.names():
        assert (repository / "datasets" / name / "CARD.md").is_file()
        assert datasets.recipe(name).name == name


@pytest.mark.parametrize("name", SMALL)
def test_two_runs_give_the_same_values(name: str) -> None:
    first, second = catalog.simulate(name, SMALL[name]), catalog.simulate(name, SMALL[name])
    assert digest(first) == digest(second)


@pytest.mark.parametrize("name", SMALL)
def test_another_seed_gives_other_values(name: str) -> None:
    other = {**SMALL[name], "seed": 7}
    assert digest(catalog.simulate(name, SMALL[name])) != digest(catalog.simulate(name, other))


@pytest.mark.parametrize("name", SMALL)
def test_the_progress_runs_from_start_to_end(name: str) -> None:
    seen: list[float] = []
    catalog.simulate(name, SMALL[name], progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert len(seen) > 4


# ---------------------------------------------------------------- physics


def turbulence(**changes: Any) -> navier_stokes.Parameters:
    values = {**datasets.recipe("navier-stokes-3d").parameters, **SMALL["navier-stokes-3d"], **changes}
    return navier_stokes.Parameters(**values)


def test_the_velocity_is_free_of_divergence_to_round_off() -> None:
    with ThreadPoolExecutor(1) as pool:
        for _, snapshot in navier_stokes.snapshots(turbulence()):
            if snapshot is not None:
                box = navier_stokes.Box(32, 0.02, pool)
                u = box.to_spectrum(snapshot.velocity)
                assert np.abs(box.divergence(u)).max() < 1e-12 * np.abs(box.k2 * u).max()


def test_energy_falls_at_the_rate_of_the_dissipation() -> None:
    found = [each for _, each in navier_stokes.snapshots(turbulence(snapshots=9)) if each is not None]
    energies, dissipation = np.array([(each.energy, each.dissipation) for each in found]).T
    interval = found[1].seconds - found[0].seconds
    lost = -np.diff(energies)
    assert (lost > 0).all()
    np.testing.assert_allclose(lost, interval * (dissipation[1:] + dissipation[:-1]) / 2, rtol=2e-3)


def test_a_spin_up_over_two_grids_keeps_the_energy_budget() -> None:
    found = [each for _, each in navier_stokes.snapshots(turbulence(halvings=2)) if each is not None]
    assert found[0].velocity.shape == (3, 32, 32, 32)
    once = next(each for _, each in navier_stokes.snapshots(turbulence()) if each is not None)
    assert found[0].energy == pytest.approx(once.energy, rel=0.1)
    assert (np.diff([each.energy for each in found]) < 0).all()


def test_the_pressure_balances_a_taylor_green_vortex() -> None:
    x = np.arange(32) * (2 * np.pi / 32)
    _, y, x = np.meshgrid(x, x, x, indexing="ij")
    velocity = np.stack([np.cos(x) * np.sin(y), -np.sin(x) * np.cos(y), np.zeros_like(x)])
    with ThreadPoolExecutor(1) as pool:
        box = navier_stokes.Box(32, 0.02, pool)
        u = box.to_spectrum(velocity)
        snapshot = box.snapshot(u, 0.0)
        after = box.to_space(box.advance(u, 0.05))
    np.testing.assert_allclose(snapshot.pressure, -(np.cos(2 * x) + np.cos(2 * y)) / 4, atol=1e-12)
    np.testing.assert_allclose(after, velocity * np.exp(-2 * 0.02 * 0.05), atol=1e-10)


def test_a_lognormal_density_has_its_moments_and_its_siblings_follow_it() -> None:
    values: dict[str, Any] = {**datasets.recipe("cosmology-lognormal").parameters, "size": 48, "scatter": 0.0}
    values |= {"spread": 0.5, "box": 2000.0}
    found = cosmology.fields(cosmology.Parameters(**values), progress=list[float]().append)
    density = found["density"].astype("f8")
    assert density.mean() == pytest.approx(1.0, abs=0.02)
    assert density.var() == pytest.approx(np.exp(0.25) - 1, rel=0.1)
    np.testing.assert_allclose(found["log_density"], np.log(density), atol=1e-6)
    np.testing.assert_allclose(found["temperature"], 1e4 * density**0.6, rtol=1e-5)
    assert found["velocity_x"].std() == pytest.approx(200.0, rel=1e-3)


def test_the_potential_is_that_of_the_density() -> None:
    values: dict[str, Any] = {**datasets.recipe("cosmology-lognormal").parameters, "size": 32}
    found = cosmology.fields(cosmology.Parameters(**values), progress=list[float]().append)
    k = np.fft.fftfreq(32) * 32
    k2 = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    source = np.fft.ifftn(-k2 * np.fft.fftn(found["potential"].astype("f8"))).real
    log_density = found["log_density"] - found["log_density"].mean()
    assert np.corrcoef(source.ravel(), log_density.ravel())[0, 1] > 0.9999
    force = np.fft.ifftn(-1j * k * np.fft.fftn(found["potential"].astype("f8"))).real
    assert np.corrcoef(force.ravel(), found["velocity_x"].ravel())[0, 1] > 0.99


def basin(**changes: Any) -> tuple[shallow_water.Parameters, shallow_water.Basin]:
    values = {**datasets.recipe("shallow-water").parameters, **SMALL["shallow-water"], **changes}
    parameters = shallow_water.Parameters(**values)
    return parameters, shallow_water.Basin(parameters)


def states(**changes: Any) -> list[shallow_water.State]:
    return [each for _, each in shallow_water.snapshots(*basin(**changes)) if each is not None]


def test_mass_is_conserved_to_round_off() -> None:
    _, sea = basin()
    volumes = [sea.volume(state) for state in states()]
    np.testing.assert_allclose(volumes, volumes[0], rtol=1e-12)


def test_energy_only_falls_by_viscosity() -> None:
    _, sea = basin()
    viscous = [sea.energy(state) for state in states()]
    assert (np.diff(viscous) < 0).all()
    ideal = [sea.energy(state) for state in states(viscosity=0.0)]
    np.testing.assert_allclose(ideal, ideal[0], rtol=1e-4)


def test_water_at_rest_stays_at_rest() -> None:
    _, sea = basin()
    still = np.zeros_like(sea.rest)
    rate = sea.tendency(shallow_water.State(sea.rest, still, still))
    assert max(np.abs(rate.h).max(), np.abs(rate.u).max(), np.abs(rate.v).max()) < 1e-17


def test_nothing_flows_through_a_coast() -> None:
    _, sea = basin()
    last = states()[-1]
    assert not last.u[~sea.open_u].any()
    assert not last.v[~sea.open_v].any()
    np.testing.assert_array_equal(last.h[~sea.wet], sea.rest[~sea.wet])


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", SMALL)
def test_the_file_follows_cf(name: str, files: dict[str, Path]) -> None:
    with xr.open_dataset(files[name]) as dataset:
        assert dataset.attrs["Conventions"] == "CF-1.11"
        assert {"title", "source", "institution", "license", "sciflow_recipe"} <= set(dataset.attrs)
        if "time" in dataset.dims:
            assert dataset.indexes["time"].is_monotonic_increasing
            assert np.issubdtype(dataset["time"].dtype, np.datetime64)
        for axis in set(dataset.dims) - {"time", "sample", "parameter", "bnds"}:
            bounds = dataset[dataset[axis].attrs["bounds"]]
            np.testing.assert_allclose(bounds.mean("bnds"), dataset[axis], rtol=1e-12)
            assert "units" in dataset[axis].attrs
        for variable in dataset.data_vars.values():
            if "bnds" not in variable.dims:
                meaning = "flag_meanings" if "flag_meanings" in variable.attrs else "units"
                assert {"long_name", meaning} <= set(variable.attrs)


def test_land_is_missing_and_nothing_else_is(files: dict[str, Path]) -> None:
    with xr.open_dataset(files["shallow-water"], decode_cf=False) as raw:
        land = raw["land"].values == 1
        assert 0.02 < land.mean() < 0.4
        assert raw["land"].dtype == raw["vortex"].dtype == np.int8
        for name in ("eta", "uo", "vo", "vorticity", "potential_vorticity", "floor"):
            values = raw[name].values
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values == np.float32(1e20), np.broadcast_to(land, values.shape))
            assert raw[name].attrs["_FillValue"] == np.float32(1e20)
        np.testing.assert_array_equal(raw["vortex"].values == 3, np.broadcast_to(land, raw["vortex"].shape))


def test_the_fields_of_the_box_have_no_missing_values(files: dict[str, Path]) -> None:
    with xr.open_dataset(files["navier-stokes-3d"]) as dataset:
        for name in ("u", "v", "w", "pressure", "vorticity_magnitude"):
            assert dataset[name].dtype == np.float32
            assert dataset[name].shape == (3, 32, 32, 32)
            assert bool(np.isfinite(dataset[name]).all())
            assert "_FillValue" not in dataset[name].encoding


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("navier-stokes-3d", "size", 30),
        ("navier-stokes-3d", "size", "many"),
        ("navier-stokes-3d", "size", 32.5),
        ("navier-stokes-3d", "snapshots", 1),
        ("navier-stokes-3d", "viscosity", 0),
        ("navier-stokes-3d", "duration", "nan"),
        ("navier-stokes-3d", "depth", 3),
        ("shallow-water", "rows", 8),
        ("shallow-water", "rows", 2000),
        ("shallow-water", "speed", 5),
        ("shallow-water", "days", "inf"),
        ("shallow-water", "seed", -1),
    ],
)
def test_a_bad_parameter_is_named(name: str, key: str, value: str | float) -> None:
    with pytest.raises(InvalidArgument, match=rf"{key}.*expected"):
        catalog.simulate(name, {key: value})


def test_an_unknown_name_lists_the_catalogue() -> None:
    with pytest.raises(InvalidArgument, match="navier-stokes-3d, ptychography, shallow-water"):
        datasets.recipe("euler")


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "there.nc"
    out.write_text("mine")
    with pytest.raises(StoreError, match=r"there\.nc.*remove it"):
        datasets.make("shallow-water", out, settings=SMALL["shallow-water"])
    assert out.read_text() == "mine"


def test_nothing_half_made_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        datasets.make("shallow-water", tmp_path / "out.nc", settings=SMALL["shallow-water"])
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_makes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sea.nc"
    settings = [f"--set={key}={value}" for key, value in SMALL["shallow-water"].items()]
    assert command_line.main(["make", "shallow-water", str(out), *settings]) == 0
    with xr.open_dataset(out) as dataset:
        assert dataset.sizes == {"time": 4, "lat": 64, "lon": 96, "bnds": 2}
    assert command_line.main(["list"]) == 0
    assert "navier-stokes-3d" in capsys.readouterr().out


MISTAKES = [["make", "euler", "x.nc"], ["make", "shallow-water", "x.nc", "--set", "rows"]]


@pytest.mark.parametrize("arguments", MISTAKES)
def test_the_command_line_names_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(arguments) == 2
    assert "error: " in capsys.readouterr().err
