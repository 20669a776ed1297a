"""Which node of a plan this process is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning import Plan

__all__ = ["node_of"]


def node_of(plan: Plan, node: int | None) -> int:
    """The number given, else the rank in torch.distributed, else ``RANK``, else 0.

    Raises
    ------
    InvalidArgument
        If the plan has no such node, or is for another number of processes.
    """
    nodes = plan.header.num_nodes
    if node is None:
        node, processes = _rank()
        if processes != nodes:
            raise InvalidArgument(
                f"the plan is for {nodes} nodes and there are {processes} processes: make a plan with "
                f"num_nodes={processes}, or give node="
            )
    if not 0 <= node < nodes:
        raise InvalidArgument(f"node {node}: the plan has nodes 0..{nodes - 1}")
    return node


def _rank() -> tuple[int, int]:
    torch = sys.modules.get("torch")  # it need not be loaded to be asked
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
