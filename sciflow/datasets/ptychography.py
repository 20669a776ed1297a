"""Ptychography: far-field diffraction of random objects behind a focused beam, with the noise of photons.

```
(seed, object) ─▶ two Gaussian fields ─▶ log amplitude, phase ─▶ O ─┐
aperture, central stop, aberrations ── F⁻¹ ──▶ probe P ─────────────┴─▶ |F[P O]|² ─ Poisson ─▶ √counts
```
The multiplicative thin-object model of Rodenburg and Faulkner, "A phase retrieval algorithm for shifting
illumination", Appl. Phys. Lett. 85, 2004; pairs of a pattern and its patch as for PtychoNN: Cherukara et al.,
"AI-enabled high-resolution scanning coherent diffraction imaging", Appl. Phys. Lett. 117, 2020
(arXiv:2004.08247). The square root makes the variance of counts some 1/4 everywhere: Anscombe, "The
transformation of Poisson, binomial and negative-binomial data", Biometrika 35, 1948.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets import sampling
from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Parameters", "draw", "object_of", "pattern", "probe", "simulate", "template"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

CENTRAL_STOP = 0.3
"""Of the aperture's radius, as of a zone plate."""

ASYMMETRY = 0.15
"""Astigmatism and coma over the defocus: the beam is not its own mirror image, an object not its twin."""

MOST_PHOTONS = 1e12


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the samples depend on; every value is checked when the object is made.

    Attributes
    ----------
    samples : int
        Diffraction patterns.
    size : int
        Pixels a side, even, at least 16.
    scan : int
        Beam positions a side on one object: `scan`² samples share an object. 1: every sample has its own.
    step : int
        Pixels from a position to the next, at most half of `size`.
    photons : float
        In the beam, for one pattern; the object absorbs some.
    aperture : float
        Radius of the beam's aperture on the detector over the detector's half, in (0, 1].
    defocus : float
        Phase at the aperture's edge, radians: the beam is wider by so much.
    grain : float
        Pixels of the largest structures.
    slope : float
        Power spectrum of phase and log amplitude: (1 + (size of `grain` times wave number)²)^(-slope / 2).
    phase_spread : float
        Standard deviation of the phase, radians, at most 1 so that it seldom leaves (-π, π].
    absorption, absorption_spread : float
        Mean and standard deviation of minus the logarithm of the amplitude; the second at most a third of the
        first. What would amplify is 0.
    correlation : float
        Of log amplitude and phase, in [-1, 1].
    seed : int
        Of all samples.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    samples: int
    size: int
    scan: int
    step: int
    photons: float
    aperture: float
    defocus: float
    grain: float
    slope: float
    phase_spread: float
    absorption: float
    absorption_spread: float
    correlation: float
    seed: int

    def __post_init__(self) -> None:
        sampling.numbers(self)
        require(self.size >= 16 and self.size % 2 == 0, "size", self.size, "an even number, at least 16")
        require(self.scan >= 1, "scan", self.scan, "an integer, at least 1")
        half = self.size // 2
        near = self.scan == 1 or self.step <= half
        require(
            self.step >= 1 and near, "step", self.step, f"from 1 to half of size, {half}: patches overlap"
        )
        few = f"above 0, at most {MOST_PHOTONS:g}"
        require(0 < self.photons <= MOST_PHOTONS, "photons", self.photons, few)
        require(0 < self.aperture <= 1, "aperture", self.aperture, "above 0, at most 1")
        require(np.isfinite(self.defocus), "defocus", self.defocus, "a finite number")
        require(2 <= self.grain <= self.size, "grain", self.grain, f"from 2 to size = {self.size}")
        require(0 < self.slope < np.inf, "slope", self.slope, "a finite number above 0")
        require(0 < self.phase_spread <= 1, "phase_spread", self.phase_spread, "above 0, at most 1")
        require(0 <= self.absorption < np.inf, "absorption", self.absorption, "a finite number, at least 0")
        third = "at least 0, at most a third of absorption"
        spread = self.absorption_spread
        require(0 <= 3 * spread <= self.absorption * (1 + 1e-9), "absorption_spread", spread, third)
        require(-1 <= self.correlation <= 1, "correlation", self.correlation, "from -1 to 1")


@lru_cache(maxsize=2)
def probe(parameters: Parameters) -> Complex:
    """Return the beam where it meets the object, complex128, shape (y, x); the sum of |P|² is `photons`."""
    n = parameters.size
    k = np.fft.fftfreq(n, 1 / n)
    radius = np.hypot(k[:, None], k[None, :]) / (parameters.aperture * n / 2)
    angle = np.arctan2(k[:, None], k[None, :])
    edge = parameters.aperture * n / 2  # the aperture falls over one pixel of the detector
    pupil = np.clip((1 - radius) * edge + 0.5, 0, 1) * np.clip((radius - CENTRAL_STOP) * edge + 0.5, 0, 1)
    uneven = 1 + ASYMMETRY * (np.cos(2 * angle) + np.cos(angle))
    bent = parameters.defocus * radius**2 * uneven
    beam: Complex = np.fft.fftshift(np.fft.ifft2(pupil * np.exp(1j * bent)))
    beam *= np.sqrt(parameters.photons / np.square(np.abs(beam)).sum())
    return beam


def pattern(patch: Complex, beam: Complex) -> Real:
    """Return the mean number of photons in each pixel, the beam's direction in the middle.

    Parameters
    ----------
    patch, beam : ndarray, complex128, shape (y, x)
        Object and probe in one window.

    Returns
    -------
    ndarray, float64, shape (y, x)
        |F[beam patch]|² of the orthonormal transform: its sum is that of |beam patch|².
    """
    amplitude = np.fft.fftshift(np.fft.fft2(beam * patch, norm="ortho"))
    intensity: Real = np.square(np.abs(amplitude))
    return intensity


@lru_cache(maxsize=4)
def object_of(parameters: Parameters, number: int) -> tuple[Real, Real]:
    """Return log amplitude and phase of object ``number``, float64, shape (y, x), as large as its scan.

    The log amplitude before what amplifies is taken to be 0.
    """
    rng = sampling.generator(parameters, number, 0)
    side = parameters.size + (parameters.scan - 1) * parameters.step
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    amplitude = (1 + (k * parameters.grain) ** 2) ** (-parameters.slope / 4)
    amplitude[0, 0] = 0.0
    inner = 1 + (side - 1) // 2  # every column but the first and, of an even side, the last stands for two
    power = 2 * np.square(amplitude).sum() - np.square(amplitude[:, 0]).sum()
    power -= np.square(amplitude[:, inner:]).sum()
    amplitude *= side / np.sqrt(power)
    first, second = (_coloured(rng, side, amplitude) for _ in range(2))
    rho = parameters.correlation
    mixed = rho * first + np.sqrt(1 - rho**2) * second
    return parameters.absorption_spread * mixed - parameters.absorption, parameters.phase_spread * first


def _coloured(rng: np.random.Generator, side: int, amplitude: Real) -> Real:
    noise = np.fft.rfft2(rng.standard_normal((side, side)))
    return np.fft.irfft2(noise * amplitude, s=(side, side))


def draw(parameters: Parameters, number: int) -> dict[str, NDArray[Any]]:
    """Return sample ``number``: diffraction, amplitude, phase, float32 (y, x), and the object's number."""
    owner, position = divmod(number, parameters.scan**2)
    log_amplitude, whole_phase = object_of(parameters, owner)
    row, column = (parameters.step * index for index in divmod(position, parameters.scan))
    window = slice(row, row + parameters.size), slice(column, column + parameters.size)
    amplitude, phase = np.exp(np.minimum(log_amplitude[window], 0)), whole_phase[window]
    beam = probe(parameters)
    light = np.square(np.abs(beam))
    phase = phase - (light * phase).sum() / light.sum()
    mean = pattern(amplitude * np.exp(1j * phase), beam)
    counts = sampling.generator(parameters, owner, 1 + position).poisson(mean)
    return {
        "diffraction": np.sqrt(counts).astype(np.float32),
        "amplitude": amplitude.astype(np.float32),
        "phase": phase.astype(np.float32),
        "object": np.array(owner, np.int32),
    }


def template(parameters: Parameters) -> xr.Dataset:
    """Return the data set without its samples: the beam, and what the variables are."""
    import xarray as xr

    edges = np.arange(parameters.size + 1, dtype=np.float64) - 0.5 - parameters.size // 2
    coordinates: dict[str, Any] = {}
    for name in ("y", "x"):
        about = {"units": "1", "long_name": f"pixels from the middle along {name}", "axis": name.upper()}
        coordinates |= axis(name, edges, about)
    beam = probe(parameters)
    empty = np.empty((0, parameters.size, parameters.size), np.float32)
    variables = {name: (("sample", "y", "x"), empty, about) for name, about in _FIELDS.items()}
    owner = describe("1", "number of the object; samples of one object overlap")
    return xr.Dataset(
        {
            **variables,
            "object": (("sample",), np.empty(0, np.int32), owner),
            "probe_amplitude": (("y", "x"), np.abs(beam).astype(np.float32), _BEAM["amplitude"]),
            "probe_phase": (("y", "x"), np.angle(beam).astype(np.float32), _BEAM["phase"]),
        },
        coordinates,
        {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT},
    )


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return all samples as a CF data set: diffraction, amplitude and phase, float32, (sample, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every sample.
    """
    return sampling.in_memory(sys.modules[__name__], parameters, progress)


_SOURCE = "sciflow.datasets.ptychography: thin objects behind a focused beam, far field, Poisson noise"
_COMMENT = (
    "diffraction is the square root of the counted photons, its pixels those of the detector (wave numbers), "
    "0 in the middle; the phase's mean, weighted with the beam's intensity, is 0."
)
_FIELDS = {
    "diffraction": describe("1", "square root of the number of photons"),
    "amplitude": describe("1", "amplitude of the object's transmission"),
    "phase": describe("radian", "phase of the object's transmission"),
}
_BEAM = {
    "amplitude": describe("1", "square root of the number of photons of the beam at the object"),
    "phase": describe("radian", "phase of the beam at the object"),
}
