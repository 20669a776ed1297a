"""HDF5: the chunk table once through h5py, everything after that by position.

h5py serialises all threads behind one lock and keeps state that a fork breaks. So it is asked for the places
of the chunks when the source is opened, and again only for data sets that only it can read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciflow.datasets.sources.array import ReadFailed, StoredArray, Want
from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.filters import decoder
from sciflow.datasets.sources.grid import GridArray, Tabled
from sciflow.datasets.sources.joined import join_files
from sciflow.datasets.sources.reading import LocalFile, Reading
from sciflow.errors import Corrupt, InvalidArgument, Unsupported

if TYPE_CHECKING:
    import h5py

__all__ = ["HDF5Source", "LibraryArray", "open_dataset", "open_datasets", "paths_of"]


class HDF5Source(Source):
    """Samples of HDF5 data sets, at the speed of the storage.

    Contiguous data, unfiltered chunks, and chunks with deflate, shuffle, Fletcher-32, Zstandard, Blosc or LZ4
    are read without h5py. Data sets with other filters, virtual or external data are read through h5py, chunk
    by chunk: correct, but one thread at a time.

    Parameters
    ----------
    path : path or sequence of paths
        One file, or several whose samples follow one another.
    keys : str or sequence of str or mapping of str to str
        Data sets that make a sample; a mapping gives them other names.
    axis : int
        Which axis counts the samples, in every data set.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidArgument
        If a data set is missing, or lengths differ.
    Unsupported
        If values have no fixed size.

    Examples
    --------
    >>> import h5py, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["x"] = np.arange(12.0).reshape(4, 3)
    >>> source = HDF5Source(path, "x")
    >>> source
    <HDF5Source of 4 samples (x: float64[3])>
    >>> source.take([2, 0])["x"]
    array([[6., 7., 8.],
           [0., 1., 2.]])
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        keys: str | Sequence[str] | Mapping[str, str],
        *,
        axis: int = 0,
    ) -> None:
        arrays = {
            name: join_files([open_dataset(one, key, axis=axis) for one in paths_of(path)])
            for name, key in named(keys).items()
        }
        super().__init__({name: Field(array) for name, array in same_length(arrays).items()})


def paths_of(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
    """One path or several, as a list.

    Raises
    ------
    InvalidArgument
        If there is none.
    """
    found: list[str | os.PathLike[str]] = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not found:
        raise InvalidArgument("no file: expected a path, or a sequence of at least one")
    return found


def named(keys: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Name in the sample to name in the file."""
    if isinstance(keys, str):
        return {keys.rsplit("/", 1)[-1]: keys}
    if isinstance(keys, Mapping):
        return dict(keys)
    return {key.rsplit("/", 1)[-1]: key for key in keys}


def same_length(arrays: Mapping[str, StoredArray]) -> Mapping[str, StoredArray]:
    """The arrays, if they have the same number of rows.

    Raises
    ------
    InvalidArgument
        If they do not.
    """
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidArgument(
            f"fields have different numbers of samples: {lengths}; choose the sample axis with axis=, "
            "or name only fields that share it"
        )
    return arrays


def open_dataset(path: str | os.PathLike[str], key: str, *, axis: int = 0) -> GridArray | LibraryArray:
    """Rows of one data set, read without h5py where that gives the same bytes.

    Parameters
    ----------
    path : path
        The file.
    key : str
        The data set.
    axis : int
        Which axis counts the rows.

    Raises
    ------
    InvalidArgument
        If there is no such data set or axis.
    Unsupported
        If its values have no fixed size.
    """
    return open_datasets(path, [key], axis=axis)[0]


def open_datasets(
    path: str | os.PathLike[str], keys: Sequence[str], *, axis: int = 0
) -> list[GridArray | LibraryArray]:
    """Rows of several data sets of one file, which is opened once; see `open_dataset`."""
    import h5py

    file = LocalFile.at(path)
    try:
        opened = h5py.File(path, "r")
    except OSError as error:
        raise Corrupt(
            f"{file.path}: h5py cannot open it ({error}); expected a whole HDF5 or NetCDF-4 file"
        ) from error
    with opened:
        return [_rows_of(opened, file, key, axis) for key in keys]


def _rows_of(opened: h5py.File, file: LocalFile, key: str, axis: int) -> GridArray | LibraryArray:
    import h5py

    dataset = opened.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise InvalidArgument(
            f"{file.path}: no data set {key!r}; it has {', '.join(_datasets(opened)) or 'none'}"
        )
    place = f"{file.path}:{dataset.name}"
    _check_rows(dataset, axis % max(dataset.ndim, 1), place)
    library = LibraryArray(
        place,
        file,
        dataset.name,
        dataset.shape,
        dataset.dtype.newbyteorder("="),
        (dataset.chunks or (1,) * dataset.ndim)[axis],
        axis % dataset.ndim,
    )
    grid = _grid(dataset, file, place, axis % dataset.ndim)
    return grid if grid is not None and _agrees(grid, dataset) else library


def only_dataset(path: str | os.PathLike[str]) -> str:
    """Name of the one data set that has samples: an axis that is not merely its own coordinate.

    Raises
    ------
    InvalidArgument
        If there are several, or none.
    """
    import h5py

    with h5py.File(LocalFile.at(path).path, "r") as opened:
        found = _datasets(opened)
        fields = [name for name in found if opened[name].ndim and not h5py.h5ds.is_scale(opened[name].id)]
    if len(fields) != 1:
        raise InvalidArgument(
            f"{path} has {', '.join(fields or found) or 'no data set'}: name what to read in keys="
        )
    return fields[0]


def _datasets(opened: h5py.File) -> list[str]:
    import h5py

    found: list[str] = []
    opened.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _check_rows(dataset: h5py.Dataset, axis: int, place: str) -> None:
    if dataset.shape is None or dataset.ndim == 0:
        raise InvalidArgument(f"{place}: a scalar has no samples; expected at least one axis")
    if axis >= dataset.ndim:
        raise InvalidArgument(f"{place}: axis {axis}, expected below {dataset.ndim}")
    if dataset.dtype.hasobject:
        raise Unsupported(f"{place}: values of {dataset.dtype} have no fixed size; store numbers")


def _grid(dataset: h5py.Dataset, file: LocalFile, place: str, axis: int) -> GridArray | None:
    """The data set as a grid of byte ranges, None where HDF5 alone knows how to read it."""
    import h5py

    plist = dataset.id.get_create_plist()
    if plist.get_external_count() or dataset.id.get_type().get_size() != dataset.dtype.itemsize:
        return None
    if plist.get_layout() == h5py.h5d.CONTIGUOUS and axis == 0:
        offset = dataset.id.get_offset()
        offsets = np.array([-1 if offset is None else offset], np.int64)
        table = Tabled(file, (1,) * dataset.ndim, offsets, np.array([dataset.nbytes], np.int64))
        return GridArray(
            place, dataset.shape, dataset.shape, dataset.dtype, table, None, dataset.fillvalue, 0
        )
    if plist.get_layout() != h5py.h5d.CHUNKED:
        return None
    filters = [
        (number, client) for number, _, client, _ in map(plist.get_filter, range(plist.get_nfilters()))
    ]
    decode = decoder(filters, chunk_bytes=int(np.prod(dataset.chunks)) * dataset.dtype.itemsize)
    if decode is None:
        return None
    raw = not filters and axis == 0
    table = _chunk_table(dataset, file)
    decoding = None if raw else decode
    return GridArray(
        place, dataset.shape, dataset.chunks, dataset.dtype, table, decoding, dataset.fillvalue, axis
    )


def _chunk_table(dataset: h5py.Dataset, file: LocalFile) -> Tabled:
    chunks = dataset.chunks
    grid = tuple(-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True))
    count = int(np.prod(grid, dtype=np.int64))
    offsets, lengths = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    masks = np.zeros(count, np.uint32)
    strides = [int(np.prod(grid[axis + 1 :], dtype=np.int64)) for axis in range(len(grid))]

    def note(info: Any) -> None:
        indices = [at // c for at, c in zip(info.chunk_offset, chunks, strict=True)]
        if all(
            index < n for index, n in zip(indices, grid, strict=True)
        ):  # a data set that shrank keeps more
            flat = sum(index * stride for index, stride in zip(indices, strides, strict=True))
            offsets[flat], lengths[flat], masks[flat] = info.byte_offset, info.size, info.filter_mask

    if dataset.id.get_num_chunks():
        dataset.id.chunk_iter(note)
    return Tabled(file, grid, offsets, lengths, masks if masks.any() else None)


def _agrees(grid: GridArray, dataset: h5py.Dataset) -> bool:
    """Whether our way and HDF5's give the same bytes for a row of the first and of the last stored chunk.

    It settles what no single field of the file says: user blocks, unusual types, filters with unusual
    settings, chunks at the edge that are stored without filters.
    """
    table = grid.table
    assert isinstance(table, Tabled)
    stored = np.flatnonzero(table.offsets >= 0)
    if not len(stored) or 0 in dataset.shape:
        return True
    ends = {int(stored[0]), int(stored[-1])}
    return all(_agrees_at(grid, dataset, np.unravel_index(flat, table.grid)) for flat in ends)


def _agrees_at(grid: GridArray, dataset: h5py.Dataset, chunk: tuple[np.intp, ...]) -> bool:
    start = [int(i) * c for i, c in zip(chunk, grid.stored_chunks, strict=True)]
    row, *inner = (start[grid.axis], *start[: grid.axis], *start[grid.axis + 1 :])
    chunks = (*grid.stored_chunks[: grid.axis], *grid.stored_chunks[grid.axis + 1 :])
    box = tuple((a, min(a + c, n)) for a, c, n in zip(inner, chunks, grid.shape[1:], strict=True))
    into = np.empty((1, *(b - a for a, b in box)), dataset.dtype)
    one = np.zeros(1, np.int64)
    where = [slice(a, b) for a, b in box]
    where.insert(grid.axis, slice(row, row + 1))
    try:
        expected = np.moveaxis(dataset[tuple(where)], grid.axis, 0)
    except OSError:
        return True  # damaged, or a filter that is not installed: reading it will say so
    try:
        grid.read([Want(one + row, into, one, box)], Reading())
    except ReadFailed:
        return False
    return bool(expected.tobytes() == into.tobytes())


@dataclass(slots=True)
class LibraryArray:
    """Rows of a data set that only HDF5 can read; see `StoredArray`.

    Parameters
    ----------
    name : str
        File and data set.
    file : LocalFile
        Where it is.
    key : str
        The data set.
    stored_shape : tuple of int
        Of the array as it is stored.
    dtype : dtype
        In the machine's byte order.
    chunk_rows : int
        Rows of a chunk.
    axis : int
        The sample axis.
    """

    name: str
    file: LocalFile
    key: str
    stored_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    axis: int
    _opened: tuple[int, Any, Any] | None = field(default=None, repr=False, compare=False)

    encoded = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        axis = self.axis
        return (self.stored_shape[axis], *self.stored_shape[:axis], *self.stored_shape[axis + 1 :])

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "chunks": [self.chunk_rows],
            "files": [self.file.stamp()],
        }

    def stored_bytes(self) -> None:
        """See `StoredArray.stored_bytes`."""

    def check(self) -> None:
        """See `StoredArray.check`."""
        self.file.check()

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.name, self.file, self.key, self.stored_shape, self.dtype, self.chunk_rows, self.axis)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.name, self.file, self.key, self.stored_shape, self.dtype, self.chunk_rows, self.axis = state
        self._opened = None

    def _dataset(self) -> h5py.Dataset:
        import h5py

        if self._opened is None or self._opened[0] != os.getpid():  # a handle does not survive a fork
            self.file.check()
            opened = h5py.File(self.file.path, "r")
            self._opened = (os.getpid(), opened, opened[self.key])
        return self._opened[2]

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`: each chunk's rows in one call of h5py."""
        for want in wants:
            chunks = want.rows // self.chunk_rows
            for chunk in np.unique(chunks).tolist():
                lo, hi = np.searchsorted(chunks, [chunk, chunk + 1]).tolist()
                self._read_chunk(want, lo, hi, reading)

    def _read_chunk(self, want: Want, lo: int, hi: int, reading: Reading) -> None:
        first, last = int(want.rows[lo]), int(want.rows[hi - 1])
        where = [slice(start, stop) for start, stop in want.box]
        where.insert(self.axis, slice(first, last + 1))
        try:
            found = np.moveaxis(self._dataset()[tuple(where)], self.axis, 0)
        except OSError as error:
            cause = Corrupt(
                f"{self.name}: h5py cannot read rows {first}..{last} ({error}); copy the file again, or "
                "install "
                "the filter that it names (hdf5plugin has many)"
            )
            raise ReadFailed((first, last), cause) from error
        reading.count(found.nbytes)
        reading.decodes += 1
        want.into[want.at[lo:hi]] = found[want.rows[lo:hi] - first]
