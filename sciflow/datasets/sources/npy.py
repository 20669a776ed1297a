"""NumPy's .npy files: a header, then values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.grid import GridArray, Tabled
from sciflow.datasets.sources.hdf5 import paths_of, same_length
from sciflow.datasets.sources.joined import join_files
from sciflow.datasets.sources.reading import LocalFile
from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported

__all__ = ["NpySource", "open_npy"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class NpySource(Source):
    """Samples of .npy files: index along the first axis.

    Parameters
    ----------
    paths : path, sequence of paths, or mapping of str to these
        One array is called ``"x"``; a mapping names several that share their samples. The arrays of a
        sequence follow one another.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Truncated
        If a file ends before its values do.
    Unsupported
        If values are objects, or stored in Fortran order.
    InvalidArgument
        If lengths differ.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "u.npy"
    >>> np.save(path, np.arange(6, dtype="f4").reshape(3, 2))
    >>> NpySource(path).take([2])["x"]
    array([[4., 5.]], dtype=float32)
    """

    def __init__(self, paths: Paths | Mapping[str, Paths]) -> None:
        named = paths if isinstance(paths, Mapping) else {"x": paths}
        arrays = {
            name: join_files([open_npy(path) for path in paths_of(several)])
            for name, several in named.items()
        }
        super().__init__({name: Field(array) for name, array in same_length(arrays).items()})


def open_npy(path: str | os.PathLike[str]) -> GridArray:
    """Rows of one .npy file.

    Raises
    ------
    Corrupt
        If it does not begin as a .npy file does.
    Truncated
        If it ends before its values do.
    Unsupported
        If values are objects or in Fortran order.
    """
    file = LocalFile.at(path)
    shape, fortran, dtype, offset = _header(file.path)
    if dtype.hasobject:
        raise Unsupported(
            f"{file.path}: holds objects, expected numbers; save them with an array of a fixed dtype"
        )
    if fortran and len(shape) > 1:
        raise Unsupported(f"{file.path}: stored in Fortran order; save np.ascontiguousarray(values) instead")
    if not shape:
        raise InvalidArgument(f"{file.path}: a scalar has no samples; expected at least one axis")
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if file.size() < offset + size:
        raise Truncated(
            f"{file.path}: holds {file.size()} bytes, expected {offset + size} for {dtype}{list(shape)}; "
            "copy it again"
        )
    table = Tabled(file, (1,) * len(shape), np.array([offset], np.int64), np.array([size], np.int64))
    return GridArray(file.path, shape, shape, dtype, table)


def _header(path: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    with Path(path).open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
        except ValueError as error:
            raise Corrupt(f"{path}: not a .npy file ({error}); expected one that np.save wrote") from error
        return shape, fortran, dtype, file.tell()
