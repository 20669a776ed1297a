"""Fourier neural operator: a field to a field through its lowest Fourier modes, 2-D and 3-D.

```
x (+ coordinates) ─ lift 1x1 ─▶ (B, width, *space) ─ layer ... layer ─▶ 1x1 act 1x1 ─▶ prediction

layer:  v ─┬─ real FFT ─ modes below the cut times R ─ inverse ─┬─ + ─ act (not after the last) ─▶
           └─ 1x1 ──────────────────────────────────────────────┘
```
Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations", ICLR 2021,
arXiv:2010.08895, section 4 (figure 2: the layer) and section 5 (``width=32, modes=12`` and four layers in
2-D). R is complex, for each mode a matrix of channels to channels, and its own for every corner of the
spectrum that a real FFT keeps. The loss is the paper's relative L2 error, a mean over samples.

Parameters count a complex number as two. The paper's table 1 states 6,558,537 for FNO-3D and 414,517 for
FNO-2D. Ours at ``modes=8, width=20`` with 10 channels have 6,558,377 and 414,357: each 160 less, which are
the scales and offsets of the batch normalisation that the authors' code had then. At the default
``modes=12, width=32`` on a 2-D field of one channel: 2,368,001.

Ours: R is drawn from a normal distribution that keeps the size of what all modes carry; GELU, as in the
authors' code, where the paper has ReLU. The spectral part is float32 (or float64) under autocast. It runs on
finer grids than it was trained on. Without coordinates and padding it commutes with every shift of a periodic
domain; a domain that is not periodic wants ``padding``, zeros that are cut off again.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.surrogates.base import LOSSES, SampleSpec, Surrogate, check_choice, check_fields
from sciflow.models.surrogates.blocks import ACTIVATIONS, CONVOLUTIONS

__all__ = ["FNO", "Settings", "SpectralConvolution"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `FNO`.

    Parameters
    ----------
    modes : int or tuple of int
        Modes kept along each axis, at most half of the cells. The paper: 12 in 2-D.
    width : int
        Channels inside. The paper: 32 in 2-D.
    layers : int
        The paper: 4.
    projection : int
        Channels between the last two convolutions, as in the authors' code.
    coordinates : bool
        Give the network its place along each axis, from 0 to 1, besides the input.
    padding : int
        Cells of zeros behind each axis while inside: for domains that are not periodic.
    activation : str
        ``"gelu"``, ``"relu"`` or ``"silu"``.
    loss : str
        ``"relative"``, ``"squared"`` or ``"absolute"``.

    Raises
    ------
    InvalidArgument
        If one is out of its domain.
    """

    modes: int | tuple[int, ...] = 12
    width: int = 32
    layers: int = 4
    projection: int = 128
    coordinates: bool = True
    padding: int = 0
    activation: str = "gelu"
    loss: str = "relative"

    def __post_init__(self) -> None:
        modes = (self.modes,) if isinstance(self.modes, int) else self.modes
        if not modes or not all(type(one) is int and one > 0 for one in modes):
            raise InvalidArgument(
                f"setting modes: found {self.modes!r}, expected a number above 0, or one an axis"
            )
        if min(self.width, self.layers, self.projection) < 1 or self.padding < 0:
            raise InvalidArgument(
                f"found {self}, expected width, layers and projection above 0 and padding from 0 on"
            )
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("loss", self.loss, tuple(LOSSES))


class SpectralConvolution(nn.Module):
    """Multiplies the lowest modes of a real field by a matrix each, and drops the others.

    Parameters
    ----------
    before, after : int
        Channels.
    modes : tuple of int
        Kept along each axis: wave numbers below it in size; of the last axis, from 0 on.
    """

    def __init__(self, before: int, after: int, modes: tuple[int, ...]) -> None:
        super().__init__()
        *others, last = modes
        kept = (*(2 * one for one in others), last)
        self.shape = (before, after, *kept)
        # Real and imaginary part on the last axis: complex parameters are not taken everywhere. Three axes:
        # parameters of four and five change their layout with ``to(memory_format=...)``.
        weight = torch.randn(before * after, math.prod(kept), 2) / math.sqrt(2 * before)
        self.weight = nn.Parameter(weight)
        ends = [(slice(None, one), slice(-one, None)) for one in others]
        self.corners: list[Any] = [(..., *corner, slice(None, last)) for corner in itertools.product(*ends)]

    def forward(self, x: Tensor) -> Tensor:
        """Return a field, shape (batch, after, *space), of `x`, shape (batch, before, *space)."""
        axes = tuple(range(2, x.ndim))
        spectrum = torch.fft.rfftn(x, dim=axes)
        weight = torch.view_as_complex(self.weight).reshape(self.shape)
        shape = (len(x), weight.shape[1], *spectrum.shape[2:])
        product = torch.zeros(shape, dtype=spectrum.dtype, device=x.device)
        for corner in self.corners:
            product[corner] = torch.einsum("bi...,io...->bo...", spectrum[corner], weight[corner])
        found: Tensor = torch.fft.irfftn(product, s=x.shape[2:], dim=axes)
        return found


class FNO(Surrogate):
    """Field to field; see the module.

    Raises
    ------
    InvalidArgument
        If the target is no field on the same cells, or more modes are asked for than there are.
    """

    settings_class = Settings
    about = "a field to a field on the same cells, by Fourier modes"
    paper = "Li et al., ICLR 2021, arXiv:2010.08895"
    takes = "input (C, y, x) or (C, z, y, x), target (C', y, x) or (C', z, y, x)"

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        target = check_fields(spec, "fno", ranks=(2, 3))
        modes = _modes(spec, settings)
        axes, width = len(spec.space), settings.width
        conv = CONVOLUTIONS[axes]
        self.coordinates, self.padding = settings.coordinates, settings.padding
        self.lift = conv(spec.input[0] + axes * settings.coordinates, width, 1)
        self.spectral = nn.ModuleList(
            SpectralConvolution(width, width, modes) for _ in range(settings.layers)
        )
        self.pointwise = nn.ModuleList(conv(width, width, 1) for _ in range(settings.layers))
        self.act = ACTIVATIONS[settings.activation]()
        self.project = nn.Sequential(
            conv(width, settings.projection, 1),
            ACTIVATIONS[settings.activation](),
            conv(settings.projection, target[0], 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the target's prediction, shape (batch, C', *space), of `x`, shape (batch, C, *space)."""
        space = x.shape[2:]
        v = self.lift(torch.cat([x, *_coordinates(x)], dim=1) if self.coordinates else x)
        if self.padding:
            v = nn.functional.pad(v, (0, self.padding) * len(space))
        for number, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True), 1):
            v = _in_full(spectral, v) + pointwise(v)
            v = v if number == len(self.spectral) else self.act(v)
        if self.padding:
            v = v[(..., *(slice(None, side) for side in space))]
        found: Tensor = self.project(v)
        return found


def _in_full(spectral: nn.Module, v: Tensor) -> Tensor:
    with torch.autocast(v.device.type, enabled=False):
        found: Tensor = spectral(v.to(torch.promote_types(v.dtype, torch.float32)))
    return found


def _coordinates(x: Tensor) -> list[Tensor]:
    """Places in [0, 1) along each axis, each of shape (batch, 1, *space)."""
    space = x.shape[2:]
    made = []
    for axis, side in enumerate(space):
        place = torch.arange(side, dtype=x.dtype, device=x.device) / side
        view = [1] * x.ndim
        view[axis + 2] = side
        made.append(place.reshape(view).expand(len(x), 1, *space))
    return made


def _modes(spec: SampleSpec, settings: Settings) -> tuple[int, ...]:
    axes = len(spec.space)
    modes = (settings.modes,) * axes if isinstance(settings.modes, int) else settings.modes
    most = tuple((side + settings.padding) // 2 for side in spec.space)
    if len(modes) != axes or any(one > limit for one, limit in zip(modes, most, strict=False)):
        raise InvalidArgument(
            f"fno: found modes {settings.modes} for sides {spec.space}, expected one or {axes} numbers, "
            f"at most half the cells of each axis: {most}"
        )
    return modes
