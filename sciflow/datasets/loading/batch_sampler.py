"""The batches of a plan, as numbers, for an ordinary data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sciflow.datasets.loading.position import Position, load_position, save_position
from sciflow.datasets.loading.ranks import joined

if TYPE_CHECKING:
    from sciflow.datasets.planning import Plan

__all__ = ["PlannedBatchSampler"]


class PlannedBatchSampler:
    """A node's batches as lists of sample numbers; for ``DataLoader(dataset, batch_sampler=...)``.

    Global batches are those of the plan, with any number of nodes. Samples go to the node whose part of the
    file they are in, so that a cache on a node is of use; nothing is read here.

    Parameters
    ----------
    plan : Plan
        Which samples, when and where.
    node : int, optional
        This one; from torch.distributed or ``RANK`` where it is not given. From torch.distributed, all
        processes make their samplers together, and take the plan of the first.

    Notes
    -----
    ``state_dict`` counts batches that were handed out. With workers, a DataLoader asks for some ahead of
    time: give the number of batches that were used as `step` in `set_epoch` when you resume.
    """

    def __init__(self, plan: Plan, node: int | None = None) -> None:
        self.plan, self.node = joined(plan, node)
        self._next = Position(0, 0)

    def __len__(self) -> int:
        return int(self.plan.header.steps)

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._next.epoch
        while self._next.epoch == epoch:
            ids = self.plan.batch(epoch, self._next.step, self.node)
            self._next = self._next.after(len(self))
            yield ids.tolist()

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin at a step of an epoch; not needed where epochs follow one another."""
        self._next = Position(epoch, step)

    def state_dict(self) -> dict[str, Any]:
        """Which batch comes next; ready for JSON."""
        return save_position(self.plan, self._next)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a loader or sampler was, with any number of nodes.

        Raises
        ------
        InvalidArgument
            If the plan gives other batches than the one of the state.
        """
        self._next = load_position(self.plan, state)
