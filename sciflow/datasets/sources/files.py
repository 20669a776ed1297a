"""One file a sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.array import ReadFailed, Want
from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.reading import LocalFile, Reading
from sciflow.errors import Corrupt, InvalidArgument, SciflowError

__all__ = ["FileListSource", "Load"]

Load = Callable[[str], Mapping[str, NDArray[Any]] | NDArray[Any]]


class FileListSource(Source):
    """Samples that are files: each is loaded whole by a function of yours.

    All samples must have the shapes and dtypes of the first.

    Parameters
    ----------
    paths : sequence of paths
        Sample i is file i.
    load : callable, optional
        Takes a path; gives an array (called ``"x"``) or a mapping of names to arrays. Must be a function of a
        module where workers are spawned. `numpy.load` where it is not given.

    Raises
    ------
    InvalidArgument
        If there are no paths.
    FileNotFoundError
        If one does not exist.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], load: Load | None = None) -> None:
        if not paths:
            raise InvalidArgument("no files: expected at least one path")
        files = _Files(tuple(LocalFile.at(path) for path in paths), load or _load_npy)
        first = files.load(0)
        super().__init__({name: Field(FileArray(files, name, a.shape, a.dtype)) for name, a in first.items()})

    def read_into(
        self,
        ids: NDArray[np.int64],
        slots: NDArray[np.int64],
        arena: Mapping[str, NDArray[Any]],
        reading: Reading,
    ) -> None:
        """See `Source.read_into`; each file is loaded once for all its fields."""
        fields = list(self._fields.values())
        plain = self._stride == 1 and self._tiles is None
        if not plain or not all(isinstance(f.array, FileArray) and f.box is None for f in fields):
            super().read_into(ids, slots, arena, reading)
            return
        files: _Files = fields[0].array.files  # type: ignore[attr-defined]
        for sample, slot in zip(ids.tolist(), slots.tolist(), strict=True):
            try:
                found = files.read(sample, reading)
                for name, field in self._fields.items():
                    arena[name][slot] = files.field(found, field.array, sample)  # type: ignore[arg-type]
            except SciflowError as error:
                raise type(error)(f"{error} (wanted by sample {sample})") from error


def _load_npy(path: str) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(path, allow_pickle=False)
    return loaded


@dataclass(frozen=True, slots=True)
class _Files:
    paths: tuple[LocalFile, ...]
    loader: Load

    def load(self, sample: int) -> dict[str, NDArray[Any]]:
        file = self.paths[sample]
        file.check()
        try:
            found = self.loader(file.path)
        except Exception as error:
            raise Corrupt(
                f"{file.path}: cannot be loaded ({type(error).__name__}: {error}); copy it again, or see "
                "that load= "
                "takes such files"
            ) from error
        if isinstance(found, Mapping):
            return {name: np.asarray(value) for name, value in found.items()}
        return {"x": np.asarray(found)}

    def read(self, sample: int, reading: Reading) -> dict[str, NDArray[Any]]:
        reading.count(self.paths[sample].size())
        reading.decodes += 1
        return self.load(sample)

    def field(self, found: Mapping[str, NDArray[Any]], array: FileArray, sample: int) -> NDArray[Any]:
        value = found.get(array.key)
        if value is None or (value.shape, value.dtype) != (array.shape[1:], array.stored_dtype):
            shown = "nothing" if value is None else f"{value.dtype}{list(value.shape)}"
            raise Corrupt(
                f"{self.paths[sample].path}: {array.key} is {shown}, expected {array.stored_dtype}"
                f"{list(array.shape[1:])} as in {self.paths[0].path}; make samples alike, or pad them in "
                "load="
            )
        return value


@dataclass(slots=True)
class FileArray:
    """One field of all files; see `StoredArray`."""

    files: _Files
    key: str
    sample_shape: tuple[int, ...]
    stored_dtype: np.dtype[Any]

    encoded = False
    chunk_rows = 1

    @property
    def name(self) -> str:
        """First and last file."""
        return f"{self.files.paths[0].path} ... {self.files.paths[-1].path}"

    @property
    def shape(self) -> tuple[int, ...]:
        """One row a file."""
        return (len(self.files.paths), *self.sample_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """In the machine's byte order."""
        return self.stored_dtype.newbyteorder("=")

    def identity(self) -> dict[str, Any]:
        """See `StoredArray.identity`."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.stored_dtype.str,
            "files": [file.stamp() for file in self.files.paths],
        }

    def stored_bytes(self) -> None:
        """See `StoredArray.stored_bytes`."""

    def check(self) -> None:
        """See `StoredArray.check`."""
        for file in self.files.paths:
            file.check()

    def read(self, wants: list[Want], reading: Reading) -> None:
        """See `StoredArray.read`."""
        for row in np.unique(np.concatenate([want.rows for want in wants])).tolist():
            try:
                value = self.files.field(self.files.read(row, reading), self, row)
            except SciflowError as error:
                raise ReadFailed((row, row), error) from error
            for want in wants:
                box = tuple(slice(start, stop) for start, stop in want.box)
                want.into[want.at[want.rows == row]] = value[box]
