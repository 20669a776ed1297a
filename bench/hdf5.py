"""An HDF5 filter as an encode/decode pair: one chunk in an in-memory file, its raw bytes taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from bench.protocol import Array


def encode_chunk(field: Array, options: Mapping[str, Any]) -> bytes:
    """Return the filtered bytes of ``field`` stored as one chunk; ``options`` as for ``create_dataset``.

    Raises
    ------
    RuntimeError
        HDF5 skipped the filter (it stores the chunk raw when an optional filter fails).
    """
    with _memory_file() as file:
        dataset = file.create_dataset("d", field.shape, field.dtype, chunks=field.shape, **options)
        dataset[...] = field
        mask, stream = dataset.id.read_direct_chunk((0,) * field.ndim)
    if mask:
        raise RuntimeError(f"the HDF5 filter refused the chunk (filter mask {mask})")
    return bytes(stream)


def decode_chunk(stream: bytes, shape: tuple[int, ...], dtype: str, options: Mapping[str, Any]) -> Array:
    """Return the array of ``shape`` that ``stream`` holds; ``options`` must be the encoder's."""
    with _memory_file() as file:
        dataset = file.create_dataset("d", shape, dtype, chunks=shape, **options)
        dataset.id.write_direct_chunk((0,) * len(shape), stream)
        return np.asarray(dataset[...])


def _memory_file() -> h5py.File:
    return h5py.File("bench", "w", driver="core", backing_store=False)
