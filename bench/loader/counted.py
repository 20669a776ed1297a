"""``python -m bench.loader.counted``: what each policy reads at equal memory over the same shuffles."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from bench.loader.policies import Epochs, lru, nopfs, ordered_epochs, solar_as_released
from sciflow.datasets.planning import DescribedSource, Layout, Plan, StorageModel, make_plan
from sciflow.datasets.planning.order import FeistelOrder


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser("python -m bench.loader.counted", description=__doc__)
    parser.add_argument("--samples", type=int, default=19_968)
    parser.add_argument("--sample-bytes", type=int, default=65_536)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32, help="of a node")
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    order = FeistelOrder(given.samples, 0)
    width = given.nodes * given.batch
    whole = given.samples // width * width
    epochs = [order.permutation(epoch)[:whole].astype(np.int64) for epoch in range(given.epochs)]
    lines = [
        "Loads an epoch over N, mean of all but the first; seconds of storage a node and epoch in brackets.",
        "",
        "| c | 1 - c | LRU | NoPFS | SOLAR as released | the same, epochs reordered | pin | auto |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(epochs, part, given) for part in (0.05, 0.25, 0.5, 0.75, 0.9)]
    sys.stdout.write("\n".join(lines) + "\n")


def _row(epochs: Epochs, part: float, given: argparse.Namespace) -> str:
    slots = int(part * given.samples / given.nodes)
    sizes = {"nodes": given.nodes, "batch": given.batch, "slots": slots}
    path = ordered_epochs(epochs, slots * given.nodes)
    storage = StorageModel()
    read_alone = storage.alpha + given.sample_bytes / storage.beta
    cells = [f"{part:g}", f"{1 - part:.3f}"]
    for found in (
        lru(epochs, **sizes),
        nopfs(epochs, **sizes),
        solar_as_released(epochs, **sizes),
        solar_as_released([epochs[each] for each in path], **sizes),
    ):
        loads = float(np.mean(found.loads[1:]))
        cells.append(f"{loads / given.samples:.4f} ({loads * read_alone / given.nodes:.3g} s)")
    for strategy in ("pin", "auto"):
        counted = _plan(slots, given, strategy).simulate(len(epochs) - 1).steady
        seconds = (counted["ops"] * storage.alpha + counted["bytes"] / storage.beta) / given.nodes
        cells.append(f"{counted['loads'] / given.samples:.4f} ({seconds:.3g} s)")
    return "| " + " | ".join(cells) + " |"


def _plan(slots: int, given: argparse.Namespace, strategy: str) -> Plan:
    return make_plan(
        DescribedSource(layout=Layout(samples=given.samples), sample_bytes=given.sample_bytes),
        global_batch_size=given.nodes * given.batch,
        num_nodes=given.nodes,
        buffer_bytes=slots * given.sample_bytes,
        strategy=strategy,  # type: ignore[arg-type]
        order="feistel",
        storage=StorageModel(),
    )


if __name__ == "__main__":
    main()
