"""What becomes of a step whose loss or gradient is not to be trusted.

```
not finite, or far above the last steps ─▶ skip ─ 3 in a row ─▶ back to the checkpoint, half the rate
                                                                 └─ the fourth time ─▶ Diverged, with a report
```
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from enum import Enum
from typing import Any

__all__ = ["Guard", "Verdict"]

_SPIKE = 20.0
"""Times the median of the last gradient norms above which a step is left out."""
_WINDOW = 50
_LEAST = 10
"""Norms that must be known before one counts as a spike."""
_IN_A_ROW = 3
_ROLLBACKS = 3
_CUT = 0.5


class Verdict(Enum):
    """What to do with a step."""

    take = "take"
    skip = "skip"
    roll_back = "roll back"
    give_up = "give up"


class Guard:
    """Judges steps by loss and gradient norm; the same on every process, which see the same numbers."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.in_a_row = 0
        self.skipped = 0
        self.rollbacks = 0
        self.bad: list[dict[str, Any]] = []

    @property
    def rate_factor(self) -> float:
        """What the rate is multiplied with."""
        return _CUT**self.rollbacks

    def judge(self, loss: float, norm: float) -> Verdict:
        """Look at a step before its gradient is applied.

        Parameters
        ----------
        loss, norm : float
            Mean loss of the step, and norm of its gradient before clipping.
        """
        if math.isfinite(loss) and math.isfinite(norm) and not self._is_spike(norm):
            self.norms = [*self.norms[-_WINDOW + 1 :], norm]
            self.in_a_row = 0
            return Verdict.take
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row < _IN_A_ROW:
            return Verdict.skip
        return Verdict.roll_back if self.rollbacks < _ROLLBACKS else Verdict.give_up

    def note(self, *, step: int, samples: list[int], loss: float, gradient_norm: float) -> None:
        """Remember a step that was not taken, for a report."""
        found = {"step": step, "loss": loss, "gradient_norm": gradient_norm, "samples": samples}
        self.bad = [*self.bad[-_WINDOW + 1 :], found]

    def rolled_back(self, before: Guard) -> None:
        """Go on as after the checkpoint, but slower, remembering what led here."""
        self.rollbacks = before.rollbacks + 1
        self.bad, self.skipped, self.in_a_row = before.bad, before.skipped, 0

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes this of again."""
        return dict(vars(self))

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Guard:
        """Return what `state` was taken of."""
        made = cls()
        vars(made).update(state)
        return made

    def _is_spike(self, norm: float) -> bool:
        return len(self.norms) >= _LEAST and norm > _SPIKE * statistics.median(self.norms)
