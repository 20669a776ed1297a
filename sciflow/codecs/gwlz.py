"""GWLZ: another codec's stream, and an enhancer of what it decodes to that is worth its bytes.

```
array ─▶ base codec ─▶ base stream ─▶ decoded ─▶ enhancer fitted ─▶ worth its bytes? ─▶ stream        (encode)
stream ─▶ base codec ─▶ decoded ─▶ classes, filters (integers) ─▶ enhanced ─▶ checksum ─▶ array       (decode)
```
The idea of group-wise enhancers that are learned while compressing is that of Jia et al., "GWLZ: A Group-wise
Learning-based Lossy Compression Framework for Scientific Data", FlexScience 2024, arXiv:2404.13470. The
enhancer here is a Wiener filter for each class of cells in place of their networks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.bounds import Bound
from sciflow.codecs import integer_network, network, sz
from sciflow.codecs.auxiliary import check_given, stored_aux
from sciflow.codecs.enhancement import Coder
from sciflow.codecs.gwlz_config import Enhancer, Groups, GWLZConfig, Target
from sciflow.codecs.stream import BytesLike, as_bytes_view, check_status
from sciflow.codecs.sz import check_dtype
from sciflow.codecs.wrapper import INTEGER_NETWORK, NETWORK, Enhanced, read_enhanced, read_plain
from sciflow.errors import Corrupt, InvalidArgument, SciflowError, Truncated

__all__ = [
    "Enhancer",
    "GWLZConfig",
    "GWLZInfo",
    "Groups",
    "Target",
    "decode",
    "encode",
    "info",
]

_KINDS: tuple[Literal["none", "own", "shared", "network"], ...] = (
    "none",
    "own",
    "shared",
    "network",
    "network",
)
"""What each kind of body is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GWLZInfo:
    """What a stream says of itself.

    Parameters
    ----------
    enhancer : {"off", "own", "shared", "none", "network"}
        ``"off"``: the base stream alone; ``"none"``: only values that the base lost were added.
    bound : Bound or None
        The bound that holds for every value: the one asked for, or with target "psnr" that of the base and as
        far as a correction reaches; None where a base stream other than SZ's stands alone.
    error, mse : float or None
        The largest error and the mean of the squared one that were reached, measured by the encoder and
        rounded up; None of a stream with target "bound" in which the enhancer is off.
    base_bytes, added_bytes : int
        Of the base stream, and all that was added to it.
    reproducible : bool
        Whether every machine decodes the same bits.
    aux : int
        Other variables whose values decoding needs.
    """

    enhancer: Literal["off", "own", "shared", "none", "network"]
    bound: Bound | None
    error: float | None
    mse: float | None
    base_bytes: int
    added_bytes: int
    reproducible: bool
    aux: int = 0


def encode(array: NDArray[Any], config: GWLZConfig, *, aux: Sequence[NDArray[Any]] = ()) -> bytes:
    """Return a stream from which `decode` gives every value back as the target says.

    Parameters
    ----------
    array : ndarray, float32|float64, shape (...) of 0 to 8 dimensions, any layout and byte order
        What to encode; never written to.
    config : GWLZConfig
        The base codec, and what the enhancer is for.
    aux : sequence of ndarray, float32|float64, of the shape of `array`
        The decoded values of the variables that ``config.aux`` names, in that order.

    Returns
    -------
    bytes
        With target "bound" longer than the base stream by one byte, or shorter than what the base was found
        to take for the same mean square error.

    Raises
    ------
    UnsupportedDtype, InvalidArgument
        If the data do not fit the codecs.
    BoundViolated
        If an engine finds that it broke the promise: a bug.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidArgument("masked array: the mask would be lost; pass array.filled(value) instead")
    array = np.asarray(array)
    check_dtype(array.dtype, ndim=array.ndim)
    check_given(config.aux, aux, array.shape)
    coder = Coder(array, config, aux)
    return coder.to_psnr() if config.target == "psnr" else coder.to_bound()


def decode(buf: BytesLike, config: GWLZConfig, *, aux: Sequence[NDArray[Any]] = ()) -> NDArray[Any]:
    """Return the array of a stream.

    Parameters
    ----------
    buf : bytes-like
        What `encode` returned.
    config : GWLZConfig
        With the base codec and the shared enhancer that it was encoded with; the rest is not looked at.
    aux : sequence of ndarray
        What the encoder was given; not looked at where the stream needs none.

    Returns
    -------
    ndarray, float32|float64
        With the dtype, shape, layout and byte order of the one that was encoded; new and writable.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If the bytes are not a whole stream of this release or an older one.
    ModelMismatch
        If the stream needs a shared enhancer, and the one in `config` is another or missing.
    AuxMismatch
        If it needs other variables, and they are missing, of another shape, or not those of the encoder.
    """
    view = as_bytes_view(buf)
    if not len(view):
        raise Truncated("at byte 0: the stream is empty; fetch or copy it again")
    plain = read_plain(view)
    if plain is not None:
        return _writable(np.asarray(config.base.decode_plain(plain.base)))
    stream = read_enhanced(view)
    if math.prod(stream.shape) * stream.dtype.itemsize > 1 << 62:
        raise Corrupt(f"the header holds shape {stream.shape}: more than an address can reach")
    beside = stored_aux(stream, config.aux, aux)
    base = config.base if stream.tuned is None else config.base.with_bound(stream.tuned)
    decoded = base.decode(stream.base, stream.native_dtype, stream.stored_shape)
    body = stream.body
    if body[:1] in (bytes((NETWORK,)), bytes((INTEGER_NETWORK,))):
        decoded, body = _apply_network(body, decoded)
    values = np.empty_like(decoded)
    status = native.enhance_decode(
        body, config.shared, decoded.reshape(-1), decoded.shape, values.reshape(-1), beside
    )
    check_status(status, len(view) - len(stream.base))
    if native.crc32c(as_bytes_view(values)) != stream.output_crc:
        raise Corrupt(
            "the values that come out are not those that the encoder saw: the base codec decodes otherwise "
            f"({config.base!r}), or the stream was made by hand"
        )
    return _as_encoded(values, stream)


def info(buf: BytesLike) -> GWLZInfo:
    """Say what a stream holds; nothing is decoded.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        As for `decode`, of the wrapper alone.
    """
    view = as_bytes_view(buf)
    plain = read_plain(view)
    if plain is not None:
        return GWLZInfo(
            enhancer="off",
            bound=_bound_of(plain.base),
            error=plain.error,
            mse=plain.mse,
            base_bytes=len(plain.base),
            added_bytes=len(view) - len(plain.base),
            reproducible=True,
        )
    stream = read_enhanced(view)
    kind = stream.body[0] if stream.body else len(_KINDS)
    if kind >= len(_KINDS):
        raise Corrupt(f"the enhancement is of kind {kind}: expected 0 to {len(_KINDS) - 1}")
    return GWLZInfo(
        enhancer=_KINDS[kind],
        bound=stream.bound,
        error=stream.error,
        mse=stream.mse,
        base_bytes=len(stream.base),
        added_bytes=len(view) - len(stream.base),
        reproducible=stream.reproducible,
        aux=len(stream.aux),
    )


def _bound_of(stream: memoryview) -> Bound | None:
    """What an SZ stream says that it holds; None of another codec's."""
    try:
        return sz.info(stream).bound
    except SciflowError:
        return None


def _apply_network(body: bytes, decoded: NDArray[Any]) -> tuple[NDArray[Any], bytes]:
    """What a network makes of decoded values, marks taken back, and the engine's body behind it."""
    if len(body) < 9:
        raise Truncated("the stream ends in the lengths of its network")
    sizes = struct.unpack_from("<II", body, 1)
    ends = (9 + sizes[0], 9 + sizes[0] + sizes[1])
    if len(body) < ends[1]:
        raise Truncated("the stream ends in its network")
    packed = body[9 : ends[0]]
    if body[0] == INTEGER_NETWORK:
        values = integer_network.apply(integer_network.read(packed), decoded)
    else:
        found, rest = network.read_network(packed)
        if rest:
            raise Corrupt(f"{len(rest)} bytes behind the network: no encoder leaves any")
        values = network.apply(found, decoded)
    if sizes[1]:
        marked = network.read_marks(body[ends[0] : ends[1]], decoded.size).reshape(decoded.shape)
        values[marked] = decoded[marked]
    if body[ends[1] : ends[1] + 1] not in (b"", b"\x00"):
        raise Corrupt(f"behind a network a body of kind {body[ends[1]]}: expected 0")
    return values, body[ends[1] :]


def _as_encoded(values: NDArray[Any], stream: Enhanced) -> NDArray[Any]:
    if not stream.dtype.isnative:
        values = values.byteswap(inplace=True).view(stream.dtype)
    return values.T if stream.order == "F" else values


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.writeable else array.copy(order="K")
