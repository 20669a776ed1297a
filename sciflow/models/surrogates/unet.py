"""U-Net: a field to a field on the same cells, from coarse to fine with what each level saw, 2-D and 3-D.

```
x ─ pair ──────────────── join ─ pair ─ 1x1 ─▶ (+ x) ─▶ prediction        pair: conv norm act conv norm act
     pool ─ pair ─ join ─ up                                              up: transposed, 2 wide, stride 2
             pool ─ pair ─ up                                             join: both, one behind the other
```
Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
arXiv:1505.04597, section 2 and figure 1; in 3-D as Cicek et al., arXiv:1606.06650. At the paper's size
(``width=64, depth=4``, 1 channel in, 2 out, ``norm="none"``) it has the paper's 23 convolutions and
31,030,658 parameters; the paper states no count. With the default norm there are 31,036,546: its scales and
offsets instead of the biases of the convolutions before it.

Ours: convolutions keep the sides, with zeros or periodically, where the paper's lose two cells and crop;
group normalisation (Wu and He, arXiv:1803.08494) and GELU where the paper has ReLU alone; no dropout; a
regression loss; ``residual=True`` predicts the change of the input, for time steps.
With ``padding="periodic"`` it commutes with shifts by multiples of ``2 ** depth`` cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.surrogates.base import (
    LOSSES,
    SampleSpec,
    Surrogate,
    check_choice,
    check_divisible,
    check_fields,
)
from sciflow.models.surrogates.blocks import ACTIVATIONS, CONVOLUTIONS, NORMS, PADDINGS, convolution, norm

__all__ = ["Settings", "UNet"]

_MAX_DEPTH = 8
_UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `UNet`.

    Parameters
    ----------
    width : int
        Channels of the first level; each further one has twice as many. The paper: 64.
    depth : int
        How often the sides are halved. The paper: 4.
    padding : str
        ``"zero"``, or ``"periodic"`` for a periodic domain.
    norm : str
        ``"group"``, ``"instance"``, ``"batch"`` or ``"none"``. The paper: none.
    activation : str
        ``"gelu"``, ``"relu"`` or ``"silu"``. The paper: relu.
    residual : bool
        Add the input to what the network gives: for a target of the same channels, a little later.
    loss : str
        ``"squared"``, ``"absolute"`` or ``"relative"``.

    Raises
    ------
    InvalidArgument
        If one is out of its domain.
    """

    width: int = 64
    depth: int = 4
    padding: str = "zero"
    norm: str = "group"
    activation: str = "gelu"
    residual: bool = False
    loss: str = "squared"

    def __post_init__(self) -> None:
        if self.width < 1 or not 1 <= self.depth <= _MAX_DEPTH:
            raise InvalidArgument(
                f"found width {self.width} and depth {self.depth}, expected a width above 0 "
                f"and a depth from 1 to {_MAX_DEPTH}"
            )
        check_choice("padding", self.padding, PADDINGS)
        check_choice("norm", self.norm, NORMS)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("loss", self.loss, tuple(LOSSES))


class UNet(Surrogate):
    """Field to field; see the module.

    Raises
    ------
    InvalidArgument
        If a side cannot be halved so often, the target is no field on the same cells, or ``residual`` is
        asked for and its channels are not those of the input.
    """

    settings_class = Settings
    about = "a field to a field on the same cells, by convolutions"
    paper = "Ronneberger et al., MICCAI 2015, arXiv:1505.04597"
    takes = "input (C, y, x) or (C, z, y, x), target (C', y, x) or (C', z, y, x)"

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        target = check_fields(spec, "unet", ranks=(2, 3))
        check_divisible(spec, "unet", 2**settings.depth, f"depth {settings.depth} halves them so often")
        if settings.residual and target[0] != spec.input[0]:
            raise InvalidArgument(
                f"unet: found {spec.input[0]} channels in and {target[0]} out, expected the same number "
                "with residual=true"
            )
        axes = len(spec.space)
        widths = [settings.width << level for level in range(settings.depth + 1)]
        inputs = [spec.input[0], *widths]
        self.down = nn.ModuleList(_pair(axes, a, b, settings) for a, b in zip(inputs, widths, strict=False))
        self.pool = _POOL[axes](2)
        self.up = nn.ModuleList(_UP[axes](2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.join = nn.ModuleList(_pair(axes, 2 * w, w, settings) for w in reversed(widths[:-1]))
        self.last = CONVOLUTIONS[axes](settings.width, target[0], 1)
        self.residual = settings.residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the target's prediction, shape (batch, C', *space), of `x`, shape (batch, C, *space)."""
        y = self.down[0](x)
        seen = []
        for pair in list(self.down)[1:]:
            seen.append(y)
            y = pair(self.pool(y))
        for up, join in zip(self.up, self.join, strict=True):
            y = join(torch.cat([seen.pop(), up(y)], dim=1))
        change: Tensor = self.last(y)
        return x + change if self.residual else change


def _pair(axes: int, before: int, after: int, settings: Settings) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            convolution(axes, channels, after, padding=settings.padding, bias=settings.norm == "none"),
            norm(settings.norm, axes, after),
            ACTIVATIONS[settings.activation](),
        ]
    return nn.Sequential(*layers)
