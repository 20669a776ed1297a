"""SZ and GWLZ as native Zarr v3 serializers (array-to-bytes codecs); SZ decodes parts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import RangeByteRequest

from sciflow.bounds import Bound
from sciflow.codecs import gwlz, partial, sz
from sciflow.codecs.base import BaseLike, SZBase
from sciflow.codecs.gwlz import Enhancer, Groups, GWLZConfig, Target
from sciflow.codecs.sentinels import Sentinel, sentinel_bits
from sciflow.codecs.stream import MAX_BLOCK_VALUES, StreamInfo, as_bytes_view
from sciflow.codecs.sz import Level, SZConfig
from sciflow.errors import Corrupt, InvalidArgument, Truncated

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType
    from zarr.core.indexing import SelectorTuple

__all__ = ["GWLZ", "SZ"]

_FIRST_READ = 4096
"""Bytes of a chunk that are read first; a header with a few hundred blocks fits."""


@dataclass(frozen=True, init=False, repr=False)
class SZ(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Every finite value comes back within `bound`; NaN, Inf, -0.0 and sentinels bit for bit.

    Give it as ``serializer=SZ(...), compressors=None``: a compressor behind it gains nothing and would switch
    partial decoding off. A finite fill value of the array other than 0 is a sentinel too, so that padding
    costs nothing and comes back exact. Streams are C order; the byte order of the array is restored when it
    is read.

    Alone on a chunk, ``rel`` and ``psnr`` refer to the range of that chunk. Resolve such a bound over the
    whole variable first (`sciflow.resolve`, or let `sciflow.compress` do it).

    Parameters
    ----------
    bound : Bound or float
        The promise; a number means ``Bound.abs``.
    level : {"fast", "quick", "balanced", "max"}
        Bytes against seconds; the bound never changes with it.
    preserve : iterable of number or str
        Sentinels that come back bit for bit.
    rewrite_safe : bool
        For chunks that are written in parts: errors do not add up.
    verify : bool
        Decode the finished stream and compare once more.
    block_values : int, optional
        Cells in a block that decodes on its own; set it for small reads from large chunks.
    threads : int
        Threads within one call; leave it at 1, Zarr runs several calls at once.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.

    See Also
    --------
    sciflow.codecs.sz.SZConfig : Every argument in full.
    sciflow.codecs.numcodecs.SZ : The same codec for Zarr v2.

    Examples
    --------
    >>> import zarr
    >>> options = {"serializer": SZ(Bound.abs(0.01)), "compressors": None}
    >>> array = zarr.create_array({}, shape=(64, 64), dtype="f4", **options)
    >>> array[:] = np.linspace(0.0, 1.0, 64 * 64, dtype="f4").reshape(64, 64)
    >>> round(float(array[0, 0]), 1)
    0.0
    """

    codec_name: ClassVar[str] = "sciflow.sz"
    is_fixed_size = False

    config: SZConfig

    def __init__(
        self,
        bound: Bound | float,
        *,
        level: Level = "balanced",
        preserve: Iterable[Sentinel] = (),
        rewrite_safe: bool = False,
        verify: bool = True,
        block_values: int | None = None,
        threads: int = 1,
    ) -> None:
        config = SZConfig(
            bound,
            level=level,
            preserve=preserve,
            rewrite_safe=rewrite_safe,
            verify=verify,
            block_values=block_values,
            threads=threads,
        )
        object.__setattr__(self, "config", config)

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
        object.__setattr__(codec, "config", SZConfig.from_json(data.get("configuration")))
        return codec

    @property
    def promise(self) -> Bound | None:
        """What every value of a chunk is held to."""
        return self.config.bound

    def to_dict(self) -> dict[str, JSON]:
        """``{"name", "configuration"}``, as strict JSON."""
        return {"name": self.codec_name, "configuration": self.config.to_json()}

    def __repr__(self) -> str:
        return f"SZ({self.config.arguments()})"

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

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)
        sentinel_bits(self.config.preserve, dtype)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        array = sz.native_order(chunk_data.as_numpy_array())
        stream = sz.encode(array, _with_fill(self.config, chunk_spec.fill_value, dtype))
        return chunk_spec.prototype.buffer.from_bytes(stream)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        stream = chunk_data.as_numpy_array()
        _check_header(sz.info(stream), chunk_spec)
        array = sz.decode(stream, threads=self.config.threads)
        return _to_buffer(array, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        """Read the header and the blocks that hold selected cells; one read where that saves nothing."""
        block_values = min(self.config.block_values or MAX_BLOCK_VALUES, MAX_BLOCK_VALUES)
        if math.prod(chunk_spec.shape) <= block_values or partial.covers(selection, chunk_spec.shape):
            whole = await byte_getter.get(chunk_spec.prototype)
            if whole is None:
                return None
            return (await self._decode_single(whole, chunk_spec))[selection]
        found = await _read_header(byte_getter, chunk_spec)
        if found is None:
            return None
        head, header = found
        runs = partial.runs_of(header, partial.touched_blocks(header, selection))
        parts = await asyncio.gather(*(_read_run(byte_getter, run, head, chunk_spec) for run in runs))
        by_run = dict(zip(runs, parts, strict=True))
        array = await asyncio.to_thread(partial.decode_runs, header, head, runs, by_run.__getitem__)
        return _to_buffer(array, chunk_spec)[selection]


@dataclass(frozen=True, init=False, repr=False)
class GWLZ(ArrayBytesCodec):
    """Another codec's stream, and an enhancer of what it decodes to where that is worth its bytes.

    Give it as ``serializer=GWLZ(SZ(...)), compressors=None``. A finite fill value of the array other than 0
    is a sentinel of an SZ base, as with `SZ` itself. A chunk is decoded whole.

    Parameters
    ----------
    base : BaseLike
        The codec whose output is enhanced: an SZ, a numcodecs codec, the configuration of one, or a sequence.
    target : {"bound", "psnr"}
        What is promised.
    groups : {"auto", "value", "quantile", "activity"}
        What tells cells apart that get filters of their own.
    n_groups : int, optional
        Filters at most.
    psnr : float, optional
        In dB, over the range of a chunk; by default that of the base's ``Bound.psnr``.
    bound : Bound or float, optional
        For a base that is not SZ, with target "bound".
    shared : bytes or str, optional
        An enhancer that is fitted once for many chunks; it is kept in the array's metadata.
    tune : str, optional
        For a base that is not SZ, with target "psnr": its parameter that holds the error bound.
    enhancer : {"wiener", "cnn"}
        Filters, or small networks (needs torch; not reproducible on every machine).
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.

    See Also
    --------
    sciflow.codecs.gwlz.GWLZConfig : Every argument in full.

    Examples
    --------
    >>> import zarr
    >>> options = {"serializer": GWLZ(SZ(Bound.abs(0.01))), "compressors": None}
    >>> array = zarr.create_array({}, shape=(64, 64), dtype="f4", **options)
    >>> array[:] = np.linspace(0.0, 1.0, 64 * 64, dtype="f4").reshape(64, 64)
    >>> round(float(array[0, 0]), 1)
    0.0
    """

    codec_name: ClassVar[str] = "sciflow.gwlz"
    is_fixed_size = False

    config: GWLZConfig

    def __init__(
        self,
        base: BaseLike,
        *,
        target: Target = "bound",
        groups: Groups = "auto",
        n_groups: int | None = None,
        psnr: float | None = None,
        bound: Bound | float | None = None,
        shared: bytes | str | None = None,
        tune: str | None = None,
        enhancer: Enhancer = "wiener",
        seed: int = 0,
        time_budget: float = 20.0,
        progress: bool | None = False,
    ) -> None:
        config = GWLZConfig(
            base,
            target=target,
            groups=groups,
            n_groups=n_groups,
            psnr=psnr,
            bound=bound,
            shared=shared,
            tune=tune,
            enhancer=enhancer,
            seed=seed,
            time_budget=time_budget,
            progress=progress,
        )
        object.__setattr__(self, "config", config)

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
        object.__setattr__(codec, "config", GWLZConfig.from_json(data.get("configuration")))
        return codec

    @property
    def promise(self) -> Bound | None:
        """What every value of a chunk is held to; None where only the PSNR is, or a base alone knows."""
        base = self.config.base
        if self.config.target == "bound" and isinstance(base, SZBase):
            return base.config.bound
        return self.config.bound

    def to_dict(self) -> dict[str, JSON]:
        """``{"name", "configuration"}``, as strict JSON."""
        return {"name": self.codec_name, "configuration": self.config.to_json()}

    def __repr__(self) -> str:
        return f"GWLZ({self.config.arguments()})"

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

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)
        if isinstance(self.config.base, SZBase):
            sentinel_bits(self.config.base.config.preserve, dtype)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        config = self.config
        if isinstance(config.base, SZBase):
            base = SZBase(_with_fill(config.base.config, chunk_spec.fill_value, dtype))
            config = config.with_base(base)
        stream = gwlz.encode(sz.native_order(chunk_data.as_numpy_array()), config)
        return chunk_spec.prototype.buffer.from_bytes(stream)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        array = gwlz.decode(chunk_data.as_numpy_array(), self.config)
        dtype = chunk_spec.dtype.to_native_dtype()
        if array.shape != chunk_spec.shape or array.dtype.itemsize != dtype.itemsize:
            raise Corrupt(
                f"the chunk holds {array.dtype} of shape {array.shape}: the array's metadata says {dtype} of "
                f"shape {chunk_spec.shape}; was it written with other chunks?"
            )
        return _to_buffer(array, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


async def _read_header(byte_getter: ByteGetter, spec: ArraySpec) -> tuple[memoryview, StreamInfo] | None:
    """The first bytes of a chunk, as many as its header takes at least, and what they say."""
    size = _FIRST_READ
    while True:
        buffer = await byte_getter.get(spec.prototype, RangeByteRequest(0, size))
        if buffer is None:
            return None
        head = as_bytes_view(buffer.as_numpy_array())
        try:
            header = sz.info(head)
        except Truncated:
            if len(head) < size:
                raise
            size *= 8
        else:
            _check_header(header, spec)
            return head, header


async def _read_run(
    byte_getter: ByteGetter, run: partial.BlockRun, head: memoryview, spec: ArraySpec
) -> memoryview:
    if run.end <= len(head):
        return head[run.start : run.end]
    buffer = await byte_getter.get(spec.prototype, RangeByteRequest(run.start, run.end))
    found = 0 if buffer is None else len(buffer)
    if buffer is None or found < run.end - run.start:
        raise Truncated(
            f"at byte {run.start + found}: the chunk ends before byte {run.end}, where its block does"
        )
    return as_bytes_view(buffer.as_numpy_array())


def _with_fill(config: SZConfig, fill_value: Any, dtype: np.dtype[Any]) -> SZConfig:
    """Treat a finite fill value as a sentinel: padding then costs nothing, and no range or mean counts it."""
    fill = float(np.asarray(fill_value).astype(dtype))
    mean_matters = config.bound.kind == "psnr" or config.bound.mse is not None
    if not math.isfinite(fill) or (fill == 0.0 and not mean_matters):
        return config
    return replace(config, preserve=(*config.preserve, fill))


def _check_header(header: StreamInfo, spec: ArraySpec) -> None:
    """Compare a stream with the array's metadata before any memory is taken for it."""
    dtype = spec.dtype.to_native_dtype()
    if header.shape != spec.shape or header.dtype.itemsize != dtype.itemsize:
        raise Corrupt(
            f"the chunk holds {header.dtype} of shape {header.shape}: the array's metadata says {dtype} of "
            f"shape {spec.shape}; was it written with other chunks?"
        )


def _to_buffer(array: NDArray[Any], spec: ArraySpec) -> NDBuffer:
    dtype = spec.dtype.to_native_dtype()
    return spec.prototype.nd_buffer.from_numpy_array(array.astype(dtype, copy=False))
