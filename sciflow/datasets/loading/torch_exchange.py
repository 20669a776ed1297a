"""Samples between the processes of a torch.distributed group."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Work

__all__ = ["TorchExchange"]

_PATIENCE = timedelta(minutes=5)
"""A rank that hears nothing for so long raises an error: another one has stopped."""

Batch = Mapping[str, NDArray[Any]]


class TorchExchange:
    """Sends rows point to point, in a group of its own, so that it does not mix with the gradients.

    Every process makes one at the same place in its program, once torch.distributed is initialised; node i of
    the plan is rank i. The loaders of all ranks must be iterated in step, as they are where gradients are
    averaged.

    Parameters
    ----------
    group : ProcessGroup, optional
        A gloo group of all ranks; a new one where it is not given.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        import torch.distributed as dist

        self._group = group or dist.new_group(backend="gloo", timeout=_PATIENCE)

    def swap(
        self, outgoing: Batch, to: NDArray[np.int64], incoming: Batch, source: NDArray[np.int64]
    ) -> None:
        """See `Exchange.swap`."""
        import torch
        import torch.distributed as dist

        sent = [
            dist.isend(torch.from_numpy(_bytes(rows[to == other])), other, group=self._group)
            for other in np.unique(to).tolist()
            for rows in outgoing.values()
        ]
        waiting = []
        for other in np.unique(source).tolist():
            for name, into in incoming.items():
                buffer = np.empty((int((source == other).sum()), *into.shape[1:]), into.dtype)
                arriving = dist.irecv(torch.from_numpy(_bytes(buffer)), other, group=self._group)
                waiting.append((arriving, name, other, buffer))
        for arriving, name, other, buffer in waiting:
            _finish(arriving)
            incoming[name][source == other] = buffer
        for leaving in sent:
            _finish(leaving)

    def close(self) -> None:
        """Nothing to do: the group ends with torch.distributed."""


def _finish(work: Work | None) -> None:
    if work is not None:  # None: this rank is not in the group
        work.wait()


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return rows.reshape(-1).view(np.uint8)
