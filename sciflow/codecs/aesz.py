"""AESZ: a model predicts blocks, SZ codes what it leaves within the bound; SZ alone where that is smaller.

```
array ─ blocks ─ model ─▶ latents ─▶ SZ ─▶ latents' ─ model, integers ─▶ P ─▶ r = x - P ─▶ SZ      (encode)
   └───▶ SZ ─▶ plain stream                                              the smallest of them is kept
x' = P + r' in modelled blocks, r' elsewhere                                                       (decode)
```
Liu et al., "Exploring Autoencoder-based Error-bounded Compression for Scientific Data", CLUSTER 2021,
arXiv:2105.11730, choose an autoencoder or Lorenzo prediction for each block. Here the other choice is all of
SZ, and a model may be a KLT as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.codecs.aesz_blocks import Grid
from sciflow.codecs.aesz_coder import ORDINARY, Coder
from sciflow.codecs.aesz_config import AESZConfig
from sciflow.codecs.aesz_model import Predictor, predictor_of
from sciflow.codecs.aesz_stream import (
    PLAIN,
    Modelled,
    Weighted,
    read_marks,
    read_modelled,
    read_weighted,
    write_weighted,
)
from sciflow.codecs.aesz_values import checksum, read_latents, reconstruct
from sciflow.codecs.base import as_stored
from sciflow.codecs.stream import BytesLike, StreamInfo, as_bytes_view
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Corrupt, InvalidArgument, Truncated

__all__ = ["AESZConfig", "AESZInfo", "decode", "encode", "encode_modelled", "info"]

_LEARNED = 9
"""Mode of a block that a linear model's weights predict."""
_VALUES = 1 << 14
"""That a field's range is taken from, for a linear model's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AESZInfo:
    """What a stream says of itself.

    Parameters
    ----------
    model : str or None
        Digest of the model that decoding needs; None where it needs none.
    bound : Bound or None
        The promise in force; None where every bit comes back.
    dtype : numpy.dtype
        Of the array, in the byte order that `decode` returns.
    shape : tuple of int
        Of the array.
    latent_bytes, residual_bytes, other_bytes : int
        Of the two SZ streams, and all else.
    """

    model: str | None
    bound: Bound | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    latent_bytes: int
    residual_bytes: int
    other_bytes: int


def encode(array: NDArray[Any], config: AESZConfig) -> bytes:
    """Return a stream from which `decode` gives every value back within the bound.

    Parameters
    ----------
    array : ndarray, float32|float64, shape (...) of 0 to 8 dimensions, any layout and byte order
        What to encode; never written to.
    config : AESZConfig
        The promise and the model.

    Returns
    -------
    bytes
        Never longer than the SZ stream of the same bound and level by more than one byte.

    Raises
    ------
    UnsupportedDtype, InvalidArgument
        If the data, a sentinel or the model do not fit the codec.
    ModelMismatch
        If no place has the model.
    BoundViolated
        If the engine finds that it broke the promise: a bug.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidArgument(
            "masked array: the mask would be lost; pass array.filled(value) and preserve=[value] instead"
        )
    array = np.asarray(array)
    plain = PLAIN + sz.encode(array, config.sz)
    predictor = predictor_of(config.model, inline=config.inline)
    bound = sz.info(plain[1:]).bound
    if bound is None or array.ndim < len(predictor.block) or not array.size:
        return plain
    if predictor.linear is not None:
        body = _weighted(array, config.sz, predictor, bound.value)
        modes = {body[at] for at in sz.info(body).block_offsets[:-1]}
        needed = _LEARNED in modes
        return min(plain, _named(predictor, body) if needed else PLAIN + body, key=len)
    return Coder(array, config.sz, predictor, bound.value).smallest(plain)


def encode_modelled(array: NDArray[Any], config: AESZConfig) -> bytes | None:
    """Return a stream in which the model serves every block that it may, whatever that costs.

    For measuring what a model does; `encode` leaves out those that do not pay. Arguments and errors are those
    of `encode`, of an array that is not masked.

    Returns
    -------
    bytes or None
        None where the model can serve no block: those that hold NaN or sentinels, a bound near the spacing of
        floats, fewer axes than the model's.
    """
    predictor = predictor_of(config.model, inline=config.inline)
    bound = sz.info(sz.encode(array, replace(config.sz, level="fast"))).bound
    if bound is None or array.ndim < len(predictor.block) or not array.size:
        return None
    if predictor.linear is not None:
        return _named(predictor, _weighted(array, config.sz, predictor, bound.value))
    return Coder(array, config.sz, predictor, bound.value).modelled()


def decode(
    buf: BytesLike,
    *,
    inline: str | None = None,
    file: bytes | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Return the array of a stream.

    Parameters
    ----------
    buf : bytes-like
        What `encode` returned.
    inline : str, optional
        The model's file in base64, as the configuration carries it.
    file : bytes, optional
        The model's file, where a caller has it: it must have the digest that the stream names.
    threads : int
        Threads of SZ within this call.

    Returns
    -------
    ndarray, float32|float64
        With the dtype, shape, layout and byte order of the one that was encoded; new and writable. The same
        bits on every machine.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If the bytes are not a whole stream of this release or an older one.
    ModelMismatch
        If no place has the model that the stream names.
    """
    view = as_bytes_view(buf)
    if not len(view):
        raise Truncated("at byte 0: the stream is empty; fetch or copy it again")
    if view[:1] == PLAIN:
        plain: NDArray[Any] = sz.decode(view[1:], threads=threads)
        return plain
    weighted = read_weighted(view)
    if weighted is not None:
        predictor = predictor_of(weighted.digest, inline=inline, file=file)
        if predictor.linear is None:
            raise Corrupt(f"a stream with weights names a model of kind {predictor.model.kind}, not linear")
        served: NDArray[Any] = sz.decode(weighted.body, threads=threads, weights=predictor.linear.weights)
        return served
    stream = read_modelled(view)
    header = sz.info(stream.residual)
    predictor = predictor_of(stream.digest, inline=inline, file=file)
    if predictor.linear is not None:
        raise Corrupt("a stream of latents names a linear model, which has none")
    marks, grid = _marks_of(stream, header, predictor)
    latents = _latents_of(stream, grid, marks, predictor, threads)
    residual, _ = as_stored(sz.decode(stream.residual, threads=threads))
    predicted = predictor.decode(latents, gain=stream.gain, ratio=stream.ratio)
    values = reconstruct(grid, marks, predicted, residual, stream.bound)
    if checksum(values) != stream.output_crc:
        raise Corrupt("the values that come out are not those that the encoder saw: a stream made by hand")
    return sz.as_encoded(header, values.reshape(-1))


def info(buf: BytesLike) -> AESZInfo:
    """Say what a stream holds; no value is decoded and no model needed.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        As for `decode`, of the wrapper and the residual's header.
    """
    view = as_bytes_view(buf)
    if not len(view):
        raise Truncated("at byte 0: the stream is empty; fetch or copy it again")
    if view[:1] == PLAIN:
        header, base = sz.info(view[1:]), len(view) - 1
        model, bound, latents = None, header.bound, 0
    elif (weighted := read_weighted(view)) is not None:
        header, base = sz.info(weighted.body), len(weighted.body)
        model, bound, latents = weighted.digest, header.bound, 0
    else:
        stream = read_modelled(view)
        header, base, latents = sz.info(stream.residual), len(stream.residual), len(stream.latents)
        model, bound = stream.digest, Bound.abs(stream.bound)
    return AESZInfo(
        model=model,
        bound=bound,
        dtype=header.dtype,
        shape=header.shape,
        latent_bytes=latents,
        residual_bytes=base,
        other_bytes=len(view) - base - latents,
    )


def _weighted(array: NDArray[Any], config: SZConfig, predictor: Predictor, bound: float) -> bytes:
    """Return the SZ stream in which the model's weights predict each block that takes fewer bytes so."""
    assert predictor.linear is not None
    some = array.reshape(-1)[:: max(1, array.size // _VALUES)]
    with np.errstate(invalid="ignore"):  # a signalling NaN
        some = some.astype(np.float64)
    some = some[np.abs(some) < ORDINARY[1]]
    span = float(np.ptp(some)) if some.size else 0.0
    chosen = predictor.linear.nearest(bound / span if span else math.inf)
    return sz.encode(array, config, weights=(predictor.linear.weights, chosen))


def _named(predictor: Predictor, body: bytes) -> bytes:
    return write_weighted(Weighted(digest=predictor.digest, body=body))


def _marks_of(stream: Modelled, header: StreamInfo, predictor: Predictor) -> tuple[NDArray[np.bool_], Grid]:
    if len(header.stored_shape) < len(predictor.block) or not header.size:
        raise Corrupt(
            f"an array of shape {header.shape} with a model for blocks of {predictor.block}: no encoder "
            "writes that"
        )
    if predictor.scaled != (stream.ratio > 0):
        raise Corrupt("the stream's ratio does not go with the kind of its model")
    grid = Grid(header.stored_shape, predictor.block)
    return read_marks(stream.marks, grid.size), grid


def _latents_of(
    stream: Modelled, grid: Grid, marks: NDArray[np.bool_], predictor: Predictor, threads: int
) -> NDArray[np.int32]:
    header = sz.info(stream.latents)
    shape = header.stored_shape
    if header.dtype != np.dtype("<f4") or shape[1:] != grid.counts or not 1 <= shape[0] <= predictor.latents:
        raise Corrupt(
            f"latents of {header.dtype}, shape {shape}: expected float32, up to {predictor.latents} of "
            f"{grid.counts}"
        )
    return read_latents(stream.latents, grid, marks, threads)
