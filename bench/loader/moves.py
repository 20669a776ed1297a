"""``python -m bench.loader.moves``: samples that are sent from node to node where everything is buffered."""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.markdown import table
from sciflow.datasets.planning import DescribedSource, Layout, Plan, StorageModel, make_plan

SIZES = ((4, 64), (8, 128), (64, 64))
"""Nodes, and samples of a node and step."""
BUFFERS = (1.02, 1.05, 1.1, 1.2, 1.3)
_STEPS = 32
_EPOCHS = 5


def main() -> None:
    """Count and print."""
    lines = [_line(nodes, batch) for nodes, batch in SIZES]
    head = ["nodes, b", "nothing kept", *(f"room for {part:g} N" for part in BUFFERS)]
    sys.stdout.write(table(head, lines))


def _line(nodes: int, batch: int) -> list[str]:
    plans = [_plan(nodes, batch, part) for part in BUFFERS]
    plain = Plan(replace(plans[0].header, guests=0, replicas=0))
    cells = [f"{100 * _moved(plain):.2f} %"]
    for plan in plans:
        how = "guests" if plan.header.guests else "replicas"
        cells.append(f"{100 * _moved(plan):.2f} % ({how})")
    return [f"{nodes}, {batch}", *cells]


def _plan(nodes: int, batch: int, part: float) -> Plan:
    samples = _STEPS * nodes * batch
    return make_plan(
        DescribedSource(layout=Layout(samples=samples), sample_bytes=65_536),
        global_batch_size=nodes * batch,
        num_nodes=nodes,
        buffer_bytes=int(part * samples / nodes) * 65_536,
        strategy="pin",
        order="feistel",
        storage=StorageModel(),
    )


def _moved(plan: Plan) -> float:
    """Samples that are sent, over N: mean of all epochs but the first."""
    return plan.simulate(_EPOCHS).steady["moved"] / plan.header.samples


if __name__ == "__main__":
    main()
