"""What needs no network: fits the training split, may choose by validation, predicts the test split."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.surrogates.parts import Part

__all__ = ["BASELINES", "Baseline", "pooled", "spectra"]

Baseline = Callable[[Part, Part, Part], NDArray[np.float32]]
Real = NDArray[np.float64]

_REACH = 3
"""Cells to each side that the linear stencil sees."""
_STENCIL_SAMPLES = 256
_BINS = 12
_FEWEST = {1: 64, 2: 16, 3: 8}
"""Cells a side that pooling leaves at least, by the number of axes."""


def mean(train: Part, _: Part, test: Part) -> NDArray[np.float32]:
    """The mean of the training targets, cell by cell."""
    return np.repeat(train.y.mean(axis=0, keepdims=True), len(test.x), axis=0)


def persistence(_: Part, __: Part, test: Part) -> NDArray[np.float32]:
    """The input."""
    return test.x


def another(train: Part, _: Part, test: Part) -> NDArray[np.float32]:
    """The truth of some sample of the training split."""
    chosen = np.random.default_rng(0).integers(len(train.y), size=len(test.x))
    return train.y[chosen]


def ridge(train: Part, validation: Part, test: Part) -> NDArray[np.float32]:
    """Ridge regression from the input, pooled to 16 cells a side (8 in 3-D)."""
    return _ridge(pooled, train, validation, test)


def spectrum(train: Part, validation: Part, test: Part) -> NDArray[np.float32]:
    """Ridge regression from moments and the logarithm of the power spectrum, 12 bins."""
    return _ridge(spectra, train, validation, test)


def stencil(train: Part, _: Part, test: Part) -> NDArray[np.float32]:
    """The best linear periodic convolution, 7 cells wide, by least squares."""
    gram, right = np.zeros((2, 1, 1))
    for x, y in zip(train.x[:_STENCIL_SAMPLES], train.y[:_STENCIL_SAMPLES], strict=True):
        around = _around(x[0])
        gram, right = gram + around @ around.T, right + around @ y[0].reshape(-1)[:, None].astype(np.float64)
    weights = np.linalg.solve(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)), right)[:, 0]
    return np.stack([(weights @ _around(x[0])).reshape(x.shape) for x in test.x]).astype(np.float32)


BASELINES: dict[str, Baseline] = {
    "mean": mean,
    "persistence": persistence,
    "another": another,
    "ridge": ridge,
    "spectrum": spectrum,
    "stencil": stencil,
}


def pooled(x: NDArray[np.float32]) -> Real:
    """Return means of blocks, shape (sample, features)."""
    space = x.shape[2:]
    fewest = _FEWEST[len(space)]
    found = x.astype(np.float64)
    for axis, side in enumerate(space, 2):
        kept = min(n for n in range(1, side + 1) if side % n == 0 and n >= min(fewest, side))
        shape = (*found.shape[:axis], kept, side // kept, *found.shape[axis + 1 :])
        found = found.reshape(shape).mean(axis=axis + 1)
    return found.reshape(len(x), -1)


def spectra(x: NDArray[np.float32]) -> Real:
    """Return moments and logarithms of the binned power of each channel, shape (sample, features)."""
    space = x.shape[2:]
    k = np.sqrt(sum(np.square(part) for part in np.meshgrid(*[np.fft.fftfreq(n) * n for n in space])))
    edges = np.linspace(0.5, min(space) / 2, _BINS + 1)
    bins = [np.flatnonzero((k.reshape(-1) >= a) & (k.reshape(-1) < b)) for a, b in itertools.pairwise(edges)]
    rows = []
    for sample in x.astype(np.float64):
        row: list[float] = []
        for channel in sample:
            power = np.square(np.abs(np.fft.fftn(channel))).reshape(-1)
            row += [float(np.log(power[bin_].mean() + 1e-30)) for bin_ in bins]
            centred = channel - channel.mean()
            row += [float(channel.mean()), float(centred.std()), float(np.cbrt((centred**3).mean()))]
        rows.append(row)
    return np.array(rows)


def _ridge(
    features: Callable[[NDArray[np.float32]], Real], train: Part, validation: Part, test: Part
) -> NDArray[np.float32]:
    seen = features(train.x)
    shift, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-12
    first, second, third = ((features(part.x) - shift) / scale for part in (train, validation, test))
    wanted = train.y.reshape(len(train.y), -1).astype(np.float64)
    level = wanted.mean(axis=0)
    values, vectors = np.linalg.eigh(first.T @ first)
    right = vectors.T @ (first.T @ (wanted - level))
    judged = validation.y.reshape(len(validation.y), -1)

    def weights(penalty: float) -> Real:
        found: Real = vectors @ (right / (np.maximum(values, 0) + penalty)[:, None])
        return found

    def error(penalty: float) -> float:
        return float(np.square(second @ weights(penalty) + level - judged).mean())

    best = min((len(first) * 10.0**power for power in range(-6, 4)), key=error)
    found = (third @ weights(best) + level).reshape(len(test.x), *train.y.shape[1:])
    return np.asarray(found, np.float32)


def _around(field: NDArray[np.float32]) -> Real:
    """Return the neighbours of each cell and 1, shape (neighbours + 1, cells)."""
    steps = range(-_REACH, _REACH + 1)
    rows = [np.roll(field, shift, (0, 1)).reshape(-1) for shift in itertools.product(steps, steps)]
    return np.stack([*rows, np.ones(field.size)]).astype(np.float64)
