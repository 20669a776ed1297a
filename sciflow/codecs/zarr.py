"""SZ, GWLZ and AESZ as native Zarr v3 serializers (array-to-bytes codecs); SZ decodes parts.

Another codec is a `Serializer` with a name, the class of its configuration, and its core's two functions.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import RangeByteRequest

from sciflow.bounds import Bound
from sciflow.codecs import aesz, gwlz, partial, sz
from sciflow.codecs.aesz_config import AESZConfig
from sciflow.codecs.aesz_model import known
from sciflow.codecs.base import SZBase
from sciflow.codecs.configured import configured_by
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.sentinels import sentinel_bits
from sciflow.codecs.serializer import Serializer, check_chunk, to_buffer
from sciflow.codecs.siblings import read_model, read_siblings
from sciflow.codecs.stream import MAX_BLOCK_VALUES, StreamInfo, as_bytes_view
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Truncated

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import NDBuffer
    from zarr.core.indexing import SelectorTuple

__all__ = ["AESZ", "GWLZ", "SZ"]

_FIRST_READ = 4096
"""Bytes of a chunk that are read first; a header with a few hundred blocks fits."""


@dataclass(frozen=True, init=False, repr=False)
class SZ(Serializer[SZConfig], ArrayBytesCodecPartialDecodeMixin):
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

    codec_name = "sciflow.sz"
    config_type = SZConfig

    @configured_by(SZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    @property
    def promise(self) -> Bound | None:
        """What every value of a chunk is held to."""
        return self.config.bound

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)
        sentinel_bits(self.config.preserve, dtype)

    def _encode(self, array: NDArray[Any], spec: ArraySpec) -> bytes:
        return sz.encode(array, _with_fill(self.config, spec.fill_value, array.dtype))

    def _decode(self, stream: NDArray[np.uint8], spec: ArraySpec) -> NDArray[Any]:
        header = sz.info(stream)
        check_chunk(header.dtype, header.shape, spec)  # before any memory is taken for it
        return sz.decode(stream, threads=self.config.threads)

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
        return to_buffer(array, chunk_spec)[selection]


@dataclass(frozen=True, init=False, repr=False)
class GWLZ(Serializer[GWLZConfig], ArrayBytesCodecPartialDecodeMixin):
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
    enhancer : {"wiener", "cnn", "cnn-float"}
        Filters, or small networks (training needs torch; "cnn-float" is not reproducible on every machine).
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal.
    aux : iterable of str
        Names of other variables that the filters read, in the same group; chunks are read with theirs, and
        written by `sciflow.compress` alone.

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

    codec_name = "sciflow.gwlz"
    config_type = GWLZConfig

    @configured_by(GWLZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    @property
    def promise(self) -> Bound | None:
        """What every value of a chunk is held to; None where only the PSNR is, or a base alone knows."""
        base = self.config.base
        if self.config.target == "bound" and isinstance(base, SZBase):
            return base.config.bound
        return self.config.bound

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)
        if isinstance(self.config.base, SZBase):
            sentinel_bits(self.config.base.config.preserve, dtype)

    def _encode(self, array: NDArray[Any], spec: ArraySpec) -> bytes:
        return self.encode_beside(array, [], fill_value=spec.fill_value)

    def encode_beside(self, array: NDArray[Any], aux: Sequence[NDArray[Any]], *, fill_value: Any) -> bytes:
        """Return the stream of a chunk whose filters read other variables too.

        Parameters
        ----------
        array : ndarray, float32|float64
            The whole chunk, padded.
        aux : sequence of ndarray
            The same chunk of each variable that ``config.aux`` names, decoded.
        fill_value : scalar
            Of the array.

        Raises
        ------
        InvalidArgument
            If these are not as many, or one is of another shape.
        """
        config = self.config
        if isinstance(config.base, SZBase):
            config = config.with_base(SZBase(_with_fill(config.base.config, fill_value, array.dtype)))
        return gwlz.encode(array, config, aux=aux)

    def _decode(self, stream: NDArray[np.uint8], spec: ArraySpec) -> NDArray[Any]:
        return self._decode_beside(stream, spec, [])

    def _decode_beside(
        self, stream: NDArray[np.uint8], spec: ArraySpec, aux: list[NDArray[Any]]
    ) -> NDArray[Any]:
        array = gwlz.decode(stream, self.config, aux=aux)
        check_chunk(array.dtype, array.shape, spec)
        return array

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        """Decode all of a chunk: only here Zarr says where it lies, and so which chunks lie beside it."""
        found = await byte_getter.get(chunk_spec.prototype)
        if found is None:
            return None
        stream = found.as_numpy_array()
        aux = list[NDArray[Any]]()
        if self.config.aux and gwlz.info(stream).aux:
            aux = await read_siblings(byte_getter, self.config.aux, chunk_spec.shape)
        array = await asyncio.to_thread(self._decode_beside, stream, chunk_spec, aux)
        return to_buffer(array, chunk_spec)[selection]


@dataclass(frozen=True, init=False, repr=False)
class AESZ(Serializer[AESZConfig], ArrayBytesCodecPartialDecodeMixin):
    """A model predicts blocks, and SZ codes what is left; SZ alone where that is smaller.

    Give it as ``serializer=AESZ(...), compressors=None``. A finite fill value of the array other than 0 is a
    sentinel, as with `SZ`. A chunk is decoded whole. A model that is not carried in the configuration is read
    from ``models/<digest>`` of the store that holds the array, else as `sciflow.models.find` says.

    Parameters
    ----------
    bound : Bound or float
        The promise, ``abs`` or ``rel``; a number means ``Bound.abs``.
    model : Model or str
        What predicts blocks: a model, its digest, a file, or a name in the catalogue.
    inline : str, optional
        The model's file in base64; by default small models are carried there.
    level : {"fast", "quick", "balanced", "max"}
        Of the SZ streams inside.
    preserve : iterable of number or str
        Sentinels that come back bit for bit.
    verify : bool
        Whether SZ checks its streams a second time.
    block_values : int, optional
        Cells in a block of SZ.
    threads : int
        Of SZ, within one call; leave it at 1, Zarr runs several calls at once.

    Raises
    ------
    InvalidArgument, ModelMismatch
        If an argument is not allowed, or there is no such model.

    See Also
    --------
    sciflow.codecs.aesz_config.AESZConfig : Every argument in full.

    Examples
    --------
    >>> import zarr
    >>> options = {"serializer": AESZ(0.01, model="shallow-water-klt"), "compressors": None}
    >>> array = zarr.create_array({}, shape=(64, 64), dtype="f4", **options)
    >>> array[:] = np.linspace(0.0, 1.0, 64 * 64, dtype="f4").reshape(64, 64)
    >>> round(float(array[0, 0]), 1)
    0.0
    """

    codec_name = "sciflow.aesz"
    config_type = AESZConfig

    @configured_by(AESZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    @property
    def promise(self) -> Bound | None:
        """What every value of a chunk is held to."""
        return self.config.bound

    def _check_array(self, dtype: np.dtype[Any], *, ndim: int) -> None:
        sz.check_dtype(dtype, ndim=ndim)
        sentinel_bits(self.config.sz.preserve, dtype)

    def _encode(self, array: NDArray[Any], spec: ArraySpec) -> bytes:
        config = self.config.with_sz(_with_fill(self.config.sz, spec.fill_value, array.dtype))
        return aesz.encode(array, config)

    def _decode(self, stream: NDArray[np.uint8], spec: ArraySpec) -> NDArray[Any]:
        return self._decode_with(stream, spec, None)

    def _decode_with(self, stream: NDArray[np.uint8], spec: ArraySpec, file: bytes | None) -> NDArray[Any]:
        header = aesz.info(stream)
        check_chunk(header.dtype, header.shape, spec)  # before any memory is taken for it
        return aesz.decode(stream, inline=self.config.inline, file=file, threads=self.config.threads)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        """Decode all of a chunk: only here Zarr says in which store it lies, where its model may be too."""
        found = await byte_getter.get(chunk_spec.prototype)
        if found is None:
            return None
        stream = found.as_numpy_array()
        digest = aesz.info(stream).model
        file: bytes | None = None
        if digest and self.config.inline is None and not known(digest):
            file = await read_model(byte_getter, digest)
        array = await asyncio.to_thread(self._decode_with, stream, chunk_spec, file)
        return to_buffer(array, chunk_spec)[selection]


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
            check_chunk(header.dtype, header.shape, spec)
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
