"""Samples of a split as arrays in the file's units, and what a data set knows besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciflow.datasets.sources import Source
from sciflow.models.runs import Data

__all__ = ["Part", "part", "probe"]

Real = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One split.

    Parameters
    ----------
    x : ndarray, float32, shape (sample, channel, *space)
    y : ndarray, float32, shape (sample, channel, *space) or (sample, parameter)
    """

    x: Real
    y: Real


def part(source: Source, data: Data) -> Part:
    """Return all samples of a source."""
    taken: dict[str, Any] = source.take(np.arange(len(source)))
    ahead = data.config.layout != "samples"
    x = np.stack([taken[name][:, 0] if ahead else taken[name] for name in data.config.inputs], 1)
    wanted = [taken[name][:, 1] if ahead else taken[name] for name in data.targets]
    if data.is_field:
        return Part(x, np.stack(wanted, 1))
    return Part(x, np.concatenate([values.reshape(len(values), -1) for values in wanted], 1))


def probe(path: Path) -> NDArray[np.float64] | None:
    """Return the beam's intensity, shape (y, x), its sum 1; None of a file without a beam."""
    with xr.open_dataset(path) as stored:
        if "probe_amplitude" not in stored:
            return None
        intensity = np.square(stored["probe_amplitude"].to_numpy().astype(np.float64))
    normal: NDArray[np.float64] = intensity / intensity.sum()
    return normal
