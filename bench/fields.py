"""The fields of the bench: real ones from the shared data folder, and our own simulations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

from bench.protocol import Array
from sciflow import datasets

FILLS: dict[str, tuple[float, ...]] = {
    "ocean_sst_bcc_hr": (float(np.float32(1e20)),),
    "opera_radar_accum": (-9999000.0, -8888000.0),
}
"""Fill values besides NaN, by field; read from the sources' own documentation."""

SIMULATED = {
    "navier-stokes-3d": ("u", "pressure", "vorticity_magnitude"),
    "shallow-water": ("eta", "uo", "potential_vorticity"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field is: a ``.npy`` file, or ``variable`` of a NetCDF file."""

    name: str
    path: Path
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A field as it is, and which of its cells are data.

    Attributes
    ----------
    values : ndarray, float32 or float64, C-contiguous
    valid : ndarray of bool, same shape
        False where the value is NaN, infinite or a fill value.
    fills : tuple of float
        Fill values that occur besides NaN.
    """

    name: str
    values: Array
    valid: NDArray[np.bool_]
    fills: tuple[float, ...]

    @property
    def has_specials(self) -> bool:
        """Whether some cells are not data."""
        return not bool(self.valid.all())

    @property
    def value_range(self) -> float:
        """Largest minus smallest valid value, in float64."""
        data = self.values[self.valid].astype(np.float64)
        return float(data.max() - data.min())

    def filled(self) -> Array:
        """Return a copy whose special cells hold the mean of the valid ones: for peers that need numbers."""
        values = self.values.copy()
        values[~self.valid] = values[self.valid].mean(dtype=np.float64)
        return values


def read(source: Source) -> Field:
    """Return the field of ``source``; it must be float32 or float64."""
    values, fills = _read_netcdf(source) if source.variable else (np.load(source.path), ())
    values = np.ascontiguousarray(values)
    fills = FILLS.get(source.name, fills)
    valid = np.isfinite(values) & ~np.isin(values, np.array(fills, dtype=values.dtype))
    return Field(source.name, values, valid, fills)


def shared_sources(folder: Path) -> list[Source]:
    """Return the fields that ``folder/catalog.json`` lists, in its order; none when it is absent."""
    catalog = folder / "catalog.json"
    if not catalog.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(catalog.read_text())
    return [Source(entry["name"], folder / entry["file"]) for entry in entries]


def simulated_sources(folder: Path) -> list[Source]:
    """Return fields of our own simulations, made in ``folder`` where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for name, variables in SIMULATED.items():
        path = folder / f"{name}.nc"
        if not path.exists():
            datasets.make(name, path)
        sources += [Source(f"{name}:{variable}", path, variable) for variable in variables]
    return sources


def _read_netcdf(source: Source) -> tuple[Array, tuple[float, ...]]:
    with xarray.open_dataset(source.path, decode_cf=False) as dataset:
        variable = dataset[source.variable]
        fill = variable.attrs.get("_FillValue")
        return np.asarray(variable.values), () if fill is None else (float(fill),)
