"""What is compressed, as it is stored: raw values and attributes, no mask, no scale, no decoded times.

```
path    ── xarray backend, nothing decoded ──┐
Dataset ── CF encoding, as to_netcdf does ───┴─▶ Source: lazy variables, fill values still in the data
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument, StoreError

__all__ = [
    "INCOMPLETE",
    "Source",
    "identity_of",
    "is_consolidated",
    "is_zarr",
    "open_source",
    "open_variables",
]

INCOMPLETE = "sciflow_incomplete"
"""Attribute of the root group of a store that is being written; gone from one that is whole."""


_NUMBERS = frozenset(np.dtype(f"{order}{code}") for code in "?bBhHiIqQlLefdFD" for order in "<>")


@dataclass(frozen=True)
class Source:
    """Variables as they are stored.

    Parameters
    ----------
    name : str
        For messages: the path, or "the dataset".
    variables : mapping of str to Variable
        Raw values (lazy where the input was), attributes with ``_FillValue`` and the like in them.
    coords : frozenset of str
        Variables that the input itself declares to be coordinates.
    attrs : mapping
        Global attributes.
    identity : mapping
        What a later run must find unchanged to go on with this one.
    """

    name: str
    variables: Mapping[str, xr.Variable]
    coords: frozenset[str]
    attrs: Mapping[str, Any]
    identity: Mapping[str, Any]


@contextmanager
def open_source(data: xr.Dataset | str | os.PathLike[str]) -> Iterator[Source]:
    """Open anything that xarray opens, or take a dataset, and close what was opened.

    Parameters
    ----------
    data : Dataset or path or URL
        NetCDF-3/4, HDF5, Zarr, or what else an installed xarray backend reads (GRIB with cfgrib).

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    InvalidArgument
        If it holds no field that can be read, or names are not text.
    """
    if isinstance(data, xr.Dataset):
        yield _from_dataset(data)
        return
    if not isinstance(data, str | os.PathLike):
        raise InvalidArgument(
            f"cannot compress {type(data).__name__}: expected an xarray.Dataset or a path; "
            "turn a DataArray into a dataset with .to_dataset(name=...)"
        )
    name = os.fspath(data)
    with open_variables(name) as dataset:
        yield Source(
            name=name,
            variables=_named(dataset.variables),
            coords=frozenset(),
            attrs=_json_attrs(dataset.attrs),
            identity=identity_of(name),
        )


@contextmanager
def open_variables(path: str) -> Iterator[xr.Dataset]:
    """Open a file or store with nothing decoded.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    InvalidArgument
        If xarray cannot read what is there, or there is no variable in it.
    StoreError
        If it is a store that a run of sciflow has not finished.
    """
    remote = "://" in path
    if not remote and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        dataset = _open_raw(path, zarr_store=remote or is_zarr(Path(path)))
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InvalidArgument(f"{path}: not a file that xarray can read ({_first_line(error)})") from error
    with dataset:
        if not dataset.variables:
            raise InvalidArgument(f"{path}: holds no variable at its root; is it a file of groups?")
        yield dataset


def _open_raw(path: str, *, zarr_store: bool) -> xr.Dataset:
    return xr.open_dataset(
        path,
        engine="zarr" if zarr_store else None,
        mask_and_scale=False,
        decode_times=False,
        decode_coords=False,
        decode_timedelta=False,
        cache=False,
        create_default_indexes=False,
        backend_kwargs={"consolidated": is_consolidated(path)} if zarr_store else None,
    )


def is_consolidated(path: str) -> bool:
    """Whether a Zarr store holds the metadata of all its arrays in one place.

    Raises
    ------
    FileNotFoundError, InvalidArgument
        If there is no Zarr store.
    StoreError
        If it is half-written.
    """
    if "://" not in path and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        group = zarr.open_group(path, mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise InvalidArgument(f"{path}: not a Zarr store ({_first_line(error)})") from error
    if INCOMPLETE in group.attrs:
        raise StoreError(
            f"{path}: half-written; run the `sciflow compress` that began it again and it goes on from there"
        )
    return group.metadata.consolidated_metadata is not None


def is_zarr(path: Path) -> bool:
    """Whether a folder is the root of a Zarr store of either format."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def _from_dataset(dataset: xr.Dataset) -> Source:
    try:
        variables, attrs = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(dataset))
    except ValueError as error:
        raise InvalidArgument(f"the dataset cannot be encoded: {_first_line(error)}") from error
    named = _named(variables)
    structure = {name: [list(v.dims), list(v.shape), str(v.dtype)] for name, v in named.items()}
    return Source(
        name="the dataset",
        variables=named,
        coords=frozenset(str(name) for name in dataset.coords),
        attrs=_json_attrs(attrs),
        identity={"dataset": structure},
    )


def _named(variables: Mapping[Any, xr.Variable]) -> dict[str, xr.Variable]:
    for name in variables:
        if not isinstance(name, str) or not name or name.startswith("__") or "/" in name:
            raise InvalidArgument(f"variable {name!r}: expected a name without '/' and '__' in front")
    return {name: _as_zarr_takes_it(name, v.to_base_variable()) for name, v in variables.items()}


def _as_zarr_takes_it(name: str, variable: xr.Variable) -> xr.Variable:
    """Attributes that JSON can say, and text as str: Zarr v3 specifies UTF-8 of variable length only."""
    attrs = _json_attrs(variable.attrs)
    if variable.dtype.kind in "mM":  # a Zarr store may hold times as such: back to numbers with CF units
        attrs.pop("_FillValue", None)
        bare = xr.Variable(variable.dims, variable._data, attrs, fastpath=True)
        return xr.conventions.encode_cf_variable(bare, name=name)
    if variable.dtype in _NUMBERS:
        return xr.Variable(variable.dims, variable._data, attrs, variable.encoding, fastpath=True)
    attrs.pop("_FillValue", None)
    values = np.asarray(variable.values) if variable.dtype.kind in "SUTO" else None
    if values is not None and values.dtype.kind == "S":
        values = _decoded_text(values)
    if values is None or not all(isinstance(value, str) for value in values.astype(object).flat):
        raise InvalidArgument(
            f"variable {name!r} holds neither numbers that Zarr v3 knows nor text ({variable.dtype}); "
            "leave it out, for example with Dataset.drop_vars"
        )
    return xr.Variable(variable.dims, values.astype(object), attrs)


def _decoded_text(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError:
        return np.char.decode(values, "latin-1")


def _json_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _json_value(value) for key, value in attrs.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return _decoded_text(value).tolist()
    return value


def identity_of(name: str) -> dict[str, Any]:
    """What a later run must find unchanged: place, bytes and time of a file."""
    if "://" in name:
        return {"url": name}
    path = Path(name).resolve()
    status = next(p for p in (path / "zarr.json", path / ".zgroup", path) if p.exists()).stat()
    return {"path": str(path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
