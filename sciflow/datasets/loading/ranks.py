"""Which node of a plan this process is, and the plan that all of them use."""

from __future__ import annotations

import os
import sys
from dataclasses import fields, replace
from typing import Any

from sciflow.datasets.planning import Header, Plan
from sciflow.errors import InvalidArgument

__all__ = ["joined"]

_MEASURED = ("storage", "predicted", "strategy", "pins", "replicas", "guests", "lap", "block")
"""What follows from a probe of the storage, which gives other numbers on each node."""


def joined(plan: Plan, node: int | None) -> tuple[Plan, int]:
    """The plan of the first process, and which node of it this one is.

    Processes that make the plan themselves measure other costs, and the cost model may choose another
    strategy: the nodes' batches would not be parts of one global batch, and who waits for a sample of another
    would wait for ever. So all take what the first one has chosen.

    Parameters
    ----------
    plan : Plan
        As this process made it.
    node : int, optional
        The rank in torch.distributed, else ``RANK``, else 0, where it is not given. Where it is given, no
        other process is asked.

    Raises
    ------
    InvalidArgument
        If the plan has no such node, is for another number of processes, or is not of the same batches and
        memory as the first one's.
    """
    nodes = plan.header.num_nodes
    if node is not None:
        if not 0 <= node < nodes:
            raise InvalidArgument(f"node {node}: the plan has nodes 0..{nodes - 1}")
        return plan, node
    torch = sys.modules.get("torch")  # it need not be loaded to be asked
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    else:
        torch = None
        rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes != nodes:
        raise InvalidArgument(
            f"the plan is for {nodes} nodes and there are {processes} processes: make a plan with "
            f"num_nodes={processes}, or give node="
        )
    return (_agreed(plan, torch.distributed) if torch is not None and nodes > 1 else plan), rank


def _agreed(plan: Plan, distributed: Any) -> Plan:
    """The first process's choices; an error on every process if they were not asked for the same."""
    texts: list[Any] = [None] * plan.header.num_nodes
    distributed.all_gather_object(texts, plan.header.to_json())
    first, *others = (Header.from_json(text) for text in texts)
    for rank, other in enumerate(others, 1):
        for name in (each.name for each in fields(Header) if each.name not in ("fingerprint", *_MEASURED)):
            here, there = getattr(first, name), getattr(other, name)
            if here != there:
                raise InvalidArgument(
                    f"plan: rank 0 has {name} {here!r}, rank {rank} {there!r}; make it alike on all ranks"
                )
    return Plan(replace(plan.header, **{name: getattr(first, name) for name in _MEASURED}))
