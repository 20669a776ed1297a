"""The page of results and its figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.loader.executed import NODES, RANKS_RUN, STAGING, ExecutedRow
from bench.loader.files import SHAPES
from bench.loader.measure import Row
from bench.loader.training import TrainingRow
from bench.loader.workloads import PolicyRow
from bench.markdown import table

__all__ = ["write_page"]

_HEAD = """# Loading: what was measured

Written by `make bench-loader` from `bench/results/loader/`. Files of {mib} MiB of float32 samples, {cores}
cores, mean load {load} in its last 15 minutes (alone it makes 1 to 2), {packages}. The page cache is
dropped before every batch, of all readers. All read the shuffles of `DistributedSampler`; plans are
SolarLoader's own choice from what it probed, whole time of the probe included in the first batch. Steady
state: after the first batch of a DataLoader, after the first epoch of SolarLoader, at most two epochs and
some seconds.

*Best DataLoader*: the fastest of that round among h5py or zarr as tutorials write it (0 and 2 workers), one
`pread` a sample, h5py without a chunk cache, and our `FieldDataset` (0 and 2 workers). *x*: the median over
{rounds} rounds of the ratio to it within the same round.
"""
_COLD = """
## Cold files

Delivered MB/s, medians.
"""
_WHOLE = """
With the first epoch, from the start of the loader on, over three epochs or less (x: to the best
DataLoader), the seconds to the first batch, and the processor's seconds for a GB (all threads and workers):
"""
_SLOW = """
## An emulated parallel file system

Every operation sleeps as long as such a file system would take, one operation at a time, for all readers
alike; the file is in memory. 64 KB samples, contiguous. *pins only* keeps the same bytes in memory and
reads the others alone at their step, as NoPFS does on one node.
"""
_FIELD = """
## Compressed samples

An evolving field (sixty waves, noise of 1e-4, 64 KB a sample), as contiguous HDF5 and as `sciflow.sz`
chunks of 16 samples in shards of 256 in Zarr within 1e-3 of its range, at two levels. *x*: to raw HDF5 by the
same reader; *bytes read* over bytes delivered, and processor time of all threads: raw / fast / balanced, with
the first epoch.
"""
_STORED = ("raw HDF5", "SZ fast", "SZ balanced")
_TRAINING = """
## Training

A network of three convolutions, 32 samples of 64 KB a step, one thread; means over 48 steps of the second
epoch, the quicker of two runs in turn. *wait* is what the training loop waits for a batch.
On emulated storage each
worker of a DataLoader has a device of its own, so that two read at once; SolarLoader has one.
"""
_EXECUTED = """
## Other policies in the same executor

{nodes} ranks, 16 samples of 64 KB a rank and step, the same shuffles; buffers of all ranks together hold a
part c. Every policy is a plan of our own pipeline: the same reads, threads and slots, each operation sleeping
as above. {ranks} of the ranks run, one after the other, each with a storage of its own; seconds of one
(of the slowest) for an epoch in which buffers are full: the sixth, the third of ours. Rows from the memory of
peers cost nothing, and the others may hold {staging} batches in flight on top of their buffers, ours may not.
Policies as in the next section.
"""
_WORKLOADS = """
## The workloads of the paper, counted

Sample counts, sizes and buffers as in SOLAR's released code, 16 samples a node and step, priced by
operations and bytes; every policy has perfect overlap and memory of peers costs nothing. NoPFS and *SOLAR
as released* are those policies over the same shuffles, written from the papers and the released code
(`bench/loader/policies.py`), not their programs. Seconds of one node for a hundred epochs, the first
included; x: to DataLoader. The paper (abstract) says up to 24.4x over PyTorch's DataLoader and 3.52x over
the state of the art, on 32 GPUs. Keeping samples
alone, without larger reads, gives 24.4x from c = 0.96 on.
"""

_EVERY = """
## Every reader of cold files

Medians; counters are for each delivered sample or byte, with the first epoch; a dash where nobody counts.
"""


def write_page(
    rows: Sequence[Row],
    training: Sequence[TrainingRow],
    executed: Sequence[ExecutedRow],
    policies: Sequence[PolicyRow],
    machine: dict[str, Any],
    page: Path,
) -> list[Path]:
    """Write page and figure; return what was written."""
    packages = ", ".join(
        f"{name} {number}" for name, number in machine["packages"].items() if name != "sciflow"
    )
    cold = [row for row in rows if row.part == "cold" and row.shape != "evolving field"]
    slow = [row for row in rows if row.part != "cold" and row.shape != "evolving field"]
    text = [_HEAD.format(**machine | {"packages": packages})]
    written = [page]
    if cold:
        figure = page.with_suffix(".png")
        _draw(cold, figure)
        written.append(figure)
        text += [_COLD, _cold(cold), f"\n![delivered MB/s of cold files]({figure.name})\n"]
        text += [_slower(cold), _WHOLE, _whole(cold)]
    if slow:
        text += [_SLOW, _slow(slow)]
    if field := [row for row in rows if row.shape == "evolving field"]:
        text += [_FIELD, _field(field)]
    if training:
        text += [_TRAINING, _training(training)]
    if executed:
        text += [_EXECUTED.format(nodes=NODES, ranks=RANKS_RUN, staging=STAGING), _executed(executed)]
    if policies:
        text += [_WORKLOADS, _workloads(policies)]
    if cold:
        text += [_EVERY, _every(cold)]
    page.write_text("\n".join(part.strip("\n") + "\n" for part in text))
    return written


def _shapes(rows: Sequence[Row]) -> list[str]:
    return [shape.name for shape in SHAPES if any(row.shape == shape.name for row in rows)]


def _ours(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.reader for row in rows if row.reader.startswith("solar")))


def _mid(rows: Sequence[Row], what: str, shape: str, reader: str) -> float:
    found = [getattr(row, what) for row in rows if (row.shape, row.reader) == (shape, reader)]
    return median(found) if found else math.nan


def _best(rows: Sequence[Row], shape: str, number: int, keep: Callable[[str], bool]) -> Row:
    found = [row for row in rows if (row.shape, row.round) == (shape, number) and keep(row.reader)]
    return max(found, key=lambda row: row.mbs)


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio >= 1.95 else f"{ratio:.2f}x"


def _plainly(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _peer(reader: str) -> bool:
    return not reader.startswith(("solar", "pins"))


def _plain(reader: str) -> bool:
    return reader.startswith(("h5py", "zarr"))


def _ratio(rows: Sequence[Row], shape: str, reader: str, what: str = "mbs", keep: Any = _peer) -> float:
    mine = [row for row in rows if (row.shape, row.reader) == (shape, reader)]
    ratios: list[float] = [getattr(row, what) / _best(rows, shape, row.round, keep).mbs for row in mine]
    return median(ratios)


def _cold(rows: Sequence[Row]) -> str:
    lines = []
    for shape in _shapes(rows):
        rounds = sorted({row.round for row in rows if row.shape == shape})
        best = [median(_best(rows, shape, n, keep).mbs for n in rounds) for keep in (_plain, _peer)]
        cells = [f"{_mid(rows, 'mbs', shape, r):.0f} ({_times(_ratio(rows, shape, r))})" for r in _ours(rows)]
        lines.append([shape, *(f"{value:.3g}" for value in best), *cells])
    return table(["samples", "h5py or zarr", "best DataLoader", *_ours(rows)], lines)


def _slower(rows: Sequence[Row]) -> str:
    said = []
    for when, what in (("In the steady state", "mbs"), ("With the first epoch", "whole_mbs")):
        found = [
            f"{shape}, {reader}: {ratio:.2f}x"
            for shape in _shapes(rows)
            for reader in _ours(rows)
            if (ratio := _ratio(rows, shape, reader, what)) < 1
        ]
        said.append(f"{when}: {'; '.join(found) or 'none'}.")
    return "\n**Slower than the best DataLoader.** " + " ".join(said) + "\n"


def _whole(rows: Sequence[Row]) -> str:
    lines = []
    for shape in _shapes(rows):
        peers = {row.reader for row in rows if row.shape == shape and _peer(row.reader)}
        best = max(peers, key=lambda reader: _mid(rows, "mbs", shape, reader))
        whole = [
            f"{_mid(rows, 'whole_mbs', shape, r):.0f} ({_times(_ratio(rows, shape, r, 'whole_mbs'))})"
            for r in _ours(rows)
        ]
        first = [_mid(rows, "first_s", shape, r) for r in (best, "solar 50%")]
        cpu = [_mid(rows, "cpu", shape, r) for r in (best, "solar 50%")]
        lines.append(
            [shape, *whole, " / ".join(f"{v:.3f}" for v in first), " / ".join(f"{v:.3g}" for v in cpu)]
        )
    return table(
        ["samples", *_ours(rows), "first batch, best DataLoader / solar 50%", "CPU s/GB, the same"], lines
    )


def _slow(rows: Sequence[Row]) -> str:
    lines = []
    for part in dict.fromkeys(row.part for row in rows):
        mine = [row for row in rows if row.part == part]
        best = _best(mine, mine[0].shape, 0, _peer)
        lines.append([part, f"{best.mbs:.0f}", *_cells(mine, "solar", best.mbs)])
        if any(row.reader.startswith("pins") for row in mine):
            lines.append([f"{part}, pins only", f"{best.mbs:.0f}", *_cells(mine, "pins", best.mbs)])
    return table(["storage", "best DataLoader", "10%", "25%", "50%", "90%"], lines)


def _cells(rows: Sequence[Row], start: str, best: float) -> list[str]:
    return [f"{row.mbs:.0f} ({_times(row.mbs / best)})" for row in rows if row.reader.startswith(start)]


def _field(rows: Sequence[Row]) -> str:
    lines = []
    for part in dict.fromkeys(row.part for row in rows):
        for reader in ("FieldDataset, 0 workers", "solar 50%"):
            mine = {row.reader: row for row in rows if row.part == part}
            raw, *small = (mine[f"{name}: {reader}"] for name in _STORED)
            every = (raw, *small)
            lines.append(
                [
                    part,
                    reader,
                    f"{raw.mbs:.0f}",
                    *(f"{each.mbs:.0f} ({_times(each.mbs / raw.mbs)})" for each in small),
                    " / ".join(f"{each.bytes:.2f}" for each in every),
                    " / ".join(f"{each.cpu:.2g}" for each in every),
                ]
            )
    head = ["storage", "reader", *(f"{name}, MB/s" for name in _STORED)]
    return table([*head, "bytes read", "CPU s/GB"], lines)


def _training(rows: Sequence[TrainingRow]) -> str:
    lines = []
    for storage, reader in dict.fromkeys((row.storage, row.reader) for row in rows):
        mine = [row for row in rows if (row.storage, row.reader) == (storage, reader)]
        row = min(mine, key=lambda each: each.step_ms)
        wait = f"{row.wait_ms:.2f} ({100 * row.wait_ms / row.step_ms:.1f} %)"
        lines.append([storage, reader, f"{row.step_ms:.1f}", wait, f"{row.loss:.6f}"])
    return table(["storage", "reader", "step, ms", "wait, ms", "loss"], lines)


def _executed(rows: Sequence[ExecutedRow]) -> str:
    lines = []
    for storage, part in dict.fromkeys((row.storage, row.c) for row in rows):
        *others, ours = [row for row in rows if (row.storage, row.c) == (storage, part)]
        for row in (*others, ours):
            ratio = "" if row is ours else _times(row.mean_s / ours.mean_s)
            seconds = f"{row.mean_s:.2f} ({row.worst_s:.2f})"
            lines.append([storage, f"{part:g}", row.policy, f"{row.loads:.3f}", seconds, ratio])
    return table(["storage", "c", "policy", "loads / N", "s an epoch", "to sciflow"], lines)


def _workloads(rows: Sequence[PolicyRow]) -> str:
    lines = []
    for key in dict.fromkeys((row.alpha_ms, row.beta_gbs, row.workload, row.c) for row in rows):
        mine = [row for row in rows if (row.alpha_ms, row.beta_gbs, row.workload, row.c) == key]
        plain, ours = mine[0].run_s, mine[-1]
        others = [f"{row.run_s:.0f} ({_times(plain / row.run_s)})" for row in mine[1:-1]]
        name = ours.policy.removeprefix("sciflow ").strip("()")
        last = f"{ours.run_s:.0f} ({_times(plain / ours.run_s)}), {name}"
        better = f"{_times(min(row.run_s for row in mine[1:-1]) / ours.run_s)}"
        lines.append(
            [f"{key[0]:g} ms, {key[1]:g} GB/s", key[2], f"{key[3]:g}", f"{plain:.0f}", *others, last, better]
        )
    head = [
        "storage",
        "workload",
        "c",
        "DataLoader",
        "NoPFS",
        "SOLAR as released",
        "sciflow",
        "to the better one",
    ]
    return table(head, lines)


def _every(rows: Sequence[Row]) -> str:
    lines = []
    for shape in _shapes(rows):
        for reader in dict.fromkeys(row.reader for row in rows if row.shape == shape):
            values = [
                _mid(rows, what, shape, reader)
                for what in ("mbs", "whole_mbs", "cpu", "first_s", "ops", "bytes", "decodes")
            ]
            lines.append([shape, reader, *map(_plainly, values)])
    head = [
        "samples",
        "reader",
        "MB/s",
        "with the first epoch",
        "CPU s/GB",
        "first batch, s",
        "operations",
        "bytes",
        "decodes",
    ]
    return table(head, lines)


def _draw(rows: Sequence[Row], figure: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shapes, ours = _shapes(rows), _ours(rows)
    panel, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
    width = 0.8 / (2 + len(ours))
    for place, name in enumerate(["h5py or zarr", "best DataLoader", *ours]):
        if place < 2:
            keep = (_plain, _peer)[place]
            rounds = sorted({row.round for row in rows})
            heights = [median(_best(rows, shape, n, keep).mbs for n in rounds) for shape in shapes]
        else:
            heights = [_mid(rows, "mbs", shape, name) for shape in shapes]
        colour = ("0.75", "0.5")[place] if place < 2 else mpl.colormaps["viridis"](0.9 - 0.25 * (place - 2))
        axis.bar(
            [at + (place - 2.5) * width for at in range(len(shapes))],
            heights,
            width,
            label=name,
            color=colour,
        )
    axis.set_yscale("log")
    axis.set_ylabel("delivered MB/s, cold")
    axis.set_xticks(range(len(shapes)), [shape.replace(" ", "\n", 1) for shape in shapes])
    axis.legend(ncols=3, fontsize=8)
    panel.savefig(figure, dpi=110)
    plt.close(panel)
