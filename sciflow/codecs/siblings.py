"""What lies beside a chunk of a Zarr store, for a codec that reads it too: other variables, models.

```
store/t/c/0/2  ── the chunk that is decoded      its place says of which array it is, and where in that
store/u        ── a sibling                      the same cells of it are read, whatever its own chunks are
store/models/  ── models by digest
```
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.api import asynchronous
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, StorePath

from sciflow.errors import AuxMismatch

__all__ = ["padded", "read_model", "read_siblings", "region_of"]

_FOLDERS_AROUND = 4
_PLACE = re.compile(r"(?P<array>(?:.*/)?[^/]+)/c[/.](?P<index>\d+(?:[/.]\d+)*)")


async def read_siblings(place: object, names: Sequence[str], chunk: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return the cells of other variables that a chunk covers, padded to its shape.

    Parameters
    ----------
    place : StorePath
        Of the chunk; Zarr hands it to a codec that decodes parts.
    names : sequence of str
        Variables in the group of the chunk's array.
    chunk : tuple of int
        Shape of the chunk.

    Raises
    ------
    AuxMismatch
        If the place is not known (inside a shard), or a variable is missing, of another shape, or needs
        others itself.
    """
    found = _PLACE.fullmatch(place.path) if isinstance(place, StorePath) else None
    index = tuple(int(part) for part in re.split("[/.]", found["index"])) if found else ()
    if not isinstance(place, StorePath) or found is None or len(index) != len(chunk):
        raise AuxMismatch(
            f"the chunk needs {', '.join(map(repr, names))} beside it, and {place!r} does not say where that "
            "is: open the group that holds the array, for example with sciflow.open, not the array alone"
        )
    group = found["array"].rpartition("/")[0]
    own = await asynchronous.open_array(store=StorePath(place.store, found["array"]), mode="r")
    cells = []
    for name in names:
        sibling = await _open(StorePath(place.store, f"{group}/{name}"), name)
        if sibling.shape != own.shape:
            raise AuxMismatch(
                f"the variable {name!r} that {found['array']!r} needs is of shape {sibling.shape}, "
                f"expected {own.shape}: restore it, or compress both again"
            )
        part = await sibling.getitem(region_of(index, chunk, own.shape))
        cells.append(padded(np.asarray(part), chunk))
    return cells


async def read_model(place: object, digest: str) -> bytes | None:
    """Return what lies under ``models/<digest>`` of the store that holds a chunk, or None.

    An array that was opened by itself is a store of its own: of a local one, the folders around it are looked
    into as well. Whether it is that model is for the caller to check.

    Parameters
    ----------
    place : StorePath
        Of the chunk; Zarr hands it to a codec that decodes parts. Inside a shard there is none.
    digest : str
        64 hexadecimal digits.
    """
    if not isinstance(place, StorePath):
        return None
    key = f"models/{digest}"
    found = await place.store.get(key, default_buffer_prototype())
    if found is None and isinstance(place.store, LocalStore):
        for folder in list(place.store.root.absolute().parents)[:_FOLDERS_AROUND]:
            if (folder / key).is_file():
                return (folder / key).read_bytes()
    return None if found is None else found.to_bytes()


def region_of(index: tuple[int, ...], chunk: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the cells of an array that a chunk covers."""
    sizes = zip(index, chunk, shape, strict=True)
    return tuple(slice(i * size, min((i + 1) * size, length)) for i, size, length in sizes)


def padded(part: NDArray[Any], chunk: tuple[int, ...]) -> NDArray[Any]:
    """Return a part at the edge in the shape of a whole chunk, NaN beyond the edge."""
    if part.shape == chunk or part.dtype.kind != "f":
        return part
    whole = np.full(chunk, math.nan, part.dtype.newbyteorder("="))
    whole[tuple(slice(n) for n in part.shape)] = part
    return whole


async def _open(place: StorePath, name: str) -> zarr.AsyncArray[Any]:
    try:
        array = await asynchronous.open_array(store=place, mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise AuxMismatch(
            f"the variable {name!r} that another one needs is not in the store ({place}): restore it, or "
            "compress both again"
        ) from error
    codecs = getattr(array.metadata, "codecs", ())
    if any(getattr(getattr(codec, "config", None), "aux", ()) for codec in codecs):
        raise AuxMismatch(f"the variable {name!r} that another one needs, needs others itself: it may not")
    return array
