"""Other loaders' policies in our own executor: the same reads, slots and threads, another plan.

```
policy ─ who has which row, from where, what is evicted ─▶ EpochPlan of each rank ─▶ Pipeline on slow storage
```

Ranks run one after the other, each with a storage of its own, so that they do not share this machine's
cores; an epoch takes as long as the slowest of those that are run. Rows from a peer's memory cost nothing,
and nobody waits for peers.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.loader.policies import Epochs
from sciflow.datasets.loading import EmulatedStorage
from sciflow.datasets.loading.pipeline import Pipeline
from sciflow.datasets.planning import EpochPlan, Plan, StorageModel, make_plan
from sciflow.datasets.sources import HDF5Source, Source

__all__ = [
    "NODES",
    "RANKS_RUN",
    "STAGING",
    "ExecutedRow",
    "Turn",
    "executed",
    "nopfs_turns",
    "plain_turns",
    "planned",
    "solar_turns",
]

NODES, BATCH = 8, 16
RANKS_RUN = 4
_EPOCHS = 6
"""Of the shuffles that a policy knows; the last one is run, with buffers as they are then."""
_OURS = 3
"""Epochs of our plan from a cold start; the last one counts."""
STAGING = 4
"""Batches that the others may hold in flight on top of their buffers; ours has none on top."""

Ints = NDArray[np.int64]
Turns = list[list["Turn"]]


@dataclass(frozen=True, slots=True)
class ExecutedRow:
    """One policy at one size of the buffer.

    Parameters
    ----------
    storage, policy : str
        From what, and which.
    c : float
        Buffers of all ranks together over all samples.
    loads : float
        Samples read in the last epoch over all samples.
    worst_s, mean_s : float
        Seconds of the last epoch, of the slowest rank and over ranks.
    """

    storage: str
    policy: str
    c: float
    loads: float
    worst_s: float
    mean_s: float


@dataclass(slots=True)
class Turn:
    """What one rank does at one step.

    Parameters
    ----------
    ids : list of int
        Its rows.
    read : set of int
        Those that it reads from storage.
    remote : set of int
        Those that come from a peer; the others are in its own buffer.
    dropped : list of int
        Samples that leave its buffer behind the step; read ones stay unless they are here.
    """

    ids: list[int] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    remote: set[int] = field(default_factory=set)
    dropped: list[int] = field(default_factory=list)


def plain_turns(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Iterator[Turns]:
    """DataLoader: every row is read. Yields turns by rank and step, epoch after epoch."""
    del slots
    for order in epochs:
        dealt = order.reshape(-1, nodes, batch)
        yield [[Turn(ids, set(ids), set(), ids) for ids in dealt[:, node].tolist()] for node in range(nodes)]


def nopfs_turns(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Iterator[Turns]:
    """NoPFS: a rank keeps what it uses most over the run; what nobody keeps is read; see `policies.nopfs`."""
    samples = int(epochs[0].max()) + 1
    dealt = [order.reshape(-1, nodes, batch) for order in epochs]
    wanted = np.zeros((nodes, samples), np.bool_)
    for node in range(nodes):
        uses = np.bincount(np.concatenate([each[:, node].ravel() for each in dealt]), minlength=samples)
        wanted[node, np.argsort(-uses, kind="stable")[:slots]] = True
    held = np.zeros((nodes, samples), np.bool_)
    for each in dealt:
        turns: Turns = [[] for _ in range(nodes)]
        for step in each:
            somewhere: NDArray[np.bool_] = np.logical_or.reduce(held, axis=0)
            for node, ids in enumerate(step):
                mine, there = held[node, ids], somewhere[ids]
                turns[node].append(
                    Turn(
                        ids.tolist(),
                        set(ids[~there].tolist()),
                        set(ids[there & ~mine].tolist()),
                        ids[~there & ~wanted[node, ids]].tolist(),
                    )
                )
            for node, ids in enumerate(step):
                new = ids[~somewhere[ids]]
                held[node, new] |= wanted[node, new]
        yield turns


def solar_turns(epochs: Epochs, *, nodes: int, batch: int, slots: int) -> Iterator[Turns]:
    """SOLAR as released: first in, first out; hits go where they lie; see `policies.solar_as_released`.

    Misses go to the ranks with the fewest rows, which is kinder than the released code.
    """
    capacity, width = nodes * slots, nodes * batch
    held: OrderedDict[int, int] = OrderedDict()
    for number, order in enumerate(epochs):
        turns: Turns = [[] for _ in range(nodes)]
        for step, ids in enumerate(order.reshape(-1, width).tolist()):
            matched = number > 0 and step < capacity // width
            now = [Turn() for _ in range(nodes)]
            for sample in ids:
                if matched and sample in held:
                    now[held[sample]].ids.append(sample)
            for sample in ids:
                if matched and sample in held:
                    continue
                node = min(range(nodes), key=lambda each: len(now[each].ids))
                before = held.pop(sample, node)
                if before != node:
                    now[before].dropped.append(sample)
                now[node].ids.append(sample)
                now[node].read.add(sample)
            _filled(held, now, capacity)
            for node in range(nodes):
                turns[node].append(now[node])
        yield turns


def _filled(held: OrderedDict[int, int], now: list[Turn], capacity: int) -> None:
    """Put what was read into the buffers, and the oldest out."""
    for node, turn in enumerate(now):
        for sample in turn.read:
            held[sample] = node
    while len(held) > capacity:
        sample, node = held.popitem(last=False)
        now[node].dropped.append(sample)


class _Rank:
    """Turns of one rank as plans, epoch after epoch."""

    def __init__(self, node: int) -> None:
        self._node = node
        self._held: list[int] = []
        self.peak = 0

    def warm(self) -> EpochPlan:
        """One step without rows that reads what the rank holds."""
        held, self._held = self._held, []
        found = self.plan(0, [Turn(read=set(held))])
        self._held = held
        return found

    def plan(self, epoch: int, turns: list[Turn]) -> EpochPlan:
        """The plan of an epoch; every step reads what it reads in one visit."""
        pick_of = {sample: pick for pick, sample in enumerate(self._held)}
        carried, count = list(self._held), len(self._held)
        picks: list[int] = []
        source: list[int] = []
        visits: list[int] = []
        released: list[list[int]] = []
        for turn in turns:
            gone = [pick_of.pop(sample) for sample in sorted(turn.read & pick_of.keys())]
            new = sorted(turn.read)
            pick_of |= {sample: count + place for place, sample in enumerate(new)}
            count += len(new)
            visits += new
            self.peak = max(self.peak, len(pick_of) + len(gone))
            picks += [-1 if sample in turn.remote else pick_of[sample] for sample in turn.ids]
            source += [(self._node + (sample in turn.remote)) % NODES for sample in turn.ids]
            gone += [pick_of.pop(sample) for sample in turn.dropped]
            released.append(gone)
        self._held = sorted(pick_of)
        ends = np.cumsum([len(turn.read) for turn in turns])
        return EpochPlan(
            epoch=epoch,
            node=self._node,
            first_step=0,
            steps=len(turns),
            batch_ptr=_pointers([len(turn.ids) for turn in turns]),
            ids=np.array([sample for turn in turns for sample in turn.ids], np.int64),
            pick=np.array(picks, np.int64),
            source=np.array(source, np.int64),
            send_ptr=np.zeros(len(turns) + 1, np.int64),
            send_ids=np.empty(0, np.int64),
            send_pick=np.empty(0, np.int64),
            send_to=np.empty(0, np.int64),
            visit_ptr=np.append(0, ends),
            visit_ids=np.array(visits, np.int64),
            visit_due=np.arange(len(turns)),
            arrives=np.zeros(len(visits), np.bool_),
            need=np.arange(1, len(turns) + 1),
            carried=np.array(carried, np.int64),
            release_ptr=_pointers([len(gone) for gone in released]),
            release_pick=np.array([pick for gone in released for pick in gone], np.int64),
            carry_out=np.array([pick_of[sample] for sample in self._held], np.int64),
            peak=self.peak,
            late=0,
        )


def _pointers(counts: list[int]) -> Ints:
    return np.append(0, np.cumsum(counts)).astype(np.int64)


class _Peers:
    """Rows from peers, out of a file in memory, for nothing; see `Exchange`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._steps: deque[Ints] = deque()

    def of(self, plans: Iterator[EpochPlan]) -> Iterator[EpochPlan]:
        """The same plans; their rows from peers are noted."""
        for plan in plans:
            for first, stop in zip(plan.batch_ptr[:-1], plan.batch_ptr[1:], strict=True):
                self._steps.append(plan.ids[first:stop][plan.source[first:stop] != plan.node])
            yield plan

    def swap(self, outgoing: Any, to: Any, incoming: Mapping[str, NDArray[Any]], source: Any) -> None:
        del outgoing, to, source
        for name, rows in self._source.take(self._steps.popleft()).items():
            incoming[name][...] = rows

    def close(self) -> None:
        """Nobody waits."""


def planned(path: Path, part: float, storage: StorageModel) -> Plan:
    """Our plan for all ranks with a part of the samples in their buffers."""
    source = HDF5Source(path, "x")
    return make_plan(
        source,
        global_batch_size=NODES * BATCH,
        num_nodes=NODES,
        buffer_bytes=int(part * len(source) / NODES) * source.sample_bytes,
        storage=storage,
    )


def executed(path: Path, part: float, storage: StorageModel, ranks: int = RANKS_RUN) -> Iterator[ExecutedRow]:
    """Every policy at one size of the buffer, over the same global batches."""
    plan = planned(path, part, storage)
    samples, slots = plan.header.samples, plan.header.slots
    steps = plan.header.steps
    epochs = [np.concatenate([plan.ids(e, t) for t in range(steps)]) for e in range(_EPOCHS)]
    policies: dict[str, Callable[..., Iterator[Turns]]] = {
        "DataLoader": plain_turns,
        "NoPFS": nopfs_turns,
        "SOLAR as released": solar_turns,
    }
    for name, policy in policies.items():
        turns = list(policy(epochs, nodes=NODES, batch=BATCH, slots=slots))
        made = []
        for node in range(ranks):
            rank = _Rank(node)
            for number, each in enumerate(turns[:-1]):
                rank.plan(number, each[node])
            plans = [rank.warm(), rank.plan(_EPOCHS - 1, turns[-1][node])]
            made.append((plans, rank.peak + STAGING * BATCH))
        yield _row(name, part, path, storage, made, samples)
    ours = [(list(plan.epochs(node, stop=_OURS)), slots) for node in range(ranks)]
    yield _row(f"sciflow, {plan.header.strategy}", part, path, storage, ours, samples)


def _row(
    policy: str,
    part: float,
    path: Path,
    storage: StorageModel,
    ranks: list[tuple[list[EpochPlan], int]],
    samples: int,
) -> ExecutedRow:
    seconds = [_timed(path, plans, slots, storage) for plans, slots in ranks]
    loads = sum(len(plans[-1].visit_ids) for plans, _ in ranks) * NODES / len(ranks)
    label = f"{storage.alpha * 1e3:g} ms, {storage.beta / 1e9:g} GB/s"
    return ExecutedRow(label, policy, part, loads / samples, max(seconds), sum(seconds) / len(seconds))


def _timed(path: Path, plans: list[EpochPlan], slots: int, storage: StorageModel) -> float:
    """Seconds of one rank's last epoch; its batches are looked at."""
    source = HDF5Source(path, "x")
    peers = _Peers(source)
    pipeline = Pipeline(
        source,
        peers.of(iter(plans)),
        slots,
        gap_bytes=storage.gap_bytes,
        on_read=EmulatedStorage(storage.alpha, storage.beta),
        exchange=peers,
    )
    began = 0.0
    try:
        for plan in plans:
            began = time.perf_counter()
            for _ in range(plan.steps):
                step = pipeline.next()
                assert step is not None
                found = step.rows["x"][:, 0, 0]
                if not np.array_equal(found, step.ids):
                    raise AssertionError(f"epoch {step.epoch}, step {step.step}: other samples than planned")
        return time.perf_counter() - began
    finally:
        pipeline.close()
