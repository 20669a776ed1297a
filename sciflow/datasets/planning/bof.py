"""Belady on fetch: a miss reads its whole chunk, and of all samples at hand those needed soonest stay.

With one sample a chunk this attains the least number of loads that any buffer can; it pays for chunks of few
samples and for small buffers. It walks through the uses one by one in Python, about a microsecond each.

References
----------
.. [1] L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal
   5(2), 1966.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.planning.elevator import Uses
from sciflow.datasets.planning.epoch import ALONE, Draft
from sciflow.datasets.planning.header import Header

__all__ = ["BeladyOnFetch"]

Ints = NDArray[np.int64]


class BeladyOnFetch:
    """Plans one node's epochs, one after the other, for strategy bof.

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
        self._start = start[0] * header.steps + start[1]
        self._carried = np.empty(0, np.int64)

    def draft(self, epoch: int, now: Uses, following: Uses) -> Draft:
        """Plan an epoch, given its uses and those of the next one."""
        steps, size = self._steps, self._stop - self._first
        first_step = max(self._start - epoch * steps, 0)
        now = now.since(first_step)
        at_home = now.first & (now.ids >= self._first) & (now.ids < self._stop)
        use, later = np.full(size, -1), np.full(size, -1)
        use[now.ids[at_home] - self._first] = now.steps[at_home]
        kept = following.first & (following.ids >= self._first) & (following.ids < self._stop)
        later[following.ids[kept] - self._first] = steps + following.steps[kept]
        walk = _Walk(
            use.tolist(),
            later.tolist(),
            self._header,
            self._room(now),
            (self._carried - self._first).tolist(),
        )
        places = (now.ids[at_home] - self._first).tolist()
        picks_at_home = walk.through(places, now.steps[at_home].tolist(), first_step)
        other = np.flatnonzero(~at_home)
        pairs, inverse = np.unique(
            now.steps[other] * self._header.samples + now.ids[other], return_inverse=True
        )
        their_steps, their_ids = np.divmod(pairs, self._header.samples)
        place, due = np.array(walk.place, np.int64), np.array(walk.due, np.int64)
        used, last = np.array(walk.used, np.int64), np.array(walk.last, np.int64)
        use_pick = np.empty(len(now.ids), np.int64)
        use_pick[at_home] = picks_at_home
        use_pick[other] = len(place) + inverse.reshape(-1)
        nothing = np.full(len(pairs), -1)
        return Draft(
            steps=steps,
            first_step=first_step,
            ids=np.concatenate([place + self._first, their_ids]),
            due=np.concatenate([due, their_steps]),
            visit=np.concatenate([np.full(len(place), ALONE), nothing - 1]),
            use=np.concatenate([used, their_steps]),
            later=np.concatenate([np.where(last == steps, later[place], -1), nothing]),
            last=np.concatenate([last, their_steps]),
            use_pick=use_pick,
            carried=len(self._carried),
        )

    def carry(self, ids: Ints) -> None:
        """Take over what an epoch holds at its end, ascending."""
        self._carried = ids

    def _room(self, now: Uses) -> int:
        """Samples that can stay behind a step, with those of ``lead + 1`` steps on the way."""
        a_step = np.bincount(now.steps, minlength=self._steps).cumsum()
        span = min(self._header.lead + 1, self._steps)
        on_the_way = int((a_step - np.concatenate([np.zeros(span, np.int64), a_step[:-span]])).max())
        return max(self._header.slots - on_the_way, 0)


class _Walk:
    """One epoch, use by use; a pick is a place of the stripe held from `due` to `last`."""

    def __init__(
        self, use: list[int], later: list[int], header: Header, room: int, carried: list[int]
    ) -> None:
        self._use, self._later, self._room = use, later, room
        self._unit, self._lead, self._steps = header.layout.unit, header.lead, header.steps
        self.place, self.due = list(carried), [-1] * len(carried)
        self.used, self.last = [-1] * len(carried), [header.steps] * len(carried)
        self._held = {place: pick for pick, place in enumerate(carried)}
        self._heap = [(-self._next(place, -1), place) for place in carried]
        heapq.heapify(self._heap)

    def through(self, places: list[int], steps: list[int], first_step: int) -> list[int]:
        """Serve all uses in order; return the pick of each."""
        picks: list[int] = []
        begin = 0
        while begin < len(places):
            step, end = steps[begin], begin
            while end < len(places) and steps[end] == step:
                end += 1
            picks += self._step(places[begin:end], step, first_step)
            begin = end
        return picks

    def _step(self, places: list[int], step: int, first_step: int) -> list[int]:
        for place in places:
            if place not in self._held:
                self._fetch(place, step)
        picks = [self._held[place] for place in places]
        for place, pick in zip(places, picks, strict=True):
            self.used[pick] = step
            heapq.heappush(self._heap, (-self._next(place, step), place))
        self._evict(step, first_step)
        return picks

    def _fetch(self, wanted: int, step: int) -> None:
        begin = wanted // self._unit * self._unit
        for place in range(begin, min(begin + self._unit, len(self._use))):
            if place not in self._held:
                self._held[place] = len(self.place)
                self.place.append(place)
                self.due.append(step)
                self.used.append(-1)
                self.last.append(self._steps)
                if self._use[place] != step:
                    heapq.heappush(self._heap, (-self._next(place, step), place))

    def _next(self, place: int, step: int) -> int:
        """Next use after a step; 2 S where there is none in this epoch and the next."""
        if self._use[place] > step:
            return self._use[place]
        return self._later[place] if self._later[place] >= 0 else 2 * self._steps

    def _evict(self, step: int, first_step: int) -> None:
        never = 2 * self._steps
        while self._heap and (len(self._held) > self._room or -self._heap[0][0] >= never):
            due, place = heapq.heappop(self._heap)
            pick = self._held.get(place)
            if pick is None or -due != self._next(place, step):
                continue
            del self._held[place]
            if self.used[pick] < 0 and self.due[pick] >= 0:
                self.last[pick] = -1
            else:
                self.last[pick] = max(self.used[pick], step - self._lead - 1, first_step)
