"""A lognormal field like a density of matter, made on the spot: the GWLZ paper's scene, as far as it fits."""

from __future__ import annotations

import numpy as np

from bench.protocol import Array

__all__ = ["scene"]


def scene(size: int, seed: int = 1) -> dict[str, Array]:
    """Return a density, its logarithm and three fields that follow it, float32, shape (size, size, size).

    The logarithm is a Gaussian field of power spectrum k**-3.7 and standard deviation 1.5; the siblings are a
    temperature that goes with density**0.6, a velocity of the same waves, and a second component that follows
    the density with a scatter of its own.
    """
    rng = np.random.default_rng(seed)
    wave = np.fft.rfftn(rng.standard_normal((size,) * 3, dtype=np.float32))
    k = np.sqrt(sum(np.square(axis) for axis in np.ix_(*_frequencies(size))))
    k[0, 0, 0] = np.inf
    wave *= (k ** (-3.7 / 2)).astype(np.float32)
    gauss = _unit(np.fft.irfftn(wave))
    velocity = _unit(np.fft.irfftn(1j * wave / k * (np.fft.fftfreq(size)[:, None, None] * size)))
    own = np.fft.rfftn(rng.standard_normal((size,) * 3, dtype=np.float32)) * (k ** (-3.7 / 2))
    scatter = _unit(np.fft.irfftn(own))
    return {
        "density": np.exp(1.5 * gauss),
        "log density": 1.5 * gauss,
        "temperature": (1e4 * np.exp(0.9 * gauss + 0.2 * scatter)).astype(np.float32),
        "velocity": 200.0 * velocity,
        "dark matter": np.exp(1.5 * (0.95 * gauss + 0.3 * scatter)).astype(np.float32),
    }


def _frequencies(size: int) -> tuple[Array, Array, Array]:
    full = np.fft.fftfreq(size) * size
    return full, full, np.fft.rfftfreq(size) * size


def _unit(values: Array) -> Array:
    scaled: Array = ((values - values.mean()) / values.std()).astype(np.float32)
    return scaled
