"""Random fields with a power-law spectrum, of any size: a Gaussian one, and its exponential."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Field32 = NDArray[np.float32]

TURBULENT = -11 / 3
"""Power of the spectrum of a turbulent field in three dimensions."""

COSMIC = -2.4
CONTRAST = 1.5
"""Standard deviation of the logarithm of `lognormal`."""


def gaussian(size: int, *, power: float = TURBULENT, seed: int = 20241126) -> Field32:
    """Return a periodic Gaussian field, float32, shape (size, size, size), with spectrum k**power.

    Its mean is 0 and its standard deviation 1. The same arguments give the same bits on one machine.
    """
    noise = np.random.default_rng(seed).standard_normal((size,) * 3, dtype=np.float32)
    modes = np.fft.rfftn(noise)
    del noise
    full, half = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    for plane, kz in zip(modes, full, strict=True):
        k2 = kz**2 + full[:, None] ** 2 + half[None, :] ** 2
        plane *= np.power(np.where(k2 > 0, k2, 1.0), power / 4)
    modes[0, 0, 0] = 0
    field = np.fft.irfftn(modes, s=(size,) * 3, axes=(0, 1, 2))
    del modes
    deviation = float(np.sqrt(np.mean(np.square(field[::4, ::4, ::4]), dtype=np.float64)))
    scaled: Field32 = np.multiply(field, 1 / deviation, dtype=np.float32, casting="same_kind")
    return scaled


def lognormal(size: int) -> Field32:
    """Return a positive field like a density of matter: the exponential of a Gaussian field, in place."""
    field = gaussian(size, power=COSMIC)
    np.multiply(field, CONTRAST, out=field)
    return np.exp(field, out=field)


def cube(folder: Path, size: int) -> Field32:
    """Return `gaussian` of ``size`` as a read-only map of its file in ``folder``, made where it is absent."""
    path = folder / f"gaussian-{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished.npy")
        np.save(unfinished, gaussian(size))
        unfinished.replace(path)
    mapped: Field32 = np.load(path, mmap_mode="r")
    return mapped
