"""A learned linear predictor: each cell of a level from the nearest cells that are decoded before it.

```
 level 0: every cell, level 1: every second one along each axis ...    even places: the next coarser level
 . o . o .     o: an odd place along one axis, predicted from `taps` cells: its neighbours along that
 o x o x o        axis first, then the nearest of all that are known
 . o . o .     x: odd along two axes, predicted after all of o
```
The order is that of interpolation in SZ, whose weights along each axis are fitted to the block that is coded.
Here they reach further, and are fitted once, to siblings of the field, for some bounds: reconstructions
carry errors of the bound's size, and smaller weights carry less of these on. The engine runs it
(`codecs/predict/`).
Zhao et al., "Optimizing Error-Bounded Lossy Compression for Scientific Data by Dynamic Spline Interpolation",
ICDE 2021, section IV, is interpolation by levels with fixed weights; fitting many is our choice. Arrays:

| name      | dtype | shape   | meaning                                                            |
| --------- | ----- | ------- | ------------------------------------------------------------------ |
| `weights` | uint8 | (bytes,) | cells and weights, as docs/aesz-format.md, section 8, lays them out |
| `noise`   | f32   | (sets,) | bound that each set of weights is for, over the range of the field |
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs.stream import check_status
from sciflow.errors import Corrupt, InvalidArgument
from sciflow.models.model import Model, array_of

__all__ = ["Linear", "fit_linear"]

Offset = tuple[int, ...]

_VERSION = 1
_SHIFT = 13
_MAX_AWAY, _MAX_TAPS, _MAX_SETS, _MAX_LEVELS = 3, 32, 16, 4
_HEAD = struct.Struct("<5B")
_NOISE = (6e-2, 3e-2, 1.5e-2, 8e-3, 4e-3, 1.5e-3, 5e-4)
_ERROR = 1 / 12
"""Variance of what neighbours carry, over the bound's square: a quarter of that of errors that fill the
bound, as most are smaller where few codes are not 0."""
_PART = 1 << 19
_LEAST_RIDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A predictor that is ready for use.

    Parameters
    ----------
    block : tuple of int
        As many sides as it has axes; their lengths mean nothing to it.
    weights : bytes
        For the engine.
    noise : ndarray, float32, shape (sets,)
        As in the module's table.
    """

    block: tuple[int, ...]
    weights: bytes
    noise: NDArray[np.float32]

    @classmethod
    def of(cls, model: Model) -> Linear:
        """Return the predictor of a model.

        Raises
        ------
        Truncated, Corrupt, Unsupported
            If its arrays are not those of a linear model of this release: a cell is predicted from one that
            is decoded later, or numbers do not fit each other.
        """
        weights = array_of(model, "weights", "uint8", 1).tobytes()
        noise = array_of(model, "noise", "float32", 1)
        check_status(native.check_weights(weights), 0)
        _, axes, sets, _, _ = _HEAD.unpack_from(weights)
        if (axes, sets) != (len(model.block), len(noise)):
            raise Corrupt(
                f"weights for {axes} axes and {sets} bounds: expected {len(model.block)} and {len(noise)}"
            )
        if not (np.isfinite(noise).all() and (noise > 0).all()):
            raise Corrupt("a linear model for bounds that are not finite and above 0")
        return cls(model.block, weights, noise)

    def nearest(self, share: float) -> int:
        """Return the set of weights for a bound that is this share of the field's range."""
        return int(np.abs(np.log(self.noise.astype(np.float64)) - math.log(max(share, 1e-30))).argmin())


def fit_linear(
    patches: NDArray[np.floating],
    *,
    taps: int = 24,
    noise: Sequence[float] = _NOISE,
    levels: int = 3,
    card: Mapping[str, str] | None = None,
) -> Model:
    """Return weights by least squares, one small system for each set, level and class of cells.

    Parameters
    ----------
    patches : ndarray, float32|float64, shape (n, *sides)
        Parts of snapshots, finite, of 1 to 3 axes; `cut` gives some. Sides of 32 or more show three levels.
    taps : int
        Cells that one is predicted from, 2 to 32; fewer where fewer are near.
    noise : sequence of float
        Bounds that weights are fitted for, over the range of the values.
    levels : int
        Levels with weights of their own, at most 4; coarser ones use the last of them. Those that the patches
        are too small for are left out.
    card : mapping of str to str, optional
        For the model.

    Raises
    ------
    InvalidArgument
        If there are no patches, they are too small, or so many taps or sets cannot be.
    """
    sides = patches.shape[1:]
    axes = len(sides)
    if not (len(patches) and 1 <= axes <= 3 and min(sides) >= 8 and 2 <= taps <= _MAX_TAPS and levels >= 1):
        raise InvalidArgument(
            f"{len(patches)} patches of {sides} and {taps} taps: expected some, sides of 8 or more on 1 to 3 "
            f"axes, 2 to {_MAX_TAPS} taps"
        )
    if not (1 <= len(noise) <= _MAX_SETS and all(0 < each < math.inf for each in noise)):
        raise InvalidArgument(f"noise: found {tuple(noise)}, expected 1 to {_MAX_SETS} numbers above 0")
    chosen = _chosen(axes, taps)
    span = float(patches.max()) - float(patches.min())
    shown = min(levels, _MAX_LEVELS, min(side.bit_length() for side in sides) - 3)
    grams = [[_gram(patches, level, cls, near) for cls, near in chosen.items()] for level in range(shown)]
    weights = [[[_solved(gram, each * span) for gram in of] for of in grams] for each in noise]
    cells = np.array(list(chosen.values()), np.int8)
    head = _HEAD.pack(_VERSION, axes, len(noise), shown, cells.shape[1])
    data = np.frombuffer(head + cells.tobytes() + np.array(weights, "<i2").tobytes(), np.uint8)
    arrays: dict[str, NDArray[Any]] = {"weights": data, "noise": np.array(noise, np.float32)}
    return Model("linear", tuple(min(side, 64) for side in sides), arrays, card or {})


def _classes(axes: int) -> list[Offset]:
    """Parities of predicted cells in the order of decoding; 1 where the place along an axis is odd."""
    odd = [each for each in itertools.product((0, 1), repeat=axes) if any(each)]
    return sorted(odd, key=lambda each: (sum(each), sum(bit << axis for axis, bit in enumerate(each))))


def _chosen(axes: int, taps: int) -> dict[Offset, list[Offset]]:
    """The cells that each class is predicted from: along one axis first, then by distance."""
    order = _classes(axes)
    near: dict[Offset, list[Offset]] = {}
    for place, cls in enumerate(order):
        known = {(0,) * axes, *order[:place]}
        offsets = [
            each
            for each in itertools.product(range(-_MAX_AWAY, _MAX_AWAY + 1), repeat=axes)
            if _source(cls, each) in known
        ]
        near[cls] = sorted(offsets, key=lambda o: (sum(map(bool, o)) > 1, sum(v * v for v in o), o))
    count = min(taps, *map(len, near.values()))
    return {cls: offsets[:count] for cls, offsets in near.items()}


def _source(cls: Offset, offset: Offset) -> Offset:
    return tuple((odd + away) % 2 for odd, away in zip(cls, offset, strict=True))


def _gram(
    patches: NDArray[np.floating], level: int, cls: Offset, near: Sequence[Offset]
) -> NDArray[np.float64]:
    """Mean products of what a class is predicted from and, last, of itself; each patch less its mean."""
    axes = len(cls)
    step = 1 << level
    whole = patches[(slice(None), *[slice(None, None, step)] * axes)]
    gram = np.zeros((len(near) + 1, len(near) + 1))
    count = 0
    each = max(1, _PART // math.prod(whole.shape[1:]))
    for at in range(0, len(whole), each):
        part = whole[at : at + each].astype(np.float64)
        part -= part.mean(axis=tuple(range(1, axes + 1)), keepdims=True)
        rows = _rows(part, cls, near)
        gram += rows @ rows.T
        count += rows.shape[1]
    return gram / count


def _rows(part: NDArray[np.float64], cls: Offset, near: Sequence[Offset]) -> NDArray[np.float64]:
    """Values at the offsets, then at the cell, for cells all of whose neighbours are in the patch."""
    starts = [_MAX_AWAY + 1 - odd for odd in cls]
    ends = [length - _MAX_AWAY for length in part.shape[1:]]
    found = []
    for offset in [*near, (0,) * len(cls)]:
        places = tuple(
            slice(start + away, end + away, 2) for start, end, away in zip(starts, ends, offset, strict=True)
        )
        found.append(part[(slice(None), *places)].reshape(-1))
    return np.stack(found)


def _solved(gram: NDArray[np.float64], bound: float) -> NDArray[np.int64]:
    """Weights that add up to one, in units of 2^-13, for neighbours with errors up to the bound."""
    count = len(gram) - 1
    first = np.eye(count)[0]
    moved = np.eye(count)[1:] - first  # weights that keep the sum
    ridge = _ERROR * bound**2 + _LEAST_RIDGE * float(np.trace(gram)) / count + 1e-300
    while True:
        a = gram[:count, :count] + ridge * np.eye(count)
        right = moved @ (gram[:count, count] - a @ first)
        weights = first + moved.T @ np.linalg.solve(moved @ a @ moved.T, right)
        whole = np.rint(weights * 2**_SHIFT)
        whole[0] += 2**_SHIFT - whole.sum()
        if np.abs(whole).max() < 2**15:
            found: NDArray[np.int64] = whole.astype(np.int64)
            return found
        ridge *= 4
