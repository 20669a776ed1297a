"""Where a loader is: which batch comes next, as a thing that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning import Plan

__all__ = ["Position", "load_position", "save_position"]

_VERSION = 1
_SAME = ("samples", "global_batch_size", "seed", "tail", "order", "order_digest")
"""What two plans must share to have the same global batches."""


@dataclass(frozen=True, slots=True)
class Position:
    """The batch that comes next.

    Parameters
    ----------
    epoch, step : int
        Its numbers.
    """

    epoch: int
    step: int

    def after(self, steps: int) -> Position:
        """The one behind it, in an epoch of so many steps."""
        return Position(self.epoch, self.step + 1) if self.step + 1 < steps else Position(self.epoch + 1, 0)


def save_position(plan: Plan, position: Position) -> dict[str, Any]:
    """A position with what a plan must share to go on from there; ready for JSON."""
    return {
        "version": _VERSION,
        "epoch": position.epoch,
        "step": position.step,
        "plan_hash": plan.hash,
        **{name: getattr(plan.header, name) for name in _SAME},
    }


def load_position(plan: Plan, state: Mapping[str, Any]) -> Position:
    """The position in a saved state, for a plan with the same global batches and any number of nodes.

    Raises
    ------
    InvalidArgument
        If the state is none of ours, or the plan gives other batches.
    """
    if state.get("version") != _VERSION:
        raise InvalidArgument(
            f"state of version {state.get('version')!r}, expected {_VERSION} of a loader's state_dict"
        )
    for name in _SAME:
        if state.get(name) != getattr(plan.header, name):
            raise InvalidArgument(
                f"state has {name} {state.get(name)!r}, the plan {getattr(plan.header, name)!r}: batches "
                "would not be "
                "the same; make the plan with the state's values (the number of nodes may differ)"
            )
    position = Position(int(state["epoch"]), int(state["step"]))
    if position.epoch < 0 or not 0 <= position.step < plan.header.steps:
        raise InvalidArgument(f"state is at {position}, expected a step below {plan.header.steps}")
    return position
