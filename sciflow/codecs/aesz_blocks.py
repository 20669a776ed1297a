"""Which blocks a model serves: a grid over the last axes, and what its blocks would cost either way.

```
array ─ pad by edge values ─ cut ─▶ blocks     bits of residual and latents, bits of what interpolation leaves
```
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.models.blocks import cut, join

__all__ = ["Grid", "bits_of_latents", "bits_of_residual", "interpolated"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks over the last axes of an array; each index of the axes before them is cut on its own.

    Parameters
    ----------
    shape : tuple of int
        Of the array as it is stored, C order; no axis of length 0, and as many axes as `block` at least.
    block : tuple of int
        Shape of a block.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Arrays that are cut, then blocks along each axis of one; the last along an axis may be padded."""
        ahead = len(self.shape) - len(self.block)
        sides = zip(self.shape[ahead:], self.block, strict=True)
        return (math.prod(self.shape[:ahead]), *(-(-length // side) for length, side in sides))

    @property
    def size(self) -> int:
        """How many blocks there are."""
        return math.prod(self.counts)

    def cut(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the blocks, shape (size, *block), of an array of `shape`; edge values are repeated."""
        flat = stored.reshape(-1, *self.shape[len(self.shape) - len(self.block) :])
        pads = [(0, (-length) % side) for length, side in zip(flat.shape[1:], self.block, strict=True)]
        padded = np.pad(flat, [(0, 0), *pads], mode="edge") if any(after for _, after in pads) else flat
        blocks: NDArray[np.generic] = cut(padded, self.block)
        return blocks

    def join(self, blocks: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the array of `shape` of blocks, without what was padded."""
        counts = self.counts
        sides = [count * side for count, side in zip(counts[1:], self.block, strict=True)]
        whole = join(blocks, (counts[0], *sides))
        inside = tuple(slice(n) for n in self.shape[len(self.shape) - len(self.block) :])
        return np.ascontiguousarray(whole[(slice(None), *inside)]).reshape(self.shape)


def bits_of_residual(in_steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each block's residual, shape (n, *block) in steps, would cost in bits.

    The entropy of a two-sided geometric distribution with the block's mean magnitude of codes.
    """
    codes = np.abs(np.rint(in_steps)).reshape(len(in_steps), -1)
    return codes.shape[1] * _entropy(codes.mean(axis=1))


def bits_of_latents(latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each block's latents, shape (n, latents), would cost in bits, each by its own mean."""
    codes = np.abs(np.rint(latents))
    mean = codes.mean(axis=0) + 1.0 / max(len(codes), 1)
    most = np.log2(1 + mean)
    found: NDArray[np.float64] = (most + codes * (most - np.log2(mean)) + (codes > 0)).sum(axis=1)
    return found


def interpolated(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of blocks, shape (n, *block), when inner cells are predicted as SZ would, roughly.

    Means of two neighbours along the last axis, less their mean along the first where that is smaller in sum.
    """
    left = []
    for axis in range(1, blocks.ndim):
        moved = np.moveaxis(blocks, axis, -1)
        inner = moved[..., 1:-1] - (moved[..., :-2] + moved[..., 2:]) / 2
        left.append(np.moveaxis(inner, -1, axis).reshape(len(blocks), -1))
    sums = np.stack([np.abs(each).mean(axis=1) for each in left])
    best = sums.argmin(axis=0)
    width = min(each.shape[1] for each in left)
    found: NDArray[np.float64] = np.stack([each[:, :width] for each in left])[best, np.arange(len(blocks))]
    return found


def _entropy(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    safe = np.maximum(mean, 1e-9)
    found: NDArray[np.float64] = (1 + safe) * np.log2(1 + safe) - safe * np.log2(safe) + safe / (1 + safe)
    return found
