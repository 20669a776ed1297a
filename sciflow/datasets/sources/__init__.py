"""Where samples come from: files as they are, read by position.

```
HDF5Source  NetCDFSource  ZarrSource  NpySource ─┐
FileListSource (one file a sample) ──────────────┼─▶ Source: len, spec, take, read_into, fingerprint
windows · pairs · crops · region · join · select ┘
```
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.datasets.sources.base import Source
    from sciflow.datasets.sources.fields import FieldSpec
    from sciflow.datasets.sources.files import FileListSource
    from sciflow.datasets.sources.hdf5 import HDF5Source
    from sciflow.datasets.sources.netcdf import NetCDFSource
    from sciflow.datasets.sources.npy import NpySource
    from sciflow.datasets.sources.reading import Reading
    from sciflow.datasets.sources.zarr import ZarrSource

__all__ = [
    "FieldSpec",
    "FileListSource",
    "HDF5Source",
    "NetCDFSource",
    "NpySource",
    "Reading",
    "Source",
    "ZarrSource",
    "open_source",
]

_HOME = {
    "FieldSpec": "fields",
    "FileListSource": "files",
    "HDF5Source": "hdf5",
    "NetCDFSource": "netcdf",
    "NpySource": "npy",
    "Reading": "reading",
    "Source": "base",
    "ZarrSource": "zarr",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)


def open_source(
    path: str | os.PathLike[str], keys: str | Sequence[str] | Mapping[str, str] | None = None
) -> Source:
    """Samples of a file or store, by its kind: ``.npy``, ``.nc``, ``.zarr`` (or a folder or URL), else HDF5.

    Parameters
    ----------
    path : path or URL
        What to read.
    keys : str or sequence of str or mapping of str to str, optional
        Arrays that make a sample; may be left out where there is only one array.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidArgument
        If `keys` are needed and not given, or not there.
    """
    from sciflow.datasets.sources.hdf5 import HDF5Source, only_dataset
    from sciflow.datasets.sources.netcdf import NetCDFSource
    from sciflow.datasets.sources.npy import NpySource
    from sciflow.datasets.sources.zarr import ZarrSource
    from sciflow.errors import InvalidArgument

    text = os.fspath(path)
    suffix = Path(text).suffix.lower()
    if suffix == ".npy":
        if keys is not None:
            raise InvalidArgument(f"keys={keys!r}: {text} holds one array; leave keys out")
        return NpySource(text)
    if suffix == ".zarr" or "://" in text or Path(text).is_dir():
        return ZarrSource(text, keys)
    if suffix in {".nc", ".nc4", ".cdf"}:
        return NetCDFSource(text, keys or only_dataset(text))
    return HDF5Source(text, keys or only_dataset(text))
