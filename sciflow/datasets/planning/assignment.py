"""Which node gets which sample of a global batch.

```
sequence(e) [S, G] ─ home = stripe ─▶ counts [S, W] ─ above its share? ─▶ hand some to nodes below theirs
```

A node hands over samples that it does not pin first: where everything unpinned is read at its use (strategy
pin), that costs nothing. Samples whose replica lies on a node below its share go there next, free as well.
The rest is the overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.header import Header
from sciflow.datasets.planning.order import Order, sequence
from sciflow.datasets.planning.replicas import at_receiver, rebalanced

__all__ = ["Assignment", "NodeShare", "assign"]

Ints = NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShare:
    """What one node does in one epoch: the rows it assembles, and the uses it serves from what it reads.

    Parameters
    ----------
    rows, row_ids, row_source : ndarray of int64
        Positions in the epoch's sequence, samples, and the node that delivers them.
    uses, use_ids, use_to : ndarray of int64
        The same of what this node delivers; `use_to` is itself or a peer.
    """

    rows: Ints
    row_ids: Ints
    row_source: Ints
    uses: Ints
    use_ids: Ints
    use_to: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One epoch's samples in reference order and the node that gets each.

    Parameters
    ----------
    header : Header
        Of the plan.
    sequence : ndarray of int, shape (rows,)
        Samples in reference order, tail applied.
    receiver : ndarray of uint16, shape (rows,), or None
        Node of every row; None where every sample stays at home.
    """

    header: Header
    sequence: NDArray[np.integer[Any]]
    receiver: NDArray[np.uint16] | None

    def rows_of(self, node: int) -> Ints:
        """Positions of the rows that a node gets, ascending."""
        if self.receiver is None:
            return self._at_home(node)
        return np.flatnonzero(self.receiver == node)

    def share(self, node: int) -> NodeShare:
        """Everything that concerns one node."""
        rows = self.rows_of(node)
        row_ids = self.sequence[rows].astype(np.int64)
        row_source = self._server(row_ids, np.full(len(rows), node))
        if self.receiver is None or self.header.overflow != "peer":
            return NodeShare(
                rows=rows,
                row_ids=row_ids,
                row_source=row_source,
                uses=rows,
                use_ids=row_ids,
                use_to=row_source,
            )
        here = self._at_home(node)
        ids, to = self.sequence[here].astype(np.int64), self.receiver[here].astype(np.int64)
        sent = (to != node) & (self._server(ids, to) == node)
        own = row_source == node
        uses = np.concatenate([rows[own], here[sent]])
        in_order = np.argsort(uses, kind="stable")
        return NodeShare(
            rows=rows,
            row_ids=row_ids,
            row_source=row_source,
            uses=uses[in_order],
            use_ids=np.concatenate([row_ids[own], ids[sent]])[in_order],
            use_to=np.concatenate([np.full(int(own.sum()), node), to[sent]])[in_order],
        )

    def _at_home(self, node: int) -> Ints:
        first, stop = self.header.bounds[node], self.header.bounds[node + 1]
        return np.flatnonzero((self.sequence >= first) & (self.sequence < stop))

    def _server(self, ids: Ints, receiver: Ints) -> Ints:
        """The node that reads each sample: its home, or the receiver where that is free or asked for."""
        header = self.header
        if self.receiver is None or header.overflow != "peer":
            return receiver
        home = header.home(ids)
        offset = ids - header.bounds[home]
        free = (header.strategy == "pin") & (offset >= header.pins) | at_receiver(header, ids, home, receiver)
        return np.where(free, receiver, home)


def assign(header: Header, order: Order, epoch: int) -> Assignment:
    """Deal the samples of an epoch to nodes; the same on every node, without communication.

    Parameters
    ----------
    header : Header
        Of the plan.
    order : Order
        Its order.
    epoch : int
        Which.

    Returns
    -------
    Assignment
    """
    ids = sequence(order.permutation(epoch), header.global_batch_size, header.tail)
    if header.num_nodes == 1 or header.overflow == "variable":
        return Assignment(header=header, sequence=ids, receiver=None)
    receiver = np.empty(len(ids), np.uint16)
    for first, stop, width in _pieces(len(ids), header.global_batch_size):
        batches = ids[first:stop].reshape(-1, width)
        receiver[first:stop] = _dealt(header, batches).reshape(-1)
    return Assignment(header=header, sequence=ids, receiver=receiver)


def _pieces(rows: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Runs of whole batches, then the short one: first row, behind the last row, rows of a batch."""
    whole = rows // width * width
    at_once = max(1, _ROWS_AT_ONCE // width) * width
    for first in range(0, whole, at_once):
        yield first, min(first + at_once, whole), width
    if whole < rows:
        yield whole, rows, rows - whole


def _dealt(header: Header, batches: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Receivers of whole batches of one width, shape (steps, width)."""
    steps, width = batches.shape
    nodes = header.num_nodes
    home = header.home(batches)
    target = width // nodes + (np.arange(nodes) < width % nodes)
    if header.replicas:
        home = rebalanced(header, batches, home, target)
    unpinned = (batches - header.bounds[home]) >= header.pins
    key = (2 * home + unpinned).astype(np.uint16)
    in_groups = np.argsort(key, axis=1, kind="stable")
    counts = np.bincount((home + nodes * np.arange(steps)[:, None]).ravel(), minlength=steps * nodes)
    counts = counts.reshape(steps, nodes)
    first = np.cumsum(counts, axis=1) - counts
    sorted_home = np.take_along_axis(home, in_groups, axis=1)
    rank = np.arange(width) - np.take_along_axis(first, sorted_home, axis=1)
    over = rank >= target[sorted_home]
    missing = np.maximum(target - counts, 0)
    takers = np.repeat(np.tile(np.arange(nodes), steps), missing.ravel())
    sorted_home[over] = takers
    np.put_along_axis(home, in_groups, sorted_home, axis=1)
    return home
