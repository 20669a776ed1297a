"""Samples that one node has read and another one needs."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument

__all__ = ["Exchange", "LocalExchange"]

Batch = Mapping[str, NDArray[Any]]


class Exchange(Protocol):
    """Carries samples between the nodes of a step; every node calls it once a step, in the same order."""

    def swap(
        self, outgoing: Batch, to: NDArray[np.int64], incoming: Batch, source: NDArray[np.int64]
    ) -> None:
        """Send rows and fill rows.

        Parameters
        ----------
        outgoing : mapping of str to ndarray, shape (sent, ...)
            What this node sends.
        to : ndarray, int64, shape (sent,)
            Node that row i goes to.
        incoming : mapping of str to ndarray, shape (received, ...)
            Filled here. Rows from one node come in the order in which that node lists them.
        source : ndarray, int64, shape (received,)
            Node that row i comes from.
        """

    def close(self) -> None:
        """Wake whoever waits; nothing is carried any more."""


class LocalExchange:
    """Carries samples between nodes that are threads of one process, for tests and simulations.

    Parameters
    ----------
    node : int
        This one.
    boxes : mapping of (int, int) to Queue
        Where node i leaves things for node j; see `between`.
    """

    def __init__(self, node: int, boxes: Mapping[tuple[int, int], queue.Queue[Any]]) -> None:
        self.node = node
        self._boxes = boxes

    @classmethod
    def between(cls, nodes: int) -> list[LocalExchange]:
        """One for each node."""
        boxes: dict[tuple[int, int], queue.Queue[Any]] = {
            (i, j): queue.Queue() for i in range(nodes) for j in range(nodes)
        }
        return [cls(node, boxes) for node in range(nodes)]

    def swap(
        self, outgoing: Batch, to: NDArray[np.int64], incoming: Batch, source: NDArray[np.int64]
    ) -> None:
        """See `Exchange.swap`."""
        for other in np.unique(to).tolist():
            self._boxes[self.node, other].put({name: rows[to == other] for name, rows in outgoing.items()})
        for other in np.unique(source).tolist():
            rows = self._boxes[other, self.node].get()
            if rows is None:
                raise InvalidArgument(f"node {other} closed its exchange; iterate all nodes to the same step")
            for name, into in incoming.items():
                into[source == other] = rows[name]

    def close(self) -> None:
        """See `Exchange.close`."""
        for (sender, _), box in self._boxes.items():
            if sender == self.node:
                box.put(None)
