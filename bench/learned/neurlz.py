"""The recipe of NeurLZ, for comparison only: a small skipping network on slices, trained on its field.

Jia et al., "NeurLZ", arXiv:2409.05785: some 3000 weights, residuals of an error-bounded codec as the
target, inputs and target scaled to their range, Adam at 1e-2 with a cosine schedule, ten slices a step.
Outputs are held to the bound by a sigmoid; the strict mode lists the cells that would break it. Sibling
fields are not used. The layers are ours.
"""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.protocol import Array

__all__ = ["Neural", "list_bytes", "train"]

_RATE = 1e-2
_SLICES = 10
_LEVELS = (4, 6)


@dataclass(frozen=True, slots=True)
class Neural:
    """A trained network; `nbytes` counts its weights in binary16."""

    model: Any
    nbytes: int
    bound: float
    low: float
    high: float

    def apply(self, decoded: Array) -> Array:
        """Return decoded values with their corrections, within twice the bound of the original."""
        import torch

        slices = _slices(decoded)
        with torch.no_grad():
            parts = [self._correct(torch, slices[i : i + _SLICES]) for i in range(0, len(slices), _SLICES)]
        return (decoded + np.concatenate(parts).reshape(decoded.shape)).astype(decoded.dtype)

    def _correct(self, torch: Any, slices: Array) -> Array:
        found = self.model(torch.from_numpy(_scaled(slices, self.low, self.high))[:, None])
        return np.asarray(found[:, 0].numpy() * self.bound)


def list_bytes(broken: Array) -> int:
    """Return the bytes of the list of cells whose correction is taken back: distances, deflated."""
    listed = np.diff(np.flatnonzero(broken), prepend=0).astype("<u4")
    return len(zlib.compress(listed.tobytes(), 9))


def train(original: Array, decoded: Array, *, bound: float, seed: int, budget: float) -> Neural:
    """Train for `budget` seconds of wall time."""
    import torch

    torch.manual_seed(seed)
    model = _network(torch)
    low, high = float(decoded.min()), float(decoded.max())
    inputs = torch.from_numpy(_scaled(_slices(decoded), low, high))
    lost = (original.astype(np.float64) - decoded) / bound
    target = torch.from_numpy(_slices(lost).astype(np.float32))
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
    start = time.monotonic()
    while (done := (time.monotonic() - start) / budget) < 1:
        for settings in optimiser.param_groups:
            settings["lr"] = _RATE * (1 + math.cos(math.pi * done)) / 2
        chosen = torch.randint(len(inputs), (_SLICES,))
        loss = torch.nn.functional.mse_loss(model(inputs[chosen][:, None])[:, 0], target[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    return Neural(model, 2 * sum(p.numel() for p in model.parameters()), bound, low, high)


def _slices(field: Array) -> Array:
    """Planes of the last two axes."""
    inner = [n for n in field.shape if n > 1][-2:]
    return np.ascontiguousarray(field.reshape(-1, *inner)) if len(inner) == 2 else field.reshape(1, 1, -1)


def _scaled(slices: Array, low: float, high: float) -> Array:
    return ((slices - low) / max(high - low, 1e-300)).astype(np.float32)


def _network(torch: Any) -> Any:
    nn = torch.nn
    a, b = _LEVELS

    def pair(inputs: int, outputs: int) -> Any:
        first = nn.Conv2d(inputs, outputs, 3, padding=1)
        return nn.Sequential(first, nn.GELU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.GELU())

    class Skipping(nn.Module):  # type: ignore[misc, name-defined] # torch is optional
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([pair(1, a), pair(a, b), pair(b, b)])
            self.up = nn.ModuleList([pair(2 * b, b), pair(a + b, a)])
            self.last = nn.Conv2d(a, 1, 1)

        def forward(self, x: Any) -> Any:
            kept = [self.down[0](x)]
            for layer in list(self.down)[1:]:
                kept.append(layer(nn.functional.max_pool2d(kept[-1], 2, ceil_mode=True)))
            x = kept.pop()
            for layer in self.up:
                beside = kept.pop()
                wide = nn.functional.interpolate(x, size=beside.shape[-2:], mode="nearest")
                x = layer(torch.cat([wide, beside], 1))
            return 2 * torch.sigmoid(self.last(x)) - 1

    return Skipping()
