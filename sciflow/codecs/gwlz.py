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
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.bounds import Bound, ValueRange
from sciflow.codecs import network
from sciflow.codecs.base import BaseCodec, BaseLike, ChainBase, SZBase, as_stored, parse_base
from sciflow.codecs.sentinels import sentinel_bits
from sciflow.codecs.stream import BytesLike, as_bytes_view, check_status
from sciflow.codecs.sz import check_dtype
from sciflow.codecs.wrapper import PLAIN, Enhanced, read_enhanced, write_enhanced
from sciflow.errors import Corrupt, InvalidArgument, Truncated

if TYPE_CHECKING:
    from sciflow._native import EnhanceOptions, EnhanceOutcome

__all__ = [
    "DEFAULT_GROUPS",
    "GROUPS",
    "WORTH",
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
Enhancer = Literal["wiener", "cnn"]
_TARGETS: tuple[Target, ...] = get_args(Target)
GROUPS: tuple[Groups, ...] = get_args(Groups)
_MAX_GROUPS = 64
_ENHANCERS: tuple[Enhancer, ...] = get_args(Enhancer)
DEFAULT_GROUPS = 16
_DEFAULT_NETWORKS = 4
_MAX_SECONDS = 86400.0
_NETWORK = 3
"""The kind of a body that begins with a network."""
_SEARCHES = 6
"""Base streams that are tried for a PSNR."""
_CLOSE = 0.002
"""A squared error this near below its target, relatively, is not searched further."""
WORTH = (0.1, 0.6)
"""Share of the base stream that a neper of squared error is worth: where it is not known, and at most."""
_STEP = 0.5
"""A base's bound is moved by this to learn what its bytes do."""
_FEWEST = 512
"""Fewer cells teach the engine nothing (FEWEST in codecs/enhance/fit.cpp)."""
_SQUARABLE = (1e-140, 1e140)
"""Bounds whose square stays a normal double."""
_MARGIN = 0.1
"""Share of what an enhancer is worth that it must gain within a bound, or it is left out."""


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
    enhancer : {"wiener", "cnn"}
        Filters, or small networks that are trained while encoding (needs torch; by default 4 groups, by
        quantiles of value). A network is slow to make and its values may differ in the last bits on another
        machine, where decoding then fails: for experiments, not for archives.
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
        if self.groups not in GROUPS:
            raise InvalidArgument(f"groups={self.groups!r}: expected one of {', '.join(GROUPS)}")
        if self.enhancer not in _ENHANCERS:
            raise InvalidArgument(f"enhancer={self.enhancer!r}: expected one of {', '.join(_ENHANCERS)}")
        if self.enhancer == "cnn" and (self.groups == "activity" or self.shared):
            raise InvalidArgument(
                'enhancer="cnn": goes with groups by value or quantile, and without shared='
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


@dataclass(frozen=True, slots=True)
class _Coded:
    """A base stream with its enhancement, and what both come to."""

    base: bytes
    body: bytes
    values: NDArray[Any]
    outcome: EnhanceOutcome
    tuned: float | None = None

    @property
    def mse(self) -> float:
        return self.outcome["squares"] / max(self.outcome["cells"], 1)

    @property
    def base_mse(self) -> float:
        return self.outcome["base_squares"] / max(self.outcome["cells"], 1)

    @property
    def size(self) -> int:
        return len(self.base) + len(self.body)


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
    coder = _Coder(array, config)
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
    if body[:1] == bytes((_NETWORK,)):
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
    kinds: tuple[Literal["none", "own", "shared", "network"], ...] = ("none", "own", "shared", "network")
    kind = stream.body[0] if stream.body else len(kinds)
    if kind >= len(kinds):
        raise Corrupt(f"the enhancement is of kind {kind}: expected 0 to {len(kinds) - 1}")
    return GWLZInfo(
        enhancer=kinds[kind],
        bound=stream.bound,
        error=stream.error,
        mse=stream.mse,
        base_bytes=len(stream.base),
        added_bytes=len(view) - len(stream.base),
        reproducible=stream.reproducible,
    )


class _Coder:
    """Encodes one array; what is known of it is worked out once."""

    def __init__(self, array: NDArray[Any], config: GWLZConfig) -> None:
        self._array = array
        self._config = config
        self._stored, self._order = as_stored(array)
        base = config.base
        self._patterns = (
            sentinel_bits(base.config.preserve, self._stored.dtype) if isinstance(base, SZBase) else []
        )
        sentinels = np.array(self._patterns, dtype=f"u{self._stored.itemsize}").view(self._stored.dtype)
        self._network: network.Network | None = None
        self._range = ValueRange.of(self._stored, preserve=sentinels.tolist())

    def to_bound(self) -> bytes:
        """Enhance what the base gives, every value held to its bound."""
        base = self._config.base
        stream = base.encode(self._array)
        bound = self._bound(stream)
        worth = self._slope(base, stream, bound) * len(stream)
        coded = self._enhance(base, stream, worth=worth, bound=bound)
        if coded.outcome["base_most"] > bound or coded.outcome["exact"]:
            return self._wrap(coded, bound)  # a base that does not keep the bound needs what was added
        if not self._gains(coded, worth, len(self._wrap(coded, bound)) - len(stream) - 1):
            return self._plain(coded, bound)
        return self._wrap(coded, bound)

    def to_psnr(self) -> bytes:
        """Move the base's bound until the enhanced values have the PSNR, and no more."""
        amplitude = self._range.scaled(10.0 ** (-(self._config.decibels or 0.0) / 20.0))
        target = amplitude * amplitude
        if not target > 0.0 or not math.isfinite(target):
            return self._smallest_change()
        plain = self._search(target, enhanced=False)
        best = self._search(target, enhanced=True)
        packed = [self._plain(plain, 0.0), self._wrap(best, 0.0)]
        met = [coded.mse <= target for coded in (plain, best)]
        chosen = [stream for stream, good in zip(packed, met, strict=True) if good] or packed[:1]
        return min(chosen, key=len)

    def _search(self, target: float, *, enhanced: bool) -> _Coded:
        """The smallest stream found whose error is at most the target; the last one where none is."""
        base = self._config.base
        bound = base.value or math.sqrt(3.0 * target)
        low, high = 0.0, math.inf  # bounds that meet the target, and that do not
        best: _Coded | None = None
        for _ in range(_SEARCHES):
            moved = base.with_bound(bound)
            stream = moved.encode(self._array)
            worth = sum(WORTH) / 2 * len(stream) if enhanced else 0.0
            coded = self._enhance(moved, stream, worth=worth, bound=0.0, own=enhanced)
            if coded.mse <= target:
                low = max(low, bound)
                best = coded if best is None or coded.size <= best.size else best
            else:
                high = min(high, bound)
            if target * (1 - _CLOSE) <= coded.mse <= target:
                break
            step = math.sqrt(target / coded.mse) if coded.mse > 0 else 4.0
            wanted = bound * min(max(step * (1 - _CLOSE / 4), 0.25), 4.0)
            bound = wanted if low < wanted < high else _between(low, high, wanted)
        while best is None:  # coarse steps of the base: go down until it is met
            bound /= 2.0
            coded = self._enhance(
                base.with_bound(bound),
                base.with_bound(bound).encode(self._array),
                worth=0.0,
                bound=0.0,
                own=False,
            )
            if coded.mse <= target or bound < math.sqrt(target) / 64:
                best = coded
        return best

    def _smallest_change(self) -> bytes:
        """A constant array, or a PSNR that no double reaches: the base is asked for next to every bit."""
        tiny = float(np.finfo(np.float64).tiny)
        base = self._config.base.with_bound(max(self._range.scaled(1e-16), tiny))
        coded = self._enhance(base, base.encode(self._array), worth=0.0, bound=0.0, own=False)
        return self._plain(coded, 0.0)

    def _bound(self, stream: bytes) -> float:
        """What every value is held to; 0 where the base keeps every bit."""
        base = self._config.base
        if isinstance(base, SZBase):
            from sciflow.codecs import sz

            held = sz.info(stream).bound
            return 0.0 if held is None else held.value
        if self._config.bound is not None:
            asked = self._config.bound
            return asked.value if asked.kind == "abs" else self._range.scaled(asked.value)
        decoded = base.decode(memoryview(stream), self._stored.dtype, self._stored.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(self._stored.astype(np.longdouble) - decoded)
        return float(np.max(error, where=np.isfinite(error), initial=0.0))

    def _slope(self, base: BaseCodec, stream: bytes, bound: float) -> float:
        """The share of its bytes that the base would spend on a neper less of squared error, measured."""
        if self._stored.size < _FEWEST:
            return 0.0
        if not base.tunable or not _SQUARABLE[0] < bound < _SQUARABLE[1]:
            return WORTH[0]
        moved = base.with_bound(_STEP * bound)
        tried = moved.encode(self._array)
        shape, dtype = self._stored.shape, self._stored.dtype
        before = self._mse_of(base.decode(memoryview(stream), dtype, shape))
        after = self._mse_of(moved.decode(memoryview(tried), dtype, shape))
        if not 0.0 < after < before:
            return 0.0
        return min(max(math.log(len(tried) / len(stream)) / math.log(before / after), 0.0), WORTH[1])

    def _mse_of(self, decoded: NDArray[Any]) -> float:
        with np.errstate(invalid="ignore", over="ignore"):
            squares = np.square(self._stored.astype(np.float64) - decoded)
            keep = np.isfinite(squares)
            return float(np.mean(squares, where=keep)) if keep.any() else 0.0

    def _enhance(
        self, base: BaseCodec, stream: bytes, *, worth: float, bound: float, own: bool = True
    ) -> _Coded:
        decoded = base.decode(memoryview(stream), self._stored.dtype, self._stored.shape)
        tuned = base.tuned if isinstance(base, ChainBase) else None
        if own and worth > 0.0 and self._config.enhancer == "cnn" and self._stored.size >= _FEWEST:
            return self._with_network(stream, decoded, bound, tuned)
        values, body, outcome = self._run(decoded, worth=worth, bound=bound, own=own)
        return _Coded(stream, body, values, outcome, tuned)

    def _run(
        self, decoded: NDArray[Any], *, worth: float, bound: float, own: bool
    ) -> tuple[NDArray[Any], bytes, EnhanceOutcome]:
        """Let the engine enhance what was decoded."""
        values = np.empty_like(self._stored)
        options: EnhanceOptions = {
            "groups": GROUPS.index(self._config.groups),
            "n_groups": self._config.n_groups or DEFAULT_GROUPS,
            "worth": worth,
            "own": own,
            "shared": self._config.shared if worth > 0.0 else b"",
            "preserve": self._patterns,
            "bound": bound,
        }
        shape = self._stored.shape
        status, body, outcome = native.enhance_encode(
            self._stored.reshape(-1), decoded.reshape(-1), shape, options, values.reshape(-1)
        )
        check_status(status, 0)
        return values, body, outcome

    def _with_network(
        self, stream: bytes, decoded: NDArray[Any], bound: float, tuned: float | None
    ) -> _Coded:
        """Train once, take back what breaks the bound, and let the engine add what the base itself lost."""
        _, _, before = self._run(decoded, worth=0.0, bound=0.0, own=False)
        if not _SQUARABLE[0] < before["base_most"] < _SQUARABLE[1]:
            values, body, outcome = self._run(decoded, worth=0.0, bound=bound, own=False)
            return _Coded(stream, body, values, outcome, tuned)
        scale = float(np.float32(before["base_most"]))
        if self._network is None:
            self._network = network.train(
                self._stored,
                decoded,
                scale=scale,
                edges=self._edges(),
                seed=self._config.seed,
                budget=self._config.time_budget,
                progress=self._config.progress,
            )
        packed = network.write_network(replace(self._network, scale=scale))
        moved = network.apply(network.read_network(packed)[0], decoded)
        marked = self._breaks(moved, bound)
        moved[marked] = decoded[marked]
        values, rest, outcome = self._run(moved, worth=0.0, bound=bound, own=False)
        marks = network.write_marks(marked) if marked.any() else b""
        body = bytes((_NETWORK,)) + struct.pack("<II", len(packed), len(marks)) + packed + marks + rest
        outcome["kind"] = _NETWORK
        outcome["base_squares"], outcome["base_most"] = before["base_squares"], before["base_most"]
        return _Coded(stream, body, values, outcome, tuned)

    def _edges(self) -> NDArray[np.float32]:
        """Values between the groups of networks."""
        count = self._config.n_groups or _DEFAULT_NETWORKS
        finite = self._stored[np.isfinite(self._stored)]
        if self._config.groups == "value":
            edges = np.linspace(self._range.min, self._range.max, count + 1)[1:-1]
        else:
            edges = np.quantile(finite, np.arange(1, count) / count)
        return np.unique(edges.astype(np.float32))

    def _breaks(self, values: NDArray[Any], bound: float) -> NDArray[np.bool_]:
        """Cells that a network may not touch, and those that it moves out of the bound."""
        x = self._stored
        bits = f"u{x.itemsize}"
        listed = np.isin(x.view(bits), np.array(self._patterns, bits))
        with np.errstate(invalid="ignore", over="ignore"):
            kept = np.isfinite(x) & ~listed & ~((x == 0) & np.signbit(x))
            far = np.abs(x.astype(np.longdouble) - values) > (bound if bound > 0.0 else np.inf)
        mark = np.isin(values.view(bits), np.array(self._patterns, bits))
        return np.asarray(~kept | far | mark, dtype=bool)

    def _gains(self, coded: _Coded, worth: float, added: int) -> bool:
        """Whether the base would have to spend more for the same mean square error."""
        if coded.outcome["kind"] == 0 or not coded.outcome["squares"] < coded.outcome["base_squares"]:
            return False
        left = max(coded.outcome["squares"], 1e-9 * coded.outcome["base_squares"])
        return added < (1.0 - _MARGIN) * worth * math.log(coded.outcome["base_squares"] / left)

    def _plain(self, coded: _Coded, bound: float) -> bytes:
        told = coded.tuned is None and self._config.base.tells_all(coded.base, self._array)
        if told and not coded.outcome["exact"]:
            return PLAIN + coded.base
        base = self._config.base if coded.tuned is None else self._config.base.with_bound(coded.tuned)
        return self._wrap(self._enhance(base, coded.base, worth=0.0, bound=bound, own=False), bound)

    def _wrap(self, coded: _Coded, bound: float) -> bytes:
        return write_enhanced(
            Enhanced(
                dtype=self._array.dtype,
                shape=self._array.shape,
                order=self._order,
                bound=Bound.abs(bound) if bound > 0.0 else None,
                error=coded.outcome["most"],
                mse=coded.mse,
                tuned=coded.tuned,
                network=coded.outcome["kind"] == _NETWORK,
                body=coded.body,
                output_crc=native.crc32c(as_bytes_view(coded.values)),
                base=memoryview(coded.base),
            )
        )


def _apply_network(body: bytes, decoded: NDArray[Any]) -> tuple[NDArray[Any], bytes]:
    """What a network makes of decoded values, marks taken back, and the engine's body behind it."""
    if len(body) < 9:
        raise Truncated("the stream ends in the lengths of its network")
    sizes = struct.unpack_from("<II", body, 1)
    ends = (9 + sizes[0], 9 + sizes[0] + sizes[1])
    if len(body) < ends[1]:
        raise Truncated("the stream ends in its network")
    found, rest = network.read_network(body[9 : ends[0]])
    if rest:
        raise Corrupt(f"{len(rest)} bytes behind the network: no encoder leaves any")
    values = network.apply(found, decoded)
    if sizes[1]:
        marked = network.read_marks(body[ends[0] : ends[1]], decoded.size).reshape(decoded.shape)
        values[marked] = decoded[marked]
    return values, body[ends[1] :]


def _between(low: float, high: float, wanted: float) -> float:
    if math.isinf(high):
        return low * 1.5
    return (low + high) / 2 if low > 0 else min(wanted, high / 2)


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
