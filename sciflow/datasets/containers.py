"""Variables of a file or folder, whatever keeps them: HDF5, NetCDF-4, Zarr, npy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciflow.datasets.sources.array import StoredArray
from sciflow.datasets.sources.netcdf import open_variable
from sciflow.datasets.sources.npy import open_npy
from sciflow.errors import Corrupt, InvalidArgument, Unsupported

if TYPE_CHECKING:
    import h5py

__all__ = [
    "AnyPath",
    "array_of",
    "axes_of",
    "files_of",
    "holds_one",
    "is_hdf5",
    "is_npy",
    "is_zarr",
    "member",
    "opened",
    "variables",
]

AnyPath = str | os.PathLike[str]

SUFFIXES = (".h5", ".hdf5", ".hdf")


def files_of(path: AnyPath | Sequence[AnyPath]) -> list[AnyPath]:
    """Return the files of a path: itself, or the HDF5 files of a folder."""
    if not isinstance(path, str | os.PathLike):
        if not path:
            raise InvalidArgument("path: found an empty sequence, expected at least one file")
        return list(path)
    if "://" not in os.fspath(path) and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not Path(path).is_dir() or is_zarr(path) or is_npy(path):
        return [path]
    found = sorted(each for each in Path(path).iterdir() if each.suffix in SUFFIXES)
    if not found:
        kinds = ", ".join(SUFFIXES)
        raise InvalidArgument(f"{path}: found a folder without {kinds} or .npy files, expected some")
    return list(found)


def is_npy(path: AnyPath) -> bool:
    """Whether it is an .npy file, or a folder of such."""
    return Path(path).suffix == ".npy" or (Path(path).is_dir() and any(Path(path).glob("*.npy")))


def is_zarr(path: AnyPath) -> bool:
    """Whether it is a Zarr array or group, or a URL, which is taken for one."""
    marks = (".zgroup", ".zarray", "zarr.json")
    remote = "://" in os.fspath(path)
    return remote or (Path(path).is_dir() and any(Path(path, mark).is_file() for mark in marks))


def holds_one(path: AnyPath) -> bool:
    """Whether it is a single array, which goes by any name: an .npy file, or a Zarr array without a group."""
    if is_zarr(path):
        import zarr

        return isinstance(zarr.open(os.fspath(path), mode="r"), zarr.Array)
    return is_npy(path) and Path(path).is_file()


def is_hdf5(path: AnyPath) -> bool:
    """Whether it is to be read as HDF5, which NetCDF-4 is too: whatever is nothing else."""
    return not is_npy(path) and not is_zarr(path)


def array_of(path: AnyPath, name: str) -> StoredArray:
    """Return the rows of a variable of any kind of file."""
    if is_npy(path):
        return open_npy(_npy(Path(path), name))
    if is_zarr(path):
        from sciflow.datasets.sources.zarr import open_array

        array = _zarr_member(path, name)
        packed = {"scale_factor", "add_offset"} & set(array.attrs)
        if packed:
            raise Unsupported(f"{path}: {name} is packed ({', '.join(sorted(packed))}); write it unpacked")
        return open_array(array)
    with opened(path) as file:
        member(file, name, variables(file))
    return open_variable(path, name, decode_cf=True)


def _npy(path: Path, name: str) -> Path:
    if path.is_file():
        return path
    found = path / f"{name}.npy"
    if not found.is_file():
        names = ", ".join(sorted(each.stem for each in path.glob("*.npy")))
        raise InvalidArgument(f"{path}: found no variable {name!r}, expected one of {names}")
    return found


def _zarr_member(path: AnyPath, name: str) -> Any:
    import zarr

    group = zarr.open(os.fspath(path), mode="r")
    if isinstance(group, zarr.Array):
        return group
    member = group.get(name)
    if not isinstance(member, zarr.Array):
        names = ", ".join(sorted(key for key, _ in group.arrays()))
        raise InvalidArgument(f"{path}: found no variable {name!r}, expected one of {names}")
    return member


@contextmanager
def opened(path: AnyPath) -> Iterator[h5py.File]:
    """Give an HDF5 file, and close it.

    Raises
    ------
    Corrupt
        If h5py cannot open it.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Corrupt(
            f"{path}: h5py cannot open it ({error}); expected a whole HDF5 or NetCDF-4 file"
        ) from error
    with file:
        yield file


def member(file: h5py.File, name: str, known: Iterable[str]) -> h5py.Dataset:
    """Return data set ``name``, which is one of ``known``.

    Raises
    ------
    InvalidArgument
        If it is not; the message lists those that are.
    """
    if name not in known:
        names = ", ".join(known) or "none"
        raise InvalidArgument(f"{file.filename}: found no variable {name!r}, expected one of {names}")
    return file[name]


def variables(file: h5py.File) -> list[str]:
    """Return the names of all data sets, those in groups with their path."""
    import h5py

    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def axes_of(path: AnyPath, names: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Return the names of each variable's axes, None where the file has none."""
    if is_npy(path):
        return dict.fromkeys(names)
    if is_zarr(path):
        return {name: _zarr_axes(_zarr_member(path, name)) for name in names}
    with opened(path) as file:
        return {name: _hdf5_axes(member(file, name, variables(file))) for name in names}


def _hdf5_axes(dataset: h5py.Dataset) -> tuple[str, ...] | None:
    """Return the names of the scales of a data set's axes, as NetCDF-4 has them."""
    names = [axis[0].name.rsplit("/", 1)[-1] if len(axis) else axis.label for axis in dataset.dims]
    return tuple(names) if any(names) else None


def _zarr_axes(array: Any) -> tuple[str, ...] | None:
    names = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None)
    return tuple(names) if names else None
