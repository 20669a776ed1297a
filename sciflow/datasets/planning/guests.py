"""Two moves for one: what a node gets from a peer it keeps, if that saves a move in the next epoch as well.

With everything buffered, a batch has more samples at some homes than their share, and these move. Which of
them move, and where to, is free. In every even epoch the planner looks for a sample whose next batch has too
many at its home, too, and too few at the receiver: the receiver keeps it as a guest, until that use is over.

```
epoch 2 k      batch t:  home has one too many ─ sends x ─▶ receiver keeps x in a slot
epoch 2 k + 1  batch t': home would have had one too many    receiver uses x, and lets it go
```

Homes are as before in the next even epoch, so that a plan stays a function of its header and the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.header import Header

__all__ = ["Guests", "invited", "nobody"]

Ints = NDArray[np.int64]
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Guests:
    """Samples that are kept away from home from an even epoch's move to the next epoch's use.

    Parameters
    ----------
    ids, host : ndarray, int64, shape (guests,)
        Samples, ascending, and the node that keeps each.
    """

    ids: Ints
    host: Ints

    def of(self, node: int) -> Ints:
        """Those that a node keeps, ascending."""
        found: Ints = self.ids[self.host == node]
        return found

    def home(self, ids: NDArray[np.integer[Any]], home: Ints) -> Ints:
        """Homes of samples while guests are away."""
        if not len(self.ids):
            return home
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.host[place], home)


def nobody() -> Guests:
    """No guests."""
    return Guests(np.empty(0, np.int64), np.empty(0, np.int64))


def invited(
    header: Header,
    batches: NDArray[np.integer[Any]],
    following: NDArray[np.integer[Any]],
    target: Ints,
) -> tuple[Ints, Guests]:
    """Deal the batches of an even epoch with a look at the next one.

    Parameters
    ----------
    header : Header
        Of the plan.
    batches, following : ndarray of int, shape (steps, width)
        Whole batches of this epoch and the next.
    target : ndarray of int64, shape (W,)
        Samples of a batch that every node gets.

    Returns
    -------
    ndarray, int64, shape (steps, width)
        Homes in this epoch, where some samples moved already; the rest of the surplus is still to be moved.
    Guests
        Who stays where it moved to.
    """
    nodes = header.num_nodes
    receiver = header.home(batches)
    next_step = np.full(header.samples, -1)
    next_step[following.reshape(-1)] = np.repeat(np.arange(len(following)), following.shape[1])
    above = _counts(header.home(following), nodes) - target
    surplus = _counts(receiver, nodes) - target
    rooms = np.full(nodes, header.guests)
    ids: list[Ints] = []
    hosts: list[Ints] = []
    for step in np.flatnonzero((surplus > 0).any(axis=1)).tolist():
        later = next_step[batches[step]]
        for _ in range(_ROUNDS):
            place, host = _chosen(receiver[step], later, surplus[step], above, rooms)
            if not len(place):
                break
            home = receiver[step, place]
            for counts, at in ((surplus[step], (home,)), (above, (later[place], home))):
                np.subtract.at(counts, at, 1)
            for counts, at in ((surplus[step], (host,)), (above, (later[place], host))):
                np.add.at(counts, at, 1)
            np.subtract.at(rooms, host, 1)
            receiver[step, place] = host
            later[place] = -1
            ids.append(batches[step, place].astype(np.int64))
            hosts.append(host)
    if not ids:
        return receiver, nobody()
    found, host = np.concatenate(ids), np.concatenate(hosts)
    order = np.argsort(found)
    return receiver, Guests(found[order], host[order])


def _counts(home: Ints, nodes: int) -> Ints:
    steps = len(home)
    flat = (home + nodes * np.arange(steps)[:, None]).reshape(-1)
    return np.bincount(flat, minlength=steps * nodes).reshape(steps, nodes)


def _chosen(home: Ints, later: Ints, surplus: Ints, above: Ints, rooms: Ints) -> tuple[Ints, Ints]:
    """Places of a batch, and a host for each, that save a move both in this batch and in their next one."""
    hosts = np.flatnonzero((surplus < 0) & (rooms > 0))
    place = np.flatnonzero((surplus[home] > 0) & (later >= 0))
    if not len(hosts) or not len(place):
        return place[:0], hosts[:0]
    then = above[later[place]]
    lowest = then[:, hosts].argmin(axis=1)
    host = hosts[lowest]
    rows = np.arange(len(place))
    at_home, at_host = then[rows, home[place]], then[rows, host]
    good = np.flatnonzero((at_home > 0) & (at_host < 0))
    good = good[np.argsort(at_host[good] - at_home[good], kind="stable")]
    place, host, at_home, at_host = place[good], host[good], at_home[good], at_host[good]
    nodes, batch = len(surplus), later[place]
    allowed = _rank(home[place]) < surplus[home[place]]
    allowed &= _rank(host) < np.minimum(-surplus, rooms)[host]
    allowed &= _rank(batch * nodes + home[place]) < at_home
    allowed &= _rank(batch * nodes + host) < -at_host
    return place[allowed], host[allowed]


def _rank(keys: Ints) -> Ints:
    """How many equal keys come before each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    fresh = np.append(True, ordered[1:] != ordered[:-1])[: len(keys)]
    first = np.flatnonzero(fresh)[np.cumsum(fresh) - 1]
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys)) - first
    return rank
