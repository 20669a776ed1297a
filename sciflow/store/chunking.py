"""Chunk shapes: whole trailing dimensions, a few megabytes in all, in step with the source's chunks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

from sciflow.errors import InvalidArgument

__all__ = ["TARGET_CHUNK_BYTES", "chunk_shape", "parse_chunks", "shard_shape"]

TARGET_CHUNK_BYTES = 8 << 20
"""Large enough for prediction to learn from, small enough for a dozen of them in flight."""

_MAX_SOURCE_CHUNK_BYTES = 4 * TARGET_CHUNK_BYTES


def chunk_shape(
    shape: Sequence[int],
    *,
    itemsize: int,
    source: Sequence[int] | None = None,
    target_bytes: int = TARGET_CHUNK_BYTES,
) -> tuple[int, ...]:
    """Choose the chunks of a variable: as near below `target_bytes` as whole source chunks allow.

    Parameters
    ----------
    shape : sequence of int
        Of the variable.
    itemsize : int
        Bytes a cell.
    source : sequence of int, optional
        Chunk shape of the file it is read from. A source chunk is not split, so that it is read once,
        unless it is several times larger than the target.
    target_bytes : int
        Of the uncompressed chunk.

    Returns
    -------
    tuple of int
        At least 1 along every dimension; a dimension that must be split is split evenly.

    Examples
    --------
    >>> chunk_shape((365, 721, 1440), itemsize=4)
    (2, 721, 1440)
    >>> chunk_shape((1000, 721, 1440), itemsize=4, source=(100, 10, 10))
    (100, 10, 1440)
    """
    unit = [min(max(1, c), max(1, n)) for c, n in zip(source or [1] * len(shape), shape, strict=True)]
    if math.prod(unit) * itemsize > _MAX_SOURCE_CHUNK_BYTES:
        unit = [1] * len(shape)
    chunks = list(unit)
    for axis in reversed(range(len(shape))):
        row_bytes = math.prod(chunks) * itemsize
        pieces = math.ceil(shape[axis] / unit[axis])
        chunks[axis] = min(shape[axis], unit[axis] * _even_share(pieces, max(1, target_bytes // row_bytes)))
        if chunks[axis] < shape[axis]:
            break
    return tuple(max(1, c) for c in chunks)


def parse_chunks(text: str) -> dict[str, int]:
    """Read ``"lat=64,lon=64"``; -1 means the whole dimension.

    Raises
    ------
    InvalidArgument
        If the text is something else.

    Examples
    --------
    >>> parse_chunks("time=1, lat=-1")
    {'time': 1, 'lat': -1}
    """
    chunks: dict[str, int] = {}
    for part in text.split(","):
        name, separator, size = part.partition("=")
        try:
            chunks[name.strip()] = int(size)
        except ValueError:
            separator = ""
        if not (separator and name.strip()):
            raise InvalidArgument(f"chunks {text!r}: expected DIM=SIZE,DIM=SIZE like lat=64,lon=64")
    return check_chunks(chunks)


def check_chunks(chunks: Mapping[str, int]) -> dict[str, int]:
    """Refuse sizes that no chunk can have.

    Raises
    ------
    InvalidArgument
        If a size is neither -1 nor at least 1.
    """
    for name, size in chunks.items():
        if size < 1 and size != -1:
            raise InvalidArgument(f"chunks: {name}={size!r}: expected a number above 0, or -1 for all of it")
    return dict(chunks)


def override_chunks(
    chosen: Sequence[int], *, dims: Sequence[Hashable], shape: Sequence[int], asked: Mapping[str, int]
) -> tuple[int, ...]:
    """Replace chosen sizes by those asked for by dimension name; never more than the dimension has."""
    out = []
    for dim, size, length in zip(dims, chosen, shape, strict=True):
        wanted = asked.get(str(dim), size)
        out.append(max(1, length if wanted == -1 else min(wanted, length)))
    return tuple(out)


def shard_shape(
    name: str,
    chunks: Sequence[int],
    *,
    dims: Sequence[Hashable],
    shape: Sequence[int],
    asked: Mapping[str, int],
) -> tuple[int, ...] | None:
    """Cells of a shard: whole chunks along every dimension, those asked for by name and one along others.

    Returns
    -------
    tuple of int or None
        None where a shard would hold one chunk.

    Raises
    ------
    InvalidArgument
        If a size is no multiple of the chunk's.

    Examples
    --------
    >>> shard_shape("t", (2, 64), dims=("time", "x"), shape=(365, 128), asked={"time": 24, "x": -1})
    (24, 128)
    """
    out = []
    for dim, chunk, length in zip(dims, chunks, shape, strict=True):
        whole = chunk * max(1, math.ceil(length / chunk))
        wanted = asked.get(str(dim), chunk)
        if wanted == -1 or wanted >= whole:
            wanted = whole
        if wanted % chunk:
            raise InvalidArgument(
                f"shards: {dim}={wanted} of {name!r}: expected a multiple of its chunks of {chunk}"
            )
        out.append(wanted)
    return None if tuple(out) == tuple(chunks) else tuple(out)


def _even_share(pieces: int, most: int) -> int:
    """Share out pieces evenly, at most `most` at a time: 10 by at most 9 is 5, not 9 and a padded 1."""
    return math.ceil(pieces / math.ceil(pieces / most)) if pieces else 1
