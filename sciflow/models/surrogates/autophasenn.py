"""AutoPhaseNN: a 3-D Bragg diffraction pattern to amplitude and phase of the crystal, learned without either.

```
x (B, 1, n, n, n) ─ magnitudes over their maximum ─ encoder ─┬─ decoder ─ sigmoid ─ threshold ─┐
   (conv act norm) x 2, pool; ``levels`` times               └─ decoder ─ pi tanh ─────────────┤
prediction (B, 2, n, n, n): amplitude, phase ◀─ zeros around, from n/2 to n ◀──────────────────┘
loss: |FFT(prediction)|, scaled, against the magnitudes of x itself
```
Yao et al., "AutoPhaseNN: unsupervised physics-aware deep learning of 3D nanoscale Bragg coherent diffraction
imaging", npj Computational Materials 8, 124 (2022): figure 1 and methods. Convolutions are 3-wide, with leaky
ReLU of slope 0.01 and batch normalisation; the threshold of the support is 0.1; the loss is a mean absolute
error of magnitudes. The arrangement (``width`` times 1, 2, 4, 8 channels; decoders one upsampling shorter, so
that the object fills half of each side) is that of the authors' PyTorch code
(github.com/YudongYao/AutoPhaseNN, ``PyTorch/AutoPhaseNN_model.py``).

Parameters at the paper's size (64^3 cells, ``width=32, levels=4``): 7,003,106; we know of none in the paper.

Ours: the error is relative and the scale of the estimate is that of least squares, so that data may be on
any scale (theirs have the scale of the simulation), and the input is divided by its maximum. An object is
known up to a constant phase, a shift and its twin, ``conj(rho(-r))``: these diffract alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.surrogates.base import SampleSpec, Surrogate, check_choice, check_divisible
from sciflow.models.surrogates.blocks import NORMS, norm
from sciflow.models.surrogates.diffraction import magnitudes, misfit, padded, thresholded

__all__ = ["AutoPhaseNN", "Settings"]

_MAX_LEVELS = 7
_SLOPE = 0.01
_POWERS = {"absolute": 1, "squared": 2}


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `AutoPhaseNN`.

    Parameters
    ----------
    width : int
        Channels of the first level. The paper: 32.
    levels : int
        How often the encoder halves the sides. The authors' code: 4.
    threshold : float
        Amplitude below which a cell is outside of the object. The paper: 0.1.
    norm : str
        ``"batch"``, ``"group"``, ``"instance"`` or ``"none"``. The authors' code: batch.
    measured : str
        What the input is: ``"magnitude"``, or ``"intensity"``, its square.
    loss : str
        ``"absolute"``, as the paper, or ``"squared"``: chi squared.

    Raises
    ------
    InvalidArgument
        If one is out of its domain.
    """

    width: int = 32
    levels: int = 4
    threshold: float = 0.1
    norm: str = "batch"
    measured: str = "magnitude"
    loss: str = "absolute"

    def __post_init__(self) -> None:
        if self.width < 1 or not 2 <= self.levels <= _MAX_LEVELS or not 0 <= self.threshold < 1:
            raise InvalidArgument(
                f"found {self}, expected width above 0, levels from 2 to {_MAX_LEVELS}, threshold in [0, 1)"
            )
        check_choice("norm", self.norm, NORMS)
        check_choice("measured", self.measured, ("magnitude", "intensity"))
        check_choice("loss", self.loss, tuple(_POWERS))


class AutoPhaseNN(Surrogate):
    """Diffraction to amplitude and phase, from diffraction alone; see the module.

    Raises
    ------
    InvalidArgument
        If the input is not (1, z, y, x) with sides that can be halved so often, or there is a target of
        another shape than (2, z, y, x): none is needed, and its values are not looked at.
    """

    settings_class = Settings
    about = "a 3-D Bragg diffraction pattern to amplitude and phase, unsupervised through the forward model"
    paper = "Yao et al., npj Computational Materials 8, 124 (2022)"
    takes = "input (1, z, y, x): magnitudes or intensities, their centre in the middle; no target"
    supervised = False

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        if len(spec.input) != 4 or spec.input[0] != 1:
            raise InvalidArgument(f"autophasenn: found an input of shape {spec.input}, expected (1, z, y, x)")
        if spec.target is not None and spec.target != (2, *spec.space):
            raise InvalidArgument(
                f"autophasenn: found a target of shape {spec.target}, expected none, or {(2, *spec.space)}"
            )
        check_divisible(spec, "autophasenn", 2**settings.levels, f"{settings.levels} levels halve them")
        self.encoder = nn.Sequential(*_encoder(settings))
        self.amplitude = nn.Sequential(*_decoder(settings))
        self.phase = nn.Sequential(*_decoder(settings))
        self.threshold = settings.threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return amplitude and phase, shape (batch, 2, z, y, x), of patterns, shape (batch, 1, z, y, x)."""
        measured = self.measured(x)
        encoded = self.encoder(measured / measured.amax((1, 2, 3, 4), keepdim=True).clamp_min(1e-30))
        amplitude = thresholded(torch.sigmoid(self.amplitude(encoded)), self.threshold)
        phase = math.pi * torch.tanh(self.phase(encoded))
        return padded(torch.cat([amplitude, phase], dim=1))

    def measured(self, x: Tensor) -> Tensor:
        """Return the magnitudes that an input holds."""
        return x.clamp_min(0).sqrt() if self.settings.measured == "intensity" else x

    def diffracted(self, prediction: Tensor) -> Tensor:
        """Return the magnitudes of a predicted object, shape (batch, 1, z, y, x), float32 or wider."""
        with torch.autocast(prediction.device.type, enabled=False):
            wide = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
            return magnitudes(wide[:, :1], wide[:, 1:])

    def loss(self, prediction: Tensor, x: Tensor, target: Tensor | None) -> Tensor:
        """Return the misfit of what the prediction diffracts to what was measured; `target` is not used."""
        estimate = self.diffracted(prediction)
        measured = self.measured(x).to(estimate.dtype)
        return misfit(estimate, measured, power=_POWERS[self.settings.loss]).mean()


def _encoder(settings: Settings) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 1
    for level in range(settings.levels):
        after = settings.width << level
        layers += [*_pair(before, after, settings.norm), nn.MaxPool3d(2)]
        before = after
    return layers


def _decoder(settings: Settings) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = settings.width << (settings.levels - 1)
    for level in reversed(range(settings.levels - 1)):
        after = settings.width << level
        up = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True)
        layers += [*_pair(before, after, settings.norm), up]
        before = after
    return [*layers, nn.Conv3d(before, 1, 3, padding=1)]


def _pair(before: int, after: int, kind: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv3d(channels, after, 3, padding=1), nn.LeakyReLU(_SLOPE), norm(kind, 3, after)]
    return layers
