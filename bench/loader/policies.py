"""Loads of other loaders' buffers on the same shuffles: LRU, NoPFS, SOLAR as released, its epoch order.

Written from the papers and from reading the released code; each is the policy alone, with perfect overlap.

References
----------
.. [1] N. Dryden et al., "Clairvoyant prefetching for distributed machine learning I/O", SC 2021 (NoPFS).
.. [2] B. Sun et al., "SOLAR", PVLDB 16(1), 2022, arXiv:2211.00224; code at commit dc23301.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Loads", "lru", "nopfs", "ordered_epochs", "shared_at_boundaries", "solar_as_released"]

Epochs = list[NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Loads:
    """Reads from storage of every epoch, and samples that came from a peer's memory."""

    loads: tuple[int, ...]
    remote: tuple[int, ...] = ()


def lru(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Loads:
    """Every node keeps what it used last; batches are dealt as DistributedSampler deals them."""
    held: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(nodes)]
    loads = []
    for order in epochs:
        missed = 0
        for node, cache in enumerate(held):
            for sample in order.reshape(-1, nodes, batch)[:, node].ravel().tolist():
                missed += sample not in cache
                cache[sample] = None
                cache.move_to_end(sample)
                if len(cache) > slots:
                    cache.popitem(last=False)
        loads.append(missed)
    return Loads(tuple(loads))


def nopfs(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Loads:
    """Every node keeps the samples that it uses most often over the run, whatever its peers keep."""
    samples = int(epochs[0].max()) + 1
    dealt = [order.reshape(-1, nodes, batch) for order in epochs]
    wanted = np.zeros((nodes, samples), np.bool_)
    for node in range(nodes):
        uses = np.bincount(np.concatenate([each[:, node].ravel() for each in dealt]), minlength=samples)
        wanted[node, np.argsort(-uses, kind="stable")[:slots]] = True
    held = np.zeros((nodes, samples), np.bool_)
    loads, remote = [], []
    for each in dealt:
        missed = sent = 0
        for step in each:
            for node, ids in enumerate(step):
                somewhere = held[:, ids].any(axis=0)
                missed += int((~somewhere).sum())
                sent += int((somewhere & ~held[node, ids]).sum())
            for node, ids in enumerate(step):
                held[node, ids] |= wanted[node, ids]
        loads.append(missed)
        remote.append(sent)
    return Loads(tuple(loads), tuple(remote))


def solar_as_released(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Loads:
    """First in, first out over all nodes; only the first C // G steps of an epoch look into it."""
    capacity, width = nodes * slots, nodes * batch
    held: OrderedDict[int, None] = OrderedDict()
    loads = []
    for number, order in enumerate(epochs):
        missed = 0
        for step, ids in enumerate(order.reshape(-1, width).tolist()):
            matched = number > 0 and step < capacity // width
            for sample in ids:
                if matched and sample in held:
                    continue
                missed += 1
                held.pop(sample, None)
                held[sample] = None
                if len(held) > capacity:
                    held.popitem(last=False)
        loads.append(missed)
    return Loads(tuple(loads))


def shared_at_boundaries(epochs: Epochs, capacity: int) -> NDArray[np.int64]:
    """Samples shared by the end of epoch i and the start of epoch j, shape (E, E): SOLAR's graph."""
    samples = int(epochs[0].max()) + 1
    shared = np.zeros((len(epochs), len(epochs)), np.int64)
    for i, before in enumerate(epochs):
        tail = np.zeros(samples, np.bool_)
        tail[before[-capacity:]] = True
        shared[i] = [tail[after[:capacity]].sum() for after in epochs]
    return shared


def ordered_epochs(epochs: Epochs, capacity: int) -> list[int]:
    """An order of epochs in which neighbours share much: the nearest unvisited one next, from epoch 0."""
    shared, left, path = shared_at_boundaries(epochs, capacity), set(range(1, len(epochs))), [0]
    while left:
        path.append(max(left, key=lambda each: (shared[path[-1], each], -each)))
        left.remove(path[-1])
    return path
