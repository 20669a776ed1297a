"""The elevator: a node's stripe is read in order, lap after lap, whatever the shuffle.

```
stripe:  | pins | block 0 | block 1 | ... | block n-1 |    visit v reads block v mod n before step v lap / n
                    ^ takes every sample that is used before this block's next visit
```

A sample waits for its use between 0 and one lap, half a lap on average: with room for a fraction c of the
samples a lap may last 2 c epochs, so that the file is read 1 / (2 c) times an epoch, in order. Without laps
(strategy pin) samples that are not pinned are read at their step.

Pins, and what the cold start of a run finds missing, are read in windows of 1, 4, 16, ... steps, each sorted
by place. Once a window's samples read one by one would cost an eighth of a pass over the stripe, one pass
brings all that is missing: the samples that blocks not yet visited owe and those that visited blocks keep
waiting are together as many in every step of a lap, so that they fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.assignment import NodeShare
from sciflow.datasets.planning.epoch import ALONE, ARRIVES, Draft
from sciflow.datasets.planning.header import LAP_UNITS, Header
from sciflow.datasets.planning.replicas import replicas_on

__all__ = ["Elevator", "Laps", "Uses", "uses_of"]

Ints = NDArray[np.int64]
_OF_A_PASS = 1 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """When a node's samples are used in an epoch.

    Parameters
    ----------
    ids, steps : ndarray of int64
        In order of use.
    first : ndarray of bool
        Whether it is the sample's first use in the epoch; others are wrapped around by tail "pad".
    guests, arrive : ndarray of int64
        Samples of peers that the node keeps, ascending, and the step at which each comes; -1 where it is
        there already.
    """

    ids: Ints
    steps: Ints
    first: NDArray[np.bool_]
    guests: Ints
    arrive: Ints

    def since(self, step: int) -> Uses:
        """Those from a step on."""
        begin = int(np.searchsorted(self.steps, step))
        return replace(self, ids=self.ids[begin:], steps=self.steps[begin:], first=self.first[begin:])


def uses_of(header: Header, share: NodeShare) -> Uses:
    """The uses that a node serves."""
    arrive = np.full(len(share.guests), -1)
    first = share.rows < header.samples
    come = np.flatnonzero(first & np.isin(share.row_ids, share.guests) & (share.row_source != share.node))
    arrive[np.searchsorted(share.guests, share.row_ids[come])] = share.rows[come] // header.global_batch_size
    return Uses(
        ids=share.use_ids,
        steps=share.uses // header.global_batch_size,
        first=share.uses < header.samples,
        guests=share.guests,
        arrive=arrive,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Laps:
    """When blocks are visited, in steps since the first epoch; exact in integers.

    Parameters
    ----------
    lap : int
        1/256 steps a lap; 0: there are no visits.
    blocks : int
        Blocks of the stripe.
    """

    lap: int
    blocks: int

    def due(self, visits: Ints) -> Ints:
        """Step before which each visit is done."""
        return visits * self.lap // (self.blocks * LAP_UNITS)

    def serving(self, steps: Ints, block: Ints) -> Ints:
        """The last visit of each block that is due at a step or before."""
        latest = ((steps + 1) * (self.blocks * LAP_UNITS) - 1) // self.lap
        return (latest - block) // self.blocks * self.blocks + block


class Elevator:
    """Plans one node's epochs, one after the other, for strategies elevator and pin.

    Parameters
    ----------
    header : Header
        Of the plan.
    node : int
        Which.
    start : tuple of int
        Epoch and step of a run that holds nothing yet.
    """

    def __init__(self, header: Header, node: int, start: tuple[int, int]) -> None:
        self._header, self._steps = header, header.steps
        self._first, self._stop = (int(each) for each in header.bounds[node : node + 2])
        self._pins = min(header.pins, self._stop - self._first)
        self._start = start[0] * header.steps + start[1]
        self._windows = _sparse_windows(header, self._stop - self._first)
        self._replicas = self._visitors = replicas_on(header, node)
        self._here = self._stop - self._first
        blocks = -(-(self._here - self._pins) // header.block)
        self._laps = Laps(lap=header.lap if blocks else 0, blocks=blocks)
        self._visits: Callable[[Ints], Ints] | None = None
        self._carried = np.empty(0, np.int64)

    def draft(self, epoch: int, now: Uses, following: Uses) -> Draft:
        """Plan an epoch, given its uses and those of the next one."""
        begin, steps = epoch * self._steps, self._steps
        first_step = max(self._start - begin, 0)
        now = now.since(first_step)
        self._visitors = self._replicas if len(self._replicas) else now.guests
        at_home = now.first & self._owned(now.ids)
        size = self._here + len(self._visitors)
        use, later, held = (np.full(size, -1) for _ in range(3))
        use[self._local(now.ids[at_home])] = now.steps[at_home]
        kept = following.first & self._owned(following.ids)
        later[self._local(following.ids[kept])] = steps + following.steps[kept]
        held[self._local(self._carried)] = np.arange(len(self._carried))
        place = np.arange(size)
        pinned = (place < self._pins) | ((place >= self._here) & bool(len(self._replicas)))
        visit_now, visit_later = self._serving(use, begin, pinned), self._serving(later, begin, pinned)
        due_now, due_later = self._due(visit_now, begin), self._due(visit_later, begin)
        since = max(self._start - begin, 0)
        missing = (use >= 0) & (held < 0)
        timely = missing & (visit_now >= 0) & (due_now >= since)
        same = (visit_now >= 0) & (visit_now == visit_later)
        alone = missing & ~timely & ~pinned & (self._laps.lap == 0)
        late = missing & ~timely & (visit_now >= 0) & (due_now + begin >= self._start)
        alone |= late
        windowed = missing & ~timely & ~alone
        ahead = (visit_later >= 0) & ~same & (due_later >= since) & (due_later < steps)
        old = self._local(self._carried)
        fresh, soon = np.flatnonzero(timely | windowed | alone), np.flatnonzero(ahead)
        other = np.flatnonzero(~at_home)
        pairs, inverse = np.unique(
            now.steps[other] * self._header.samples + now.ids[other], return_inverse=True
        )
        elsewhere_steps, elsewhere = np.divmod(pairs, self._header.samples)
        due, visit = due_now[fresh], visit_now[fresh]
        in_window = windowed[fresh]
        due[in_window] = self._window(use[fresh][in_window], begin)
        visit[in_window] = place[fresh][in_window] // self._header.block - (size + 2)
        due[alone[fresh]], visit[alone[fresh]] = use[fresh][alone[fresh]], ALONE
        stays = pinned | same
        count = len(old) + len(fresh) + len(soon)
        use_pick = np.empty(len(now.ids), np.int64)
        picks = held.copy()
        picks[fresh] = len(old) + np.arange(len(fresh))
        use_pick[at_home] = picks[self._local(now.ids[at_home])]
        use_pick[other] = count + inverse.reshape(-1)
        nothing, many = np.full(len(pairs), -1), np.full(len(soon), steps)
        comes = now.arrive >= first_step
        guests, arrive = now.guests[comes], now.arrive[comes]
        guest, stay = np.full(len(guests), ARRIVES), np.full(len(guests), steps)
        return Draft(
            steps=steps,
            first_step=first_step,
            ids=np.concatenate([self._carried, self._ids(fresh), self._ids(soon), elsewhere, guests]),
            due=np.concatenate([np.full(len(old), -1), due, due_later[soon], elsewhere_steps, arrive]),
            visit=np.concatenate([np.full(len(old), -1), visit, visit_later[soon], nothing - 1, guest]),
            use=np.concatenate([use[old], use[fresh], np.full(len(soon), -1), elsewhere_steps, arrive]),
            later=np.concatenate(
                [np.where(stays[each], later[each], -1) for each in (old, fresh)]
                + [later[soon], nothing, later[self._local(guests)]]
            ),
            last=np.concatenate(
                [np.where(stays[each], steps, use[each]) for each in (old, fresh)]
                + [many, elsewhere_steps, stay]
            ),
            use_pick=use_pick,
            carried=len(old),
            late=int(late.sum()),
        )

    def carry(self, ids: Ints) -> None:
        """Take over what an epoch holds at its end, ascending."""
        self._carried = ids

    def _owned(self, ids: Ints) -> NDArray[np.bool_]:
        inside = (ids >= self._first) & (ids < self._stop)
        return inside | np.isin(ids, self._visitors) if len(self._visitors) else inside

    def _local(self, ids: Ints) -> Ints:
        """Places of samples: the stripe's own, then replicas or guests."""
        if not len(self._visitors):
            return ids - self._first
        inside = (ids >= self._first) & (ids < self._stop)
        return np.where(inside, ids - self._first, self._here + np.searchsorted(self._visitors, ids))

    def _ids(self, places: Ints) -> Ints:
        if not len(self._visitors):
            return places + self._first
        outside = np.maximum(places - self._here, 0)
        return np.where(places < self._here, places + self._first, self._visitors[outside])

    def _serving(self, use: Ints, begin: int, pinned: NDArray[np.bool_]) -> Ints:
        """The visit that serves each use, -1 for what no visit serves."""
        if not self._laps.lap:
            return np.full(len(use), -1)
        block = (np.arange(len(use)) - self._pins) // self._header.block
        visits = self._laps.serving(begin + use, block)
        return np.where((use >= 0) & ~pinned & (visits >= 0), visits, -1)

    def _due(self, visits: Ints, begin: int) -> Ints:
        return self._laps.due(visits) - begin if self._laps.lap else visits

    def _window(self, steps: Ints, begin: int) -> Ints:
        """First step of the window of the cold start that a step is in; its own after the start."""
        since = begin + steps - self._start
        length = 4 ** np.minimum(np.log2(3 * since + 1) // 2, self._windows).astype(np.int64)
        first: Ints = np.maximum(self._start - begin + (length - 1) // 3, 0)
        return first


def _sparse_windows(header: Header, here: int) -> int:
    """Windows of a cold start that cost less than a pass: at least the one of the first step."""
    unit = header.layout.unit
    chunk = header.storage.decode if header.filtered else 0.0
    chunk = unit * header.sample_bytes * (chunk + header.stored_fraction / header.storage.beta)
    allowed = _OF_A_PASS * chunk * here / unit
    step = header.batch * (header.storage.alpha + chunk)
    return max(1, math.floor(math.log(max(allowed / step, 1.0), 4)) + 1)
