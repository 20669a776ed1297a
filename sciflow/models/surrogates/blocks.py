"""Layers that several surrogates share, for 2 or 3 axes of space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from sciflow.errors import InvalidArgument

__all__ = ["ACTIVATIONS", "CONVOLUTIONS", "NORMS", "PADDINGS", "convolution", "norm", "scaled"]

_GROUPS = 8

PADDINGS = ("zero", "periodic")
NORMS = ("group", "instance", "batch", "none")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
"""By the number of axes of space."""

_PADS: dict[tuple[str, int], Any] = {
    ("zero", 2): nn.ZeroPad2d,
    ("zero", 3): nn.ZeroPad3d,
    ("periodic", 2): nn.CircularPad2d,
    ("periodic", 3): nn.CircularPad3d,
}
_INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_BATCH = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def convolution(
    axes: int, before: int, after: int, *, width: int = 3, padding: str = "zero", bias: bool = True
) -> nn.Module:
    """Return a convolution that keeps the sides; an even one sees one cell more on the high side.

    Parameters
    ----------
    axes : int
        2 or 3.
    before, after : int
        Channels.
    width : int
        Of the kernel, cells.
    padding : str
        What is beyond the edge: ``"zero"`` or, of a periodic domain, ``"periodic"``.
    bias : bool
        Whether it adds one.
    """
    kind = CONVOLUTIONS[axes]
    if width % 2:
        mode: Literal["zeros", "circular"] = "zeros" if padding == "zero" else "circular"
        return kind(before, after, width, padding=width // 2, padding_mode=mode, bias=bias)
    pad = _PADS[padding, axes](((width - 1) // 2, width // 2) * axes)
    return nn.Sequential(pad, kind(before, after, width, bias=bias))


def norm(kind: str, axes: int, channels: int) -> nn.Module:
    """Return a normalisation with trained scale and offset; groups are at most 8.

    Raises
    ------
    InvalidArgument
        If `kind` is not in ``NORMS``.
    """
    if kind == "group":
        return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
    if kind == "instance":
        return _INSTANCE[axes](channels, affine=True)
    if kind == "batch":
        return _BATCH[axes](channels)
    if kind == "none":
        return nn.Identity()
    raise InvalidArgument(f"norm: found {kind!r}, expected one of {', '.join(NORMS)}")


def scaled(network: nn.Module) -> None:
    """Draw weights so that what goes through a rectifier keeps its size, and set biases to 0.

    He et al., "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852. Torch's own start loses most of a
    signal in ten layers without normalisation.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
