"""Which strategy is the cheapest: seconds of one node's reading and decoding an epoch, by a storage model.

For n samples of s bytes in chunks of m, of which a fraction c fits into memory and a fraction p is pinned, a
lap lasts ``rho = 2 (c - p) / (1 - p)`` epochs (at most 1) and a visit finds each sample with probability rho,
each chunk with ``q = 1 - (1 - rho)^m``:

```
T(pin)         = n (1 - c)               (alpha + chunk)              chunk = m s f / beta + m s decode
T(elevator, p) = n (1 - p) q / (m rho)   (E min(alpha, gap) + chunk)  gap: unwanted ones before a wanted one
T(bof)         = chunks fetched          (alpha + chunk)              counted on a smaller stand-in
```
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np

from sciflow.datasets.planning.assignment import assign
from sciflow.datasets.planning.bof import BeladyOnFetch
from sciflow.datasets.planning.elevator import Laps, Uses, uses_of
from sciflow.datasets.planning.header import LAP_UNITS, Header, Strategy
from sciflow.datasets.planning.order import ExplicitOrder, FeistelOrder, Order

__all__ = ["Option", "fewest_slots", "fitted_lap", "guests", "options", "plain_seconds", "replicas"]

_BLOCK_BYTES = 8 << 20
"""Bytes that one operation reads at most, as they are stored."""
_DECODED_BYTES = 64 << 20
"""What they may decode to: one thread decodes a visit."""
_FEWEST_BLOCKS, _FEWEST_VISITS = 24, 48
"""Of a lap, and of an epoch: visits are what a lap is made of."""
_STAND_IN = 4096
_EXACT_UP_TO = 1 << 17
_LAPS_TRIED = 12
_PINS_TRIED = 33
_NODES_TRIED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A strategy with its settings and its predicted seconds an epoch and node."""

    strategy: Strategy
    seconds: float
    pins: int = 0
    lap: int = 0
    block: int = 1


def options(header: Header) -> dict[Strategy, Option]:
    """Every strategy with its best settings.

    Parameters
    ----------
    header : Header
        Its sizes, slots, lead and storage are looked at.

    Returns
    -------
    dict of Option
        "pin", "elevator" and, for chunks of several samples, "bof".
    """
    found: dict[Strategy, Option] = {"pin": _pin(header), "elevator": _elevator(header)}
    if header.layout.unit > 1:
        found["bof"] = _bof(header)
    return found


def plain_seconds(header: Header) -> float:
    """Seconds of one node an epoch when every sample is read where the shuffle wants it, nothing kept."""
    return header.steps * header.batch * (header.storage.alpha + _chunk_seconds(header))


def stripe(header: Header) -> int:
    """Samples of the largest stripe."""
    return int(np.diff(header.bounds).max())


def fewest_slots(header: Header) -> int:
    """Slots that a node needs at least: two batches, and what one global batch may have at home."""
    batch, width = header.batch, header.global_batch_size
    if header.num_nodes == 1 or header.overflow == "read":
        return 2 * batch
    at_home = batch + 6 * math.isqrt(batch) + 6
    return max(2 * batch, width if header.order.startswith("block") else min(at_home, width))


def transit(header: Header, pinned: float) -> int:
    """Slots for samples that are read at their step, where a fraction of the stripe is pinned.

    Those of ``lead + 1`` batches on average, and five standard deviations; with overflow "read" also what is
    above a node's share.
    """
    steps = header.lead + 1
    expected = steps * header.batch * (1 - pinned)
    most = expected + 5 * math.sqrt(expected)
    if header.overflow == "read" and header.num_nodes > 1:
        most += 2 * steps * math.sqrt(header.batch)
    equal = header.num_nodes == 1 or header.overflow != "variable"
    return math.ceil(min(most, steps * header.batch) if equal else most)


def replicas(header: Header, chosen: Option) -> int:
    """Samples of a stripe that get a second home: about 2 / sqrt(b) of it, where there is room.

    With everything pinned and that many replicas, almost all batches can be shared out equally
    without a transfer.
    """
    room, wanted = _spare(header, chosen), math.ceil(2 * stripe(header) / math.sqrt(header.batch))
    if header.overflow == "peer" and room < wanted / 3:
        return 0
    return min(wanted, room, int(np.diff(header.bounds).min()))


def guests(header: Header, chosen: Option) -> int:
    """Samples of peers that a node may keep for one more use: all that there is room for.

    Where replicas find room for a third of what makes moves rare, they save more.
    """
    return _spare(header, chosen) if header.overflow == "peer" and not replicas(header, chosen) else 0


def _spare(header: Header, chosen: Option) -> int:
    """Slots that are left where everything is pinned and samples are dealt equally."""
    here = stripe(header)
    equal = header.num_nodes > 1 and header.overflow != "variable"
    if chosen.strategy != "pin" or chosen.pins < here or not equal:
        return 0
    return max(header.slots - here - transit(header, 1.0), 0)


def _chunk_seconds(header: Header) -> float:
    size = header.layout.unit * header.sample_bytes
    decode = header.storage.decode if header.filtered else 0.0
    return size * (header.stored_fraction / header.storage.beta + decode)


def _pin(header: Header) -> Option:
    here, unit = stripe(header), header.layout.unit
    fitting = bisect_right(
        range(1, here + 1), header.slots, key=lambda pins: pins + transit(header, pins / here)
    )
    pins = fitting if fitting == here else fitting // unit * unit
    seconds = (here - pins) * (header.storage.alpha + _chunk_seconds(header))
    return Option(strategy="pin", seconds=seconds, pins=pins, block=_block(header, here))


def _elevator(header: Header) -> Option:
    """The elevator with the number of pins that costs least; at least so many that a lap lasts one epoch."""
    here, unit = stripe(header), header.layout.unit
    moving = min(1.0, 2 * max(1 - header.slots / here, 0.0))
    room = header.slots - header.lead * header.batch * moving - 2 * math.sqrt(header.slots * moving)
    part = min(max(room / here, 1e-6), 1.0)
    least = max(0.0, 2 * part - 1)
    tried = [least + (part - least) * k / _PINS_TRIED for k in range(_PINS_TRIED)]
    seconds, best = min((_elevator_seconds(header, here, part, pinned), pinned) for pinned in tried)
    pins = min(math.ceil(best * here / unit), here // unit) * unit
    share = min(2 * max(part * here - pins, 0) / max(here - pins, 1), 1.0)
    block = _block(header, here - pins, share)
    return Option(
        strategy="elevator",
        seconds=seconds,
        pins=pins,
        lap=max(1, int(share * header.steps * LAP_UNITS)),
        block=block,
    )


def _block(header: Header, moving: int, share: float = 1.0) -> int:
    """Samples of a block, given those that are not pinned and the part of an epoch that a lap lasts.

    A visit costs alpha, and what it takes waits half a block longer than it must, which shortens laps: with n
    samples and t seconds to read one, both together are least at ``sqrt(n alpha / t)``.
    """
    unit = header.layout.unit
    read = int(_BLOCK_BYTES / max(header.sample_bytes * min(header.stored_fraction, 1.0), 1.0))
    best = math.isqrt(int(moving * header.storage.alpha * unit / _chunk_seconds(header)))
    fewest = max(_FEWEST_BLOCKS, math.ceil(_FEWEST_VISITS * share))
    wanted = min(read, _DECODED_BYTES // header.sample_bytes, best, moving // fewest)
    return max(wanted // unit, 1) * unit


def _elevator_seconds(header: Header, here: int, part: float, pinned: float) -> float:
    rho = min(2 * (part - pinned) / max(1 - pinned, 1e-9), 1.0)
    if rho <= 0:
        return math.inf
    unit, storage, moving = header.layout.unit, header.storage, here * (1 - pinned)
    wanted = 1 - (1 - rho) ** unit
    pass_over = unit * header.sample_bytes * header.stored_fraction / storage.beta
    jumps = storage.alpha / pass_over
    gap = pass_over * (1 - wanted) * (1 - (1 - wanted) ** jumps) / wanted
    visits = moving / _block(header, int(moving), rho) / rho
    seconds: float = moving * wanted / (unit * rho) * (gap + _chunk_seconds(header)) + visits * storage.alpha
    return seconds


def _bof(header: Header) -> Option:
    """Belady on fetch, counted on a stand-in of at most 4096 samples with the same c and m."""
    here, unit = stripe(header), header.layout.unit
    samples = max(min(here, max(_STAND_IN, 16 * unit)) // unit, 1) * unit
    batch = max(1, min(header.batch * samples // here, samples))
    slots = max(header.slots * samples // here, 2 * batch)
    small = replace(
        header,
        samples=samples,
        num_nodes=1,
        global_batch_size=batch,
        slots=slots,
        lead=0,
        strategy="bof",
        pins=0,
        replicas=0,
        order="feistel",
        order_digest="",
    )
    planner, order = BeladyOnFetch(small, 0, (0, 0)), FeistelOrder(samples, 0)
    shares = [uses_of(small, assign(small, order, epoch).share(0)) for epoch in range(4)]
    fetched = 0
    for epoch in range(3):
        draft = planner.draft(epoch, shares[epoch], shares[epoch + 1])
        new = slice(draft.carried, None)
        read = draft.last[new] >= 0
        fetched = len(np.unique(draft.due[new][read] * samples + draft.ids[new][read] // unit))
        planner.carry(np.sort(draft.ids[draft.last == draft.steps]))
    seconds = fetched / samples * here * (header.storage.alpha + _chunk_seconds(header))
    return Option(strategy="bof", seconds=seconds)


def fitted_lap(header: Header, order: Order) -> int:
    """The longest lap whose slots, counted exactly on the first epochs of some nodes, stay within B.

    Parameters
    ----------
    header : Header
        Of strategy elevator; its `lap` is the estimate to start from.
    order : Order
        Of the plan.

    Returns
    -------
    int
        1/256 steps; the estimate itself for more than four million samples, whose shuffles differ little.
    """
    if header.samples > _EXACT_UP_TO:
        return header.lap
    nodes = min(header.num_nodes, _NODES_TRIED)
    assigned = [assign(header, order, epoch) for epoch in range(_epochs_of(order, 3))]
    uses = [[uses_of(header, each.share(node)) for each in assigned] for node in range(nodes)]
    room = header.slots - math.isqrt(header.slots * (stripe(header) - header.pins) // stripe(header)) // min(
        nodes, 2
    )
    longest, lap, best = min(header.lap * 5 // 4, header.steps * LAP_UNITS), header.lap, 0
    for _ in range(_LAPS_TRIED):
        needed = _most_needed(header, lap, uses)
        scaled = lap * max(room - header.pins, 0) // max(needed - header.pins, 1)  # slots grow as laps do
        if needed > room:
            lap = max(min(scaled, lap * 31 // 32), 1) if not best else (lap + best) // 2
            continue
        best = max(best, lap)
        lap = min(scaled, longest)
        if lap - best <= best // 256:
            break
    return best or max(header.lap // 2, 1)


def _epochs_of(order: Order, wanted: int) -> int:
    return min(order.epochs, wanted) if isinstance(order, ExplicitOrder) else wanted


def _most_needed(header: Header, lap: int, uses: list[list[Uses]]) -> int:
    tried = replace(header, lap=max(lap, 1))
    return max(_slots_needed(tried, node, each) for node, each in enumerate(uses))


def _slots_needed(header: Header, node: int, uses: list[Uses]) -> int:
    """Most slots that a node takes in the first two epochs, as if the pins were there from the start.

    A sample is held from its visit to its use; where one visit serves two uses, it is held once.
    """
    first, stop = (int(each) for each in header.bounds[node : node + 2])
    pins, steps = min(header.pins, stop - first), header.steps
    blocks = -(-(stop - first - pins) // header.block)
    if not blocks:
        return pins
    laps = Laps(lap=header.lap, blocks=blocks)
    taken = np.zeros(len(uses) * steps, np.int64)
    freed = taken.copy()
    visit_before, use_before = np.full(stop - first, -1), np.full(stop - first, -1)
    for epoch, each in enumerate(uses):
        at, place = epoch * steps + each.steps, each.ids - first
        inside = each.first & (place >= pins) & (place < stop - first)
        other = at[~inside & ((place < 0) | (place >= pins))]
        at, place = at[inside], place[inside]
        visit = laps.serving(at, (place - pins) // header.block)
        again = visit == visit_before[place]
        due = np.where(again, use_before[place] + 1, laps.due(visit))
        visit_before[place], use_before[place] = visit, at
        for counts, when in ((taken, np.maximum(due, 0)), (taken, other), (freed, at), (freed, other)):
            counts += np.bincount(when, minlength=len(counts))
    counted = min(2, len(uses)) * steps
    ahead = np.minimum(np.arange(counted) + header.lead, len(taken) - 1)
    held = taken.cumsum()[ahead]
    held[1:] -= freed.cumsum()[: counted - 1]
    return pins + int(held.max())
