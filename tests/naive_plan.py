"""What a plan must mean, written down naively: a reader that follows it, an elevator, the fewest loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from sciflow.datasets.planning import EpochPlan, Plan
from sciflow.datasets.planning.header import LAP_UNITS


@dataclass
class Reader:
    """Follows one node's epochs step by step with a set of slots, as late as `need` allows."""

    slots: int
    held: dict[int, int] = field(default_factory=dict)
    """Pick number of this epoch -> sample."""
    most: int = 0

    def epoch(self, plan: EpochPlan) -> list[tuple[list[int], list[int]]]:
        """Rows and sent samples of every step; whatever is wrong fails an assertion."""
        assert sorted(self.held) == list(range(len(plan.carried)))
        assert [self.held[pick] for pick in range(len(plan.carried))] == plan.carried.tolist()
        assert np.all(np.diff(plan.carried) > 0)
        read, steps = 0, []
        for step in range(plan.steps):
            while read < plan.need[step]:
                self._visit(plan, read)
                read += 1
            steps.append(self._step(plan, step))
            for pick in _of(plan.release_ptr, plan.release_pick, step):
                del self.held[pick]
        assert read == len(plan.visit_due)
        assert sorted(plan.carry_out.tolist()) == sorted(self.held)
        self.held = {number: self.held[pick] for number, pick in enumerate(plan.carry_out.tolist())}
        return steps

    def _visit(self, plan: EpochPlan, visit: int) -> None:
        begin, end = plan.visit_ptr[visit : visit + 2].tolist()
        ids = plan.visit_ids[begin:end]
        assert end > begin
        assert np.all(np.diff(ids) > 0)
        for number, sample in enumerate(ids.tolist()):
            self.held[len(plan.carried) + begin + number] = sample
        assert len(self.held) <= self.slots
        self.most = max(self.most, len(self.held))

    def _step(self, plan: EpochPlan, step: int) -> tuple[list[int], list[int]]:
        rows = _of(plan.batch_ptr, plan.ids, step)
        for sample, pick, source in zip(
            rows, _of(plan.batch_ptr, plan.pick, step), _of(plan.batch_ptr, plan.source, step), strict=True
        ):
            assert pick >= 0 or source != plan.node
            if pick >= 0:
                assert self.held[pick] == sample
                place = pick - len(plan.carried)
                assert (place >= 0 and plan.arrives[place]) or source == plan.node
        sent = _of(plan.send_ptr, plan.send_ids, step)
        for sample, pick in zip(sent, _of(plan.send_ptr, plan.send_pick, step), strict=True):
            assert self.held[pick] == sample
        return rows, sent


def _of(pointers: np.ndarray, values: np.ndarray, step: int) -> list[int]:
    found: list[int] = values[pointers[step] : pointers[step + 1]].tolist()
    return found


def replay(plan: Plan, epochs: int, start: tuple[int, int] = (0, 0)) -> list[list[int]]:
    """Follow all nodes; return the global batches of every step, each node's rows behind the other's.

    What a node sends must be what its peer expects from it, in the same order.
    """
    header = plan.header
    readers = [Reader(header.slots) for _ in range(header.num_nodes)]
    runs = [plan.epochs(node, start=start, stop=start[0] + epochs) for node in range(header.num_nodes)]
    batches: list[list[int]] = []
    for nodes in zip(*runs, strict=True):
        assert max(each.peak for each in nodes) <= header.slots
        steps = [reader.epoch(each) for reader, each in zip(readers, nodes, strict=True)]
        for step in range(header.steps):
            _check_exchange(nodes, step)
            batches.append([sample for rows in steps for sample in rows[step][0]])
    return batches


def _check_exchange(nodes: Sequence[EpochPlan], step: int) -> None:
    for receiver in nodes:
        rows = zip(
            _of(receiver.batch_ptr, receiver.source, step),
            _of(receiver.batch_ptr, receiver.ids, step),
            strict=True,
        )
        expected: dict[int, list[int]] = {}
        for source, sample in rows:
            expected.setdefault(source, []).append(sample)
        for sender in nodes:
            if sender.node == receiver.node:
                continue
            pairs = zip(
                _of(sender.send_ptr, sender.send_to, step),
                _of(sender.send_ptr, sender.send_ids, step),
                strict=True,
            )
            sent = [sample for to, sample in pairs if to == receiver.node]
            assert sent == expected.get(sender.node, [])


def elevator_visits(plan: Plan, epochs: int) -> dict[tuple[int, int], set[int]]:
    """Picks of every (step, block) by the rule alone, for one node: those due in the first epochs."""
    header = plan.header
    steps, blocks = header.steps, -(-(header.samples - header.pins) // header.block)
    uses: dict[int, list[int]] = {}
    for epoch in range(epochs + 1):
        for step in range(steps):
            for sample in plan.ids(epoch, step).tolist():
                uses.setdefault(sample, []).append(epoch * steps + step)
    found: dict[tuple[int, int], set[int]] = {}
    visit = 0
    while (due := visit * header.lap // (blocks * LAP_UNITS)) < epochs * steps:
        again = (visit + blocks) * header.lap // (blocks * LAP_UNITS)
        block = visit % blocks
        first = header.pins + block * header.block
        block_ids = range(first, min(first + header.block, header.samples))
        picks = {each for each in block_ids if any(due <= use < again for use in uses.get(each, []))}
        if picks:
            found[due, block] = picks
        visit += 1
    return found


def fewest_loads(uses: Iterable[int], room: int) -> int:
    """The least loads with which a buffer of `room` samples serves a sequence, over all ways to evict."""
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for sample in uses:
        following: dict[frozenset[int], int] = {}
        for held, loads in states.items():
            cost = loads + (sample not in held)
            at_hand = held | {sample}
            for kept in combinations(sorted(at_hand), min(room, len(at_hand))):
                key = frozenset(kept)
                following[key] = min(following.get(key, cost), cost)
        states = following
    return min(states.values())
