"""SZ: prediction, quantisation within the bound, entropy coding; what fails the bound is stored exactly.

```
array ─▶ layout, byte order ─▶ bound ─▶ engine ─▶ stream          (encode)
stream ─▶ header ─▶ engine ─▶ byte order, layout ─▶ array         (decode)
```
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args, overload

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound, Resolved, ValueRange, resolve
from sciflow.codecs.regions import Regions, with_regions
from sciflow.codecs.sentinels import Sentinel, parse_sentinels, sentinel_bits
from sciflow.codecs.stream import (
    MAX_NDIM,
    REQUEST_KINDS,
    BytesLike,
    StreamInfo,
    as_bytes_view,
    decode_values,
    encode_values,
    encoded_size_bound,
    read_info,
)
from sciflow.codecs.targeted import encode_for_psnr, encode_for_size
from sciflow.errors import InvalidArgument, UnsupportedDtype

if TYPE_CHECKING:
    from sciflow._native import EncodeOptions

__all__ = [
    "SEARCHING",
    "Level",
    "Regions",
    "SZConfig",
    "as_encoded",
    "check_dtype",
    "check_regional",
    "decode",
    "encode",
    "encoded_size_bound",
    "info",
    "native_order",
]

Level = Literal["fast", "quick", "balanced", "max"]
_LEVELS: tuple[Level, ...] = get_args(Level)
SEARCHING: tuple[Level, ...] = ("balanced", "max")
"""Levels that take several encodes for a PSNR."""
_MAX_THREADS = 1024
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class SZConfig:
    """How to encode; nothing of it is needed to decode.

    Parameters
    ----------
    bound : Bound or float
        The promise; a number means ``Bound.abs``. ``rel`` and ``psnr`` refer to the range of the array that
        is encoded: for a codec in a store that is one chunk. `sciflow.compress` resolves them over the whole
        variable first.
    level : {"fast", "quick", "balanced", "max"}
        The one dial: bytes against seconds. The bound never changes with it. ``fast``, for writing from a
        running simulation and for loaders: values as multiples of twice the bound, differences along the axes
        where a sample says they pay, groups of 64 at a fixed width each; one pass, every value checked in
        it and, with `verify`, unpacked again while it is in the cache. Where 32-bit integers do not reach,
        with a ``pointwise_rel`` bound and without any loss it codes as ``quick`` does. ``quick`` predicts and
        codes as ``balanced`` does, but looks at one crop roughly before it settles how. ``balanced`` prices
        several ways on three crops, and looks for how the source made its values. ``max`` tries more of
        them in full, predicts by least squares fitted on the way where that is smaller, and codes by context
        mixing: several times slower in both directions.
    preserve : iterable of number or str
        Sentinels (``_FillValue``, ``missing_value``) that come back bit for bit and count for no range:
        numbers, or bit patterns as hexadecimal text, 8 digits for float32 and 16 for float64
        (``"0x7fc00001"``). NaN, Inf and -0.0 are kept in any case.
    rewrite_safe : bool
        Put reconstructions on a lattice, so that rewriting a part of a chunk leaves the rest where it was.
        Needs an ``abs`` or ``pointwise_rel`` bound. Without it errors add up: 64 writes of one slab each into
        one chunk ended at up to 5.4 times the bound, with it at 1.00. Leave it off where chunks are written
        once: it costs ratio on very smooth fields.
    verify : bool
        Whether to decode the finished stream and compare once more. Turning it off drops this second check
        only; the encoder compares every value as it goes.
    block_values : int, optional
        Cells in a block that decodes on its own. Set it when readers take small parts of large chunks;
        smaller blocks cost ratio. By default a block is as large as the engine takes.
    threads : int
        Threads within one call. Leave it at 1 under Zarr, Dask or a loader, which run several calls at once.
        A choice of the running program: no part of equality or of the JSON form.

    Raises
    ------
    InvalidArgument
        If a value is not allowed, or two contradict each other.

    Examples
    --------
    >>> config = SZConfig(Bound.rel(1e-3), preserve=[-9999])
    >>> config
    SZConfig(Bound.rel(0.001), preserve=(-9999.0,))
    >>> SZConfig.from_json(config.to_json()) == config
    True
    """

    bound: Bound
    level: Level = "balanced"
    preserve: tuple[Sentinel, ...] = ()
    rewrite_safe: bool = False
    verify: bool = True
    block_values: int | None = None
    threads: int = field(default=1, compare=False)

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
        assign = object.__setattr__
        assign(self, "bound", bound if isinstance(bound, Bound) else Bound.abs(bound))
        assign(self, "level", level)
        assign(self, "preserve", parse_sentinels(preserve))
        assign(self, "rewrite_safe", rewrite_safe)
        assign(self, "verify", verify)
        blocks = None if block_values is None else _count("block_values", block_values, most=1 << 62)
        assign(self, "block_values", blocks)
        assign(self, "threads", _count("threads", threads, most=_MAX_THREADS))
        self._check()

    def _check(self) -> None:
        if self.level not in _LEVELS:
            raise InvalidArgument(f"level={self.level!r}: expected one of {', '.join(_LEVELS)}")
        for name in ("rewrite_safe", "verify"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgument(f"{name}={getattr(self, name)!r}: expected true or false")
        moves = self.bound.kind not in ("abs", "pointwise_rel") or self.bound.mse is not None
        if self.rewrite_safe and moves:
            raise InvalidArgument(
                f"rewrite_safe=True with {self.bound!r}: the lattice would move with the data of each write; "
                "give the bound as Bound.abs(...) (sciflow.compress resolves Bound.rel for you)"
            )

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote, or a user: missing keys take their defaults.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        names = [entry.name for entry in fields(cls)]
        if not isinstance(data, Mapping) or "bound" not in data:
            raise InvalidArgument(f'configuration {data!r}: expected an object with "bound" at least')
        unknown = sorted(set(data) - set(names))
        if unknown:
            raise InvalidArgument(
                f"configuration: unknown {', '.join(map(repr, unknown))}; known are {', '.join(names)}"
            )
        bound = data["bound"]
        rest = {name: value for name, value in data.items() if name != "bound"}
        return cls(Bound.from_json(bound) if isinstance(bound, Mapping) else bound, **rest)

    def to_json(self) -> dict[str, Any]:
        """Every field that another program can use, as strict JSON (schema: codecs/schema/sz.json)."""
        return {
            "bound": self.bound.to_json(),
            "level": self.level,
            "preserve": list(self.preserve),
            "rewrite_safe": self.rewrite_safe,
            "verify": self.verify,
            "block_values": self.block_values,
        }

    def __repr__(self) -> str:
        return f"SZConfig({self.arguments()})"

    def arguments(self) -> str:
        """Spell the arguments that make this configuration, defaults left out."""
        changed = [
            f"{entry.name}={getattr(self, entry.name)!r}"
            for entry in fields(self)
            if getattr(self, entry.name) != entry.default and entry.name != "bound"
        ]
        return ", ".join([repr(self.bound), *changed])


def check_dtype(dtype: np.dtype[Any], *, ndim: int = 0) -> None:
    """Refuse what the engine does not take.

    Raises
    ------
    UnsupportedDtype
        If the dtype is neither float32 nor float64 (of either byte order); the message names a codec that
        fits.
    InvalidArgument
        If there are more than 8 dimensions.
    """
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise UnsupportedDtype(f"dtype {dtype}: sciflow.sz takes float32 and float64; {_advice(dtype)}")
    if ndim > MAX_NDIM:
        raise InvalidArgument(
            f"{ndim} dimensions: sciflow.sz takes up to {MAX_NDIM}; reshape the array first"
        )


def encode(
    array: NDArray[Any],
    config: SZConfig,
    *,
    regions: Regions | None = None,
    weights: tuple[bytes, int] | None = None,
) -> bytes:
    """Return a stream from which `decode` gives every value back within the bound.

    Parameters
    ----------
    array : ndarray, float32|float64, shape (...) of 0 to 8 dimensions, any layout and byte order
        What to encode; never written to. Layout F (and not C) is kept, any other becomes C.
    config : SZConfig
        The promise and how to keep it.
    regions : Regions, optional
        Cells with bounds of their own; `config` then has an ``abs``, ``rel`` or ``psnr`` bound and is not
        rewrite-safe.
    weights : tuple of bytes and int, optional
        Of a linear model, and which of its sets: blocks that take fewer bytes so are predicted by them, and
        `decode` then needs the same. AESZ names the model in front of such a stream.

    Returns
    -------
    bytes
        At least one, at most ``encoded_size_bound(array.nbytes)``, and 20 bytes a region; holds all that
        `decode` needs.

    Raises
    ------
    UnsupportedDtype, InvalidArgument
        If the data or a sentinel do not fit the codec.
    BoundViolated
        If the engine finds that it broke the promise: a bug.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidArgument(
            "masked array: the mask would be lost; pass array.filled(value) and preserve=[value] instead"
        )
    array = np.asarray(array)
    check_dtype(array.dtype, ndim=array.ndim)
    order_f = array.flags.f_contiguous and not array.flags.c_contiguous
    stored = native_order(array.T if order_f else array)
    value_range = _value_range(stored, config, regions)
    options = _options(stored.dtype, config, value_range)
    options["order_f"] = order_f
    options["big_endian"] = _is_big_endian(array.dtype)
    if weights is not None:
        options["weights"], options["weights_set"] = weights
    if regions is not None:
        check_regional(config.bound, rewrite_safe=config.rewrite_safe)
        with_regions(options, _broadcast(regions, array.shape), value_range, order_f=order_f)
    if config.bound.is_size:
        return encode_for_size(stored, options, config.bound, value_range)
    if config.bound.kind == "psnr" and regions is None and config.level in SEARCHING:
        return encode_for_psnr(stored, options, config.bound, value_range)
    return encode_values(stored.reshape(-1), stored.shape, options)


@overload
def decode(buf: BytesLike, out: None = None, *, threads: int = 1, weights: bytes = b"") -> NDArray[Any]: ...


@overload
def decode(buf: BytesLike, out: _Out, *, threads: int = 1, weights: bytes = b"") -> _Out: ...


def decode(buf: BytesLike, out: Any = None, *, threads: int = 1, weights: bytes = b"") -> Any:
    """Return the array of a stream, with the dtype, shape, layout and byte order of the one that was encoded.

    Parameters
    ----------
    buf : bytes-like
        What `encode` returned.
    out : ndarray or writable buffer, optional
        Filled and returned instead of a new array. A float array of the same shape receives the values; any
        other contiguous buffer of the same number of bytes receives the memory of the array that was encoded.
    threads : int
        Threads within this call.
    weights : bytes
        Of the linear model that the stream was encoded with, if any.

    Returns
    -------
    ndarray, float32|float64
        New and writable, or `out`.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If the bytes are not a whole stream of this release or an older one. `out` may have been written to.
    InvalidArgument
        If `out` does not fit.
    """
    view = as_bytes_view(buf)
    header = read_info(view)
    if out is None:
        return as_encoded(header, _decode_flat(view, header, threads, weights))
    _decode_to(view, header, out, threads, weights)
    return out


def info(buf: BytesLike) -> StreamInfo:
    """Read the header of a stream.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        As for `decode`, of the header alone.
    """
    return read_info(as_bytes_view(buf))


def native_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same values C-contiguous, aligned and in this machine's byte order; a view if so."""
    # Q: why not astype? A: a swap moves bytes only, so that the payload of a signalling NaN survives.
    if not array.dtype.isnative:
        array = array.byteswap().view(array.dtype.newbyteorder("="))
    array = np.asarray(array, order="C")
    return array if array.flags.aligned else array.copy()


def as_encoded(header: StreamInfo, flat: NDArray[Any]) -> NDArray[Any]:
    """Give decoded cells (native byte order, shape (n,)) the shape, layout and byte order of their header."""
    if not header.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(header.dtype)
    stored: NDArray[Any] = flat.reshape(header.stored_shape)
    return stored.T if header.order == "F" else stored


def _decode_flat(view: memoryview, header: StreamInfo, threads: int, weights: bytes) -> NDArray[Any]:
    flat = np.empty(header.size, dtype=header.native_dtype)
    decode_values(view, flat, threads=threads, weights=weights)
    return flat


def _decode_to(view: memoryview, header: StreamInfo, out: Any, threads: int, weights: bytes) -> None:
    target = _target(out, header)
    same_array = target.dtype.kind == "f" and target.shape == header.shape
    if same_array and not _same_memory(target, header):
        np.copyto(target, as_encoded(header, _decode_flat(view, header, threads, weights)))
    elif not (target.flags.c_contiguous or target.flags.f_contiguous):
        raise InvalidArgument(
            f"out of shape {target.shape} is not contiguous: expected shape {header.shape}, or that it is"
        )
    else:
        _decode_raw(view, header, target.reshape(-1, order="A").view(np.uint8), threads, weights)


def _decode_raw(
    view: memoryview, header: StreamInfo, raw: NDArray[np.uint8], threads: int, weights: bytes
) -> None:
    """Fill flat memory with the memory of the array that was encoded."""
    if raw.ctypes.data % header.dtype.itemsize:
        aligned = as_encoded(header, _decode_flat(view, header, threads, weights))
        raw[...] = aligned.reshape(-1, order="A").view(np.uint8)
        return
    flat = raw.view(header.native_dtype)
    decode_values(view, flat, threads=threads, weights=weights)
    if not header.dtype.isnative:
        flat.byteswap(inplace=True)


def _target(out: Any, header: StreamInfo) -> NDArray[Any]:
    target = out if isinstance(out, np.ndarray) else np.asarray(memoryview(out))
    if target.nbytes != header.nbytes:
        raise InvalidArgument(
            f"out holds {target.nbytes} bytes: expected {header.nbytes} ({header.dtype}, {header.shape})"
        )
    if not target.flags.writeable:
        raise InvalidArgument("out is read-only: pass a writable buffer")
    return target


def _same_memory(target: NDArray[Any], header: StreamInfo) -> bool:
    contiguous = target.flags.f_contiguous if header.order == "F" else target.flags.c_contiguous
    return contiguous and target.dtype == header.dtype


def check_regional(bound: Bound, *, rewrite_safe: bool) -> None:
    """Refuse what does not go with bounds of regions.

    Raises
    ------
    InvalidArgument
        If the bound is pointwise or a target of size, or the codec is rewrite-safe.
    """
    if rewrite_safe:
        raise InvalidArgument(
            "rewrite_safe=True with regions: a part that is written later would not know its regions; leave "
            "one of the two out"
        )
    if bound.kind not in ("abs", "rel", "psnr"):
        raise InvalidArgument(
            f"{bound!r} with regions: give what holds elsewhere as Bound.abs(...), Bound.rel(...) or "
            "Bound.psnr(...)"
        )


def _broadcast(regions: Regions, shape: tuple[int, ...]) -> Regions:
    try:
        labels = np.broadcast_to(regions.labels, shape)
    except ValueError as error:
        raise InvalidArgument(
            f"labels of shape {regions.labels.shape}: expected {shape}, or a shape that broadcasts to it"
        ) from error
    return Regions(labels, regions.bounds)


def _value_range(stored: NDArray[Any], config: SZConfig, regions: Regions | None) -> ValueRange:
    """Of the cells that count, where some bound refers to it."""
    asked = [config.bound, *(regions.bounds.values() if regions is not None else ())]
    if all(bound is None or bound.kind in ("abs", "pointwise_rel") for bound in asked):
        return ValueRange()
    bits = sentinel_bits(config.preserve, stored.dtype)
    sentinels = np.array(bits, dtype=f"u{stored.dtype.itemsize}").view(stored.dtype)
    return ValueRange.of(stored, preserve=sentinels.tolist())


def _options(dtype: np.dtype[Any], config: SZConfig, value_range: ValueRange) -> EncodeOptions:
    resolved = Resolved("abs", 0.0) if config.bound.is_size else resolve(config.bound, value_range)
    return {
        "eb": resolved.value if resolved.kind == "abs" else 0.0,
        "pointwise": resolved.value if resolved.kind == "pointwise_rel" else 0.0,
        "mse": resolved.mse or 0.0,
        "lattice": config.rewrite_safe,
        "level": _LEVELS.index(config.level),
        "preserve": sentinel_bits(config.preserve, dtype),
        "order_f": False,
        "big_endian": False,
        "request_kind": 0 if config.bound.is_size else REQUEST_KINDS.index(config.bound.kind),
        "request_value": config.bound.value,
        "block_values": config.block_values or 0,
        "threads": config.threads,
        "verify": config.verify,
    }


def _is_big_endian(dtype: np.dtype[Any]) -> bool:
    return dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")


def _count(name: str, value: object, *, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise InvalidArgument(f"{name}={value!r}: expected a whole number from 1 to {most}")
    return int(value)


def _advice(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "convert with .astype('float32') or use a lossless codec such as numcodecs.Zstd"
    if dtype.kind in "iu":
        return "integers need no error bound: use numcodecs.PCodec or numcodecs.Zstd, or convert to float"
    if dtype.kind == "c":
        return "encode .real and .imag as two arrays"
    if dtype.kind in "mM":
        return "times need every bit: use numcodecs.Delta with numcodecs.Zstd"
    return "use a lossless codec such as numcodecs.Zstd"
