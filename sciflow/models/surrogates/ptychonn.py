"""PtychoNN: one diffraction pattern to amplitude and phase of the object where the beam was.

```
x (B, 1, y, x) ─ encoder ─┬─ decoder ─ sigmoid ─▶ amplitude in (0, 1)    ─┐
 conv conv pool, 3 times  └─ decoder ─ pi tanh ─▶ phase in (-pi, pi)     ─┴▶ (B, 2, y, x)
                             conv conv up, 3 times, conv
```
Cherukara et al., "AI-enabled high-resolution scanning coherent diffraction imaging", Applied Physics Letters
117, 044103 (2020): the network is its figure 1. Convolutions are 3-wide with ReLU; the encoder has ``width``
times 1, 2, 4 channels, a decoder 4, 2, 2. The loss is the sum of the mean absolute errors of amplitude and
phase.

Parameters at the paper's size (64 x 64, ``width=32``): 1,247,074. The authors' PyTorch code
(github.com/mcherukara/PtychoNN, ``PyTorch/CNN_encoder_decoder``) has as many.

Ours: other widths, depths, sides and scales (the defaults are the paper's); weights start as He et al. draw
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.surrogates.base import (
    SampleSpec,
    Surrogate,
    absolute,
    check_divisible,
    check_fields,
)
from sciflow.models.surrogates.blocks import scaled

__all__ = ["PtychoNN", "Settings"]

_MAX_LEVELS = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `PtychoNN`.

    Parameters
    ----------
    width : int
        Channels of the first level. The paper: 32.
    levels : int
        How often the sides are halved. The paper: 3.
    scale : float
        What patterns are divided by: about their standard deviation, where they come as they are
        (``normalise = "none"``, so that amplitude and phase keep their ranges).

    Raises
    ------
    InvalidArgument
        If a number is out of its domain.
    """

    width: int = 32
    levels: int = 3
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or not 1 <= self.levels <= _MAX_LEVELS or not 0 < self.scale < math.inf:
            raise InvalidArgument(
                f"found {self}, expected width and scale above 0 and levels from 1 to {_MAX_LEVELS}"
            )


class PtychoNN(Surrogate):
    """Diffraction to amplitude and phase; see the module.

    Raises
    ------
    InvalidArgument
        If the input is not (1, y, x) with sides that can be halved, or the target not (2, y, x).
    """

    settings_class = Settings
    about = "a diffraction pattern to amplitude and phase, supervised"
    paper = "Cherukara et al., Applied Physics Letters 117, 044103 (2020)"
    takes = "input (1, y, x), target (2, y, x): amplitude in [0, 1], phase in [-pi, pi]"

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        target = check_fields(spec, "ptychonn", ranks=(2,))
        if spec.input[0] != 1 or target[0] != 2:
            raise InvalidArgument(
                f"ptychonn: found {spec.input[0]} channels in and {target[0]} out, expected 1 (diffraction) "
                "and 2 (amplitude, phase)"
            )
        check_divisible(spec, "ptychonn", 2**settings.levels, f"{settings.levels} levels halve them")
        self.scale = settings.scale
        self.encoder = nn.Sequential(*_encoder(settings))
        self.amplitude = nn.Sequential(*_decoder(settings))
        self.phase = nn.Sequential(*_decoder(settings))
        scaled(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return amplitude and phase, shape (batch, 2, y, x), of patterns, shape (batch, 1, y, x)."""
        encoded = self.encoder(x / self.scale)
        amplitude = torch.sigmoid(self.amplitude(encoded))
        phase = math.pi * torch.tanh(self.phase(encoded))
        return torch.cat([amplitude, phase], dim=1)

    def loss(self, prediction: Tensor, x: Tensor, target: Tensor | None) -> Tensor:
        """Return the mean absolute error of the amplitude plus that of the phase."""
        found, wanted = self.matched(prediction, target)
        return absolute(found[:, 0], wanted[:, 0]) + absolute(found[:, 1], wanted[:, 1])


def _encoder(settings: Settings) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 1
    for level in range(settings.levels):
        after = settings.width << level
        layers += [*_pair(before, after), nn.MaxPool2d(2)]
        before = after
    return layers


def _decoder(settings: Settings) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = settings.width << (settings.levels - 1)
    for level in reversed(range(settings.levels)):
        after = settings.width << max(level, 1)
        layers += [*_pair(before, after), nn.Upsample(scale_factor=2, mode="bilinear")]
        before = after
    return [*layers, nn.Conv2d(before, 1, 3, padding=1)]


def _pair(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(),
    ]
