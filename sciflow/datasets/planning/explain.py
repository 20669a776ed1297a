"""What a plan does and why, in words."""

from __future__ import annotations

from sciflow.datasets.planning.header import LAP_UNITS, Header

__all__ = ["explanation"]

_NAMES = {
    "pin": "pin: part of the samples stays in memory, the others are read at their step",
    "elevator": "elevator: the file is read in order, lap after lap; each sample waits in memory for its use",
    "bof": "Belady on fetch: a miss reads its chunk, and what is needed soonest stays",
    "plain": "every sample read where the shuffle wants it, nothing kept",
}


def explanation(header: Header) -> str:
    """Describe a plan: sizes, choice, expectation, alternatives.

    Parameters
    ----------
    header : Header
        Of the plan.

    Returns
    -------
    str
        Lines of plain text.
    """
    lines = [*_sizes(header), "", *_choice(header), "", *_alternatives(header)]
    if caveat := _caveat(header):
        lines += ["", caveat]
    return "\n".join(lines)


def _sizes(header: Header) -> list[str]:
    shuffle = "no exact shuffle" if header.order.startswith("block") else "exact shuffle"
    kind = f"chunks of {header.samples_per_chunk}, decoded whole" if header.filtered else "read one by one"
    share = header.slots * header.num_nodes / header.samples
    storage, total = header.storage, _bytes(header.samples * header.sample_bytes)
    return [
        f"samples   {header.samples} of {_bytes(header.sample_bytes)}, {total} in all, {kind}",
        f"batches   {header.global_batch_size} a step on {header.num_nodes} node(s), {header.steps} steps "
        f"an epoch, tail {header.tail}",
        f"order     {header.order}, seed {header.seed}: {shuffle}",
        f"buffer    {header.slots} samples a node, {min(share, 1):.0%} of all; "
        f"{header.lead} step(s) of read-ahead",
        f"storage   {storage.alpha * 1e3:.3g} ms an operation, {storage.beta / 1e6:.4g} MB/s, decoding "
        f"{_rate(storage.decode)} ({storage.origin})",
    ]


def _choice(header: Header) -> list[str]:
    lines = [f"chosen    {_NAMES[header.strategy]}"]
    if header.pins:
        lines.append(f"          {header.pins} samples of each node's stripe stay in memory")
    if header.replicas:
        lines.append(f"          {header.replicas} of each stripe on a second node too, for equal batches")
    if header.lap:
        laps = header.steps * LAP_UNITS / header.lap
        lines.append(f"          {laps:.2f} laps an epoch, in blocks of {header.block} samples")
    if header.num_nodes > 1:
        lines.append(f"          batches between nodes: {header.overflow}")
    gap = _bytes(header.gap_bytes)
    lines.append(f"          runs are merged over gaps of up to {gap}: shorter to read than to skip")
    return lines


def _alternatives(header: Header) -> list[str]:
    lines = ["seconds of reading and decoding, an epoch and node, by the storage model"]
    plain = header.predicted.get("plain", 0.0)
    for name, seconds in sorted(header.predicted.items(), key=lambda each: each[1]):
        mark = "*" if name == header.strategy else " "
        factor = f"{plain / seconds:8.1f} x" if seconds > 0 else "    none"
        lines.append(f"  {mark} {name:9}{seconds:12.4g} s {factor}   {_NAMES[name].split(': ')[-1]}")
    return lines


def _caveat(header: Header) -> str:
    part = min(header.slots * header.num_nodes / header.samples, 1.0)
    if header.strategy == "pin" and part < 1 and header.sample_bytes >= 4 * max(header.gap_bytes, 1):
        return (
            "Samples are large against what storage reads in the time of one operation: the order of reads "
            f"does not matter, and only the {part:.0%} held in memory is saved."
        )
    return ""


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _rate(seconds_per_byte: float) -> str:
    return f"{1e-6 / seconds_per_byte:.4g} MB/s" if seconds_per_byte else "none"
