"""Far-field diffraction of an object of known amplitude and phase, and how far it is from a measurement.

```
amplitude, phase (sides n/2) ─ threshold ─▶ support ─ pad with zeros to n ─▶ rho = A exp(i phi)
rho ─ FFT, zero wave number in the middle ─ | . | ─▶ magnitudes ─ times the best scale ─▶ error
```
Yao et al., npj Computational Materials 8, 124 (2022), figure 1b and methods: the object fills at most half of
every side (oversampling by two), what is below a threshold of its amplitude is outside of it, and the far
field is the modulus of its Fourier transform.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["chi_squared", "magnitudes", "misfit", "padded", "thresholded"]

_SPACE = (-3, -2, -1)


def thresholded(amplitude: Tensor, least: float) -> Tensor:
    """Return the amplitude with 0 where it is below `least`: the rest is the support."""
    return torch.where(amplitude < least, torch.zeros_like(amplitude), amplitude)


def padded(x: Tensor) -> Tensor:
    """Return `x` in the middle of zeros, twice as long along each of the last three axes; sides are even."""
    quarters = [half for side in reversed(x.shape[-3:]) for half in (side // 2, side // 2)]
    return torch.nn.functional.pad(x, quarters)


def magnitudes(amplitude: Tensor, phase: Tensor) -> Tensor:
    """Return ``|FFT(amplitude exp(i phase))|``, orthonormal, the zero wave number at index n // 2.

    Parameters
    ----------
    amplitude, phase : Tensor, float32|float64, shape (..., z, y, x)
        Phase in radians.
    """
    field = torch.polar(amplitude, phase)
    found: Tensor = torch.fft.fftshift(torch.fft.fftn(field, dim=_SPACE, norm="ortho"), dim=_SPACE).abs()
    return found


def misfit(estimate: Tensor, measured: Tensor, *, power: int = 1) -> Tensor:
    """Return, a sample, ``sum |s e - m|^p / sum m^p`` with the scale s of least squares.

    Parameters
    ----------
    estimate, measured : Tensor, shape (batch, ..., z, y, x)
        Magnitudes, on any scale each: ``s = sum e m / sum e^2``.
    power : int
        1, the mean absolute error that the paper trains with, or 2, the square of its chi.

    Returns
    -------
    Tensor, shape (batch,)
    """
    e, m = estimate.flatten(1), measured.flatten(1)
    tiny = torch.finfo(e.dtype).tiny
    scale = (e * m).sum(1, keepdim=True) / e.square().sum(1, keepdim=True).clamp_min(tiny)
    difference = (scale * e - m).abs() ** power
    found: Tensor = difference.sum(1) / (m**power).sum(1).clamp_min(tiny)
    return found


def chi_squared(prediction: Tensor, measured: Tensor) -> Tensor:
    """Return, a sample, the square of the relative error of the magnitudes that a predicted object diffracts.

    Parameters
    ----------
    prediction : Tensor, shape (batch, 2, z, y, x)
        Amplitude and phase, padded.
    measured : Tensor, shape (batch, 1, z, y, x)
        Magnitudes.
    """
    return misfit(magnitudes(prediction[:, 0], prediction[:, 1]), measured[:, 0], power=2)
