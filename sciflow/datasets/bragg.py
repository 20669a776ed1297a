"""Bragg coherent diffraction: strained crystals and the three-dimensional pattern around a Bragg peak.

```
(seed, number) ─▶ half-spaces ─▶ amplitude A ─┐
                  strain, dislocation ─▶ φ ──┴─ A exp(iφ) ─ settled ─▶ |F|² ─ Poisson ─▶ √counts
```
The phase is that of the lattice's displacement along the scattering vector, φ = Q·u: Robinson and Harder,
"Coherent X-ray diffraction imaging of strain at the nanoscale", Nature Materials 8, 2009. A dislocation with
Q·b = 2 pi is a vortex of the phase: Clark et al., "Three-dimensional imaging of dislocation propagation
during crystal growth and dissolution", Nature Materials 14, 2015. Sets of such crystals train AutoPhaseNN:
Yao et al., "AutoPhaseNN: unsupervised physics-aware deep learning of 3D nanoscale Bragg coherent diffraction
imaging", npj Comput. Mater. 8, 2022 (arXiv:2109.14053).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets import sampling
from sciflow.datasets.cf import GLOBAL_ATTRIBUTES, axis, describe
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Parameters", "crystal", "draw", "pattern", "settled", "shape", "simulate", "template"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

FACETS = (8, 16)
"""Half-spaces that cut a crystal beside its six limits: the fewest, and one more than the most."""

DISTANCES = (0.4, 0.95)
"""Of a facet from the middle, over the largest half width."""

CORE = 1.5
"""Voxels around a dislocation within which the amplitude falls to 0."""

MOST_PHOTONS = 1e12


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the samples depend on; every value is checked when the object is made.

    Attributes
    ----------
    samples : int
        Crystals.
    size : int
        Voxels a side, even, at least 16.
    oversampling : float
        `size` over the largest width of a crystal along each axis, at least 2: with less, a pattern does not
        fix its crystal.
    edge : float
        Voxels over which the amplitude rises inside the surface.
    strain : float
        Largest standard deviation of the strain's phase, radians: drawn evenly from 0 to it for each crystal.
    strain_length : float
        Voxels over which the strain is correlated.
    dislocations : float
        Share of the crystals that have one.
    photons : float
        In the whole pattern.
    seed : int
        Of all samples.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    samples: int
    size: int
    oversampling: float
    edge: float
    strain: float
    strain_length: float
    dislocations: float
    photons: float
    seed: int

    def __post_init__(self) -> None:
        sampling.numbers(self)
        require(self.size >= 16 and self.size % 2 == 0, "size", self.size, "an even number, at least 16")
        most = self.size / 6
        many = f"from 2 to size / 6 = {most:g}, so that a crystal is 6 voxels wide"
        require(2 <= self.oversampling <= most, "oversampling", self.oversampling, many)
        require(0 < self.edge <= 3, "edge", self.edge, "above 0, at most 3 voxels")
        require(0 <= self.strain < np.inf, "strain", self.strain, "a finite number, at least 0")
        long = "at least 1 voxel, at most size"
        require(1 <= self.strain_length <= self.size, "strain_length", self.strain_length, long)
        require(0 <= self.dislocations <= 1, "dislocations", self.dislocations, "from 0 to 1")
        few = f"above 0, at most {MOST_PHOTONS:g}"
        require(0 < self.photons <= MOST_PHOTONS, "photons", self.photons, few)


def _axes(size: int) -> tuple[Real, Real, Real]:
    """Return z, y and x of the voxels from the middle, ready to broadcast."""
    r = np.arange(size, dtype=np.float64) - size // 2
    return r[:, None, None], r[:, None], r


def _along(direction: Real, r: Sequence[Real]) -> Real:
    """Return how far the voxels at ``r`` lie along ``direction``, shape (z, y, x)."""
    distance: Real = direction[0] * r[0] + direction[1] * r[1] + direction[2] * r[2]
    return distance


def shape(parameters: Parameters, rng: np.random.Generator) -> Real:
    """Return the amplitude of a random convex crystal, float64 in [0, 1], shape (z, y, x).

    An intersection of half-spaces; 0 outside it, and 1 from `edge` voxels inside its surface on.
    """
    half = int(parameters.size / parameters.oversampling) / 2
    count = int(rng.integers(*FACETS))
    normals = rng.standard_normal((count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distances = half * rng.uniform(*DISTANCES, count)
    r = _axes(parameters.size)
    depth = half - np.maximum(np.maximum(*map(np.abs, r[:2])), np.abs(r[2]))
    for normal, distance in zip(normals, distances, strict=True):
        np.minimum(depth, distance - _along(normal, r), out=depth)
    rise = np.clip(depth / parameters.edge, 0, 1)
    amplitude: Real = rise * rise * (3 - 2 * rise)
    return amplitude


def crystal(parameters: Parameters, rng: np.random.Generator) -> Complex:
    """Return a strained crystal, complex128, shape (z, y, x): its amplitude and the phase Q·u."""
    amplitude = shape(parameters, rng)
    phase = _strain(parameters, rng)
    if rng.random() < parameters.dislocations:
        vortex, core = _dislocation(parameters, rng)
        phase, amplitude = phase + vortex, amplitude * core
    strained: Complex = amplitude * np.exp(1j * phase)
    return strained


def _strain(parameters: Parameters, rng: np.random.Generator) -> Real:
    """Return a Gaussian field of correlation exp(-r² / (2 L²)), of a standard deviation that is drawn."""
    n, length = parameters.size, parameters.strain_length
    k = 2 * np.pi * np.fft.fftfreq(n)
    k2 = k[:, None, None] ** 2 + k[:, None] ** 2 + np.abs(k[: n // 2 + 1]) ** 2
    # The power spectrum is the transform of the correlation; its root colours the noise.
    amplitude = np.exp(-k2 * length**2 / 4) * (np.sqrt(2 * np.pi) * length) ** 1.5
    noise = np.fft.rfftn(rng.standard_normal((n,) * 3))
    field: Real = np.fft.irfftn(noise * amplitude, s=(n,) * 3, axes=(0, 1, 2))
    return rng.uniform(0, parameters.strain) * field


def _dislocation(parameters: Parameters, rng: np.random.Generator) -> tuple[Real, Real]:
    """Return the phase around a random line, and the amplitude's share that its core leaves."""
    directions, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    middle = rng.uniform(-0.25, 0.25, 3) * parameters.size / parameters.oversampling
    r = [each - start for each, start in zip(_axes(parameters.size), middle, strict=True)]
    a, b = (_along(direction, r) for direction in directions[:2])
    return np.arctan2(b, a), np.clip(np.hypot(a, b) / CORE, 0, 1)


def settled(strained: Complex) -> Complex:
    """Return the crystal that has the same pattern, with what the pattern cannot tell fixed.

    The peak is at wave number 0; the centre of mass is in the middle, to half a voxel; the phase of the sum
    is 0; of the crystal and its twin, conjugate and mirrored, it is the one that leans to higher indices: the
    amplitude's third moment along the diagonal, about the middle, is not negative.
    """
    n = len(strained)
    r = _axes(n)
    weight = np.abs(strained)
    shift = [-round(float((weight * along).sum() / weight.sum())) for along in r]
    placed = np.roll(strained, shift, axis=(0, 1, 2))
    if float((np.abs(placed) * _along(np.ones(3), r) ** 3).sum()) < 0:
        placed = np.conj(np.roll(placed[::-1, ::-1, ::-1], 1, axis=(0, 1, 2)))
    spectrum = np.abs(np.fft.fftn(placed))
    peak = np.array(np.unravel_index(int(spectrum.argmax()), spectrum.shape), np.float64)
    placed = placed * np.exp(-2j * np.pi / n * _along(peak, r))
    total = placed.sum()
    fixed: Complex = placed * np.conj(total) / abs(total)
    return fixed


def pattern(strained: Complex, photons: float) -> Real:
    """Return the mean number of photons in each voxel, their sum ``photons``, wave number 0 in the middle."""
    intensity = np.square(np.abs(np.fft.fftshift(np.fft.fftn(strained))))
    scaled: Real = intensity * (photons / intensity.sum())
    return scaled


def draw(parameters: Parameters, number: int) -> dict[str, NDArray[np.float32]]:
    """Return sample ``number``: diffraction, amplitude and phase, float32, shape (z, y, x)."""
    rng = sampling.generator(parameters, number)
    strained = settled(crystal(parameters, rng))
    counts = rng.poisson(pattern(strained, parameters.photons))
    amplitude = np.abs(strained)
    phase = np.where(amplitude > 0, np.angle(strained), 0.0)
    return {
        "diffraction": np.sqrt(counts).astype(np.float32),
        "amplitude": amplitude.astype(np.float32),
        "phase": phase.astype(np.float32),
    }


def template(parameters: Parameters) -> xr.Dataset:
    """Return the data set without its samples."""
    import xarray as xr

    edges = np.arange(parameters.size + 1, dtype=np.float64) - 0.5 - parameters.size // 2
    coordinates: dict[str, Any] = {}
    for name in ("z", "y", "x"):
        about = {"units": "1", "long_name": f"voxels from the middle along {name}", "axis": name.upper()}
        coordinates |= axis(name, edges, about)
    empty = np.empty((0, *(parameters.size,) * 3), np.float32)
    variables = {name: (("sample", "z", "y", "x"), empty, about) for name, about in _FIELDS.items()}
    return xr.Dataset(variables, coordinates, {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT})


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return all samples as a CF data set: diffraction, amplitude and phase, float32, (sample, z, y, x).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every sample.
    """
    return sampling.in_memory(sys.modules[__name__], parameters, progress)


_SOURCE = "sciflow.datasets.bragg: strained convex crystals, kinematic far field, Poisson noise"
_COMMENT = (
    "diffraction is the square root of the counted photons, its voxels those of reciprocal space, the peak "
    "in the middle; the phase is 0 outside of the crystal."
)
_FIELDS = {
    "diffraction": describe("1", "square root of the number of photons"),
    "amplitude": describe("1", "amplitude of the crystal's electron density"),
    "phase": describe(
        "radian", "phase of the crystal: displacement of the lattice along the scattering vector"
    ),
}
