"""What the simulations share in writing CF-1.11: coordinates with bounds, variables, the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import StoreError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GLOBAL_ATTRIBUTES", "TIME_UNITS", "axis", "describe", "times", "write_netcdf"]

GLOBAL_ATTRIBUTES = {
    "Conventions": "CF-1.11",
    "institution": "made on the spot by sciflow.datasets",
    "references": "https://cfconventions.org",
}
TIME_UNITS = "seconds since 2000-01-01 00:00:00"

FLOAT32_FILL = np.float32(1e20)
"""The fill value of masked variables, that of CMIP."""


def axis(name: str, edges: NDArray[np.float64], attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return coordinate ``name`` at the middles of ``edges`` and its bounds, ready for `xarray.Dataset`.

    Parameters
    ----------
    name : str
        Name of the coordinate and of its dimension.
    edges : ndarray, float64, shape (n + 1,)
        Cell edges, increasing.
    attributes : mapping
        CF attributes: units, long_name, axis, standard_name where there is one.

    Returns
    -------
    dict
        ``{name: ..., name_bnds: ...}``.
    """
    bounds = np.stack([edges[:-1], edges[1:]], axis=-1)
    described = {**attributes, "bounds": f"{name}_bnds"}
    return {name: (name, bounds.mean(axis=-1), described), f"{name}_bnds": ((name, "bnds"), bounds)}


def describe(
    units: str, long_name: str, *, standard_name: str = "", methods: str = "", measures: str = ""
) -> dict[str, str]:
    """Return the CF attributes of a variable; those that are empty are left out."""
    attributes = {
        "standard_name": standard_name,
        "long_name": long_name,
        "units": units,
        "cell_methods": methods,
        "cell_measures": measures,
    }
    return {name: value for name, value in attributes.items() if value}


def times(seconds: NDArray[np.float64]) -> dict[str, Any]:
    """Return the ``time`` coordinate of instants ``seconds``, shape (time,), after 2000-01-01."""
    attributes = {"standard_name": "time", "long_name": "time of the instant", "axis": "T"}
    return {"time": ("time", seconds, {**attributes, "units": TIME_UNITS, "calendar": "standard"})}


def write_netcdf(dataset: xr.Dataset, out: Path) -> None:
    """Write ``dataset`` to ``out`` as NetCDF-4: under another name first, renamed when it is whole.

    Variables whose encoding has no ``_FillValue`` get none, in place of xarray's NaN.

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    encoding = {name: {"_FillValue": None, **each.encoding} for name, each in dataset.variables.items()}
    import dask.config

    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            unfinished = Path(folder, "unfinished.nc")
            with dask.config.set(scheduler="synchronous"):  # lazy data: one block in memory at a time
                dataset.to_netcdf(unfinished, engine="netcdf4", format="NETCDF4", encoding=encoding)
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
            unfinished.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror or error})") from error
