"""What a base codec alone takes for an error: its bytes against its mean squared error, measured where asked.

```
log bytes                            every point is one encode of the whole array; between two of them the
   │  x                              curve is a straight line
   │     x   ┌ what the base takes
   │        x┘  for this error
   │             x
   └──────────────── log MSE
```
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["BaseCurve", "Point"]

_NEAR = math.log(1.02)
"""A squared error this near to the one asked for, relatively, is a measurement of it."""
_AIM = 0.99
"""Of the error asked for: what is tried, so that it is met."""
_PROBES = 8
"""More where size and error do not follow the bound."""
_ENCODES = 2
"""More of the whole array, at most, for one question."""


@dataclass(frozen=True, slots=True)
class Point:
    """One encode of the base.

    Parameters
    ----------
    parameter : float
        What its bound was set to.
    size : int
        Bytes of the stream.
    mse : float
        Mean of the squared error.
    """

    parameter: float
    size: int
    mse: float


class BaseCurve:
    """Bytes of the base alone, by mean squared error.

    Parameters
    ----------
    measure : callable
        Encodes at a parameter and says what came of it.
    """

    def __init__(self, measure: Callable[[float], Point]) -> None:
        self._measure = measure
        self._points: list[Point] = []
        self._probed = False

    def add(self, point: Point) -> None:
        """Take a point that is known."""
        self._points.append(point)

    def at(self, parameter: float) -> Point:
        """Encode there, unless that was done."""
        known = [p for p in self._points if p.parameter == parameter]
        if not known:
            self.add(self._measure(parameter))
        return known[0] if known else self._points[-1]

    def bytes_for(self, mse: float) -> float:
        """The fewest bytes of the base for that error or less, as far as was measured; encodes near it.

        Where no encode meets the error: those of the one that comes nearest, which are too few.
        """
        for _ in range(_ENCODES):
            near = min(self._useful(), key=lambda p: abs(math.log(p.mse / mse)), default=None)
            if near is None or (near.mse <= mse and math.log(mse / near.mse) < _NEAR):
                break
            parameter = near.parameter * math.sqrt(_AIM * mse / near.mse)
            if any(math.isclose(p.parameter, parameter, rel_tol=1e-3) for p in self._points):
                break
            self.at(parameter)
        if self.is_rough():
            self._probe()
        return self.known_bytes_for(mse)

    def is_rough(self) -> bool:
        """Whether a tighter bound took fewer bytes, or left a larger error, somewhere."""
        points = sorted(self._points, key=lambda p: p.parameter)
        return any(a.size < b.size or a.mse > b.mse for a, b in pairwise(points))

    def known_bytes_for(self, mse: float) -> float:
        """The same from what was encoded so far."""
        met = [p.size for p in self._points if p.mse <= mse]
        if not met:
            return float(min(self._points, key=lambda p: p.mse).size)
        return min(self._line(mse), min(met))

    def _probe(self) -> None:
        """Look at more of the curve, once: such a base may have found that data lie on a lattice."""
        if self._probed:
            return
        self._probed = True
        low, high = (pick(p.parameter for p in self._points) for pick in (min, max))
        for k in range(1, _PROBES + 1):
            self.at(low + (high - low) * k / (_PROBES + 1))

    def _useful(self) -> list[Point]:
        return [p for p in self._points if p.mse > 0]

    def _bracket(self, mse: float) -> tuple[Point, Point] | None:
        below = max((p for p in self._useful() if p.mse <= mse), key=lambda p: p.mse, default=None)
        above = min((p for p in self._useful() if p.mse > mse), key=lambda p: p.mse, default=None)
        return (below, above) if below and above else None

    def _line(self, mse: float) -> float:
        bracket = self._bracket(mse)
        if bracket is None:
            return math.inf
        low, high = bracket
        share = math.log(mse / low.mse) / math.log(high.mse / low.mse)
        return math.exp((1 - share) * math.log(low.size) + share * math.log(high.size))
