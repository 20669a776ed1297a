"""Errors, smaller is better: each takes a test split and predictions for it, and names what it measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.surrogates.parts import Part, probe
from sciflow.models.surrogates.diffraction import chi_squared

__all__ = ["JUDGES", "Judge"]

Judge = Callable[[Part, NDArray[np.float32], Path], dict[str, float]]
_AT_ONCE = 16


def relative(test: Part, predicted: NDArray[np.float32], _: Path) -> dict[str, float]:
    """Mean over samples of ``|prediction - truth| / |truth|``."""
    difference = np.linalg.norm((predicted - test.y).reshape(len(test.y), -1), axis=1)
    return {
        "relative L2": float((difference / np.linalg.norm(test.y.reshape(len(test.y), -1), axis=1)).mean())
    }


def lit(test: Part, predicted: NDArray[np.float32], path: Path) -> dict[str, float]:
    """Root mean square error where the beam is, weighted with its intensity, of amplitude and phase."""
    weight = probe(path)
    assert weight is not None
    square = np.square(predicted.astype(np.float64) - test.y)
    amplitude, phase = np.sqrt((square * weight).sum(axis=(2, 3)).mean(axis=0))
    return {"amplitude rms in the beam": float(amplitude), "phase rms in the beam, rad": float(phase)}


def parameters(test: Part, predicted: NDArray[np.float32], _: Path) -> dict[str, float]:
    """Root mean square error over the spread of the truth, the mean over parameters."""
    error = np.sqrt(np.square(predicted.astype(np.float64) - test.y).mean(axis=0))
    return {"rms / spread": float((error / test.y.std(axis=0)).mean())}


def chi(test: Part, predicted: NDArray[np.float32], _: Path) -> dict[str, float]:
    """Mean over samples of chi: the relative L2 error of the magnitudes that the object diffracts."""
    found = [
        chi_squared(torch.from_numpy(predicted[n : n + _AT_ONCE]), torch.from_numpy(test.x[n : n + _AT_ONCE]))
        for n in range(0, len(predicted), _AT_ONCE)
    ]
    return {"chi of magnitudes": float(torch.cat(found).sqrt().mean())}


JUDGES: dict[str, Judge] = {"relative": relative, "lit": lit, "parameters": parameters, "chi": chi}
