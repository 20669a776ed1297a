"""The fields of the bench: real ones from the shared data folder, simulated and synthetic ones of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.protocol import Array

FILLS: dict[str, tuple[float, ...]] = {
    "ocean_sst_bcc_hr": (float(np.float32(1e20)),),
    "opera_radar_accum": (-9999000.0, -8888000.0),
}
"""Fill values besides NaN, by field; read from the sources' own documentation."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field is: a ``.npy`` file."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Field:
    """A field as it is, and which of its cells are data.

    Attributes
    ----------
    values : ndarray, float32 or float64, C-contiguous
    valid : ndarray of bool, same shape
        False where the value is NaN, infinite or a fill value.
    fills : tuple of float
        Fill values that occur besides NaN.
    has_specials : bool
        Whether some cells are not data.
    value_range : float
        Largest minus smallest valid value, in float64.
    """

    name: str
    values: Array
    valid: NDArray[np.bool_]
    fills: tuple[float, ...]
    has_specials: bool
    value_range: float

    def filled(self) -> Array:
        """Return a copy whose special cells hold the mean of the valid ones: for peers that need numbers."""
        values = self.values.copy()
        if self.has_specials:
            values[~self.valid] = values[self.valid].mean(dtype=np.float64)
        return values


def read(source: Source) -> Field:
    """Return the field of ``source``; it must be float32 or float64."""
    return as_field(source.name, np.load(source.path))


def as_field(name: str, values: Array) -> Field:
    """Return ``values`` as a field; its fill values are those of `FILLS`."""
    values = np.ascontiguousarray(values)
    fills = FILLS.get(name, ())
    valid = np.isfinite(values)
    for fill in fills:
        valid &= values != values.dtype.type(fill)
    has_specials = not bool(valid.all())
    data = values[valid] if has_specials else values
    return Field(name, values, valid, fills, has_specials, float(data.max()) - float(data.min()))


def shared_sources(folder: Path) -> list[Source]:
    """Return the fields that ``folder/catalog.json`` lists, in its order; none when it is absent."""
    catalog = folder / "catalog.json"
    if not catalog.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(catalog.read_text())
    return [Source(entry["name"], folder / entry["file"]) for entry in entries]
