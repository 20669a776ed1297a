"""Encoding one array to a target of size or PSNR: the search of `targets`, run on the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound, ValueRange, resolve
from sciflow.codecs.stream import REQUEST_KINDS, decode_values, encode_values
from sciflow.codecs.targets import Found, crops, loosest_for_psnr, tightest_for_size
from sciflow.errors import InvalidArgument
from sciflow.metrics import ErrorStats

if TYPE_CHECKING:
    from sciflow._native import EncodeOptions

__all__ = ["check_met", "encode_for_psnr", "encode_for_size", "size_limit"]


def size_limit(bound: Bound, nbytes: int) -> float:
    """Bytes that a ``ratio`` or ``nbytes`` bound allows an array of `nbytes`."""
    return bound.value if bound.kind == "nbytes" else nbytes / bound.value


def check_met(found: Found, bound: Bound, nbytes: int) -> None:
    """Refuse a target that no bound meets.

    Raises
    ------
    InvalidArgument
        Naming the smallest size that was reached.
    """
    if not found.met:
        raise InvalidArgument(
            f"{bound!r} asks for at most {size_limit(bound, nbytes):.0f} bytes of {nbytes}: the smallest "
            f"that was reached is {found.size}, a ratio of {nbytes / max(1, found.size):.4g}, with a bound "
            "as large as the range of the data; ask for less"
        )


def encode_for_size(
    stored: NDArray[Any], options: EncodeOptions, bound: Bound, value_range: ValueRange
) -> bytes:
    """Encode to the smallest bound whose stream is not larger than `bound` (``ratio``, ``nbytes``) allows.

    Parameters
    ----------
    stored : ndarray, float32|float64, C-contiguous, native byte order
        The array.
    options : EncodeOptions
        All but the bound.
    bound : Bound
        The target.
    value_range : ValueRange
        Of the array.

    Raises
    ------
    InvalidArgument
        If no bound meets the target.
    """
    best = b""

    def encode_at(eb: float) -> bytes:
        return encode_values(stored.reshape(-1), stored.shape, _at(options, eb))

    def size_of(eb: float) -> int:
        nonlocal best
        stream = encode_at(eb)
        if len(best) < len(stream) <= limit:
            best = stream
        return len(stream)

    def sample_size_of(eb: float) -> int:
        quick = _at(options, eb)
        quick["verify"] = False
        return sum(len(encode_values(p.reshape(-1), p.shape, quick)) for p in pieces)

    limit = size_limit(bound, stored.nbytes)
    if stored.size == 0 and bound.kind == "ratio":  # of nothing
        return encode_at(0.0)
    pieces = [np.ascontiguousarray(stored[place]) for place in crops(stored.shape, limit)]
    found = tightest_for_size(
        size_of,
        sample_size_of,
        limit=limit,
        sample_share=sum(p.size for p in pieces) / max(1, stored.size),
        nbytes=stored.nbytes,
        width=value_range.scaled(1.0),
    )
    check_met(found, bound, stored.nbytes)
    return best


def encode_for_psnr(
    stored: NDArray[Any], options: EncodeOptions, bound: Bound, value_range: ValueRange
) -> bytes:
    """Encode to the loosest bound that meets a ``psnr`` bound over the whole array.

    Parameters
    ----------
    stored, options, bound, value_range
        As for `encode_for_size`.
    """
    resolved = resolve(bound, value_range)
    if resolved.mse is None:  # the square leaves float64: a bound that implies the PSNR
        return encode_values(stored.reshape(-1), stored.shape, options)
    sentinels = np.array(options["preserve"], dtype=f"u{stored.dtype.itemsize}").view(stored.dtype)
    streams = dict[float, bytes]()
    back = np.empty(stored.size, stored.dtype)

    def reached(eb: float) -> tuple[int, float]:
        asked = _at(options, eb)
        asked["request_kind"], asked["request_value"] = REQUEST_KINDS.index("psnr"), bound.value
        stream = streams[eb] = encode_values(stored.reshape(-1), stored.shape, asked)
        decode_values(memoryview(stream), back, threads=options["threads"])
        stats = ErrorStats.measure(stored.reshape(-1), back, preserve=sentinels.tolist())
        return len(stream), stats.psnr

    found = loosest_for_psnr(
        reached,
        decibel=bound.value,
        amplitude=value_range.scaled(10.0 ** (-bound.value / 20.0)),
        start=resolved.value,
    )
    return streams[found.bound]


def _at(options: EncodeOptions, eb: float) -> EncodeOptions:
    """The options with an absolute bound and no other promise."""
    asked = options.copy()
    asked["eb"], asked["mse"] = eb, 0.0
    asked["request_kind"], asked["request_value"] = REQUEST_KINDS.index("abs"), eb
    return asked
