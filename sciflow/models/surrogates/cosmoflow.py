"""CosmoFlow: a box of matter density to the parameters of the cosmology that made it.

```
x (B, C, z, y, x) ─ (conv act [pool]) x 7 ─▶ (B, 256, 2, 2, 2) ─ dense 2048 ─ dense 256 ─ dense ─▶ (B, P)
   channels 16 32 64 128 256 256 256, kernels 3 4 4 3 3 2 2; average pooling until a side is 2 (or 3)
```
Mathuriya et al., "CosmoFlow: Using Deep Learning to Learn the Universe at Scale", SC18, arXiv:1808.04728,
section III (seven convolutions with leaky ReLU and average pooling, three dense layers). Channels, kernels,
dense layers, dropout of a half before each of them, slope 0.01 and the mean absolute error are those of the
authors' public code (github.com/NERSC/CosmoFlow, ``CosmoNet.py``).

Parameters at the paper's size (a box of 128^3 cells, 1 channel, 3 parameters): 7,041,443, the sum of the
weights in the authors' code. For 32^3 as well: pooling stops at a side of 2.

Ours: ``log``, as in the MLPerf HPC benchmark of the same name; convolutions keep the sides, with zeros or,
for a whole periodic box, periodically, and every halving is a pool (theirs lose cells at the edges, and one
convolution has a stride); weights start as He et al. draw them.
"""

from __future__ import annotations

import math
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
)
from sciflow.models.surrogates.blocks import PADDINGS, convolution, scaled

__all__ = ["CosmoFlow", "Settings"]

_CHANNELS = (1, 2, 4, 8, 16, 16, 16)
_KERNELS = (3, 4, 4, 3, 3, 2, 2)
_LEAST_SIDE = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Of `CosmoFlow`.

    Parameters
    ----------
    width : int
        Channels of the first convolution; those of the others are 2, 4, 8 and three times 16 times as many.
        The paper: 16.
    dense : tuple of int
        Outputs of the dense layers before the last. The paper: 2048 and 256.
    dropout : float
        Share that is dropped before each dense layer while training. The authors' code: 0.5.
    slope : float
        Of the leaky ReLU below 0. The authors' code: 0.01.
    padding : str
        ``"zero"``, or ``"periodic"`` for a whole periodic box.
    log : bool
        Feed log(1 + x), for densities and counts as they are (``normalise = "none"``), whose few largest
        values drown the others; what is below 0 counts as 0.
    loss : str
        ``"absolute"``, ``"squared"`` or ``"relative"``.

    Raises
    ------
    InvalidArgument
        If one is out of its domain.
    """

    width: int = 16
    dense: tuple[int, ...] = (2048, 256)
    dropout: float = 0.5
    slope: float = 0.01
    padding: str = "zero"
    log: bool = False
    loss: str = "absolute"

    def __post_init__(self) -> None:
        if self.width < 1 or not all(type(one) is int and one > 0 for one in self.dense):
            raise InvalidArgument(
                f"found width {self.width} and dense {self.dense}, expected numbers above 0"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.slope < 1):
            raise InvalidArgument(
                f"found dropout {self.dropout} and slope {self.slope}, expected numbers in [0, 1)"
            )
        check_choice("padding", self.padding, PADDINGS)
        check_choice("loss", self.loss, tuple(LOSSES))


class CosmoFlow(Surrogate):
    """Box to parameters; see the module.

    Raises
    ------
    InvalidArgument
        If the input is not (C, z, y, x) with sides of at least 8 that can be halved to 2 or 3, or the target
        not (parameter,).
    """

    settings_class = Settings
    about = "a 3-D box of density to the parameters of its cosmology"
    paper = "Mathuriya et al., SC18, arXiv:1808.04728"
    takes = "input (C, z, y, x), target (P,)"

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        halvings = _halvings(spec)
        if spec.target is None or len(spec.target) != 1:
            raise InvalidArgument(f"cosmoflow: found a target of shape {spec.target}, expected (parameter,)")
        self.log = settings.log
        layers: list[nn.Module] = []
        before = spec.input[0]
        for number, (times, kernel) in enumerate(zip(_CHANNELS, _KERNELS, strict=True)):
            after = times * settings.width
            layers += [
                convolution(3, before, after, width=kernel, padding=settings.padding),
                nn.LeakyReLU(settings.slope),
            ]
            layers += [nn.AvgPool3d(2)] if number < halvings else []
            before = after
        self.convolutions = nn.Sequential(*layers)
        flat = before * math.prod(side >> halvings for side in spec.space)
        sizes = [flat, *settings.dense]
        head: list[nn.Module] = []
        for inputs, outputs in zip(sizes, settings.dense, strict=False):
            head += [nn.Dropout(settings.dropout), nn.Linear(inputs, outputs), nn.LeakyReLU(settings.slope)]
        self.head = nn.Sequential(*head, nn.Dropout(settings.dropout), nn.Linear(sizes[-1], spec.target[0]))
        scaled(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return parameters, shape (batch, P), of boxes, shape (batch, C, z, y, x)."""
        seen = torch.log1p(x.clamp_min(0)) if self.log else x
        found: Tensor = self.head(self.convolutions(seen).flatten(1))
        return found


def _halvings(spec: SampleSpec) -> int:
    if len(spec.space) != 3 or min(spec.space) < _LEAST_SIDE:
        raise InvalidArgument(
            f"cosmoflow: found an input of shape {spec.input}, expected (channel, z, y, x), sides from "
            f"{_LEAST_SIDE} on"
        )
    halvings = min(min(spec.space).bit_length() - 2, len(_CHANNELS))
    check_divisible(spec, "cosmoflow", 2**halvings, f"{halvings} poolings halve them")
    return halvings
