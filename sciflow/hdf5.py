"""HDF5: the filter ``sciflow_sz``, for h5py, netCDF4, xarray and every program that reads HDF5 1.10 or newer.

::

    SZ(bound) ── words ──▶ dataset's properties ── create ──▶ words + dtype + chunk (docs/hdf5.md)
                           chunk ── filter ──▶ stream of sciflow.sz ── filter ──▶ chunk

Importing this module registers the filter in every libhdf5 of the process. Another program finds it through
``HDF5_PLUGIN_PATH``: ``export HDF5_PLUGIN_PATH=$(python -m sciflow.hdf5)``.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sciflow import _native
from sciflow.bounds import Bound, ValueRange, resolve
from sciflow.codecs.sentinels import Sentinel, sentinel_bits
from sciflow.codecs.sz import Level, SZConfig, check_dtype, decode
from sciflow.errors import InvalidArgument, SciflowError, StoreError, Unsupported

if TYPE_CHECKING:
    import netCDF4
    import xarray as xr

__all__ = ["FILTER", "SZ", "check", "define_filter", "encoding", "plugin_folder", "register"]

FILTER = 33070
"""The filter's number, of the range that HDF5 leaves to everybody."""

_LAYOUT = 1
_LEVELS: tuple[Level, ...] = ("fast", "quick", "balanced", "max")
_POINTWISE, _REWRITE_SAFE, _UNVERIFIED = 1, 2, 4
_MAX_PRESERVED = 15  # the dataset's own fill value is one more


class SZ(h5py.filters.FilterRefBase):  # type: ignore[misc]
    """The filter's settings, as h5py takes them: ``create_dataset(..., chunks=..., compression=SZ(1e-3))``.

    Parameters
    ----------
    bound : Bound or float
        The promise, for every value of the dataset; a number means ``Bound.abs``. ``Bound.rel`` needs `like`.
    like : array_like, float32|float64, shape (...), optional
        What will be written, whole: its range settles ``Bound.rel``, and its dtype the width of `preserve`.
    level, preserve, rewrite_safe, verify
        As for `sciflow.SZ`. A fill value that the dataset is given is preserved without being
        named. HDF5 encodes a chunk again when a part of it is written, and errors then add up, unless
        `rewrite_safe`.
    dtype : dtype, optional
        Of the dataset, where `preserve` is given and `like` is not. float32 by default.

    Raises
    ------
    InvalidArgument
        If a value is not allowed, or the bound is not one that each chunk can keep by itself.

    Examples
    --------
    >>> SZ(1e-3)
    SZ(Bound.abs(0.001))
    >>> SZ(Bound.rel(1e-3), like=[0.0, 50.0], level="max")
    SZ(Bound.abs(0.05), level='max')
    """

    filter_id = FILTER

    def __init__(
        self,
        bound: Bound | float,
        *,
        like: Any = None,
        level: Level = "balanced",
        preserve: Iterable[Sentinel] = (),
        rewrite_safe: bool = False,
        verify: bool = True,
        dtype: Any = None,
    ) -> None:
        config = SZConfig(bound, level=level, preserve=preserve, rewrite_safe=rewrite_safe, verify=verify)
        self._set(config, None if like is None else np.asarray(like), dtype)

    @classmethod
    def of(cls, config: SZConfig, *, dtype: Any) -> SZ:
        """Return the filter of a codec's configuration whose bound is ``abs`` or ``pointwise_rel``."""
        made = cls.__new__(cls)
        made._set(config, None, dtype)
        return made

    def _set(self, config: SZConfig, like: NDArray[Any] | None, dtype: Any) -> None:
        kind = np.dtype(dtype if dtype is not None else like.dtype if like is not None else "f4")
        check_dtype(kind)
        self.config = _settled(config, like, kind)
        self.filter_options = _words(self.config, kind)
        register()

    def __repr__(self) -> str:
        return f"SZ({self.config.arguments()})"


def plugin_folder() -> Path:
    """Return the folder for ``HDF5_PLUGIN_PATH``, with the filter for any program.

    Raises
    ------
    StoreError
        If this installation was built without it.
    """
    folder = Path(_native.__file__).parent / "_hdf5"
    if not any(folder.glob("libh5z_sciflow*")):
        raise StoreError(
            f"{folder}: found no HDF5 plugin; install sciflow again (pip install --force-reinstall)"
        )
    return folder


def register() -> int:
    """Make the filter known to every libhdf5 that this process has loaded; return to how many.

    h5py and netCDF4 bring one each. Import them first, or call this again: reading by a library that was
    loaded later fails with "can't open directory" otherwise.

    Raises
    ------
    StoreError
        If a library refuses it.
    """
    found = _loaded("hdf5")
    for path in found:
        _register_in(path)
    return len(found)


def check(dataset: h5py.Dataset) -> int:
    """Decode every chunk of a dataset and return how many there are.

    HDF5 only says that a filter failed; this says where and why.

    Parameters
    ----------
    dataset : h5py.Dataset
        Compressed by this filter alone.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        Of the first chunk that cannot be decoded, by file, dataset and offset of the chunk.
    InvalidArgument
        If the dataset is not compressed by this filter alone.
    """
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if filters != [FILTER]:
        raise InvalidArgument(f"{dataset.name}: found filters {filters}, expected {FILTER} alone")
    count = int(dataset.id.get_num_chunks())
    for offset in (dataset.id.get_chunk_info(i).chunk_offset for i in range(count)):
        skipped, stream = dataset.id.read_direct_chunk(offset)
        if skipped:
            continue
        try:
            decode(stream)
        except SciflowError as error:
            raise type(error)(
                f"{dataset.file.filename}: {dataset.name}, chunk at {offset}: {error}"
            ) from error
    return count


def define_filter(variable: netCDF4.Variable[Any], sz: SZ) -> None:
    """Let netCDF4 compress a variable that was created, before anything is written to it.

    Parameters
    ----------
    variable : netCDF4.Variable, float32|float64
        Of a NETCDF4 file that is open for writing; made with ``zlib=False``.
    sz : SZ
        The filter's settings.

    Raises
    ------
    StoreError
        If netCDF refuses, with its reason; if no netCDF-C library is loaded.
    """
    register()
    libraries = _loaded("netcdf")
    if not libraries:
        raise StoreError("found no netCDF-C library in this process; import netCDF4 before")
    library = ctypes.CDLL(str(libraries[0]))
    library.nc_strerror.restype = ctypes.c_char_p
    words = (ctypes.c_uint * len(sz.filter_options))(*sz.filter_options)
    status = library.nc_def_var_filter(
        ctypes.c_int(variable._grpid), ctypes.c_int(variable._varid), ctypes.c_uint(FILTER),
        ctypes.c_size_t(len(words)), words,
    )  # fmt: skip
    if status:
        raise StoreError(
            f"{variable.name}: netCDF refuses the filter: {library.nc_strerror(status).decode()}"
        )


def encoding(
    dataset: xr.Dataset,
    *,
    bound: Bound | str | float | None = None,
    per_variable: Mapping[str, Bound | str | float | None] | None = None,
    level: Level = "balanced",
    chunks: Mapping[str, int] | str | None = None,
    rewrite_safe: bool = False,
) -> dict[str, dict[str, Any]]:
    """Give ``Dataset.to_netcdf(path, engine="h5netcdf")`` the encoding that `sciflow.compress` would use.

    Bounds are resolved over whole variables. What is not compressed lossily gets deflate and shuffle.

    Parameters
    ----------
    dataset, bound, per_variable, level, chunks, rewrite_safe
        As for `sciflow.encoding`.

    Returns
    -------
    dict
        For ``ds.to_netcdf(path, engine="h5netcdf", encoding=...)``; ``engine="netcdf4"`` reads the file back.

    Raises
    ------
    InvalidArgument
        As `sciflow.compress`; if a bound is not one that each chunk can keep by itself.
    """
    from sciflow.store import encoding as zarr_encoding

    register()
    found = zarr_encoding(
        dataset, bound=bound, per_variable=per_variable, level=level, chunks=chunks, rewrite_safe=rewrite_safe
    )
    return {name: _hdf5_encoding(name, ours, dataset[name].dtype) for name, ours in found.items()}


def _hdf5_encoding(name: str, ours: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    kept = {k: v for k, v in ours.items() if k not in ("serializer", "compressors", "chunks", "fill_value")}
    if not ours.get("chunks"):
        return kept
    kept["chunksizes"] = tuple(ours["chunks"])
    codec = ours.get("serializer")
    if codec is None:
        return kept if dtype.kind in "OSU" else kept | {"zlib": True, "shuffle": True}
    if not isinstance(codec.config, SZConfig):
        raise Unsupported(f"{name}: {codec!r} is no filter of HDF5; choose SZ, or write Zarr")
    sz = SZ.of(codec.config, dtype=dtype)
    return kept | {"compression": sz.filter_id, "compression_opts": sz.filter_options, "shuffle": False}


def _settled(config: SZConfig, like: NDArray[Any] | None, dtype: np.dtype[Any]) -> SZConfig:
    bound = config.bound
    if bound.kind == "rel":
        if like is None:
            raise InvalidArgument(
                f"{bound!r}: the filter sees one chunk at a time; give the whole data as like="
            )
        bits = sentinel_bits(config.preserve, dtype)
        sentinels = np.array(bits, dtype=f"u{dtype.itemsize}").view(dtype.newbyteorder("="))
        bound = Bound.abs(resolve(bound, ValueRange.of(like, preserve=sentinels.tolist())).value)
    elif bound.kind not in ("abs", "pointwise_rel"):
        raise InvalidArgument(
            f"{bound!r}: the filter sees one chunk at a time; give Bound.abs or Bound.pointwise_rel"
        )
    if config.block_values is not None:
        raise InvalidArgument(
            f"block_values={config.block_values}: HDF5 reads whole chunks; make the chunks smaller"
        )
    if len(config.preserve) > _MAX_PRESERVED:
        raise InvalidArgument(
            f"{len(config.preserve)} values to preserve: the filter keeps up to {_MAX_PRESERVED}"
        )
    return SZConfig(
        bound,
        level=config.level,
        preserve=config.preserve,
        rewrite_safe=config.rewrite_safe,
        verify=config.verify,
    )


def _words(config: SZConfig, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Spell what is asked as the filter's client data (docs/hdf5.md)."""
    flags = (
        _POINTWISE * (config.bound.kind == "pointwise_rel")
        | _REWRITE_SAFE * config.rewrite_safe
        | _UNVERIFIED * (not config.verify)
    )
    words = [
        _LAYOUT,
        _LEVELS.index(config.level),
        flags,
        *struct.unpack("<II", struct.pack("<d", config.bound.value)),
    ]
    bits = sentinel_bits(config.preserve, dtype)
    return (*words, len(bits), *(half for pattern in bits for half in (pattern & 0xFFFFFFFF, pattern >> 32)))


def _loaded(name: str) -> list[Path]:
    """Return the libraries lib<name> of this process, without those for high-level use (libhdf5_hl)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    paths = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if line.count("/")}
    return sorted(
        Path(path) for path in paths if re.match(rf"lib{name}(_serial|_openmpi|_mpich)?[-.]", Path(path).name)
    )


@lru_cache
def _plugin() -> int:
    library = ctypes.CDLL(str(next(plugin_folder().glob("libh5z_sciflow*"))))
    library.H5PLget_plugin_info.restype = ctypes.c_void_p
    return int(library.H5PLget_plugin_info())


@lru_cache
def _register_in(path: Path) -> None:
    library = ctypes.CDLL(str(path))
    if library.H5open() < 0 or library.H5Zregister(ctypes.c_void_p(_plugin())) < 0:
        raise StoreError(f"{path}: HDF5 refuses the filter; is it older than 1.10?")


def _main() -> None:
    import argparse
    import sys

    parser = argparse.ArgumentParser(
        prog="python -m sciflow.hdf5",
        description="Say where the HDF5 plugin lies, for HDF5_PLUGIN_PATH; or the numbers that h5repack and "
        "nccopy take for a bound.",
    )
    parser.add_argument(
        "--abs", type=float, metavar="BOUND", help="|x - x'| <= BOUND, in the unit of the data"
    )
    parser.add_argument("--level", choices=_LEVELS, default="balanced", help="bytes against seconds")
    asked = parser.parse_args()
    if asked.abs is None:
        sys.stdout.write(f"{plugin_folder()}\n")
        return
    words = SZ(asked.abs, level=asked.level).filter_options
    numbers = ",".join(map(str, words))
    sys.stdout.write(f"h5repack -f UD={FILTER},0,{len(words)},{numbers} IN OUT\n")
    sys.stdout.write(f"nccopy -F '*,{FILTER},{numbers}' IN OUT\n")


register()

if __name__ == "__main__":
    _main()
