"""What a codec promises: error bounds, and their resolution against the data.

```
Bound.rel(1e-3) ──┐
Bound.psnr(60) ───┼─ resolve(bound, value_range) ─▶ Resolved("abs", value, mse) ─▶ codec
Bound.abs(0.1) ───┘
Bound.pointwise_rel(1e-2) ────────────────────────▶ Resolved("pointwise_rel", value, None) ─▶ codec
Bound.ratio(20), Bound.nbytes(1e6) ─ encode a few times (sciflow.codecs.targets) ─▶ Resolved("abs", ...)
```
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument

__all__ = ["PSNR_PEAK", "Bound", "BoundKind", "Resolved", "ValueRange", "promise", "resolve"]

BoundKind = Literal["abs", "rel", "pointwise_rel", "psnr", "ratio", "nbytes"]
_KINDS: tuple[BoundKind, ...] = get_args(BoundKind)
_SIZES = ("ratio", "nbytes")
_SQRT3 = math.sqrt(3.0)
PSNR_PEAK = 8.0
"""Within a ``psnr`` bound no single error is more than so many times the RMS error that it allows."""
_MAX_FLOAT = sys.float_info.max
_MIN_NORMAL = sys.float_info.min


@dataclass(frozen=True, slots=True)
class Bound:
    """A promise about every finite value x and its reconstruction x'.

    Made by one of six constructors, never by hand. The first four are promises, the last two targets, which
    become an ``abs`` promise when the data are encoded:

    ===========================  =====================================================================
    ``Bound.abs(v)``             |x - x'| <= v, in the unit of the data
    ``Bound.rel(r)``             |x - x'| <= r (max - min), over the finite cells that are not sentinels
    ``Bound.pointwise_rel(r)``   |x - x'| <= r |x|, with r < 1
    ``Bound.psnr(dB)``           20 log10(max - min) - 10 log10(MSE) >= dB, and
                                 |x - x'| <= 8 (max - min) 10**(-dB / 20)
    ``Bound.ratio(q)``           the smallest bound at which the bytes are at most 1/q of the array's
    ``Bound.nbytes(n)``          the smallest bound at which there are at most n bytes
    ===========================  =====================================================================

    Parameters
    ----------
    kind : {"abs", "rel", "pointwise_rel", "psnr", "ratio", "nbytes"}
        Which of the six.
    value : float
        Finite and above zero.
    mse : float, optional
        With ``abs`` only: the mean of (x - x')**2 is held to this as well. A ``psnr`` bound turns into
        such a pair once the range of the data is known.

    Raises
    ------
    InvalidArgument
        If the kind is unknown or the value is not one that the kind allows.

    Examples
    --------
    >>> Bound.rel(1e-3)
    Bound.rel(0.001)
    >>> Bound.parse("abs=0.5") == Bound.abs(0.5) == Bound.from_json({"kind": "abs", "value": 0.5})
    True
    """

    kind: BoundKind
    value: float
    mse: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InvalidArgument(f"bound kind {self.kind!r}: expected one of {', '.join(_KINDS)}")
        object.__setattr__(
            self, "value", _positive(f"{self.kind} bound", self.value, or_zero=self.kind == "abs")
        )
        if self.kind == "pointwise_rel" and self.value >= 1.0:
            raise InvalidArgument(
                f"pointwise_rel bound {self.value!r}: expected a number below 1 (1 would allow every value "
                "to become 0); use Bound.abs or Bound.rel for a looser promise"
            )
        if self.kind in _SIZES and self.value < 1.0:
            raise InvalidArgument(f"{self.kind} {self.value!r}: expected 1 or more")
        if self.mse is not None:
            if self.kind != "abs":
                raise InvalidArgument(f"mse={self.mse!r} goes with an abs bound only, not with {self.kind}")
            object.__setattr__(self, "mse", _positive("mse", self.mse))

    @classmethod
    def abs(cls, value: float, *, mse: float | None = None) -> Self:
        """|x - x'| <= value, in the unit of the data; 0: every bit. With `mse`, the mean square error too."""
        return cls("abs", value, mse)

    @classmethod
    def rel(cls, value: float) -> Self:
        """|x - x'| <= value * (max - min) of the finite cells that are not sentinels."""
        return cls("rel", value)

    @classmethod
    def pointwise_rel(cls, value: float) -> Self:
        """|x - x'| <= value * |x| for every value by itself; value < 1, and zeros stay zeros."""
        return cls("pointwise_rel", value)

    @classmethod
    def psnr(cls, value: float) -> Self:
        """20 log10(max - min) - 10 log10(MSE) >= value, in dB."""
        return cls("psnr", value)

    @classmethod
    def ratio(cls, value: float) -> Self:
        """As small an error as fits into 1/value of the bytes; what came of it is an abs bound."""
        return cls("ratio", value)

    @classmethod
    def nbytes(cls, value: float) -> Self:
        """As small an error as fits into so many bytes; what came of it is an abs bound."""
        return cls("nbytes", value)

    @property
    def is_size(self) -> bool:
        """Whether it is a target of size, which says nothing of errors before the data are encoded."""
        return self.kind in _SIZES

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"rel=1e-3"``, ``"abs:0.1"``, ``"ratio=20"`` or a bare number, which means ``rel``.

        Raises
        ------
        InvalidArgument
            If the text is none of these.

        Examples
        --------
        >>> Bound.parse("1e-3"), Bound.parse("pointwise_rel=0.01"), Bound.parse("psnr: 60")
        (Bound.rel(0.001), Bound.pointwise_rel(0.01), Bound.psnr(60.0))
        """
        name, separator, number = text.replace("=", ":", 1).partition(":")
        kind = name.strip().lower().replace("-", "_") if separator else "rel"
        try:
            value = float(number if separator else name)
        except ValueError:
            raise InvalidArgument(
                f"bound {text!r}: expected KIND=NUMBER with KIND one of {', '.join(_KINDS)}, or a number "
                'alone for rel; for example "rel=1e-3"'
            ) from None
        if not _is_kind(kind):
            raise InvalidArgument(f"bound {text!r}: kind {kind!r} is not one of {', '.join(_KINDS)}")
        return cls(kind, value)

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidArgument
            If a key is missing or unknown, or a value is not allowed.
        """
        if not isinstance(data, Mapping):
            raise InvalidArgument(f'bound {data!r}: expected an object like {{"kind": "abs", "value": 0.1}}')
        unknown = sorted(set(data) - {"kind", "value", "mse"})
        if unknown or not {"kind", "value"} <= set(data):
            raise InvalidArgument(
                f"bound {dict(data)!r}: expected the keys kind and value, and mse with kind abs; "
                f"found {', '.join(map(repr, data)) or 'none'}"
            )
        return cls(data["kind"], data["value"], data.get("mse"))

    def to_json(self) -> dict[str, str | float]:
        """``{"kind", "value"}``, and ``"mse"`` where there is one."""
        out: dict[str, str | float] = {"kind": self.kind, "value": self.value}
        if self.mse is not None:
            out["mse"] = self.mse
        return out

    def __repr__(self) -> str:
        mse = "" if self.mse is None else f", mse={self.mse!r}"
        return f"Bound.{self.kind}({self.value!r}{mse})"


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Smallest, largest and number of the finite cells that are not sentinels.

    Parameters
    ----------
    min, max : float
        In the unit of the data; +inf and -inf where count is 0, so that `merge` has a neutral element.
    count : int
        How many cells were looked at.

    Examples
    --------
    >>> ValueRange.of(np.array([1.0, np.nan, 4.0, -9999.0]), preserve=[-9999.0])
    ValueRange(min=1.0, max=4.0, count=2)
    """

    min: float = math.inf
    max: float = -math.inf
    count: int = 0

    @classmethod
    def of(cls, array: NDArray[Any], *, preserve: Iterable[float] = ()) -> Self:
        """Look at one array.

        Parameters
        ----------
        array : ndarray, float32|float64, any shape, layout and byte order
            The data.
        preserve : iterable of float
            Sentinels to leave out, compared after conversion to the array's dtype.
        """
        sentinels = [value for value in preserve if math.isfinite(value)]
        with np.errstate(invalid="ignore", over="ignore"):
            if array.size and not sentinels:
                low, high = float(array.min()), float(array.max())
                if math.isfinite(low) and math.isfinite(high):
                    return cls(low, high, array.size)
            keep = np.isfinite(array)
            for sentinel in np.asarray(sentinels, dtype=np.float64).astype(array.dtype):
                keep &= array != sentinel
        count = int(np.count_nonzero(keep))
        if not count:
            return cls()
        low = array.min(where=keep, initial=np.inf)
        high = array.max(where=keep, initial=-np.inf)
        return cls(float(low), float(high), count)

    def merge(self, other: ValueRange) -> ValueRange:
        """The range of two pieces of one variable."""
        return ValueRange(min(self.min, other.min), max(self.max, other.max), self.count + other.count)

    def scaled(self, factor: float) -> float:
        """``factor * (max - min)``: 0 for a constant or empty variable, never inf."""
        if self.count == 0:
            return 0.0
        width = self.max - self.min
        product = factor * width if math.isfinite(width) else factor * self.max - factor * self.min
        return min(product, _MAX_FLOAT)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an engine is asked for once the range of the data is known.

    Parameters
    ----------
    kind : {"abs", "pointwise_rel"}
        The two promises an engine keeps.
    value : float
        The bound; 0 asks for every bit back, which is what a constant or empty variable resolves to.
    mse : float, optional
        Also hold the mean square error to this (from ``psnr``).
    """

    kind: Literal["abs", "pointwise_rel"]
    value: float
    mse: float | None = None

    def bound(self) -> Bound:
        """The same as a `Bound`, to hand to a codec; 0 becomes the smallest normal float64."""
        if self.kind == "pointwise_rel":
            return Bound.pointwise_rel(self.value)
        return Bound.abs(max(self.value, _MIN_NORMAL), mse=self.mse)


def resolve(bound: Bound, value_range: ValueRange) -> Resolved:
    """Turn any bound into one that holds without further knowledge of the data.

    Parameters
    ----------
    bound : Bound
        What was asked.
    value_range : ValueRange
        Of the finite cells that are not sentinels; used by ``rel`` and ``psnr`` only.

    Returns
    -------
    Resolved
        ``rel r`` is ``abs r (max - min)``. ``psnr dB`` is ``abs sqrt(3) a`` with a = (max - min)
        10**(-dB/20), where errors that fill the interval evenly reach the asked MSE of a**2 exactly, and that
        MSE.

    Raises
    ------
    InvalidArgument
        If it is a target of size: only encoding tells which bound meets it.

    Examples
    --------
    >>> resolve(Bound.rel(0.5), ValueRange(0.0, 4.0, 10))
    Resolved(kind='abs', value=2.0, mse=None)
    """
    if bound.is_size:
        raise InvalidArgument(
            f"{bound!r} is a target of size: it becomes a bound only when data are encoded; give it to "
            "a codec or to sciflow.compress"
        )
    if bound.kind == "abs":
        return Resolved("abs", bound.value, bound.mse)
    if bound.kind == "pointwise_rel":
        return Resolved("pointwise_rel", bound.value)
    if bound.kind == "rel":
        return Resolved("abs", value_range.scaled(bound.value))
    amplitude = value_range.scaled(10.0 ** (-bound.value / 20.0))
    mse = amplitude * amplitude
    if not _MIN_NORMAL <= mse < math.inf:
        # Q: why not the pair? A: the square leaves float64; |x - x'| <= a alone implies MSE <= a**2.
        return Resolved("abs", amplitude)
    return Resolved("abs", min(_SQRT3 * amplitude, _MAX_FLOAT), mse)


def promise(bound: Bound, value_range: ValueRange) -> Resolved:
    """What a request promises of every value, to hold a result against.

    As `resolve`, but for ``psnr`` the largest bound that a search may have ended with, and for a target of
    size nothing: its promise is the bound that was found and recorded.

    Examples
    --------
    >>> promise(Bound.ratio(20), ValueRange(0.0, 1.0, 9))
    Resolved(kind='abs', value=inf, mse=None)
    """
    if bound.is_size:
        return Resolved("abs", math.inf)
    resolved = resolve(bound, value_range)
    if resolved.mse is None or bound.kind != "psnr":
        return resolved
    return Resolved("abs", min(PSNR_PEAK / _SQRT3 * resolved.value, _MAX_FLOAT), resolved.mse)


def _is_kind(name: str) -> TypeGuard[BoundKind]:
    return name in _KINDS


def _positive(what: str, value: object, *, or_zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidArgument(f"{what} {value!r}: expected a number, found {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number) or number < 0.0 or (number == 0.0 and not or_zero):
        expected = "0 or a finite number above it" if or_zero else "a finite number above 0"
        raise InvalidArgument(f"{what} {number!r}: expected {expected}")
    return abs(number)
