"""A learned linear predictor: each cell of a block from cells that are decoded before it.

```
 halo: the cells one before the block, on its low sides, of blocks decoded before
 h h h h h      order inside: the cell at the far corner, then halfway between it and the halo, and so on:
 h . . . .      every cell is predicted from the `taps` nearest ones that are known by then
 h . . . .
 h . . . X      pred = y_0 + (sum_j weight_j (y_j - y_0) + 2^13) >> 14,  y in 1/256 of a quantisation step
```
It is recursive: a cell is predicted from reconstructions, y = pred + 256 code, so all of a decoder is in
int64 and exact. The order is that of interpolation in SZ3 (Zhao et al., ICDE 2021), whose weights are fixed;
fitting them to a field is our choice, and not in AE-SZ. Arrays of the model:

| name      | dtype | shape         | meaning                                                           |
| --------- | ----- | ------------- | ----------------------------------------------------------------- |
| `order`   | int32 | (cells,)      | cells in the order of decoding, each as index in C order          |
| `taps`    | int32 | (cells, taps) | what each is predicted from, as index in the block with its halo  |
| `weights` | int16 | (cells, taps) | times 2^14; the first tap is y_0 and its weight is not used       |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument
from sciflow.models.model import FRACTION, Model, array_of

__all__ = ["Linear", "fit_linear"]

_SHIFT = 14
_MAX_TAPS = 32
_MAX_CELLS = 4096

_CodeOf = Callable[[int, NDArray[np.int64]], NDArray[np.int64]]
"""Given a cell and predictions of it, its codes."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A predictor that is ready for use; parameters as in the module's table."""

    block: tuple[int, ...]
    order: NDArray[np.int32]
    taps: NDArray[np.int32]
    weights: NDArray[np.int16]

    @classmethod
    def of(cls, model: Model) -> Linear:
        """Return the predictor of a model.

        Raises
        ------
        Corrupt
            If a cell would be predicted from one that is not known, or arrays do not fit each other.
        """
        order = array_of(model, "order", "int32", 1)
        taps, weights = array_of(model, "taps", "int32", 2), array_of(model, "weights", "int16", 2)
        cells = math.prod(model.block)
        if not (
            len(order) == cells <= _MAX_CELLS
            and taps.shape == weights.shape == (cells, taps.shape[1])
            and 1 <= taps.shape[1] <= _MAX_TAPS
            and np.array_equal(np.sort(order), np.arange(cells))
        ):
            raise Corrupt(
                f"a linear model of {len(order)} cells and taps {taps.shape} for blocks of {model.block}"
            )
        rank = _ranks(model.block, order)
        if taps.min() < 0 or taps.max() >= len(rank) or (rank[taps] >= np.arange(cells)[:, None]).any():
            raise Corrupt("a linear model predicts a cell from one that is decoded later")
        return cls(model.block, order, taps, weights)

    @property
    def halo(self) -> tuple[int, ...]:
        """Shape of a block with its halo."""
        return tuple(n + 1 for n in self.block)

    def encode(
        self, target: NDArray[np.int64], known: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return codes and reconstructions of blocks that do not touch each other's halo.

        Parameters
        ----------
        target : ndarray, int64, shape (n, *block)
            Values in 1/256 of a step, rounded.
        known : ndarray, int64, shape (n, *halo)
            Reconstructions of the halo; what is inside is not read. |values| < 2^40.

        Returns
        -------
        codes : ndarray, int64, shape (n, *block)
        values : ndarray, int64, shape (n, *block)
            ``pred + 256 codes``, as a decoder has them: within 128 of `target`.
        """
        wanted = target.reshape(len(target), -1)
        codes = np.zeros_like(wanted)

        def code(cell: int, predicted: NDArray[np.int64]) -> NDArray[np.int64]:
            codes[:, cell] = (wanted[:, cell] - predicted + FRACTION // 2) // FRACTION
            return codes[:, cell]

        values = self._run(known, code)
        return codes.reshape(target.shape), values

    def decode(self, codes: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return reconstructions, in 1/256 of a step, the same on every machine; shapes as for `encode`."""
        flat = codes.reshape(len(codes), -1)
        return self._run(known, lambda cell, _: flat[:, cell])

    def _run(self, known: NDArray[np.int64], code_of: _CodeOf) -> NDArray[np.int64]:
        if known.shape[1:] != self.halo or known.dtype != np.int64:
            raise InvalidArgument(
                f"halo: found {known.dtype} {known.shape}, expected int64 (n, *{self.halo})"
            )
        inside = _inside(self.block)
        values = np.ascontiguousarray(known.reshape(len(known), -1).T)  # cells first: each is a row
        for cell, taps, weights in zip(self.order, self.taps, self.weights.astype(np.int64), strict=True):
            first = values[taps[0]]
            total = weights[1:] @ (values[taps[1:]] - first)
            predicted = first + ((total + (1 << (_SHIFT - 1))) >> _SHIFT)
            values[inside[cell]] = predicted + FRACTION * code_of(int(cell), predicted)
        return np.ascontiguousarray(values[inside].T).reshape(-1, *self.block)


def fit_linear(
    extended: NDArray[np.floating],
    *,
    taps: int = 16,
    noise: float = 1e-3,
    card: Mapping[str, str] | None = None,
) -> Model:
    """Return weights by least squares, one small system a cell, all out of one covariance matrix.

    Parameters
    ----------
    extended : ndarray, float32|float64, shape (n, *halo)
        Blocks with the cells one before them on their low sides: `cut` with sides one longer gives some.
    taps : int
        Cells that one is predicted from, 2 to 32.
    noise : float
        Bound that the weights are fitted for, over the range of the values: reconstructions that they are
        applied to carry an error of that size, and smaller weights carry less of it on.
    card : mapping of str to str, optional
        For the model.

    Raises
    ------
    InvalidArgument
        If there are no blocks, they are too large, or so many taps cannot be.
    """
    halo = extended.shape[1:]
    block = tuple(n - 1 for n in halo)
    cells = math.prod(block)
    if len(extended) == 0 or not 2 <= cells <= _MAX_CELLS or not 2 <= taps <= min(_MAX_TAPS, cells):
        raise InvalidArgument(
            f"{len(extended)} blocks of {block} and {taps} taps: expected some, 2 to {_MAX_TAPS}"
        )
    flat = extended.reshape(len(extended), -1).astype(np.float64)
    span = float(flat.max() - flat.min())
    flat = flat - flat.mean(axis=1, keepdims=True)
    covariance = flat.T @ flat / len(flat)
    order = _order(block)
    chosen = _nearest(block, order, taps)
    inside = _inside(block)[order]
    error = (2 * noise * span) ** 2 / 12
    weights = _solve(covariance, inside, chosen, error)
    scaled = np.clip(np.rint(weights * 2**_SHIFT), -(2**15) + 1, 2**15 - 1).astype(np.int16)
    arrays = {"order": order, "taps": chosen, "weights": scaled}
    return Model("linear", block, arrays, card or {})


def _solve(
    covariance: NDArray[np.float64], cells: NDArray[np.intp], taps: NDArray[np.int32], error: float
) -> NDArray[np.float64]:
    """Weights of differences to the first tap, by ridge regression; shape of `taps`, the first column 0."""
    first, rest = taps[:, :1], taps[:, 1:]
    c = covariance

    def of_differences(
        a: NDArray[np.int32], b: NDArray[np.int32], zero: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return c[a, b] - c[a, zero] - c[zero, b] + c[zero, zero]

    gram = of_differences(rest[:, :, None], rest[:, None, :], first[:, :, None])
    right = of_differences(rest, cells[:, None].astype(np.int32), first)
    # each tap carries an error of its own, and the first enters every difference
    gram = gram + error * (np.eye(rest.shape[1]) + 1.0)
    right = right + error
    gram = gram + 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(rest.shape[1])
    weights = np.linalg.solve(gram, right[..., None])[..., 0]
    return np.concatenate([np.zeros((len(taps), 1)), weights], axis=1)


def _order(block: tuple[int, ...]) -> NDArray[np.int32]:
    """Cells from coarse to fine; at each level those that lie between others along fewer axes first."""
    keys = []
    for index, place in enumerate(itertools.product(*map(range, block))):
        steps = [
            ((n + 1) & -(n + 1)) for n in place
        ]  # how coarse a lattice, counted from the halo, the axis is on
        level = min(steps)
        between = sum(step == level for step in steps)
        keys.append((-level, between, index))
    return np.array([index for *_, index in sorted(keys)], np.int32)


def _inside(block: tuple[int, ...]) -> NDArray[np.intp]:
    """Index in the block with its halo, of each cell of the block."""
    halo = tuple(n + 1 for n in block)
    return np.arange(math.prod(halo)).reshape(halo)[(slice(1, None),) * len(block)].reshape(-1)


def _ranks(block: tuple[int, ...], order: NDArray[np.int32]) -> NDArray[np.int64]:
    """When each cell of the block with its halo is known: -1 for the halo, else its place in the order."""
    rank = np.full(math.prod(n + 1 for n in block), -1, np.int64)
    rank[_inside(block)[order]] = np.arange(len(order))
    return rank


def _nearest(block: tuple[int, ...], order: NDArray[np.int32], taps: int) -> NDArray[np.int32]:
    places = np.array(list(itertools.product(*(range(n + 1) for n in block))))
    rank = _ranks(block, order)
    chosen = np.empty((len(order), taps), np.int32)
    for place, cell in enumerate(_inside(block)[order]):
        away = ((places - places[cell]) ** 2).sum(axis=1).astype(np.float64)
        away[rank >= place] = np.inf
        chosen[place] = np.argsort(away, kind="stable")[:taps]
    return chosen
