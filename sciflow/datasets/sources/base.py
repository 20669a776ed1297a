"""Samples of stored arrays: one index, one or several arrays."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.array import ReadFailed, StoredArray, Want
from sciflow.datasets.sources.fields import Field, FieldSpec, Tiles
from sciflow.datasets.sources.reading import Reading
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning.layout import Layout

__all__ = ["Arena", "Source"]

Arena = Mapping[str, NDArray[Any]]
"""An array for each field, shape (slots, ...)."""

_SMALL_SHARE = 0.1
"""A field with less than this share of a sample's bytes does not decide how samples are read."""


class Source:
    """Samples by number, read straight from the files; safe in any thread, after fork and after pickling.

    Make one with `HDF5Source`, `NetCDFSource`, `ZarrSource`, `NpySource` or `FileListSource`; `windows`,
    `pairs`, `crops` and `join` give other samples of the same files.

    Parameters
    ----------
    fields : mapping of str to Field
        What a sample holds.
    stride : int
        Rows from one sample to the next.

    Raises
    ------
    InvalidArgument
        If there is no field, or no whole sample.
    """

    def __init__(self, fields: Mapping[str, Field], *, stride: int = 1, tiles: Tiles | None = None) -> None:
        if not fields:
            raise InvalidArgument("a source needs at least one field: name the arrays to read in keys=")
        self._fields = dict(fields)
        self._stride = stride
        self._tiles = tiles
        lengths = {name: field.rows(stride) for name, field in self._fields.items()}
        self._steps = min(lengths.values())
        if self._steps < 1:
            raise InvalidArgument(
                f"no whole sample: the fields have rows for {lengths} samples; use smaller windows"
            )

    @classmethod
    def of(cls, arrays: Mapping[str, StoredArray]) -> Source:
        """One row of each array a sample.

        Raises
        ------
        InvalidArgument
            If the arrays do not have the same number of rows.
        """
        lengths = {name: array.shape[0] for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidArgument(
                f"fields have different numbers of samples: {lengths}; choose the sample axis of each with "
                "axis=, "
                "or name only fields that share it"
            )
        return Source({name: Field(array) for name, array in arrays.items()})

    def __len__(self) -> int:
        return self._steps * (len(self._tiles.starts) if self._tiles else 1)

    def __repr__(self) -> str:
        fields = ", ".join(f"{s.name}: {s.dtype.name}{list(s.shape)}" for s in self.spec)
        return f"<{type(self).__name__} of {len(self)} samples ({fields})>"

    @property
    def spec(self) -> tuple[FieldSpec, ...]:
        """Name, shape and dtype of each field of a sample."""
        return tuple(
            FieldSpec(name, self._sample_shape(f), f.array.dtype) for name, f in self._fields.items()
        )

    def _sample_shape(self, field: Field) -> tuple[int, ...]:
        box = tuple(stop - start for start, stop in field.bounds)
        if field.tiled and self._tiles is not None:
            box = self._tiles.size
        return (len(field.offsets), *box) if field.stacked else box

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample, all fields together."""
        return sum(spec.bytes for spec in self.spec)

    @property
    def layout(self) -> Layout:
        """What the planner asks: how many samples, and which of them come together."""
        from sciflow.datasets.planning.layout import Layout

        together = self.samples_per_chunk
        return Layout(
            samples=len(self),
            samples_per_chunk=together,
            filtered=bool(self._encoded()),
            stored_fraction=self._stored_fraction(),
        )

    @property
    def samples_per_chunk(self) -> int:
        """Samples that one decode gives: 1 where every row can be read by itself.

        Small fields beside large ones, as labels are, do not count.
        """
        rows = max((field.array.chunk_rows for field in self._encoded()), default=1)
        tiles = len(self._tiles.starts) if self._tiles else 1
        return max(1, rows // self._stride) * tiles

    def _encoded(self) -> list[Field]:
        enough = _SMALL_SHARE * self.sample_bytes
        fields = zip(self._fields.values(), self.spec, strict=True)
        return [field for field, spec in fields if field.array.encoded and spec.bytes >= enough]

    def _stored_fraction(self) -> float:
        arrays = [field.array for field in self._fields.values()]
        values = [int(np.prod(a.shape, dtype=np.int64)) * a.dtype.itemsize for a in arrays]
        stored = [size if (size := a.stored_bytes()) else n for a, n in zip(arrays, values, strict=True)]
        return sum(stored) / sum(values)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Local files that hold the samples, as far as they are known."""
        found = {
            Path(file["path"]): None
            for field in self._fields.values()
            for file in field.array.identity()["files"]
            if "size" in file
        }
        return tuple(found)

    def fingerprint(self) -> dict[str, Any]:
        """What a plan must find unchanged: files, sizes, times of change, shapes, dtypes and chunk tables.

        Returns
        -------
        dict
            Flat, and ready for JSON.
        """
        found: dict[str, Any] = {"samples": len(self), "sample_bytes": self.sample_bytes}
        for name, field in self._fields.items():
            identity = field.array.identity()
            files = identity.pop("files")
            found |= {f"{name}.{key}": value for key, value in identity.items()}
            found[f"{name}.files"] = len(files)
            found[f"{name}.size"] = sum(file.get("size", 0) for file in files)
            found[f"{name}.mtime_ns"] = max((file.get("mtime_ns", 0) for file in files), default=0)
            found[f"{name}.stamps"] = _digest(files)
            found[f"{name}.sample"] = _digest([field.offsets, field.stacked, field.bounds, self._stride])
        if self._tiles is not None:
            found["tiles"] = _digest([self._tiles.size, self._tiles.starts])
        return found

    def check(self) -> None:
        """Look whether the files are as they were when the source was opened.

        Raises
        ------
        SourceChanged
            If one changed or is gone.
        """
        for field in self._fields.values():
            field.array.check()

    def arena(self, slots: int) -> dict[str, NDArray[Any]]:
        """Fresh arrays for so many samples.

        Returns
        -------
        dict of str to ndarray, shape (slots, ...)
        """
        return {spec.name: np.empty((slots, *spec.shape), spec.dtype) for spec in self.spec}

    def read_into(
        self, ids: NDArray[np.int64], slots: NDArray[np.int64], arena: Arena, reading: Reading
    ) -> None:
        """Put samples into slots; each chunk is read and decoded once.

        Parameters
        ----------
        ids : ndarray, int64, shape (k,)
            Samples, in any order.
        slots : ndarray, int64, shape (k,)
            ``arena[name][slots[i]]`` becomes sample ``ids[i]``.
        arena : mapping of str to ndarray, shape (n, ...)
            C-contiguous, of the dtypes of `spec`.
        reading : Reading
            Of this thread alone.

        Raises
        ------
        Truncated, Corrupt
            If bytes are missing or damaged; the message names file, chunk and samples.
        SourceChanged
            If a file is not the one that was opened.
        """
        if len(ids) == 0:
            return
        if ids.min() < 0 or ids.max() >= len(self):
            raise InvalidArgument(f"sample {ids.min()}..{ids.max()} of {self!r}: expected 0..{len(self) - 1}")
        for name, field in self._fields.items():
            try:
                field.array.read(self._wants(field, ids, slots, arena[name]), reading)
            except ReadFailed as failed:
                raise type(failed.cause)(f"{failed.cause}{self._named(field, ids, failed.rows)}") from failed

    def _wants(
        self, field: Field, ids: NDArray[np.int64], slots: NDArray[np.int64], into: NDArray[Any]
    ) -> list[Want]:
        tiles = self._tiles.starts if self._tiles else ((),)
        base, tile = np.divmod(ids, len(tiles))
        count = len(field.offsets)
        rows = (base[:, None] * self._stride + np.array(field.offsets)).ravel()
        at = (slots[:, None] * count + np.arange(count)).ravel()
        flat = into.reshape(-1, *into.shape[2:]) if field.stacked else into
        if not field.tiled:
            order = np.argsort(rows, kind="stable")
            return [Want(rows[order], flat, at[order], field.bounds)]
        which = np.repeat(tile, count)
        wants = []
        for number in np.unique(tile).tolist():
            mine = np.flatnonzero(which == number)
            order = mine[np.argsort(rows[mine], kind="stable")]
            wants.append(Want(rows[order], flat, at[order], self._tile_box(field, number)))
        return wants

    def _tile_box(self, field: Field, number: int) -> tuple[tuple[int, int], ...]:
        assert self._tiles is not None
        starts, size = self._tiles.starts[number], self._tiles.size
        return tuple((b[0] + s, b[0] + s + n) for b, s, n in zip(field.bounds, starts, size, strict=True))

    def _named(self, field: Field, ids: NDArray[np.int64], rows: tuple[int, int]) -> str:
        base = ids // (len(self._tiles.starts) if self._tiles else 1) * self._stride
        used = base[:, None] + np.array(field.offsets)
        hit = ids[((used >= rows[0]) & (used <= rows[1])).any(axis=1)]
        shown = ", ".join(str(i) for i in hit[:8]) + (", ..." if len(hit) > 8 else "")
        return f" (wanted by sample {shown})"

    def take(
        self, ids: Sequence[int] | NDArray[np.int64], *, reading: Reading | None = None
    ) -> dict[str, NDArray[Any]]:
        """Samples by number, in that order.

        Parameters
        ----------
        ids : sequence of int
            Sample numbers; one may come twice.
        reading : Reading, optional
            Counts the reads.

        Returns
        -------
        dict of str to ndarray, shape (len(ids), ...)
        """
        wanted = np.asarray(ids, np.int64)
        out = self.arena(len(wanted))
        self.read_into(wanted, np.arange(len(wanted)), out, reading or Reading())
        return out

    def read(self, first: int, stop: int) -> NDArray[np.uint8]:
        """Samples ``[first, stop)`` decoded, as plain bytes: what a probe of the storage times.

        Returns
        -------
        ndarray, uint8, shape (bytes,)
        """
        taken = self.take(np.arange(first, stop))
        return np.concatenate([array.reshape(-1).view(np.uint8) for array in taken.values()])

    def windows(self, fields: Mapping[str, tuple[str, int | Sequence[int]]], *, stride: int = 1) -> Source:
        """Samples of several rows, as for a model that predicts what comes next.

        Parameters
        ----------
        fields : mapping
            Name in the sample to the field here and the rows that it takes, counted from the first row of the
            sample: an int for one row, a sequence for a stack of rows with an axis of its own in front.
        stride : int
            Rows from one sample to the next.

        Returns
        -------
        Source

        Raises
        ------
        InvalidArgument
            If a field is unknown, a row number is negative, or no whole sample is left.

        Examples
        --------
        Two states in, the next one out::

            source.windows({"input": ("u", (0, 1)), "target": ("u", 2)})
        """
        if stride < 1:
            raise InvalidArgument(f"stride={stride}: expected at least 1 row")
        if self._stride != 1 or self._tiles is not None:
            raise InvalidArgument("windows of windows or crops: call windows first, on the opened source")
        made = {}
        for name, (key, rows) in fields.items():
            offsets = (rows,) if isinstance(rows, int) else tuple(rows)
            if not offsets or min(offsets) < 0:
                raise InvalidArgument(f"windows {name}: rows {offsets}: expected at least one, none below 0")
            made[name] = replace(self._field(key), offsets=offsets, stacked=not isinstance(rows, int))
        return Source(made, stride=stride)

    def pairs(self, ahead: int = 1, *, key: str | None = None) -> Source:
        """Samples ``{"input": x[t], "target": x[t + ahead]}``.

        Parameters
        ----------
        ahead : int
            Rows from input to target.
        key : str, optional
            The field; may be left out where there is only one.

        Returns
        -------
        Source
        """
        if key is None and len(self._fields) > 1:
            raise InvalidArgument(f"pairs of which field? name one of {', '.join(self._fields)} in key=")
        name = key or next(iter(self._fields))
        return self.windows({"input": (name, 0), "target": (name, ahead)})

    def crops(self, size: Sequence[int], *, stride: Sequence[int] | None = None) -> Source:
        """Samples that are tiles of rows: sample ``i`` is tile ``i % tiles`` of row ``i // tiles``.

        Fields of another number of axes, as labels are, come whole with every tile.

        Parameters
        ----------
        size : sequence of int
            Cells of a tile along each axis of a row.
        stride : sequence of int, optional
            Cells from tile to tile; `size` where it is not given. What is left at the edges is not used.

        Returns
        -------
        Source

        Raises
        ------
        InvalidArgument
            If no field has so many axes, fields differ in shape, or a tile is larger than a row.
        """
        steps = tuple(size if stride is None else stride)
        cut = {n: f for n, f in self._fields.items() if len(f.bounds) == len(size)}
        shapes = {tuple(b - a for a, b in f.bounds) for f in cut.values()}
        if len(shapes) != 1 or len(steps) != len(size) or min((*size, *steps), default=0) < 1:
            raise InvalidArgument(
                f"crops of size {tuple(size)}, stride {steps}: expected one positive number for each axis "
                "of a row; "
                f"rows are {[spec.shape for spec in self.spec]}"
            )
        (shape,) = shapes
        along = [range(0, n - s + 1, step) for n, s, step in zip(shape, size, steps, strict=True)]
        if not all(along):
            raise InvalidArgument(
                f"crops of size {tuple(size)} from rows of shape {shape}: choose a smaller tile"
            )
        tiles = Tiles(tuple(size), tuple(itertools.product(*along)))
        made = {n: replace(f, tiled=n in cut) for n, f in self._fields.items()}
        return Source(made, stride=self._stride, tiles=tiles)

    def region(self, *box: tuple[int, int]) -> Source:
        """The same samples, cut to a part of each row.

        Parameters
        ----------
        *box : tuple of (int, int)
            Start and stop along each axis of a row. Fields of another number of axes come whole.

        Returns
        -------
        Source

        Raises
        ------
        InvalidArgument
            If it is not inside the rows.
        """
        made = {}
        for name, field in self._fields.items():
            if len(field.array.shape) - 1 != len(box):
                made[name] = field
                continue
            for (start, stop), n in zip(box, field.array.shape[1:], strict=True):
                if not 0 <= start < stop <= n:
                    raise InvalidArgument(f"region {start}:{stop} of {name}: expected a part of 0:{n}")
            made[name] = replace(field, box=box)
        return Source(made, stride=self._stride, tiles=self._tiles)

    def join(self, other: Source) -> Source:
        """Samples of both: sample i has the fields of sample i here and there.

        Raises
        ------
        InvalidArgument
            If lengths differ, or both have a field of the same name.
        """
        twice = sorted(set(self._fields) & set(other._fields))
        if twice or len(self) != len(other) or (self._stride, self._tiles) != (other._stride, other._tiles):
            raise InvalidArgument(
                f"cannot join {self!r} and {other!r}: expected equal lengths and windows and no field in both"
                + (f"; both have {', '.join(twice)}" if twice else "")
            )
        return Source(self._fields | other._fields, stride=self._stride, tiles=self._tiles)

    def select(self, *keys: str) -> Self:
        """The same samples with fewer fields.

        Raises
        ------
        InvalidArgument
            If a field is unknown.
        """
        fewer = copy.copy(self)
        fewer._fields = {key: self._field(key) for key in keys}
        return fewer

    def _field(self, key: str) -> Field:
        if key not in self._fields:
            raise InvalidArgument(f"no field {key!r}: the source has {', '.join(self._fields)}")
        return self._fields[key]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
