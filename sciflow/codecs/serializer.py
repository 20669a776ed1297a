"""What a codec is as a native Zarr v3 serializer (array-to-bytes codec): one class over a configuration."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec

from sciflow.codecs import sz
from sciflow.codecs.configured import CodecConfig
from sciflow.errors import Corrupt, InvalidArgument

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType

__all__ = ["Serializer", "check_chunk", "to_buffer"]

_Config = TypeVar("_Config", bound=CodecConfig)


@dataclass(frozen=True, init=False, repr=False)
class Serializer(ArrayBytesCodec, Generic[_Config]):
    """A configuration and its core, as Zarr wants a serializer.

    A codec names itself and the class of its configuration, encodes an array and decodes a stream; it may
    check more of an array when that is created.
    """

    codec_name: ClassVar[str]
    config_type: ClassVar[type[CodecConfig]]
    is_fixed_size = False

    config: _Config

    @abstractmethod
    def _encode(self, array: NDArray[Any], spec: ArraySpec) -> bytes:
        """Return the stream of a chunk, which is of native byte order."""

    @abstractmethod
    def _decode(self, stream: NDArray[np.uint8], spec: ArraySpec) -> NDArray[Any]:
        """Return the chunk of a stream."""

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        InvalidArgument
            If the name is another codec's, a key is unknown, or a value is not allowed.
        """
        if data.get("name") != cls.codec_name:
            raise InvalidArgument(f"codec name {data.get('name')!r}: expected {cls.codec_name!r}")
        codec = cls.__new__(cls)
        object.__setattr__(codec, "config", cls.config_type.from_json(data.get("configuration")))
        return codec

    def to_dict(self) -> dict[str, JSON]:
        """``{"name", "configuration"}``, as strict JSON."""
        return {"name": self.codec_name, "configuration": self.config.to_json()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config.arguments()})"

    def validate(
        self,
        *,
        shape: tuple[int, ...],
        dtype: ZDType[TBaseDType, TBaseScalar],
        chunk_grid: ChunkGrid,
    ) -> None:
        """Refuse an array when it is created, before anything is stored.

        Raises
        ------
        UnsupportedDtype, InvalidArgument
            If the dtype, the number of dimensions or a sentinel do not fit.
        """
        self._check_array(dtype.to_native_dtype(), ndim=len(shape))

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuse as `validate` does: inside a shard, zarr 3.1 calls only this."""
        self._check_array(array_spec.dtype.to_native_dtype(), ndim=array_spec.ndim)
        return self

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding.

        Raises
        ------
        NotImplementedError
            Always, as Zarr wants of a codec of variable size.
        """
        raise NotImplementedError

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        stream = self._encode(sz.native_order(chunk_data.as_numpy_array()), chunk_spec)
        return chunk_spec.prototype.buffer.from_bytes(stream)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return to_buffer(self._decode(chunk_data.as_numpy_array(), chunk_spec), chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


def check_chunk(dtype: np.dtype[Any], shape: tuple[int, ...], spec: ArraySpec) -> None:
    """Compare what a stream holds with the array's metadata.

    Raises
    ------
    Corrupt
        If they differ.
    """
    expected = spec.dtype.to_native_dtype()
    if shape != spec.shape or dtype.itemsize != expected.itemsize:
        raise Corrupt(
            f"the chunk holds {dtype} of shape {shape}: the array's metadata says {expected} of shape "
            f"{spec.shape}; was it written with other chunks?"
        )


def to_buffer(array: NDArray[Any], spec: ArraySpec) -> NDBuffer:
    """Return decoded values as Zarr takes them."""
    dtype = spec.dtype.to_native_dtype()
    return spec.prototype.nd_buffer.from_numpy_array(array.astype(dtype, copy=False))
