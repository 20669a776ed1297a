"""What blocks would cost: bits a value of latents and of quantised residuals, without writing a stream.

Codes are given the entropy of 24 classes of neighbourhood, each with a table of its own that is paid for;
latents that of one table a latent. It is what a static entropy coder with such tables takes, short of its
rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sciflow.models.blocks import cut, join
from sciflow.models.decoder import Learned
from sciflow.models.klt import KLT
from sciflow.models.model import FRACTION

__all__ = ["Cost", "code_bits", "latent_bits", "learned", "residual_codes", "transformed"]

_CLASSES = 24
_BITS_A_SYMBOL = 6.0
"""A table costs so many bits for each symbol in it: a count and its place."""


class Cost(NamedTuple):
    """Bits a value."""

    latents: float
    codes: float


def code_bits(codes: NDArray[np.int64]) -> float:
    """Return the bits of the codes of a field, shape (*space): entropy within classes of neighbourhood.

    The class of a cell is the sum of magnitudes of cells before it along each axis and their diagonal ones,
    which a decoder that goes through in C order knows.
    """
    size = np.minimum(np.abs(codes), 1 << 20).astype(np.float64)
    around = np.zeros(codes.shape)
    for axis in range(codes.ndim):
        before = _shifted(size, axis)
        around += 2 * before
        around += _shifted(before, axis)
        for other in range(axis + 1, codes.ndim):
            around += _shifted(before, other)
    edges = np.unique(np.quantile(around, np.arange(1, _CLASSES) / _CLASSES))
    member = np.searchsorted(edges, around, side="left").reshape(-1)
    flat = codes.reshape(-1)
    return sum(_entropy(flat[member == each]) for each in np.unique(member))


def latent_bits(latents: NDArray[np.int32]) -> float:
    """Return the bits of latents, shape (blocks, latents): a table each, or one for many that are rare."""
    total = 0.0
    rare: list[NDArray[np.int32]] = []
    for column in latents.T:
        if np.count_nonzero(column) * 8 < len(column):
            rare.append(column)
        else:
            total += _entropy(column)
    return total + (_rare(np.array(rare).T) if rare else 0.0)


def residual_codes(
    field: NDArray[np.float64], predicted: NDArray[np.int64], step: float
) -> NDArray[np.int64]:
    """Return codes ``q`` with ``|x - step (p + 256 q) / 256| <= step / 2``; ``p`` as models decode it."""
    return np.rint(field / step - predicted / FRACTION).astype(np.int64)


def transformed(model: KLT, field: NDArray[np.float64], step: float, gain: int) -> Cost:
    """Return what a field, shape (*space), costs with a basis; its mean is the offset."""
    offset = float(field.mean())
    latents = model.encode(cut(field - offset, model.block), step=step, gain=gain)
    predicted = join(model.decode(latents, gain=gain), field.shape)
    codes = residual_codes(field - offset, predicted, step)
    return Cost(latent_bits(latents) / field.size, code_bits(codes) / field.size)


def learned(model: Learned, field: NDArray[np.float64], step: float, gain: int) -> Cost:
    """Return what a field, shape (*space), costs with an autoencoder; the offset is mid-range."""
    offset, half_range = float(field.max() + field.min()) / 2, float(np.ptp(field)) / 2
    latents = model.encode(cut(field - offset, model.block), step=step, half_range=half_range, gain=gain)
    made = model.decode(latents, ratio=step / half_range / FRACTION, gain=gain)
    codes = residual_codes(field - offset, join(made, field.shape), step)
    return Cost(latent_bits(latents) / field.size, code_bits(codes) / field.size)


def _shifted(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    moved = np.zeros_like(values)
    ahead: list[slice] = [slice(None)] * values.ndim
    behind: list[slice] = [slice(None)] * values.ndim
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    moved[tuple(ahead)] = values[tuple(behind)]
    return moved


def _entropy(values: NDArray[np.integer]) -> float:
    _, counts = np.unique(values, return_counts=True)
    total = counts.sum()
    return float(-(counts * np.log2(counts / total)).sum() + _BITS_A_SYMBOL * len(counts))


def _rare(columns: NDArray[np.int32]) -> float:
    """Bits of latents that are mostly zero: those with a like share of zeros have a table together."""
    share = (columns != 0).mean(axis=0)
    groups = np.round(2 * np.log2(share + 2.0**-16)).astype(int)
    return sum(_entropy(columns[:, groups == each].reshape(-1)) for each in np.unique(groups))
