"""NetCDF-4: HDF5 underneath, with conventions on top."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciflow.datasets.sources.array import StoredArray, Want
from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.hdf5 import named, open_dataset, paths_of, same_length
from sciflow.datasets.sources.joined import join_files
from sciflow.datasets.sources.reading import Reading

__all__ = ["DecodedArray", "NetCDFSource", "open_variable"]


class NetCDFSource(Source):
    """Samples of NetCDF-4 variables: as they are stored, or as xarray shows them.

    Parameters
    ----------
    path : path or sequence of paths
        One file, or several whose samples follow one another.
    keys : str or sequence of str or mapping of str to str
        Variables that make a sample ("group/name" inside a group); a mapping gives them other names.
    axis : int
        Which dimension counts the samples, in every variable.
    decode_cf : bool
        Whether ``_FillValue`` and ``missing_value`` become NaN and ``scale_factor`` and ``add_offset`` are
        applied, as by `xarray.open_dataset`. Times stay numbers. Without it values come bit for bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Corrupt
        If it is not HDF5; a NetCDF-3 file must be converted first (``nccopy -k nc4``).
    InvalidArgument
        If a variable is missing, or lengths differ.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        keys: str | Sequence[str] | Mapping[str, str],
        *,
        axis: int = 0,
        decode_cf: bool = False,
    ) -> None:
        arrays = {
            name: join_files(
                [open_variable(one, key, axis=axis, decode_cf=decode_cf) for one in paths_of(path)]
            )
            for name, key in named(keys).items()
        }
        super().__init__({name: Field(array) for name, array in same_length(arrays).items()})


def open_variable(
    path: str | os.PathLike[str], key: str, *, axis: int = 0, decode_cf: bool = False
) -> StoredArray:
    """Rows of one variable; parameters and errors as for `NetCDFSource`."""
    array = open_dataset(path, key, axis=axis)
    return _decoded(array, _conventions(path, key)) if decode_cf else array


_CONVENTIONS = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")


def _conventions(path: str | os.PathLike[str], key: str) -> dict[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        attrs = file[key].attrs
        found = {name: np.asarray(attrs[name]).reshape(-1) for name in _CONVENTIONS if name in attrs}
    return {name: _text(value[0]) if value.size == 1 else value for name, value in found.items()}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _decoded(array: StoredArray, attrs: dict[str, Any]) -> StoredArray:
    if not attrs:
        return array
    dtype = _decode(np.zeros(1, array.dtype), attrs).dtype
    return DecodedArray(array, attrs, dtype)


def _decode(values: Any, attrs: dict[str, Any]) -> Any:
    import xarray as xr

    raw = xr.Variable([f"d{axis}" for axis in range(values.ndim)], values, attrs)
    return xr.conventions.decode_cf_variable("x", raw, decode_times=False).to_numpy()


@dataclass(slots=True)
class DecodedArray:
    """Rows of an array with the CF conventions applied; see `StoredArray`."""

    array: StoredArray
    attrs: dict[str, Any]
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """Of the stored array."""
        return self.array.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the stored array."""
        return self.array.shape

    @property
    def chunk_rows(self) -> int:
        """Of the stored array."""
        return self.array.chunk_rows

    @property
    def encoded(self) -> bool:
        """Of the stored array."""
        return self.array.encoded

    def identity(self) -> dict[str, Any]:
        """The stored array's, and what is made of it."""
        return {**self.array.identity(), "cf": {name: str(value) for name, value in self.attrs.items()}}

    def stored_bytes(self) -> int | None:
        """Of the stored array."""
        return self.array.stored_bytes()

    def check(self) -> None:
        """See `StoredArray.check`."""
        self.array.check()

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        raw = [
            Want(
                want.rows,
                np.empty((len(want.rows), *want.into.shape[1:]), self.array.dtype),
                _count(want),
                want.box,
            )
            for want in wants
        ]
        self.array.read(raw, reading)
        for want, found in zip(wants, raw, strict=True):
            want.into[want.at] = _decode(found.into, self.attrs)


def _count(want: Want) -> Any:
    return np.arange(len(want.rows), dtype=np.int64)
