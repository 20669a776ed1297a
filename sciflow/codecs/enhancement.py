"""Whether an enhancement is worth its bytes, and for a PSNR the base stream that both together need.

```
within a bound: base ─▶ enhance ─┬▶ finished streams ─▶ the smallest against what the base alone takes for as
                base, tighter ───┘                     small an error, or the base alone where none is smaller
to a PSNR:      move the base's bound ─▶ enhance ─▶ error met? ─▶ the smallest of all tries, enhanced or not
```
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.bounds import Bound, ValueRange
from sciflow.codecs import integer_network, network, sz
from sciflow.codecs.auxiliary import digests, prepare
from sciflow.codecs.base import BaseCodec, ChainBase, SZBase, as_stored
from sciflow.codecs.base_curve import BaseCurve, Point
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.sentinels import sentinel_bits
from sciflow.codecs.stream import as_bytes_view, check_status
from sciflow.codecs.wrapper import (
    INTEGER_NETWORK,
    NETWORK,
    PLAIN,
    SHARED,
    Enhanced,
    write_enhanced,
    write_measured,
)

if TYPE_CHECKING:
    from sciflow._native import EnhanceOptions, EnhanceOutcome

__all__ = ["DEFAULT_GROUPS", "WORTH", "Coder"]

DEFAULT_GROUPS = 16
_DEFAULT_NETWORKS = 4
_SEARCHES = 6
"""Base streams that are tried for a PSNR."""
_PROBES = 6
"""More of them where size does not follow the bound."""
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
"""Share of what an enhancer is worth that it must gain over a base whose bytes cannot be measured."""
_GAIN = 0.99
"""Share of what the base alone would take that a stream may have, or the enhancer is left out."""
_TIGHTER = (0.9, 0.8)
"""Parts of the bound that the base is held to, so that fewer corrections have to be taken back ..."""
_MARKED = 0.01
"""... tried where the marks of those take more than this part of the stream."""

AnyNetwork = network.Network | integer_network.IntegerNetwork


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


class Coder:
    """Encodes one array; what is known of it is worked out once."""

    def __init__(self, array: NDArray[Any], config: GWLZConfig, aux: Sequence[NDArray[Any]] = ()) -> None:
        self._array = array
        self._config = config
        self._stored, self._order = as_stored(array)
        self._aux = prepare(aux, transposed=self._order == "F")
        base = config.base
        self._patterns = (
            sentinel_bits(base.config.preserve, self._stored.dtype) if isinstance(base, SZBase) else []
        )
        sentinels = np.array(self._patterns, dtype=f"u{self._stored.itemsize}").view(self._stored.dtype)
        self._network: AnyNetwork | None = None
        self._range = ValueRange.of(self._stored, preserve=sentinels.tolist())

    def to_bound(self) -> bytes:
        """Enhance what the base gives, every value held to its bound."""
        base = self._config.base
        stream = base.encode(self._array)
        bound = self._bound(stream)
        measured = base.tunable and self._stored.size >= _FEWEST and _SQUARABLE[0] < bound < _SQUARABLE[1]
        curve = self._curve(stream, bound) if measured else None
        worth = (WORTH[0] if curve is None else self._slope(curve, bound)) * len(stream)
        coded = self._enhance(base, stream, worth=worth if self._stored.size >= _FEWEST else 0.0, bound=bound)
        if coded.outcome["base_most"] > bound or coded.outcome["exact"]:
            return self._wrap(coded, bound)  # a base that does not keep the bound needs what was added
        if curve is None:
            packed = self._wrap(coded, bound)
            return (
                packed
                if self._gains(coded, worth, len(packed) - len(stream) - 1)
                else self._plain(coded, bound)
            )
        return self._least(curve, coded, worth, bound) or self._plain(coded, bound)

    def _least(self, curve: BaseCurve, coded: _Coded, worth: float, bound: float) -> bytes | None:
        """The smallest stream against what the base alone takes for its error; None where none pays."""
        tried = [coded]
        kind = coded.outcome["kind"]
        if self._config.shared and kind:  # the other of shared and own
            other = {"own": kind == SHARED, "shared": kind != SHARED}
            tried.append(self._enhance(self._config.base, coded.base, worth=worth, bound=bound, **other))
        if coded.outcome["mark_bytes"] > _MARKED * coded.size and self._config.enhancer == "wiener":
            tried += [self._tightened(curve, part, worth, bound) for part in _TIGHTER]
        useful = [
            each
            for each in tried
            if each.outcome["kind"] and 0.0 < each.mse < each.base_mse and not each.outcome["exact"]
        ]
        packed = [self._wrap(each, bound) for each in useful]
        measured = set[int]()
        while useful:
            shares = [
                len(stream) / curve.known_bytes_for(each.mse)
                for stream, each in zip(packed, useful, strict=True)
            ]
            least = min(range(len(useful)), key=shares.__getitem__)
            if least in measured:
                return packed[least] if shares[least] < _GAIN else None
            for k in range(len(useful)) if curve.is_rough() else [least]:
                measured.add(k)
                curve.bytes_for(useful[k].mse)  # what is known of others may change with it
        return None

    def _tightened(self, curve: BaseCurve, part: float, worth: float, bound: float) -> _Coded:
        """Enhance what the base gives at a part of its bound; the values are held to all of it."""
        moved = self._config.base.with_bound(part * self._start(bound))
        stream = moved.encode(self._array)
        coded = self._enhance(moved, stream, worth=worth, bound=bound)
        curve.add(Point(part * self._start(bound), len(stream), coded.base_mse))
        return coded

    def _start(self, bound: float) -> float:
        """What the base's own bound is."""
        return self._config.base.value or bound

    def _curve(self, stream: bytes, bound: float) -> BaseCurve:
        """What the base takes for which error; one point of it is known."""
        base = self._config.base
        shape, dtype = self._stored.shape, self._stored.dtype

        def measure(parameter: float) -> Point:
            moved = base.with_bound(parameter)
            tried = moved.encode(self._array)
            return Point(parameter, len(tried), self._mse_of(moved.decode(memoryview(tried), dtype, shape)))

        curve = BaseCurve(measure)
        mse = self._mse_of(base.decode(memoryview(stream), dtype, shape))
        curve.add(Point(self._start(bound), len(stream), mse))
        return curve

    def _slope(self, curve: BaseCurve, bound: float) -> float:
        """The share of its bytes that the base would spend on a neper less of squared error, measured."""
        here, there = curve.at(self._start(bound)), curve.at(_STEP * self._start(bound))
        if not 0.0 < there.mse < here.mse:
            return 0.0
        slope = math.log(there.size / here.size) / math.log(here.mse / there.mse)
        return min(max(slope, 0.0), WORTH[1])

    def to_psnr(self) -> bytes:
        """Move the base's bound until the enhanced values have the PSNR, and no more."""
        amplitude = self._range.scaled(10.0 ** (-(self._config.decibels or 0.0) / 20.0))
        target = amplitude * amplitude
        if not target > 0.0 or not math.isfinite(target):
            return self._smallest_change()
        plain = self._search(target, enhanced=False)
        best = self._search(target, enhanced=True)
        packed = [self._plain_measured(plain), self._wrap(best, self._held(best))]
        met = [coded.mse <= target for coded in (plain, best)]
        chosen = [stream for stream, good in zip(packed, met, strict=True) if good] or packed[:1]
        return min(chosen, key=len)

    def _search(self, target: float, *, enhanced: bool) -> _Coded:
        """The smallest stream found whose error is at most the target; the last one where none is."""
        base = self._config.base
        bound = base.value or math.sqrt(3.0 * target)
        low, high = 0.0, math.inf  # bounds that meet the target, and that do not
        best: _Coded | None = None
        tried: dict[float, _Coded] = {}
        for _ in range(_SEARCHES):
            coded = tried[bound] = self._moved(bound, enhanced=enhanced)
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
        if _is_rough(tried):
            others = [self._moved(each, enhanced=enhanced) for each in _spread(tried)]
            met = [coded for coded in others if coded.mse <= target]
            best = min([*met, *([best] if best else [])], key=lambda coded: coded.size, default=None)
        while best is None:  # coarse steps of the base: go down until it is met
            bound /= 2.0
            coded = self._moved(bound, enhanced=False)
            if coded.mse <= target or bound < math.sqrt(target) / 64:
                best = coded
        return best

    def _moved(self, bound: float, *, enhanced: bool) -> _Coded:
        """What comes of another bound of the base."""
        moved = self._config.base.with_bound(bound)
        stream = moved.encode(self._array)
        worth = sum(WORTH) / 2 * len(stream) if enhanced else 0.0
        return self._enhance(moved, stream, worth=worth, bound=0.0, own=enhanced)

    def _smallest_change(self) -> bytes:
        """A constant array, or a PSNR that no double reaches: the base is asked for next to every bit."""
        tiny = float(np.finfo(np.float64).tiny)
        base = self._config.base.with_bound(max(self._range.scaled(1e-16), tiny))
        return self._plain_measured(
            self._enhance(base, base.encode(self._array), worth=0.0, bound=0.0, own=False)
        )

    def _bound(self, stream: bytes) -> float:
        """What every value is held to; 0 where the base keeps every bit."""
        base = self._config.base
        if isinstance(base, SZBase):
            held = sz.info(stream).bound
            return 0.0 if held is None else held.value
        if self._config.bound is not None:
            asked = self._config.bound
            return asked.value if asked.kind == "abs" else self._range.scaled(asked.value)
        decoded = base.decode(memoryview(stream), self._stored.dtype, self._stored.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(self._stored.astype(np.longdouble) - decoded)
        return float(np.max(error, where=np.isfinite(error), initial=0.0))

    def _mse_of(self, decoded: NDArray[Any]) -> float:
        with np.errstate(invalid="ignore", over="ignore"):
            squares = np.square(self._stored.astype(np.float64) - decoded)
            keep = np.isfinite(squares)
            return float(np.mean(squares, where=keep)) if keep.any() else 0.0

    def _enhance(
        self,
        base: BaseCodec,
        stream: bytes,
        *,
        worth: float,
        bound: float,
        own: bool = True,
        shared: bool = True,
    ) -> _Coded:
        decoded = base.decode(memoryview(stream), self._stored.dtype, self._stored.shape)
        tuned = base.tuned if isinstance(base, ChainBase) else None
        if own and worth > 0.0 and self._config.enhancer != "wiener" and self._stored.size >= _FEWEST:
            return self._with_network(stream, decoded, bound, tuned)
        values, body, outcome = self._run(decoded, worth=worth, bound=bound, own=own, shared=shared)
        return _Coded(stream, body, values, outcome, tuned)

    def _run(
        self, decoded: NDArray[Any], *, worth: float, bound: float, own: bool, shared: bool = True
    ) -> tuple[NDArray[Any], bytes, EnhanceOutcome]:
        """Let the engine enhance what was decoded."""
        values = np.empty_like(self._stored)
        options: EnhanceOptions = {
            "groups": self._config.groups_number,
            "n_groups": self._config.n_groups or DEFAULT_GROUPS,
            "worth": worth,
            "own": own,
            "shared": self._config.shared if worth > 0.0 and shared else b"",
            "preserve": self._patterns,
            "bound": bound,
            "aux": self._aux if own else [],
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
        found = self._network_for(decoded, float(np.float32(before["base_most"])))
        kind, packed, moved = _applied(found, decoded)
        marked = self._breaks(moved, bound)
        moved[marked] = decoded[marked]
        values, rest, outcome = self._run(moved, worth=0.0, bound=bound, own=False)
        marks = network.write_marks(marked) if marked.any() else b""
        body = bytes((kind,)) + struct.pack("<II", len(packed), len(marks)) + packed + marks + rest
        outcome["kind"], outcome["reach"], outcome["mark_bytes"] = kind, found.furthest, len(marks)
        outcome["base_squares"], outcome["base_most"] = before["base_squares"], before["base_most"]
        return _Coded(stream, body, values, outcome, tuned)

    def _network_for(self, decoded: NDArray[Any], scale: float) -> AnyNetwork:
        """The network for this largest error of the base; trained once."""
        if self._network is None:
            train = network.train if self._config.enhancer == "cnn-float" else integer_network.train
            self._network = train(
                self._stored,
                decoded,
                scale=scale,
                edges=self._edges(),
                seed=self._config.seed,
                budget=self._config.time_budget,
                progress=self._config.progress,
            )
        return self._network.with_scale(scale)

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

    def _plain_measured(self, coded: _Coded) -> bytes:
        """The base stream alone, with what was measured of it."""
        told = coded.tuned is None and self._config.base.tells_all(coded.base, self._array)
        if told and not coded.outcome["exact"]:
            return write_measured(coded.base, error=coded.outcome["most"], mse=coded.mse)
        return self._wrap(coded, 0.0)

    def _held(self, coded: _Coded) -> float:
        """What holds for every value where no bound was asked for: the base's and the reach of moves."""
        outcome = coded.outcome
        base = outcome["base_most"]
        if isinstance(self._config.base, SZBase):
            held = sz.info(coded.base).bound
            base = held.value if held is not None and held.kind == "abs" else base
        return max(base + outcome["reach"], outcome["most"])

    def _wrap(self, coded: _Coded, bound: float) -> bytes:
        return write_enhanced(
            Enhanced(
                dtype=self._array.dtype,
                shape=self._array.shape,
                order=self._order,
                bound=Bound.abs(bound) if 0.0 < bound < math.inf else None,
                error=coded.outcome["most"],
                mse=coded.mse,
                tuned=coded.tuned,
                network=coded.outcome["kind"] == NETWORK,
                body=coded.body,
                output_crc=native.crc32c(as_bytes_view(coded.values)),
                base=memoryview(coded.base),
                aux=digests(self._aux) if coded.outcome["aux"] else (),
            )
        )


def _applied(found: AnyNetwork, decoded: NDArray[Any]) -> tuple[int, bytes, NDArray[Any]]:
    """The kind of a network, its bytes, and what it makes of decoded values."""
    if isinstance(found, network.Network):
        packed = network.write_network(found)
        return NETWORK, packed, network.apply(network.read_network(packed)[0], decoded)
    return INTEGER_NETWORK, integer_network.write(found), integer_network.apply(found, decoded)


def _is_rough(tried: Mapping[float, _Coded]) -> bool:
    """Whether a looser bound took more bytes, by more than a per cent, somewhere."""
    sizes = [len(tried[bound].base) for bound in sorted(tried)]
    return any(tight < 0.99 * loose for tight, loose in pairwise(sizes))


def _spread(tried: Mapping[float, _Coded]) -> list[float]:
    """Bounds between the tightest and the loosest that were tried."""
    low, high = min(tried), max(tried)
    return [low + (high - low) * k / (_PROBES + 1) for k in range(1, _PROBES + 1)]


def _between(low: float, high: float, wanted: float) -> float:
    if math.isinf(high):
        return low * 1.5
    return (low + high) / 2 if low > 0 else min(wanted, high / 2)
