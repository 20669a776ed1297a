"""One node's epoch: what is read when, where each row of a batch comes from, and when its slot is free again.

Schedulers fill a `Draft` (picks in any order); `within` makes it fit into the slots; `finished` numbers it
for the reader. A pick is one sample in one slot, from the start of its visit to its release.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.assignment import NodeShare
from sciflow.errors import InvalidArgument

__all__ = ["ALONE", "Draft", "EpochPlan", "finished", "within"]

Ints = NDArray[np.int64]
ALONE = -1
"""Visit of picks that are read sample by sample at their step."""
ARRIVES = -(1 << 62)
"""Visit of picks that a peer sends at their step, and that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPlan:
    """What one node reads, assembles, sends and frees in one epoch.

    Arrays are int64, if not said otherwise, and read-only. ``x_ptr[t]:x_ptr[t + 1]`` are the entries of step
    (or visit) t.

    Parameters
    ----------
    epoch, node, first_step, steps : int
        Which; steps before `first_step` are empty.
    batch_ptr, ids, pick, source : ndarray
        Rows of every step: sample, the pick that delivers it and the node it comes from. What a peer sends
        has none, -1, unless the pick keeps it.
    send_ptr, send_ids, send_pick, send_to : ndarray
        What goes to peers at every step, in the order of the reference batch.
    visit_ptr, visit_ids, visit_due : ndarray
        Visits in reading order; samples ascend within a visit; visit v is complete before step
        ``visit_due[v]``.
    arrives : ndarray of bool, shape of `visit_ids`
        Picks that are given a slot and not read: the row of a peer is put there.
    need : ndarray, shape (S,)
        Visits that must be complete before each step.
    carried : ndarray
        Samples held from before, ascending: picks 0 to K - 1. The i-th of `visit_ids` is pick K + i.
    release_ptr, release_pick : ndarray
        Picks whose slots are free once a step has been assembled and sent.
    carry_out : ndarray
        Picks held at the end, in the order of the next epoch's `carried`.
    peak : int
        Most slots in use, read-ahead of `lead` steps included.
    late : int
        Picks read alone at their step because there was no room for them earlier.
    """

    epoch: int
    node: int
    first_step: int
    steps: int
    batch_ptr: Ints
    ids: Ints
    pick: Ints
    source: Ints
    send_ptr: Ints
    send_ids: Ints
    send_pick: Ints
    send_to: Ints
    visit_ptr: Ints
    visit_ids: Ints
    visit_due: Ints
    arrives: NDArray[np.bool_]
    need: Ints
    carried: Ints
    release_ptr: Ints
    release_pick: Ints
    carry_out: Ints
    peak: int
    late: int

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


@dataclass(slots=True, kw_only=True)
class Draft:
    """Picks of an epoch before they are ordered: the carried ones first, then new ones.

    Parameters
    ----------
    steps, first_step : int
        S, and where the run starts.
    ids : ndarray of int64, shape (P,)
        Sample of every pick.
    due, visit : ndarray of int64, shape (P,)
        Step before which it is read (-1: carried) and the visit it belongs to; visits of a step are ordered
        by number.
    use : ndarray of int64, shape (P,)
        Its use in this epoch; -1 without one.
    later : ndarray of int64, shape (P,)
        S + its use in the next epoch; -1 if it is not kept for one.
    last : ndarray of int64, shape (P,)
        Step after which its slot is free; S: carried on; -1: never read.
    use_pick : ndarray of int64
        Pick of every use of the node's share, from `first_step` on.
    carried : int
        K.
    late : int
        Picks that lost their place in an earlier visit.
    """

    steps: int
    first_step: int
    ids: Ints
    due: Ints
    visit: Ints
    use: Ints
    later: Ints
    last: Ints
    use_pick: Ints
    carried: int
    late: int = 0

    def occupancy(self, lead: int) -> Ints:
        """Slots in use before each step, visits due within `lead` steps included, shape (S,)."""
        steps, read = self.steps, self.last >= 0
        new = read[self.carried :]
        taken = np.bincount(self.due[self.carried :][new], minlength=steps).cumsum()
        freed = np.bincount(self.last[read & (self.last < steps)], minlength=steps).cumsum()
        held = taken[np.minimum(np.arange(steps) + lead, steps - 1)] + self.carried
        held[1:] -= freed[:-1]
        return held

    def peak(self, lead: int, slots: int) -> int:
        """Most slots in use; without read-ahead where `slots` leave no room for it."""
        highest = int(self.occupancy(lead)[self.first_step :].max())
        return highest if highest <= slots else int(self.occupancy(0)[self.first_step :].max())

    def afterwards(self, lead: int, soon: int) -> int:
        """Slots carried on, and those for what else is among the `soon` first uses of the next epoch."""
        kept = self.last == self.steps
        ready = kept & (self.later >= self.steps) & (self.later <= self.steps + lead)
        return int(kept.sum()) + soon - int(ready.sum())


def within(draft: Draft, slots: int, lead: int, soon: int) -> Draft:
    """Drop what is needed last until no step needs more than `slots`.

    Parameters
    ----------
    draft : Draft
        Changed in place.
    slots, lead : int
        B, and steps of read-ahead.
    soon : int
        Samples that the first ``lead + 1`` steps of the next epoch use: room is left for them at the end.

    Returns
    -------
    Draft

    Raises
    ------
    InvalidArgument
        If one step's own samples do not fit.
    """
    room = min(lead, slots)
    while True:
        held = draft.occupancy(room)
        above = np.flatnonzero(held[draft.first_step :] > slots)
        if above.size:
            step = draft.first_step + int(above[0])
            excess = int(held[step]) - slots
        elif (excess := draft.afterwards(lead, soon) - slots) > 0:
            step = draft.steps
        else:
            return draft
        victims = _furthest(draft, step, room, excess)
        if victims.size == 0 and room and step < draft.steps:
            room = 0  # read-ahead is what is too much
            continue
        if victims.size < excess and step < draft.steps and room == 0:
            raise InvalidArgument(
                f"buffer: found {slots} slots, but a step needs {int(held[step])} samples at the same time; "
                "expected a larger buffer_bytes, or overflow='read'"
            )
        if victims.size == 0:
            return draft
        draft = _dropped(draft, victims, step)


def _furthest(draft: Draft, step: int, lead: int, count: int) -> Ints:
    """Picks that hold a slot before `step` and could do without, those needed last first."""
    ahead = step + lead
    there = (draft.last >= step) & (draft.due <= ahead)
    if step == draft.steps:
        there = draft.last == step
    waits = np.where((draft.use >= step) & (draft.use >= 0), draft.use, draft.later)
    idle = there & ((waits > ahead) | (waits < 0))
    if step <= draft.first_step:
        idle[: draft.carried] = False  # these are there already
    found = np.flatnonzero(idle)
    waits = np.where(waits < 0, np.iinfo(np.int64).max, waits)
    return found[np.argsort(-waits[found], kind="stable")][:count]


def _dropped(draft: Draft, victims: Ints, step: int) -> Draft:
    """Without the slots of `victims` from `step` on; what they were still to deliver is read alone."""
    use, carried = draft.use[victims], victims < draft.carried
    used = (use >= 0) & (use < step)
    draft.last[victims[used]] = use[used]
    later = (use >= step) & ~carried
    draft.due[victims[later]], draft.visit[victims[later]] = use[later], ALONE
    unused = use < 0
    draft.last[victims[unused & ~carried]] = -1
    draft.last[victims[unused & carried]] = step - 1
    again = victims[(use >= step) & carried]
    draft.late += int(later.sum()) + len(again)
    return _reread(draft, again, step)


def _reread(draft: Draft, picks: Ints, step: int) -> Draft:
    """Carried picks give up their slots before `step` and are picked again for their use."""
    if not len(picks):
        return draft
    renamed = np.arange(len(draft.ids))
    renamed[picks] = len(draft.ids) + np.arange(len(picks))
    draft.use_pick = renamed[draft.use_pick]
    use = draft.use[picks]
    draft.ids = np.concatenate([draft.ids, draft.ids[picks]])
    draft.due = np.concatenate([draft.due, use])
    draft.visit = np.concatenate([draft.visit, np.full(len(picks), ALONE)])
    draft.use = np.concatenate([draft.use, use])
    draft.later = np.concatenate([draft.later, draft.later[picks]])
    draft.last = np.concatenate([draft.last, draft.last[picks]])
    draft.use[picks], draft.later[picks], draft.last[picks] = -1, -1, step - 1
    return draft


def finished(draft: Draft, share: NodeShare, *, epoch: int, node: int, width: int, peak: int) -> EpochPlan:
    """Number picks in reading order and lay out the arrays that a reader follows.

    Parameters
    ----------
    draft : Draft
        Fits into the slots.
    share : NodeShare
        Rows and uses of the node.
    epoch, node, width, peak : int
        Which epoch and node, G, and the most slots in use.

    Returns
    -------
    EpochPlan
    """
    steps, held = draft.steps, draft.carried
    fresh = held + np.flatnonzero(draft.last[held:] >= 0)
    fresh = fresh[np.lexsort((draft.ids[fresh], draft.visit[fresh], draft.due[fresh]))]
    due, visit = draft.due[fresh], draft.visit[fresh]
    starts = (
        np.flatnonzero(np.append(True, (np.diff(due) != 0) | (np.diff(visit) != 0))) if len(fresh) else fresh
    )
    number = np.full(len(draft.ids), -1)
    number[:held] = np.arange(held)
    number[fresh] = held + np.arange(len(fresh))
    released = np.flatnonzero((draft.last >= 0) & (draft.last < steps))
    released = released[np.argsort(draft.last[released], kind="stable")]
    kept = np.flatnonzero(draft.last == steps)
    kept = kept[np.argsort(draft.ids[kept], kind="stable")]
    begin = draft.first_step * width
    row, use = int(np.searchsorted(share.rows, begin)), int(np.searchsorted(share.uses, begin))
    rows, uses, use_to = share.rows[row:], share.uses[use:], share.use_to[use:]
    pick = np.full(len(rows), -1)
    mine = share.row_source[row:] == node
    pick[mine] = number[draft.use_pick[np.searchsorted(uses, rows[mine])]]
    guests = np.flatnonzero((draft.visit == ARRIVES) & (draft.last >= 0))  # ascending
    come = np.flatnonzero(~mine & np.isin(share.row_ids[row:], draft.ids[guests]))
    guest = guests[np.searchsorted(draft.ids[guests], share.row_ids[row:][come])]
    now = rows[come] // width == draft.due[guest]  # a sample may come again, wrapped around
    pick[come[now]] = number[guest[now]]
    sent = np.flatnonzero(use_to != node)
    return EpochPlan(
        epoch=epoch,
        node=node,
        first_step=draft.first_step,
        steps=steps,
        batch_ptr=_pointers(rows // width, steps),
        ids=share.row_ids[row:].copy(),
        pick=pick,
        source=share.row_source[row:].copy(),
        send_ptr=_pointers(uses[sent] // width, steps),
        send_ids=share.use_ids[use:][sent],
        send_pick=number[draft.use_pick[sent]],
        send_to=use_to[sent],
        visit_ptr=np.append(starts, len(fresh)),
        visit_ids=draft.ids[fresh],
        visit_due=due[starts],
        arrives=visit == ARRIVES,
        need=np.searchsorted(due[starts], np.arange(steps), side="right"),
        carried=draft.ids[:held].copy(),
        release_ptr=_pointers(draft.last[released], steps),
        release_pick=number[released],
        carry_out=number[kept],
        peak=peak,
        late=draft.late,
    )


def _pointers(step: Ints, steps: int) -> Ints:
    return np.searchsorted(step, np.arange(steps + 1)).astype(np.int64)
