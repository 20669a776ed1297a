"""Where a run computes: device, and this process among those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from sciflow.errors import InvalidArgument

__all__ = ["Place", "place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Device, rank and number of processes.

    Parameters
    ----------
    device : torch.device
        Of this process.
    rank, world : int
        0 and 1 where there is one process.
    """

    device: torch.device
    rank: int
    world: int

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def gathered(self, values: Sequence[float]) -> list[list[float]]:
        """Return the numbers of all processes, the same on each."""
        if self.world == 1:
            return [list(values)]
        mine = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        found = torch.empty((self.world, len(mine)), dtype=torch.float64, device=self.device)
        dist.all_gather(list(found.unbind(0)), mine)
        return [[float(value) for value in row] for row in found.tolist()]

    def shared(self, value: Any) -> Any:
        """Return what the first process has."""
        if self.world == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, device=self.device)
        return held[0]

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            dist.barrier()

    def autocast(self, precision: str) -> Any:
        """Return a context in which networks compute in bfloat16, where that was asked for."""
        if precision == "bfloat16" or (precision == "auto" and self._has_bfloat16()):
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _has_bfloat16(self) -> bool:
        return self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Find the device, and join the other processes where torchrun, or srun with its variables, started some.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda" or "cuda:1".

    Raises
    ------
    InvalidArgument
        If there is no such device.
    """
    found = _device(device)
    if found.type == "cuda":
        torch.cuda.set_device(found)
    if dist.is_available() and dist.is_initialized():
        yield Place(found, dist.get_rank(), dist.get_world_size())
        return
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Place(found, 0, 1)
        return
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    try:
        yield Place(found, dist.get_rank(), world)
    finally:
        dist.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        wanted = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise InvalidArgument(f"device {name!r}: expected auto, cpu, cuda or cuda:0") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"device {name!r}: torch sees no GPU here; use --device cpu")
    if wanted.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"device {name!r}: expected auto, cpu, cuda or cuda:0")
    if wanted.type == "cuda" and ":" not in str(wanted):
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return wanted
