"""Power against wavenumber: what of each scale is left.

```
field ── mean off ── window ── FFT ── |.|^2 ── mean over shells of |k| ─▶ Spectrum(wavenumber, power, modes)
```
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sciflow.errors import InvalidArgument
from sciflow.physics.cells import Floats, arrays, planes

__all__ = [
    "Spectrum",
    "Window",
    "agreeing_wavenumber",
    "log_spectral_distance",
    "power_spectrum",
    "spectrum_ratio",
]

Window = Literal["periodic", "hann"]

_LEAST_POWER = 1e-24
"""Of the largest; below it a power is rounding, and is not compared."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Radially averaged power.

    Parameters
    ----------
    wavenumber : ndarray, float64, shape (n,)
        Middles of shells, in cycles per unit of the spacing (times 2 pi: radians).
    power : ndarray, float64, shape (n,)
        Mean square of a mode, in the unit of the data squared.
    modes : ndarray, int64, shape (n,)
        Modes of a shell. ``power * modes`` summed is the variance of what the shells hold.
    """

    wavenumber: Floats
    power: Floats
    modes: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def energy(self) -> Floats:
        """Power of whole shells: what turbulence calls E(k), as variance a shell."""
        return np.asarray(self.power * self.modes)


def power_spectrum(
    field: ArrayLike,
    *,
    space: int = 2,
    spacing: float | Sequence[float] = 1.0,
    window: Window = "periodic",
) -> Spectrum:
    """Radially averaged power spectrum over the last axes, mean over all others.

    Shells are as wide as the coarsest step of wavenumber of the axes, and end where the first axis ends
    (its Nyquist wavenumber): corners beyond hold some directions only.

    Parameters
    ----------
    field : array_like, any real dtype, shape (..., [[z,] y,] x)
        Missing cells are set to the mean of the others, which takes power from all scales alike.
    space : {1, 2, 3}
        Axes of space.
    spacing : float or sequence of float
        Distance of cells along each axis of space, in any unit of length.
    window : {"periodic", "hann"}
        ``"hann"`` where the field is no period of a periodic one: the border would be a jump, which has power
        at all wavenumbers. The window's loss of power is made up for.

    Raises
    ------
    InvalidArgument
        If there are fewer axes, or one of less than 4 cells.

    References
    ----------
    Press et al., Numerical Recipes, 3rd ed., section 13.4 (windows); Pope, Turbulent Flows, section 6.5.

    Examples
    --------
    >>> x = np.arange(64) / 64
    >>> found = power_spectrum(np.sin(2 * np.pi * 5 * x) * np.ones((64, 1)), spacing=1 / 64)
    >>> round(float(found.wavenumber[found.energy.argmax()])), round(float(found.energy.sum()), 6)
    (5, 0.5)
    """
    values = np.asarray(field, np.float64)
    stack = planes(values, space)
    sides = stack.shape[1:]
    if min(sides) < 4:
        raise InvalidArgument(f"a field of {sides} cells: expected 4 or more along each axis")
    steps = _steps(spacing, space)
    taper = _taper(sides, window)
    power = np.zeros((*sides[:-1], sides[-1] // 2 + 1))
    for plane in stack:
        power += np.abs(np.fft.rfftn(_whole(plane) * taper)) ** 2
    power /= len(stack) * math.prod(sides) ** 2 * np.mean(taper**2)
    return _shells(power, sides, steps)


def spectrum_ratio(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    space: int = 2,
    spacing: float | Sequence[float] = 1.0,
    window: Window = "periodic",
) -> tuple[Floats, Floats]:
    """Wavenumbers, and the candidate's power over the reference's there; NaN where there is none.

    A cell that is missing in one array is taken out of both.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape (..., [[z,] y,] x)
        Fields.
    space, spacing, window
        As for `power_spectrum`.

    Raises
    ------
    InvalidArgument
        As for `power_spectrum`, or if shapes differ.
    """
    x, y = _both(reference, candidate)
    of_x = power_spectrum(x, space=space, spacing=spacing, window=window)
    of_y = power_spectrum(y, space=space, spacing=spacing, window=window)
    known = of_x.power > _LEAST_POWER * max(of_x.power.max(), np.finfo(np.float64).tiny)
    return of_x.wavenumber, np.where(known, of_y.power / np.where(known, of_x.power, 1.0), np.nan)


def log_spectral_distance(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    space: int = 2,
    spacing: float | Sequence[float] = 1.0,
    window: Window = "periodic",
) -> float:
    """Root mean square over wavenumbers of the spectra's ratio in dB; 0 where they agree.

    Parameters
    ----------
    reference, candidate, space, spacing, window
        As for `spectrum_ratio`.

    References
    ----------
    Gray & Markel, IEEE Trans. Acoustics, Speech and Signal Processing 24(5):380, 1976.
    """
    _, ratio = spectrum_ratio(reference, candidate, space=space, spacing=spacing, window=window)
    known = ratio[np.isfinite(ratio)]
    if not len(known):
        return math.nan
    if not known.min() > 0.0:
        return math.inf
    return float(np.sqrt(np.mean((10.0 * np.log10(known)) ** 2)))


def agreeing_wavenumber(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    space: int = 2,
    spacing: float | Sequence[float] = 1.0,
    window: Window = "periodic",
    tolerance: float = 0.01,
) -> float:
    """Largest wavenumber up to which the spectra's ratio is within 1 +- tolerance; 0 where it never is.

    Parameters
    ----------
    reference, candidate, space, spacing, window
        As for `spectrum_ratio`.
    tolerance : float
        A hundredth is what cosmologists ask of a matter power spectrum.

    Returns
    -------
    float
        In cycles per unit of the spacing.

    References
    ----------
    Jin et al., Understanding GPU-based lossy compression for extreme-scale cosmological simulations, IPDPS
    2020: a "pk ratio" within 1 +- 0.01.
    """
    wavenumber, ratio = spectrum_ratio(reference, candidate, space=space, spacing=spacing, window=window)
    off = np.flatnonzero(np.abs(ratio - 1.0) > tolerance)
    good = len(wavenumber) if not len(off) else int(off[0])
    return float(wavenumber[good - 1]) if good else 0.0


def _both(reference: ArrayLike, candidate: ArrayLike) -> tuple[Floats, Floats]:
    x, y = arrays(reference, candidate)
    known = np.isfinite(x) & np.isfinite(y)
    return (x, y) if known.all() else (np.where(known, x, np.nan), np.where(known, y, np.nan))


def _whole(plane: Floats) -> Floats:
    """Deviations from the mean; 0 where the field has no value."""
    finite = np.isfinite(plane)
    if not finite.any():
        return np.zeros(plane.shape)
    return np.where(finite, plane - plane[finite].mean(), 0.0)


def _steps(spacing: float | Sequence[float], space: int) -> tuple[float, ...]:
    steps = (float(spacing),) * space if np.isscalar(spacing) else tuple(map(float, spacing))  # type: ignore[arg-type]
    if len(steps) != space or not all(0.0 < step < math.inf for step in steps):
        raise InvalidArgument(f"spacing {spacing}: expected one number above 0, or {space} of them")
    return steps


def _taper(sides: Sequence[int], window: Window) -> Floats:
    if window not in ("periodic", "hann"):
        raise InvalidArgument(f"window {window!r}: expected 'periodic' or 'hann'")
    taper = np.ones(tuple(sides))
    if window == "hann":
        for axis, side in enumerate(sides):
            line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
            taper *= line.reshape([-1 if each == axis else 1 for each in range(len(sides))])
    return taper


def _shells(power: Floats, sides: Sequence[int], steps: Sequence[float]) -> Spectrum:
    axes = [np.fft.fftfreq(n, d) for n, d in zip(sides, steps, strict=True)]
    axes[-1] = np.fft.rfftfreq(sides[-1], steps[-1])
    length = np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij", sparse=True)))
    width = max(1.0 / (n * d) for n, d in zip(sides, steps, strict=True))
    last = math.floor(min(0.5 / d for d in steps) / width + 1e-9)
    # Q: why doubled? A: the half that a real FFT leaves out mirrors this one, but for the two end planes.
    twice = np.full(axes[-1].shape, 2.0)
    twice[0] = 1.0
    if sides[-1] % 2 == 0:
        twice[-1] = 1.0
    shell = np.rint(length / width).astype(np.int64).ravel()
    count = np.broadcast_to(twice, power.shape).ravel()
    modes = np.bincount(shell, count, minlength=last + 1)[1 : last + 1]
    total = np.bincount(shell, count * power.ravel(), minlength=last + 1)[1 : last + 1]
    wavenumber = width * np.arange(1, last + 1)
    return Spectrum(
        np.asarray(wavenumber, np.float64), np.asarray(total / modes, np.float64), modes.astype(np.int64)
    )
