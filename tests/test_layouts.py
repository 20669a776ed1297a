"""Samples out of files as others lay them out, against what h5py, NumPy and xarray read there."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from sciflow.datasets.layouts import Samples, find_samples, open_samples
from sciflow.datasets.loading import SolarLoader
from sciflow.datasets.sources import Reading
from sciflow.errors import Corrupt, InvalidArgument, Unsupported
from tests.conftest import RealFields

FILTERS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks of states": {"chunks": (1, 1, 4, 6)},
    "gzip of trajectories": {"chunks": (1, 7, 4, 6), "compression": "gzip"},
    "gzip of tiles": {"chunks": (2, 3, 4, 3), "compression": "gzip", "shuffle": True},
    "lzf, through h5py": {"chunks": (2, 3, 4, 6), "compression": "lzf"},
}


def values(*shape: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pairs(trajectories: NDArray[Any], ahead: int = 1) -> NDArray[Any]:
    """States and those later, trajectory after trajectory: (n, t, ...) to (n (t - ahead), 2, ...)."""
    both = np.stack([trajectories[:, :-ahead], trajectories[:, ahead:]], 2)
    return both.reshape(-1, *both.shape[2:])


def everything(samples: Samples) -> dict[str, NDArray[Any]]:
    """All samples, drawn in another order and put back."""
    order = np.random.default_rng(1).permutation(len(samples.source))
    taken = samples.source.take(order)
    return {name: found[np.argsort(order)] for name, found in taken.items()}


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize("stored", FILTERS)
@pytest.mark.parametrize("ahead", [1, 3])
def test_pairs_are_those_of_numpy_and_never_cross_trajectories(
    tmp_path: Path, stored: str, ahead: int
) -> None:
    x = values(5, 7, 4, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=x, **FILTERS[stored])
    found = find_samples(tmp_path / "a.h5", "u", layout="next-step", ahead=ahead)
    assert (found.paired, found.together, len(found.source)) == (True, 7 - ahead, 5 * (7 - ahead))
    np.testing.assert_array_equal(everything(found)["u"], pairs(x, ahead))


def test_pairs_cost_the_bytes_of_two_states(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = values(5, 7, 4, 6)
    reading = Reading(gap_bytes=-1)
    open_samples(tmp_path / "a.h5", "u", layout="next-step").take([3], reading=reading)
    assert (reading.ops, reading.bytes) == (1, 2 * 4 * 6 * 4)


def test_a_chunk_of_many_states_is_decoded_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=values(5, 7, 4, 6), chunks=(1, 7, 4, 6), compression="gzip")
    source = open_samples(tmp_path / "a.h5", "u", layout="next-step")
    assert source.samples_per_chunk == 6
    reading = Reading()
    source.take(range(len(source)), reading=reading)
    assert reading.decodes == 5


def test_a_source_of_pairs_can_be_cropped_pickled_and_planned(tmp_path: Path) -> None:
    x = values(5, 7, 4, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = x
    source = open_samples(tmp_path / "a.h5", "u", layout="next-step")
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.take([9])["u"][0], pairs(x)[9])
    later = source.region((1, 2), (0, 2), (3, 6)).take([4])["u"]
    np.testing.assert_array_equal(later[0], pairs(x)[4][1:2, :2, 3:])
    seen = []
    with SolarLoader(source, batch_size=5, buffer_bytes=1 << 12, as_numpy=True, seed=2) as loader:
        seen = [batch["u"] for batch in loader]
    rows = np.concatenate(seen)
    assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in pairs(x))


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = values(5, 7, 4, 6)
    one = open_samples(tmp_path / "a.h5", "u", layout="next-step")
    other = open_samples(tmp_path / "a.h5", "u", layout="next-step", ahead=2)
    assert one.fingerprint() == open_samples(tmp_path / "a.h5", "u", layout="next-step").fingerprint()
    assert one.fingerprint() != other.fingerprint()


# ---------------------------------------------------------------- xarray


def dataset(**dims: int) -> xr.Dataset:
    shape = tuple(dims.values())
    return xr.Dataset(
        {"u": (tuple(dims), values(*shape)), "v": (tuple(dims), values(*shape, seed=4))},
        {name: np.arange(length, dtype=np.float64) for name, length in dims.items()},
    )


@pytest.mark.parametrize("kind", ["nc", "zarr"])
@pytest.mark.parametrize("dims", [{"sample": 3, "time": 5, "y": 4, "x": 6}, {"time": 9, "lat": 4, "lon": 6}])
def test_a_time_axis_makes_pairs(tmp_path: Path, kind: str, dims: dict[str, int]) -> None:
    made = dataset(**dims)
    path = tmp_path / f"a.{kind}"
    if kind == "nc":
        made.to_netcdf(path)
    else:
        made.to_zarr(path, consolidated=False)
    found = find_samples(path, ["u"], ["v"])
    assert (found.layout, found.paired) == ("next-step", True)
    assert found.together == (4 if "sample" in dims else 8)
    for name, taken in everything(found).items():
        whole = made[name].values
        np.testing.assert_array_equal(taken, pairs(whole if "sample" in dims else whole[None]))


def test_what_has_no_time_stays_beside_the_pairs(tmp_path: Path) -> None:
    made = dataset(sample=3, time=5, y=4, x=6).assign(a=(("sample", "y", "x"), values(3, 4, 6, seed=8)))
    made.to_netcdf(tmp_path / "a.nc")
    taken = everything(find_samples(tmp_path / "a.nc", ["u", "a"]))
    np.testing.assert_array_equal(taken["a"], np.repeat(made.a.values, 4, 0)[:, None].repeat(2, 1))
    np.testing.assert_array_equal(taken["u"], pairs(made.u.values))


def test_no_time_axis_makes_samples(tmp_path: Path) -> None:
    made = dataset(sample=6, y=4, x=6)
    made.to_netcdf(tmp_path / "a.nc")
    found = find_samples(tmp_path / "a.nc", "u", ["v", "u"])
    assert (found.layout, found.paired, found.together) == ("samples", False, 1)
    assert [spec.name for spec in found.source.spec] == ["u", "v"]
    np.testing.assert_array_equal(everything(found)["v"], made.v.values)


def test_netcdf_comes_as_xarray_shows_it(tmp_path: Path) -> None:
    made = dataset(sample=3, time=5, y=4, x=6)
    made["u"][1, 2, 0] = np.nan
    made.to_netcdf(tmp_path / "a.nc", encoding={"u": {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -9}})
    with xr.open_dataset(tmp_path / "a.nc") as opened:
        expected = opened.u.values
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(everything(find_samples(tmp_path / "a.nc", "u"))["u"], pairs(expected))


# ---------------------------------------------------------------- PDEBench


def pdebench(path: Path, arrays: dict[str, NDArray[Any]], space: int) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        for axis in "xyz"[:space]:
            file[f"{axis}-coordinate"] = np.linspace(0, 1, 6, dtype="f4")
        file["t-coordinate"] = np.linspace(0, 1, 8, dtype="f4")
    return path


def test_pdebench_tensors(tmp_path: Path) -> None:
    x = values(4, 7, 6)
    found = find_samples(pdebench(tmp_path / "a.hdf5", {"tensor": x}, 1), "tensor")
    assert (found.layout, found.together) == ("pdebench", 6)
    np.testing.assert_array_equal(everything(found)["tensor"], pairs(x))


def test_pdebench_darcy_is_samples(tmp_path: Path) -> None:
    tensor, nu = values(4, 1, 6, 6), values(4, 6, 6, seed=5)
    path = pdebench(tmp_path / "a.hdf5", {"tensor": tensor, "nu": nu}, 2)
    found = find_samples(path, "nu", "tensor")
    assert (found.layout, found.paired, found.together) == ("pdebench", False, 1)
    taken = everything(found)
    np.testing.assert_array_equal(taken["nu"], nu)
    np.testing.assert_array_equal(taken["tensor"], tensor[:, 0])


@pytest.mark.parametrize("space", [1, 2, 3])
def test_pdebench_arrays_of_fields(tmp_path: Path, space: int) -> None:
    names = ["density", "pressure", "Vx", "Vy", "Vz"][: space + 2]
    arrays = {name: values(3, 5, *(6,) * space, seed=i) for i, name in enumerate(names)}
    taken = everything(find_samples(pdebench(tmp_path / "a.hdf5", arrays, space), names))
    for name in names:
        np.testing.assert_array_equal(taken[name], pairs(arrays[name]))


def test_pdebench_groups_of_trajectories(tmp_path: Path) -> None:
    x = values(4, 7, 6, 5, 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, trajectory in enumerate(x):
            group = file.create_group(f"{number:04d}")
            group.create_dataset("data", data=trajectory, chunks=(3, 6, 5, 2), compression="gzip")
            group["grid/t"] = np.arange(7.0)
    found = find_samples(tmp_path / "a.h5", ["data.1", "data.0"])
    assert (found.layout, found.together, len(found.source)) == ("pdebench", 6, 24)
    taken = everything(found)
    np.testing.assert_array_equal(taken["data.1"], pairs(x[..., 1]))
    np.testing.assert_array_equal(taken["data.0"], pairs(x[..., 0]))
    np.testing.assert_array_equal(everything(find_samples(tmp_path / "a.h5", "data"))["data"], pairs(x))
    assert found.source.paths == (tmp_path / "a.h5",)


def test_pdebench_groups_of_one_component_have_no_axis_for_it(tmp_path: Path) -> None:
    x = values(3, 4, 6, 1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, trajectory in enumerate(x):
            file[f"{number:04d}/data"] = trajectory
    taken = everything(find_samples(tmp_path / "a.h5", "data", ahead=2))
    np.testing.assert_array_equal(taken["data"], pairs(x[..., 0], 2))


def test_groups_of_several_shapes_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["0000/data"], file["0001/data"] = values(4, 6, 1), values(3, 6, 1)
    with pytest.raises(
        InvalidArgument, match=r"0001/data: found float32\[3, 6, 1\], expected float32\[4, 6, 1\]"
    ):
        open_samples(tmp_path / "a.h5", "data")


def test_pdebench_incompressible_flow(tmp_path: Path) -> None:
    arrays = {
        "velocity": values(2, 4, 6, 6, 2),
        "particles": values(2, 4, 6, 6, 1),
        "force": values(2, 6, 6, 2),
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file["t"] = np.zeros((2, 4))
    taken = everything(find_samples(tmp_path / "a.h5", ["particles", "velocity.1", "force.0"]))
    np.testing.assert_array_equal(taken["particles"], pairs(arrays["particles"][..., 0]))
    np.testing.assert_array_equal(taken["velocity.1"], pairs(arrays["velocity"][..., 1]))
    np.testing.assert_array_equal(taken["force.0"][3], np.stack([arrays["force"][1, ..., 0]] * 2))


# ---------------------------------------------------------------- the Well


def well(path: Path, trajectories: int = 3, seed: int = 0) -> dict[str, NDArray[Any]]:
    """A file of 2-D fields as the Well specifies it; its arrays by name."""
    shape = (trajectories, 5, 6, 4)
    arrays = {
        "density": values(*shape, seed=seed),
        "velocity": values(*shape, 2, seed=seed + 1),
        "stress": values(*shape, 2, 2, seed=seed + 2),
        "mask": values(trajectories, 6, 4, seed=seed + 3),
        "speed_of_sound": values(6, 4, seed=seed + 4),
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="tiny", grid_type="cartesian", n_spatial_dims=2, n_trajectories=3)
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        file["dimensions/time"] = np.arange(5, dtype="f4")
        for group, names in (
            ("t0_fields", ["density", "mask", "speed_of_sound"]),
            ("t1_fields", ["velocity"]),
        ):
            for name in names:
                file[f"{group}/{name}"] = arrays[name]
            file[group].attrs["field_names"] = names
        file["t2_fields/stress"] = arrays["stress"]
        for group in ("t0_fields", "t1_fields", "t2_fields"):
            for name, stored in file[group].items():
                stored.attrs["dim_varying"] = [True, True]
                stored.attrs["sample_varying"] = name != "speed_of_sound"
                stored.attrs["time_varying"] = name not in ("mask", "speed_of_sound")
    return arrays


def test_the_well(tmp_path: Path) -> None:
    arrays = well(tmp_path / "a.hdf5")
    names = ["density", "velocity.x", "velocity.1", "stress.xy", "stress.1.0", "mask", "velocity"]
    found = find_samples(tmp_path / "a.hdf5", names[:3], names[3:])
    assert (found.layout, found.together, len(found.source)) == ("well", 4, 12)
    taken = everything(found)
    expected = {
        "density": pairs(arrays["density"]),
        "velocity.x": pairs(arrays["velocity"][..., 0]),
        "velocity.1": pairs(arrays["velocity"][..., 1]),
        "stress.xy": pairs(arrays["stress"][..., 0, 1]),
        "stress.1.0": pairs(arrays["stress"][..., 1, 0]),
        "mask": np.repeat(arrays["mask"], 4, 0)[:, None].repeat(2, 1),
        "velocity": pairs(arrays["velocity"]),
    }
    assert list(taken) == names
    for name in names:
        np.testing.assert_array_equal(taken[name], expected[name], err_msg=name)


def test_a_folder_of_the_wells_files_is_one_set(tmp_path: Path) -> None:
    arrays = [well(tmp_path / f"{i}.hdf5", trajectories=i + 1, seed=i) for i in range(3)]
    found = find_samples(tmp_path, "velocity.y", ahead=2)
    assert (found.together, len(found.source)) == (3, 18)
    expected = np.concatenate([pairs(each["velocity"][..., 1], 2) for each in arrays])
    np.testing.assert_array_equal(everything(found)["velocity.y"], expected)


def test_what_no_sample_of_the_well_can_be_is_refused(tmp_path: Path) -> None:
    well(tmp_path / "a.hdf5")
    with pytest.raises(Unsupported, match="speed_of_sound is the same for all trajectories"):
        open_samples(tmp_path / "a.hdf5", "speed_of_sound")


# ---------------------------------------------------------------- real samples


def test_real_darcy_samples(real_fields: RealFields) -> None:
    names = ("samples_darcy16_train_x", "samples_darcy16_train_y")
    source = open_samples(real_fields.folder, names[0], names[1])
    ids = [999, 0, 500]
    for name, taken in source.take(ids).items():
        np.testing.assert_array_equal(taken, real_fields.load(name)[ids])


def test_real_burgers_trajectories(real_fields: RealFields) -> None:
    name = "samples_burgers16_train_y"
    found = find_samples(real_fields.folder, name, layout="next-step")
    assert (len(found.source), found.together) == (800 * 16, 16)
    whole = real_fields.load(name)
    taken = found.source.take([15, 16, 12799])[name]
    expected = [(0, 15), (1, 0), (799, 15)]
    for pair, (trajectory, time) in zip(taken, expected, strict=True):
        np.testing.assert_array_equal(pair, whole[trajectory, time : time + 2])


def test_real_slices_in_a_tensor(real_fields: RealFields, tmp_path: Path) -> None:
    slices = real_fields.load("samples_viscous_slices_run01")
    trajectories = slices.reshape(99, 6, 64, 64).swapaxes(0, 1)
    path = pdebench(tmp_path / "a.hdf5", {"tensor": trajectories[:, :9]}, 2)
    np.testing.assert_array_equal(
        everything(find_samples(path, "tensor"))["tensor"], pairs(trajectories[:, :9])
    )


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        ([], {}, "inputs: found none"),
        (["w"], {}, "found no variable 'w', expected one of .*u"),
        (["u"], {"layout": "columns"}, "layout: found 'columns', expected one of auto, samples"),
        (["u"], {"ahead": 0}, "ahead: found 0"),
        (["u"], {"ahead": 5}, "found 5 instants, expected one number above ahead=5"),
        (["u"], {"layout": "well"}, "expected groups t0_fields.* of layout 'well'"),
        (["u"], {"layout": "pdebench"}, "expected tensor.* of layout 'pdebench'"),
        (["late"], {}, r"axes \('y', 'x', 'time'\), expected \(time, ...\)"),
        (["a"], {"layout": "next-step"}, "none of a has a time axis"),
        (["u", "series"], {}, r"u \(sample, ...\), series \(time, ...\)"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, names: Sequence[str], options: dict[str, Any], says: str) -> None:
    made = dataset(sample=3, time=5, y=4, x=6)
    made["late"] = (("y", "x", "time"), values(4, 6, 5))
    made["a"] = (("sample", "y", "x"), values(3, 4, 6))
    made["series"] = (("time", "y", "x"), values(5, 4, 6))
    made.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InvalidArgument, match=says):
        open_samples(tmp_path / "a.nc", names, **options)


@pytest.mark.parametrize("name", ["velocity.z", "velocity.2", "velocity.x.y", "speed"])
def test_an_unknown_component_lists_those_that_are(tmp_path: Path, name: str) -> None:
    well(tmp_path / "a.hdf5")
    with pytest.raises(InvalidArgument, match=r"velocity \(components 0..1\)"):
        open_samples(tmp_path / "a.hdf5", name)


def test_a_single_array_goes_by_one_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values(4, 3))
    np.testing.assert_array_equal(open_samples(tmp_path / "a.npy", "any").take([2])["any"], values(4, 3)[[2]])
    with pytest.raises(InvalidArgument, match="holds one array, found 2 names"):
        open_samples(tmp_path / "a.npy", "x", "y")


def test_files_that_are_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_samples(tmp_path / "none.h5", "u")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="a folder without"):
        open_samples(tmp_path / "empty", "u")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF then nothing")
    with pytest.raises(Corrupt, match=r"bad\.h5"):
        open_samples(tmp_path / "bad.h5", "u")
