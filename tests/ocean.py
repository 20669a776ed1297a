"""A small data set with one of everything, and looks at stores that do not go through sciflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from sciflow.store.source import open_variables

__all__ = ["FILL", "array", "ocean", "raw", "tree", "waves"]

FILL = np.float32(-9999.0)


def waves(shape: tuple[int, ...], dtype: str = "f4", *, seed: int = 0) -> NDArray[Any]:
    """A smooth field with a little noise."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, 5, n) for n in shape), indexing="ij")
    return np.asarray(10 * np.sin(sum(axes)) + 0.01 * rng.standard_normal(shape)).astype(dtype)


def ocean() -> xr.Dataset:
    """A CF data set with one of everything: land, packing, bounds, measures, text, times, a scalar."""
    sst = waves((12, 30, 40))
    sst[:, :4] = np.nan
    lat, lon = np.linspace(-87, 87, 30), np.linspace(0, 351, 40)
    dataset = xr.Dataset(
        {
            "sst": (("time", "lat", "lon"), sst, {"units": "degC", "cell_measures": "area: area"}),
            "flux": (("time", "lat", "lon"), waves((12, 30, 40), "f8", seed=1), {"units": "W m-2"}),
            "ice": (("time", "lat", "lon"), 50 + 5 * waves((12, 30, 40), seed=2)),
            "mask": (("lat", "lon"), (waves((30, 40)) > 0).astype("i1")),
            "area": (("lat", "lon"), 1e10 * np.cos(np.deg2rad(lat))[:, None] * np.ones(40)),
            "lat_bnds": (("lat", "nv"), np.stack([lat - 3, lat + 3], axis=1)),
            "station": (("time",), np.array([f"Ny-Ålesund {i}" for i in range(12)], dtype=object)),
            "height": ((), np.float64(2.0), {"units": "m"}),
        },
        coords={
            "time": (("time",), np.arange("2000-01", "2001-01", dtype="M8[M]").astype("M8[ns]")),
            "lat": (("lat",), lat, {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": (("lon",), lon, {"units": "degrees_east"}),
        },
        attrs={"title": "an ocean", "Conventions": "CF-1.11", "levels": np.array([1.0, 2.0])},
    )
    dataset.sst.encoding = {"_FillValue": FILL}
    dataset.ice.encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 50.0, "_FillValue": -32768}
    dataset.time.encoding = {"units": "days since 2000-01-01", "dtype": "f8"}
    return dataset


def array(store: Path | str, name: str, *, mode: Literal["r", "r+"] = "r") -> Any:
    """An array of a store, as zarr has it."""
    return zarr.open_group(store, mode=mode)[name]


def raw(path: Path) -> dict[str, xr.Variable]:
    with open_variables(str(path)) as dataset:
        return {str(name): v.load() for name, v in dataset.variables.items()}


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}
