"""Which node gets which sample of a global batch.

```
sequence(e) [S, G] ─ home = stripe ─▶ counts [S, W] ─ above its share? ─▶ hand some to nodes below theirs
```

A node hands over samples that it does not pin first: where everything unpinned is read at its use (strategy
pin), that costs nothing. Samples whose replica lies on a node below its share go there next, free as well.
The rest is the overflow, of which some stay as guests where they went.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.guests import Guests, invited, nobody
from sciflow.datasets.planning.header import Header
from sciflow.datasets.planning.order import ExplicitOrder, Order, sequence
from sciflow.datasets.planning.replicas import at_receiver, rebalanced

__all__ = ["Assignment", "NodeShare", "assign"]

Ints = NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShare:
    """What one node does in one epoch: the rows it assembles, and the uses it serves from what it reads.

    Parameters
    ----------
    node : int
        Which.
    rows, row_ids, row_source : ndarray of int64
        Positions in the epoch's sequence, samples, and the node that delivers them.
    uses, use_ids, use_to : ndarray of int64
        The same of what this node delivers; `use_to` is itself or a peer.
    guests : ndarray of int64, ascending
        Samples of peers that it keeps: in an even epoch from their row on, in an odd one until their use.
    """

    node: int
    rows: Ints
    row_ids: Ints
    row_source: Ints
    uses: Ints
    use_ids: Ints
    use_to: Ints
    guests: Ints


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
    guests : Guests, optional
        Who is kept by a peer, of this epoch and its neighbour.
    away : bool
        Whether guests are there already, as in odd epochs.
    """

    header: Header
    sequence: NDArray[np.integer[Any]]
    receiver: NDArray[np.uint16] | None
    guests: Guests | None = None
    away: bool = False

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
                node=node,
                rows=rows,
                row_ids=row_ids,
                row_source=row_source,
                uses=rows,
                use_ids=row_ids,
                use_to=row_source,
                guests=np.empty(0, np.int64),
            )
        here = self._at_home(node)
        ids, to = self.sequence[here].astype(np.int64), self.receiver[here].astype(np.int64)
        sent = (to != node) & (self._server(ids, to) == node)
        own = row_source == node
        uses = np.concatenate([rows[own], here[sent]])
        in_order = np.argsort(uses, kind="stable")
        return NodeShare(
            node=node,
            rows=rows,
            row_ids=row_ids,
            row_source=row_source,
            uses=uses[in_order],
            use_ids=np.concatenate([row_ids[own], ids[sent]])[in_order],
            use_to=np.concatenate([np.full(int(own.sum()), node), to[sent]])[in_order],
            guests=np.empty(0, np.int64) if self.guests is None else self.guests.of(node),
        )

    def _at_home(self, node: int) -> Ints:
        if self.away and self.guests is not None:
            return np.flatnonzero(self._home(self.sequence) == node)
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
        return np.where(free, receiver, self._home(ids))

    def _home(self, ids: NDArray[np.integer[Any]]) -> Ints:
        home = self.header.home(ids)
        return self.guests.home(ids, home) if self.away and self.guests is not None else home


def assign(header: Header, order: Order, epoch: int, before: Assignment | None = None) -> Assignment:
    """Deal the samples of an epoch to nodes; the same on every node, without communication.

    Parameters
    ----------
    header : Header
        Of the plan.
    order : Order
        Its order.
    epoch : int
        Which.
    before : Assignment, optional
        The epoch before, if it is at hand.

    Returns
    -------
    Assignment
    """
    ids = sequence(order.permutation(epoch), header.global_batch_size, header.tail)
    if header.num_nodes == 1 or header.overflow == "variable":
        return Assignment(header=header, sequence=ids, receiver=None)
    receiver = np.empty(len(ids), np.uint16)
    homes, guests = _homes(header, order, epoch, ids, before)
    for first, stop, width in _pieces(len(ids), header.global_batch_size):
        batches = ids[first:stop].reshape(-1, width)
        home = header.home(batches) if homes is None else homes[first:stop].reshape(-1, width)
        receiver[first:stop] = _dealt(header, batches, home).reshape(-1)
    return Assignment(
        header=header,
        sequence=ids,
        receiver=receiver,
        guests=guests,
        away=guests is not None and epoch % 2 == 1,
    )


def _homes(
    header: Header, order: Order, epoch: int, ids: NDArray[np.integer[Any]], before: Assignment | None
) -> tuple[Ints | None, Guests | None]:
    """Homes of an epoch's rows where guests are invited, and these; None where there are none."""
    if not header.guests:
        return None, None
    if isinstance(order, ExplicitOrder) and epoch - epoch % 2 + 1 >= order.epochs:
        return None, nobody()  # there is no epoch behind it
    if epoch % 2:
        guests = (before or assign(header, order, epoch - 1)).guests
        assert guests is not None
        return guests.home(ids, header.home(ids)), guests
    whole = header.samples // header.global_batch_size * header.global_batch_size
    width, nodes = header.global_batch_size, header.num_nodes
    following = sequence(order.permutation(epoch + 1), width, header.tail)[:whole].reshape(-1, width)
    target = width // nodes + (np.arange(nodes) < width % nodes)
    homes = header.home(ids)
    dealt, guests = invited(header, ids[:whole].reshape(-1, width), following, target)
    homes[:whole] = dealt.reshape(-1)
    return homes, guests


def _pieces(rows: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Runs of whole batches, then the short one: first row, behind the last row, rows of a batch."""
    whole = rows // width * width
    at_once = max(1, _ROWS_AT_ONCE // width) * width
    for first in range(0, whole, at_once):
        yield first, min(first + at_once, whole), width
    if whole < rows:
        yield whole, rows, rows - whole


def _dealt(header: Header, batches: NDArray[np.integer[Any]], home: Ints) -> Ints:
    """Receivers of whole batches of one width, shape (steps, width)."""
    steps, width = batches.shape
    nodes = header.num_nodes
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
