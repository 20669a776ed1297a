"""The typed face of the engine: status codes become named errors, dictionaries become values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.bounds import Bound, BoundKind
from sciflow.errors import (
    BoundViolated,
    Corrupt,
    InvalidArgument,
    ModelMismatch,
    SciflowError,
    Truncated,
    Unsupported,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from sciflow._native import EncodeOptions, HeaderFields

__all__ = [
    "MAX_BLOCK_VALUES",
    "MAX_NDIM",
    "REQUEST_KINDS",
    "BytesLike",
    "StreamInfo",
    "as_bytes_view",
    "check_status",
    "decode_block",
    "decode_values",
    "encode_values",
    "encoded_size_bound",
    "read_info",
]

BytesLike: TypeAlias = "Buffer | NDArray[Any]"
MAX_NDIM = 8
MAX_BLOCK_VALUES = native.MAX_BLOCK_VALUES
REQUEST_KINDS: tuple[BoundKind, ...] = ("abs", "rel", "pointwise_rel", "psnr")
_NO_MEMORY = 6
_ERRORS: dict[int, tuple[type[SciflowError], str]] = {
    1: (Truncated, "the stream ends early; fetch or copy it again"),
    2: (Corrupt, "a check fails; the stream was damaged, or is not a sciflow stream"),
    3: (Unsupported, "the stream needs a newer release; pip install --upgrade sciflow"),
    4: (InvalidArgument, "the engine refuses these arguments"),
    5: (BoundViolated, "the engine caught itself breaking its promise; please report this array"),
    7: (
        ModelMismatch,
        "the stream was made with a shared enhancer that is not the one at hand; give the same one",
    ),
}


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the header of a stream says; no value is decoded to learn it.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64, in the byte order that `decode` returns.
    shape : tuple of int
        Of the array that `decode` returns.
    order : {"C", "F"}
        Its memory layout.
    request : Bound or None
        What was asked for; None where every bit was.
    bound : Bound or None
        The promise in force, ``abs`` or ``pointwise_rel``; None where every bit comes back.
    rewrite_safe : bool
        Whether reconstructions lie on a lattice of the bound alone.
    regions : tuple of (int, Bound or None)
        Labels of regions that have bounds of their own, each with its bound, None for every bit. `bound` is
        then the loosest of them all.
    elsewhere : Bound or None
        The promise for what is in none of these regions.
    block_axis, block_rows : int
        Axes of the stored (C) array before `block_axis` are walked one index at a time; `block_rows` indices
        along it, with all that lies behind them, make a block.
    block_offsets : tuple of int
        Where the blocks begin, and where the last one ends, in bytes from the start of the stream.
    header_bytes : int
        Bytes before the first block.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    request: Bound | None
    bound: Bound | None
    rewrite_safe: bool
    regions: tuple[tuple[int, Bound | None], ...]
    elsewhere: Bound | None
    block_axis: int
    block_rows: int
    block_offsets: tuple[int, ...]
    header_bytes: int

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in C order of what the stream holds: reversed for layout F."""
        return self.shape if self.order == "C" else self.shape[::-1]

    @property
    def native_dtype(self) -> np.dtype[Any]:
        """The dtype in this machine's byte order."""
        return self.dtype.newbyteorder("=")

    @property
    def size(self) -> int:
        """How many values the decoded array holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes the decoded array takes."""
        return self.size * self.dtype.itemsize

    @property
    def nblocks(self) -> int:
        """How many blocks decode on their own."""
        return len(self.block_offsets) - 1


def as_bytes_view(buf: BytesLike) -> memoryview:
    """Any contiguous buffer as flat bytes, without a copy; one that is not contiguous is copied.

    Parameters
    ----------
    buf : bytes-like
        bytes, bytearray, memoryview, mmap, ndarray of any dtype.

    Raises
    ------
    InvalidArgument
        If the object has no buffer.
    """
    try:
        view = memoryview(cast("Buffer", buf))
    except (TypeError, ValueError, BufferError) as error:
        raise InvalidArgument(f"stream: expected a bytes-like object, found {type(buf).__name__}") from error
    if view.nbytes == 0:
        return memoryview(b"")
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes(order="A"))


def encode_values(values: NDArray[Any], shape: tuple[int, ...], options: EncodeOptions) -> bytes:
    """Run the encoder.

    Parameters
    ----------
    values : ndarray, float32|float64, shape (n,), C-contiguous, native byte order
        The array's cells in C order.
    shape : tuple of int
        What they are the cells of.
    options : EncodeOptions
        See sciflow/_native.pyi.

    Raises
    ------
    InvalidArgument, BoundViolated, MemoryError
        As the engine reports.
    """
    status, stream = native.encode(values, shape, options)
    check_status(status, 0)
    return stream


def decode_values(stream: memoryview, values: NDArray[Any], *, threads: int, weights: bytes = b"") -> None:
    """Fill `values` (float32|float64, shape (n,), C-contiguous, native byte order) with a stream's cells.

    `weights` are those of a linear model, where blocks were predicted by them.

    Raises
    ------
    Truncated, Corrupt, Unsupported, InvalidArgument, MemoryError
        As the engine reports; `values` then holds nothing of use.
    """
    check_status(*native.decode_into(stream, values, threads, weights))


def decode_block(header: memoryview, block: memoryview, index: int, values: NDArray[Any]) -> None:
    """Fill `values` (as for `decode_values`) with the cells of one block.

    Parameters
    ----------
    header : memoryview
        The stream's first ``header_bytes`` bytes, or more.
    block : memoryview
        Its bytes from ``block_offsets[index]`` to ``block_offsets[index + 1]``.
    """
    check_status(*native.decode_block(header, block, index, values))


def encoded_size_bound(nbytes: int, *, ndim: int = MAX_NDIM) -> int:
    """Say how many bytes a stream can take at most, whatever the array holds and the bound asks.

    Blocks smaller than the default (``block_values``) cost up to 20 bytes each on top.

    Parameters
    ----------
    nbytes : int
        Of the array, at least 0.
    ndim : int, optional
        Its number of dimensions, 0 to 8, where that is known.

    Raises
    ------
    InvalidArgument
        If an argument is out of range.

    Examples
    --------
    >>> encoded_size_bound(8_000_000) < 8_100_000
    True
    """
    if nbytes < 0 or not 0 <= ndim <= MAX_NDIM:
        raise InvalidArgument(
            f"nbytes={nbytes}, ndim={ndim}: expected nbytes >= 0 and 0 <= ndim <= {MAX_NDIM}"
        )
    return native.encoded_size_bound(nbytes, ndim)


def read_info(stream: memoryview) -> StreamInfo:
    """Read a header; the first ``header_bytes`` bytes of a stream are enough.

    Raises
    ------
    Truncated
        If the header is not complete.
    Corrupt, Unsupported
        If it is not one of ours, or newer.
    """
    status, offset, fields = native.info(stream)
    check_status(status, offset)
    return _info(fields)


def _info(fields: HeaderFields) -> StreamInfo:
    dtype = np.dtype(fields["dtype"]).newbyteorder(">" if fields["big_endian"] else "<")
    kind = REQUEST_KINDS[fields["request_kind"]]
    stored = _stored_shape(fields["shape"], dtype.itemsize)
    pointwise = fields["pointwise"]
    bound = _stored_bound("pointwise_rel", pointwise) or _stored_bound("abs", fields["eb"])
    regions = tuple((label, _stored_bound("abs", value)) for label, value in fields["regions"])
    return StreamInfo(
        dtype=dtype,
        shape=stored[::-1] if fields["order_f"] else stored,
        order="F" if fields["order_f"] else "C",
        request=_stored_bound(kind, fields["request_value"]),
        bound=bound,
        rewrite_safe=fields["lattice"],
        regions=regions,
        elsewhere=_stored_bound("abs", fields["elsewhere"]) if regions else bound,
        block_axis=fields["block_axis"],
        block_rows=fields["block_rows"],
        block_offsets=tuple(fields["block_offsets"]),
        header_bytes=fields["header_bytes"],
    )


def _stored_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    if math.prod(length for length in shape if length) * itemsize > sys.maxsize:
        raise Corrupt(f"the header holds shape {tuple(shape)}: more than an address can reach")
    return tuple(shape)


def _stored_bound(kind: BoundKind, value: float) -> Bound | None:
    if value == 0.0:
        return None
    try:
        return Bound(kind, value)
    except InvalidArgument as error:
        raise Corrupt(f"the header holds a bound that no encoder writes: {error}") from error


def check_status(status: int, offset: int) -> None:
    """Turn what the engine reports into an error that says so.

    Raises
    ------
    SciflowError, MemoryError
        If the status is not 0.
    """
    if status == 0:
        return
    if status == _NO_MEMORY:
        raise MemoryError("sciflow's engine found no memory for its buffers; use smaller chunks")
    kind, reason = _ERRORS.get(status, (Corrupt, f"the engine reports status {status}"))
    raise kind(f"at byte {offset}: {reason}" if issubclass(kind, Corrupt | Unsupported) else reason)
