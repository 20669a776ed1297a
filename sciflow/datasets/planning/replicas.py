"""Second homes: the first samples of every stripe are pinned by another node as well.

With everything buffered, a node's share of a random batch varies by about sqrt(b). A sample with two homes
can be used on either, so the surplus of one node flows to others without a transfer. Flows are found for all
batches at once: direct ones first, then over one node between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.header import Header

__all__ = ["alternative", "at_receiver", "rebalanced", "replicas_on"]

Ints = NDArray[np.int64]
_FURTHEST = 16


def alternative(header: Header, ids: Ints, home: Ints) -> Ints:
    """The second home of each sample, int64; -1 without one."""
    offset = ids - header.bounds[home]
    others = header.num_nodes - 1
    second = (home + 1 + offset * others // max(header.replicas, 1)) % header.num_nodes
    return np.where(offset < header.replicas, second, -1)


def at_receiver(header: Header, ids: Ints, home: Ints, receiver: Ints) -> NDArray[np.bool_]:
    """Where the receiver pins the sample as a replica, bool."""
    if not header.replicas:
        return np.zeros(len(ids), np.bool_)
    found: NDArray[np.bool_] = alternative(header, ids, home) == receiver
    return found


def replicas_on(header: Header, node: int) -> Ints:
    """Samples of other stripes that a node pins, int64, ascending."""
    if not header.replicas:
        return np.empty(0, np.int64)
    zones = [first + np.arange(header.replicas) for first in header.bounds[:-1]]
    ids = np.concatenate(zones).astype(np.int64)
    found: Ints = ids[alternative(header, ids, header.home(ids)) == node]
    return found


def rebalanced(header: Header, batches: NDArray[np.integer[Any]], home: Ints, target: Ints) -> Ints:
    """Homes of the samples of whole batches, some of them the second one.

    Parameters
    ----------
    header : Header
        Of the plan.
    batches, home : ndarray of int, shape (steps, width)
        Samples and their first homes.
    target : ndarray of int64, shape (W,)
        Samples of a batch that every node should have.

    Returns
    -------
    ndarray of int64, shape (steps, width)
    """
    steps, nodes = len(batches), header.num_nodes
    second = alternative(header, batches.reshape(-1).astype(np.int64), home.reshape(-1)).reshape(home.shape)
    step = np.arange(steps)[:, None]
    counts = np.bincount((step * nodes + home).ravel(), minlength=steps * nodes).reshape(steps, nodes)
    pair = np.where(second >= 0, home * nodes + second, nodes * nodes)
    cells = nodes * nodes + 1
    room = np.bincount((step * cells + pair).ravel(), minlength=steps * cells).reshape(steps, cells)
    flow = _flows(counts - target, room[:, :-1].reshape(steps, nodes, nodes).copy()).reshape(steps, -1)
    flow = np.concatenate([flow, np.zeros((steps, 1), np.int64)], axis=1)
    in_groups = np.argsort(pair.astype(np.uint16 if cells < 2**16 else np.uint32), axis=1, kind="stable")
    sorted_pair = np.take_along_axis(pair, in_groups, axis=1)
    first = np.cumsum(room, axis=1) - room
    rank = np.arange(batches.shape[1]) - np.take_along_axis(first, sorted_pair, axis=1)
    goes = np.empty(home.shape, np.bool_)
    np.put_along_axis(goes, in_groups, rank < np.take_along_axis(flow, sorted_pair, axis=1), axis=1)
    return np.where(goes, second, home)


def _flows(surplus: Ints, room: Ints) -> Ints:
    """Samples of each batch from node to node, shape (steps, W, W), at most `room`, which is used up."""
    nodes = surplus.shape[1]
    flow, here = np.zeros_like(room), np.arange(nodes)
    for hop in range(1, nodes):
        there = (here + hop) % nodes
        moved = _carried(surplus, there, room[:, here, there])
        flow[:, here, there] += moved
        room[:, here, there] -= moved
    for first in range(1, min(nodes, _FURTHEST)):
        for second in range(1, min(nodes, _FURTHEST)):
            between, there = (here + first) % nodes, (here + first + second) % nodes
            if (first + second) % nodes == 0:
                continue
            moved = _carried(surplus, there, np.minimum(room[:, here, between], room[:, between, there]))
            for source, target in ((here, between), (between, there)):
                flow[:, source, target] += moved
                room[:, source, target] -= moved
    return flow


def _carried(surplus: Ints, there: Ints, room: Ints) -> Ints:
    """What flows from each node to the one in `there`; `surplus` is changed to what is left."""
    moved = np.minimum(np.minimum(surplus, -surplus[:, there]), room).clip(0)
    surplus -= moved
    surplus[:, there] += moved
    return moved
