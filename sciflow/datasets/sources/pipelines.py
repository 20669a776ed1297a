"""What Zarr's codecs did, undone without zarr where that is possible."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.sources.grid import Decode
from sciflow.errors import Corrupt

if TYPE_CHECKING:
    import zarr
    from zarr.core.metadata.v2 import ArrayV2Metadata

__all__ = ["v2_decoder", "v3_decoder"]

Bytes = NDArray[np.uint8]
Undo = Callable[[Any], Any]


def v2_decoder(metadata: ArrayV2Metadata) -> tuple[Decode | None, np.dtype[Any]]:
    """A function that decodes a chunk of a format 2 array (None: bytes are values), and the stored dtype."""
    dtype = np.dtype(metadata.dtype.to_native_dtype())
    codecs = [codec for codec in (*(metadata.filters or ()), metadata.compressor) if codec is not None]
    if not codecs and metadata.order == "C":
        return None, dtype
    return partial(_decode_v2, tuple(codecs), dtype, tuple(metadata.chunks), metadata.order), dtype


def _decode_v2(
    codecs: tuple[Any, ...], dtype: np.dtype[Any], shape: tuple[int, ...], order: str, data: Bytes, _: int
) -> NDArray[Any]:
    found: Any = data
    for codec in reversed(codecs):
        found = codec.decode(found)
    return _values(found, dtype).reshape(shape, order="F" if order == "F" else "C")


def v3_decoder(
    codecs: Sequence[Any], array: zarr.Array[Any], chunks: tuple[int, ...]
) -> tuple[Decode | None, np.dtype[Any]]:
    """A function that decodes a chunk of a format 3 array, None where bytes are values; and the stored dtype.

    Parameters
    ----------
    codecs : sequence of Codec
        Of the array, or of its shards.
    array : zarr.Array
        Whose chunks they are.
    chunks : tuple of int
        Shape of a chunk.
    """
    from zarr.codecs import BytesCodec

    from sciflow.codecs.zarr import SZ

    native = np.dtype(array.dtype)
    if len(codecs) == 1 and isinstance(codecs[0], SZ):
        return partial(_decode_sz, native), native
    if codecs and isinstance(codecs[0], BytesCodec):
        big = codecs[0].endian is not None and str(codecs[0].endian).endswith("big")
        stored = native.newbyteorder(">" if big else "<")
        undo = [step for codec in codecs[1:] if (step := _undo(codec)) is not None]
        if len(codecs) == 1:
            return None, stored
        if len(undo) == len(codecs) - 1:
            return partial(_decode_v3, tuple(undo), stored), stored
    return _ThroughZarr(tuple(codecs), array.metadata, chunks), native


def _decode_v3(undo: tuple[Undo, ...], dtype: np.dtype[Any], data: Bytes, _: int) -> NDArray[Any]:
    found: Any = data
    for step in reversed(undo):
        found = step(found)
    return _values(found, dtype)


def _values(found: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(found, np.ndarray) and found.dtype == dtype:
        return found.reshape(-1, order="A")
    raw = np.frombuffer(found, np.uint8)
    if raw.size % dtype.itemsize:
        raise Corrupt(f"decodes to {raw.size} bytes, expected whole values of {dtype.itemsize}")
    return raw.view(dtype)


def _decode_sz(dtype: np.dtype[Any], data: Bytes, _: int) -> NDArray[Any]:
    from sciflow.codecs import sz

    found = sz.decode(data)
    if found.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise Corrupt(f"decodes to {found.dtype}, expected {dtype}")
    return found


def _undo(codec: Any) -> Undo | None:
    import numcodecs.blosc
    import numcodecs.zstd
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

    simple: list[tuple[type, Undo]] = [
        (ZstdCodec, numcodecs.zstd.decompress),
        (BloscCodec, numcodecs.blosc.decompress),
        (GzipCodec, _gunzip),
        (Crc32cCodec, _check_crc32c),
    ]
    return next((step for kind, step in simple if isinstance(codec, kind)), None)


def _gunzip(data: Any) -> bytes:
    return zlib.decompress(memoryview(data), wbits=31)


def _check_crc32c(data: Any) -> Bytes:
    import google_crc32c

    raw = np.frombuffer(data, np.uint8)
    if raw.size < 4:
        raise Corrupt(f"{raw.size} bytes, expected a crc32c of 4")
    found, stored = google_crc32c.value(raw[:-4].tobytes()), int.from_bytes(raw[-4:].tobytes(), "little")
    if found != stored:
        raise Corrupt(f"crc32c is {found:08x}, stored is {stored:08x}")
    return raw[:-4]


@dataclass(frozen=True, slots=True)
class _ThroughZarr:
    """Any codecs at all: zarr's own pipeline, on one chunk, in a loop of this thread."""

    codecs: tuple[Any, ...]
    metadata: Any
    chunks: tuple[int, ...]

    def __call__(self, data: Bytes, mask: int) -> NDArray[Any]:
        from zarr.core.array_spec import ArrayConfig, ArraySpec
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.codec_pipeline import BatchedCodecPipeline

        prototype = default_buffer_prototype()
        spec = ArraySpec(
            shape=self.chunks,
            dtype=self.metadata.data_type,
            fill_value=self.metadata.fill_value,
            config=ArrayConfig.from_dict({}),
            prototype=prototype,
        )
        pipeline = BatchedCodecPipeline.from_codecs(self.codecs)
        buffer = prototype.buffer.from_array_like(data)
        (found,) = asyncio.run(_gather(pipeline.decode([(buffer, spec)])))
        return np.asarray(found.as_numpy_array())


async def _gather(decoded: Any) -> list[Any]:
    return list(await decoded)
