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

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.bounds import Bound
from sciflow.codecs import integer_network, network
from sciflow.codecs.base import BaseCodec, BaseLike, SZBase, parse_base
from sciflow.codecs.enhancement import INTEGER_NETWORK, NETWORK, Coder
from sciflow.codecs.stream import BytesLike, as_bytes_view, check_status
from sciflow.codecs.sz import check_dtype
from sciflow.codecs.wrapper import PLAIN, Enhanced, read_enhanced
from sciflow.errors import Corrupt, InvalidArgument, Truncated

if TYPE_CHECKING:
    pass

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

Target = Literal["bound", "psnr"]
Groups = Literal["auto", "value", "quantile", "activity"]
Enhancer = Literal["wiener", "cnn", "cnn-float"]
_TARGETS: tuple[Target, ...] = get_args(Target)
_GROUPS: tuple[Groups, ...] = get_args(Groups)
_MAX_GROUPS = 64
_ENHANCERS: tuple[Enhancer, ...] = get_args(Enhancer)
_MAX_SECONDS = 86400.0
_KINDS: tuple[Literal["none", "own", "shared", "network"], ...] = (
    "none",
    "own",
    "shared",
    "network",
    "network",
)
"""What each kind of body is."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class GWLZConfig:
    """How to encode; to decode, the base codec and the shared enhancer are needed.

    Parameters
    ----------
    base : BaseLike
        The codec whose output is enhanced: an SZ, any registered numcodecs codec or its configuration, or a
        sequence of those, applied one behind the other.
    target : {"bound", "psnr"}
        ``"bound"``: every value stays within the base's bound; the enhancer lowers the mean square error.
        ``"psnr"``: the smallest stream whose enhanced PSNR reaches `psnr`; the largest error is measured and
        stored.
    groups : {"auto", "value", "quantile", "activity"}
        What tells cells apart that get filters of their own: equal widths of value (as in the paper),
        quantiles of value, quantiles of activity around a cell, or what serves best of activity by value and
        activity by position on the even and odd grid.
    n_groups : int, optional
        Filters at most, 1 to 64; classes that gain too little of their own are merged. By default 16.
    psnr : float, optional
        In dB, over the range of the array that is encoded. By default that of the base's ``Bound.psnr``.
    bound : Bound or float, optional
        For a base that is not SZ, with target "bound": what every value is held to. By default the largest
        error that the base itself makes.
    shared : bytes or str, optional
        An enhancer that encoder and decoder both have (see `sciflow.codecs.enhancer.fit_shared`), as bytes or
        in base64. A chunk takes it where that is smaller than one of its own.
    tune : str, optional
        For a base that is not SZ, with target "psnr": its parameter that holds the error bound.
    enhancer : {"wiener", "cnn", "cnn-float"}
        Filters, or small networks that are trained while encoding (needs torch; by default 4 groups, by
        quantiles of value). A network is slow to make. Networks of integers ("cnn") decode to the same bits
        on every machine, without torch; values of "cnn-float" may differ in the last bits on another machine,
        where decoding then fails: for experiments, not for archives.
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal. A choice of the running program: no part of
        equality or of the JSON form.

    Raises
    ------
    InvalidArgument
        If a value is not allowed, or two contradict each other.

    Examples
    --------
    >>> from sciflow.codecs.sz import SZConfig
    >>> config = GWLZConfig(SZConfig(Bound.rel(1e-2)))
    >>> GWLZConfig.from_json(config.to_json()) == config
    True
    """

    base: BaseCodec
    target: Target
    groups: Groups
    n_groups: int | None
    psnr: float | None
    bound: Bound | None
    shared: bytes
    tune: str | None
    enhancer: Enhancer
    seed: int
    time_budget: float
    progress: bool | None

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
        assign = object.__setattr__
        assign(self, "base", parse_base(base, tune=tune))
        assign(self, "target", target)
        assign(self, "groups", groups)
        assign(self, "n_groups", n_groups)
        assign(self, "psnr", None if psnr is None else Bound.psnr(psnr).value)
        assign(self, "bound", bound if isinstance(bound, Bound) or bound is None else Bound.abs(bound))
        assign(self, "shared", _model_bytes(shared))
        assign(self, "tune", tune)
        assign(self, "enhancer", enhancer)
        assign(self, "seed", seed)
        assign(self, "time_budget", time_budget)
        assign(self, "progress", progress)
        self._check()

    def _check(self) -> None:
        if self.target not in _TARGETS:
            raise InvalidArgument(f"target={self.target!r}: expected one of {', '.join(_TARGETS)}")
        if self.groups not in _GROUPS:
            raise InvalidArgument(f"groups={self.groups!r}: expected one of {', '.join(_GROUPS)}")
        if self.enhancer not in _ENHANCERS:
            raise InvalidArgument(f"enhancer={self.enhancer!r}: expected one of {', '.join(_ENHANCERS)}")
        if self.enhancer != "wiener" and (self.groups == "activity" or self.shared):
            raise InvalidArgument(
                f'enhancer="{self.enhancer}": goes with groups by value or quantile, and without shared='
            )
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 63:
            raise InvalidArgument(f"seed={self.seed!r}: expected a whole number of 0 or more")
        if not 0 < self.time_budget <= _MAX_SECONDS:
            raise InvalidArgument(
                f"time_budget={self.time_budget!r}: expected seconds, up to {_MAX_SECONDS:g}"
            )
        count = self.n_groups
        if count is not None and (type(count) is not int or not 1 <= count <= _MAX_GROUPS):
            raise InvalidArgument(f"n_groups={count!r}: expected a whole number from 1 to {_MAX_GROUPS}")
        if self.bound is not None and (
            isinstance(self.base, SZBase) or self.bound.kind not in ("abs", "rel")
        ):
            raise InvalidArgument(
                f"bound={self.bound!r}: goes with a base that is not SZ, as Bound.abs or Bound.rel; "
                "SZ has a bound of its own"
            )
        if self.target == "bound":
            if self.psnr is not None:
                raise InvalidArgument(f'psnr={self.psnr!r} goes with target="psnr"')
        elif self.decibels is None:
            raise InvalidArgument('target="psnr": say how much, with psnr=60.0 or base=SZ(Bound.psnr(60.0))')
        elif not self.base.tunable:
            raise InvalidArgument(
                'target="psnr": the base\'s bound must be moved to reach it; name its parameter, '
                'for example tune="tolerance"'
            )

    def with_base(self, base: BaseCodec) -> Self:
        """Return the same with another base codec."""
        return type(self)(
            base,
            target=self.target,
            groups=self.groups,
            n_groups=self.n_groups,
            psnr=self.psnr,
            bound=self.bound,
            shared=self.shared,
            tune=self.tune,
            enhancer=self.enhancer,
            seed=self.seed,
            time_budget=self.time_budget,
            progress=self.progress,
        )

    @property
    def groups_number(self) -> int:
        """What the engine calls `groups`."""
        return _GROUPS.index(self.groups)

    @property
    def decibels(self) -> float | None:
        """The PSNR that is asked for."""
        if self.psnr is None and isinstance(self.base, SZBase) and self.base.config.bound.kind == "psnr":
            return self.base.config.bound.value
        return self.psnr

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote, or a user: missing keys take their defaults.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        names = [entry.name for entry in fields(cls) if entry.name != "progress"]
        if not isinstance(data, Mapping) or "base" not in data:
            raise InvalidArgument(f'configuration {data!r}: expected an object with "base" at least')
        unknown = sorted(set(data) - set(names))
        if unknown:
            raise InvalidArgument(
                f"configuration: unknown {', '.join(map(repr, unknown))}; known are {', '.join(names)}"
            )
        rest = {name: value for name, value in data.items() if name not in ("base", "bound")}
        bound = data.get("bound")
        return cls(
            data["base"], bound=Bound.from_json(bound) if isinstance(bound, Mapping) else bound, **rest
        )

    def to_json(self) -> dict[str, Any]:
        """Every field, as strict JSON."""
        return {
            "base": self.base.to_json(),
            "target": self.target,
            "groups": self.groups,
            "n_groups": self.n_groups,
            "psnr": self.psnr,
            "bound": None if self.bound is None else self.bound.to_json(),
            "shared": base64.b64encode(self.shared).decode("ascii") or None,
            "tune": self.tune,
            "enhancer": self.enhancer,
            "seed": self.seed,
            "time_budget": self.time_budget,
        }

    def arguments(self) -> str:
        """Spell the arguments that make this configuration, defaults left out."""
        shown = {key: value for key, value in self.to_json().items() if value is not None}
        defaults = {"target": "bound", "groups": "auto", "enhancer": "wiener", "seed": 0, "time_budget": 20.0}
        parts = [f"{key}={value!r}" for key, value in shown.items() if defaults.get(key) != value]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"GWLZConfig({self.arguments()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GWLZConfig) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(repr(self.to_json()))


@dataclass(frozen=True, slots=True, kw_only=True)
class GWLZInfo:
    """What a stream says of itself.

    Parameters
    ----------
    enhancer : {"off", "own", "shared", "none", "network"}
        ``"off"``: the base stream alone; ``"none"``: only values that the base lost were added.
    bound : Bound or None
        What every value was held to, as far as this stream says it.
    error, mse : float or None
        The largest error and the mean of the squared one, measured by the encoder; None where it is off.
    base_bytes, added_bytes : int
        Of the base stream, and all that was added to it.
    reproducible : bool
        Whether every machine decodes the same bits.
    """

    enhancer: Literal["off", "own", "shared", "none", "network"]
    bound: Bound | None
    error: float | None
    mse: float | None
    base_bytes: int
    added_bytes: int
    reproducible: bool


def encode(array: NDArray[Any], config: GWLZConfig) -> bytes:
    """Return a stream from which `decode` gives every value back as the target says.

    Parameters
    ----------
    array : ndarray, float32|float64, shape (...) of 0 to 8 dimensions, any layout and byte order
        What to encode; never written to.
    config : GWLZConfig
        The base codec, and what the enhancer is for.

    Returns
    -------
    bytes
        With target "bound" longer than the base stream by one byte, or more where the base would spend more
        than that for the same mean square error.

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
    coder = Coder(array, config)
    return coder.to_psnr() if config.target == "psnr" else coder.to_bound()


def decode(buf: BytesLike, config: GWLZConfig) -> NDArray[Any]:
    """Return the array of a stream.

    Parameters
    ----------
    buf : bytes-like
        What `encode` returned.
    config : GWLZConfig
        With the base codec and the shared enhancer that it was encoded with; the rest is not looked at.

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
    """
    view = as_bytes_view(buf)
    if not len(view):
        raise Truncated("at byte 0: the stream is empty; fetch or copy it again")
    if view[:1] == PLAIN:
        return _writable(np.asarray(config.base.decode_plain(view[1:])))
    stream = read_enhanced(view)
    if math.prod(stream.shape) * stream.dtype.itemsize > 1 << 62:
        raise Corrupt(f"the header holds shape {stream.shape}: more than an address can reach")
    base = config.base if stream.tuned is None else config.base.with_bound(stream.tuned)
    decoded = base.decode(stream.base, stream.native_dtype, stream.stored_shape)
    body = stream.body
    if body[:1] in (bytes((NETWORK,)), bytes((INTEGER_NETWORK,))):
        decoded, body = _apply_network(body, decoded)
    values = np.empty_like(decoded)
    status = native.enhance_decode(
        body, config.shared, decoded.reshape(-1), decoded.shape, values.reshape(-1)
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
    if view[:1] == PLAIN:
        return GWLZInfo(
            enhancer="off",
            bound=None,
            error=None,
            mse=None,
            base_bytes=len(view) - 1,
            added_bytes=1,
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
    )


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
    return values, body[ends[1] :]


def _as_encoded(values: NDArray[Any], stream: Enhanced) -> NDArray[Any]:
    if not stream.dtype.isnative:
        values = values.byteswap(inplace=True).view(stream.dtype)
    return values.T if stream.order == "F" else values


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.writeable else array.copy(order="K")


def _model_bytes(shared: bytes | str | None) -> bytes:
    if shared is None or isinstance(shared, bytes):
        return shared or b""
    try:
        return base64.b64decode(shared, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidArgument(f"shared={shared!r}: expected an enhancer as bytes, or in base64") from error
