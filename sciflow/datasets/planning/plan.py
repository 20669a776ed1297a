"""Access plans: a header of a few kilobytes, from which every epoch of every node follows.

```
make_plan ─ cost model ─▶ Header ─ save, load ─▶ plan.json
                            └─ epochs(node) ─▶ EpochPlan, EpochPlan, ...   one at a time, never N x E
```
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning import choose
from sciflow.datasets.planning.assignment import Assignment, assign
from sciflow.datasets.planning.bof import BeladyOnFetch
from sciflow.datasets.planning.elevator import Elevator, uses_of
from sciflow.datasets.planning.epoch import EpochPlan, finished, within
from sciflow.datasets.planning.explain import explanation
from sciflow.datasets.planning.header import Header, Overflow, Strategy
from sciflow.datasets.planning.layout import Source
from sciflow.datasets.planning.order import ExplicitOrder, Order, Tail, make_order
from sciflow.datasets.planning.simulate import Simulation, simulated
from sciflow.datasets.planning.storage import StorageModel
from sciflow.errors import InvalidArgument, StalePlan

__all__ = ["Plan", "make_plan"]

_EPOCHS_AT_HAND = 3
_MOST_LEAD = 8


class Plan:
    """Which node uses which sample when, and what it reads for it; the same on every node.

    Parameters
    ----------
    header : Header
        What `make_plan` found.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self._order: Order = make_order(header.order, header.samples, header.seed, digest=header.order_digest)
        self._assignments: OrderedDict[int, Assignment] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Plan({self.header!r})"

    @property
    def hash(self) -> str:
        """SHA-256 of the header."""
        return self.header.digest()

    def save(self, path: str | Path) -> None:
        """Write the header as JSON."""
        Path(path).write_text(self.header.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read what `save` wrote.

        Raises
        ------
        InvalidArgument, Unsupported
            If it is no plan, or one of a later release.
        StalePlan
            If the file of an explicit order has changed.
        """
        return cls(Header.from_json(Path(path).read_text()))

    def check(self, source: Source) -> None:
        """Compare the source with the one that was planned for.

        Raises
        ------
        StalePlan
            Naming everything that differs.
        """
        planned, found = dict(self.header.fingerprint), _plain(source.fingerprint())
        names = sorted(planned.keys() | found.keys())
        changes = [
            f"{name}: planned for {planned.get(name)!r}, found {found.get(name)!r}"
            for name in names
            if planned.get(name) != found.get(name)
        ]
        if changes:
            raise StalePlan(f"{'; '.join(changes)}; make the plan again")

    def ids(self, epoch: int, step: int) -> NDArray[np.int64]:
        """A global batch in reference order, int64[G]; the same for any number of nodes."""
        batch = self.header.global_batch_size
        found: NDArray[np.int64] = (
            self._assignment(epoch).sequence[step * batch : (step + 1) * batch].astype(np.int64)
        )
        return found

    def batch(self, epoch: int, step: int, node: int) -> NDArray[np.int64]:
        """What one node gets of a global batch, int64, in reference order."""
        self._check_node(node)
        given, batch = self._assignment(epoch), self.header.global_batch_size
        part = slice(step * batch, (step + 1) * batch)
        receiver = self.header.home(given.sequence[part]) if given.receiver is None else given.receiver[part]
        found: NDArray[np.int64] = given.sequence[part][receiver == node].astype(np.int64)
        return found

    def epochs(
        self, node: int, start: tuple[int, int] = (0, 0), stop: int | None = None
    ) -> Iterator[EpochPlan]:
        """Plan one node's epochs, one after the other.

        Nothing is held at `start`: the first steps read what they need in windows of 1, 4, 16, ... steps,
        then all the rest in one pass.

        Parameters
        ----------
        node : int
            Which.
        start : tuple of int, default (0, 0)
            First epoch and step.
        stop : int, optional
            Behind the last epoch; without end if not given.

        Yields
        ------
        EpochPlan

        Raises
        ------
        InvalidArgument
            For a node or a step that is not there, or slots that do not hold one step's samples.
        """
        self._check_node(node)
        if not (start[0] >= 0 and 0 <= start[1] < self.header.steps):
            raise InvalidArgument(
                f"start: found {start}, expected an epoch >= 0, a step below {self.header.steps}"
            )
        return self._epochs(node, start, stop)

    def simulate(self, epochs: int = 4) -> Simulation:
        """Count what all nodes do in the first epochs, without reading anything."""
        if epochs < 1:
            raise InvalidArgument(f"epochs: found {epochs}, expected at least 1")
        nodes = [self.epochs(node, stop=epochs) for node in range(self.header.num_nodes)]
        return simulated(self.header, nodes)

    def explain(self) -> str:
        """What was chosen, why, what it should cost, and what the alternatives would."""
        return explanation(self.header)

    def _epochs(self, node: int, start: tuple[int, int], stop: int | None) -> Iterator[EpochPlan]:
        header = self.header
        planner = (BeladyOnFetch if header.strategy == "bof" else Elevator)(header, node, start)
        epoch = start[0]
        share = self._assignment(epoch).share(node)
        now = uses_of(header, share)
        while stop is None or epoch < stop:
            next_share = self._following(epoch, stop).share(node)
            following = uses_of(header, next_share)
            soon = int(np.searchsorted(following.steps, header.lead, side="right"))
            draft = within(planner.draft(epoch, now, following), header.slots, header.lead, soon)
            peak = draft.peak(header.lead, header.slots)
            planned = finished(
                draft, share, epoch=epoch, node=node, width=header.global_batch_size, peak=peak
            )
            picked = np.concatenate([planned.carried, planned.visit_ids])
            planner.carry(picked[planned.carry_out])
            yield planned
            epoch, share, now = epoch + 1, next_share, following

    def _following(self, epoch: int, stop: int | None) -> Assignment:
        """The next epoch; behind the last list of an explicit order, that one again."""
        if isinstance(self._order, ExplicitOrder) and epoch + 1 >= self._order.epochs:
            return self._assignment(epoch)
        return self._assignment(epoch + 1)

    def _assignment(self, epoch: int) -> Assignment:
        found = self._assignments.get(epoch)  # nobody waits for another epoch's
        if found is not None:
            return found
        with self._lock:
            if epoch not in self._assignments:
                self._assignments[epoch] = assign(
                    self.header, self._order, epoch, self._assignments.get(epoch - 1)
                )
                while len(self._assignments) > _EPOCHS_AT_HAND:
                    self._assignments.popitem(last=False)
            return self._assignments[epoch]

    def _check_node(self, node: int) -> None:
        if not 0 <= node < self.header.num_nodes:
            raise InvalidArgument(f"node: found {node}, expected 0 to {self.header.num_nodes - 1}")


def make_plan(
    source: Source,
    *,
    global_batch_size: int,
    num_nodes: int = 1,
    buffer_bytes: int,
    seed: int = 0,
    tail: Tail = "drop",
    strategy: Strategy | Literal["auto"] = "auto",
    overflow: Overflow = "peer",
    order: str = "torch",
    storage: StorageModel | None = None,
) -> Plan:
    """Plan all epochs of a training run so that few, large reads deliver the exact shuffle.

    Parameters
    ----------
    source : Source
        What is read.
    global_batch_size : int
        G, samples of a step over all nodes.
    num_nodes : int, default 1
        W, processes with a buffer of their own.
    buffer_bytes : int
        Memory of each node's buffer.
    seed : int, default 0
        Of the shuffle; epoch e of order "torch" is ``torch.randperm(N)`` seeded with seed + e.
    tail : "drop", "short" or "pad", default "drop"
        What happens to the last N mod G samples.
    strategy : "auto", "pin", "bof" or "elevator", default "auto"
        How reads are arranged; "auto" takes the cheapest by `storage`. Name one only to compare.
    overflow : "peer", "read" or "variable", default "peer"
        With several nodes: samples beyond a node's share of a batch are sent by the node that has them, read
        again by the one that lacks them, or stay, so that local batches differ and the loss must be weighted.
    order : str, default "torch"
        "torch", "feistel" (no PyTorch, O(1) memory), "explicit:FILE.npy", or "block:SIZE", which is no exact
        shuffle.
    storage : StorageModel, optional
        Costs; probed on the source if not given.

    Returns
    -------
    Plan

    Raises
    ------
    InvalidArgument
        If the buffer does not hold two of a node's batches and what it may have to send, or an argument is
        out of its domain.
    """
    if order == "block":
        order = "block:1024"
    samples, slots = len(source), buffer_bytes // source.sample_bytes
    if samples != source.layout.samples:
        raise InvalidArgument(f"source: found {samples} samples, but a layout of {source.layout.samples}")
    made = make_order(order, samples, seed)
    header = Header(
        fingerprint=_plain(source.fingerprint()),
        samples=samples,
        sample_bytes=source.sample_bytes,
        samples_per_chunk=source.layout.samples_per_chunk,
        filtered=source.layout.filtered,
        stored_fraction=source.layout.stored_fraction,
        num_nodes=num_nodes,
        global_batch_size=global_batch_size,
        tail=tail,
        seed=seed,
        order=order,
        order_digest=made.digest if isinstance(made, ExplicitOrder) else "",
        slots=slots,
        strategy="pin" if strategy == "auto" else strategy,
        overflow=overflow,
        storage=storage or StorageModel.probe(source),
    )
    if slots < (least := choose.fewest_slots(header)):
        raise InvalidArgument(
            f"buffer_bytes: found {buffer_bytes}, which holds {slots} samples of {source.sample_bytes} "
            f"bytes; expected at least {least * source.sample_bytes}: {least} samples, for batches of "
            f"{header.batch}"
        )
    lead = min(max(slots // (32 * header.batch), 1), _MOST_LEAD, header.steps)
    header = replace(header, lead=lead if slots >= 4 * header.batch else 0)
    return Plan(_settled(header, strategy, made))


def _settled(header: Header, strategy: Strategy | Literal["auto"], order: Order) -> Header:
    """The header with the settings of its strategy."""
    found = choose.options(header)
    predicted: dict[str, float] = {each: option.seconds for each, option in found.items()}
    predicted["plain"] = choose.plain_seconds(header)
    name = min(found, key=lambda each: found[each].seconds) if strategy == "auto" else strategy
    chosen = found.get(name, choose.Option(strategy=name, seconds=0.0))
    header = replace(
        header,
        strategy=name,
        pins=chosen.pins,
        lap=chosen.lap,
        block=chosen.block,
        replicas=choose.replicas(header, chosen),
        guests=choose.guests(header, chosen),
        predicted=predicted,
    )
    return replace(header, lap=choose.fitted_lap(header, order)) if name == "elevator" else header


def _plain(fingerprint: Any) -> dict[str, Any]:
    """A fingerprint as it comes back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(fingerprint)))
    return plain
