"""The autoencoder of AE-SZ as a torch module, and a small relative that a core decodes quickly.

```
block, [-1, 1] ─ (conv s2 ─ GDN) x stages ─ dense ─▶ latents ─ dense ─ (transposed s2 ─ iGDN) ... ─▶ block
                       encoder                                        decoder
```
Liu et al., "Exploring Autoencoder-based Error-bounded Compression for Scientific Data", CLUSTER 2021,
arXiv:2105.11730, section IV (figures 3 and 4: the network; table VI: block, latents and channels of each
field).

What is theirs: blocks of 32x32, 8x8x8 and 16x16x16; 8, 16 or 32 latents; channels 32, 64, 128 (and 256);
3-wide convolutions; GDN (Balle et al., ICLR 2016) and its inverse; loss = reconstruction + sliced Wasserstein
distance (Kolouri et al., ICLR 2019); values in [-1, 1] by the range of the field. The arrangement of
``size="paper"`` (a convolution of stride 1 before each of stride 2, a last stage of 32 channels, tanh) is
that of the first author's public training code, github.com/Meso272/PyTorch-VAE, read and written anew.

What is ours: ``size="small"``, without convolutions of stride 1 and with narrower stages, and
``linear_path``: the latents are the coefficients of the field's KLT and the network corrects what the KLT
makes of them, so that an untrained one predicts as well as the KLT. Multiplications and additions a value,
decoding:

| size | block | latents | channels | parameters | decode, MAC a value |
| --- | --- | --- | --- | --- | --- |
| small | 32x32 | 16 | 6, 12, 16 | 14 k | 103 |
| small | 8x8x8 | 16 | 8, 16 | 12 k | 93 |
| small | 16x16x16 | 16 | 6, 12, 16 | 20 k | 68 |
| paper | 32x32 | 16 | 32, 64, 128, 256 | 1.9 M | 17 k |
| paper | 8x8x8 | 16 | 32, 64, 128 | 1.3 M | 13 k |
| paper | 16x16x16 | 16 | 32, 64, 128, 256 | 5.4 M | 14 k |

(``linear_path`` adds one multiplication a value and latent.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument

__all__ = ["GDN", "Architecture", "Autoencoder", "directions", "sliced_wasserstein"]

Size = Literal["small", "paper"]

_PROJECTIONS = 200
_SWD_WEIGHT = 100.0
_BETA_MIN = 1e-6
_GAMMA_START = 0.1


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which network.

    Parameters
    ----------
    block : tuple of int
        Shape of a block: 2 or 3 axes; each side is a multiple of ``2 ** len(channels)``.
    latent : int
        Latents of a block. The paper finds 8 or 16 best in 3-D, 16 or 32 in 2-D.
    channels : tuple of int
        Of the encoder's stages, each halving the block's sides.
    size : str
        ``"paper"`` or ``"small"``; see the module.
    linear_path : bool
        The encoder is a KLT and the network corrects its decoder.

    Raises
    ------
    InvalidArgument
        If a side cannot be halved so often, or a number is not positive.
    """

    block: tuple[int, ...]
    latent: int = 16
    channels: tuple[int, ...] = (8, 16)
    size: Size = "small"
    linear_path: bool = True

    def __post_init__(self) -> None:
        halvings = 2 ** len(self.channels)
        if len(self.block) not in (2, 3) or any(side < halvings or side % halvings for side in self.block):
            raise InvalidArgument(
                f"block: found {self.block}, expected 2 or 3 sides that are multiples of {halvings}: "
                f"each of the {len(self.channels)} stages halves them"
            )
        if not self.channels or min(self.latent, *self.channels) < 1 or self.size not in get_args(Size):
            raise InvalidArgument(
                f"architecture: found {self!r}, expected positive numbers and small or paper"
            )

    @classmethod
    def default(cls, block: tuple[int, ...], *, size: Size = "small", latent: int = 16) -> Architecture:
        """Return the row of the module's table for blocks of this shape, or the nearest that fits."""
        halvings = min((side & -side).bit_length() - 1 for side in block)
        if size == "paper":
            return cls(block, latent, (32, 64, 128, 256)[: max(halvings, 1)], "paper", linear_path=False)
        return cls(block, latent, (6, 12, 16) if halvings > 3 else (8, 16)[: max(halvings, 1)], "small")

    @property
    def deepest(self) -> tuple[int, ...]:
        """Sides of a block behind the encoder's last stage."""
        return tuple(side >> len(self.channels) for side in self.block)


class GDN(nn.Module):
    """Divisive normalisation: ``y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)``, or its inverse.

    Balle et al., "Density Modeling of Images using a Generalized Normalization Transformation", ICLR 2016.

    Parameters
    ----------
    channels : int
        Of the input, shape (batch, channels, *space).
    inverse : bool
        Multiply where it would divide.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.root_beta = nn.Parameter(torch.ones(channels))
        self.root_gamma = nn.Parameter(torch.sqrt(_GAMMA_START * torch.eye(channels) + 1e-6))

    def beta(self) -> Tensor:
        """Return the constants, shape (channels,); at least 1e-6."""
        return self.root_beta**2 + _BETA_MIN

    def gamma(self) -> Tensor:
        """Return the weights of squares, shape (channels, channels); none is negative."""
        return self.root_gamma**2

    def norm(self, x: Tensor) -> Tensor:
        """Return the root, shape of `x`."""
        squares = torch.einsum("ij,bj...->bi...", self.gamma(), x * x)
        return torch.sqrt(squares + self.beta().reshape(1, -1, *(1,) * (x.ndim - 2)))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, shape (batch, channels, *space), normalised."""
        return x * self.norm(x) if self.inverse else x / self.norm(x)


class Autoencoder(nn.Module):
    """Blocks to latents and back; `Architecture` says which.

    Parameters
    ----------
    architecture : Architecture
        Of the network.
    basis : Tensor, float32, shape (latent, cells), optional
        Orthonormal rows of the KLT, where the architecture has a linear path.
    spread : Tensor, float32, shape (latent,), optional
        Standard deviations of its coefficients, of values in [-1, 1].

    Raises
    ------
    InvalidArgument
        If there is a linear path and no basis, or the other way round.
    """

    basis: Tensor
    spread: Tensor

    def __init__(
        self, architecture: Architecture, *, basis: Tensor | None = None, spread: Tensor | None = None
    ) -> None:
        super().__init__()
        if architecture.linear_path != (basis is not None and spread is not None):
            raise InvalidArgument("a linear path: found one of path and basis, expected both or neither")
        self.architecture = architecture
        cells = math.prod(architecture.block)
        self.register_buffer("basis", torch.zeros(0, cells) if basis is None else basis)
        self.register_buffer("spread", torch.ones(0) if spread is None else spread)
        self.encoder = nn.Sequential() if architecture.linear_path else nn.Sequential(*_encoder(architecture))
        self.decoder = nn.Sequential(*_decoder(architecture))
        if architecture.linear_path:
            last = self.decoder[-1]
            assert isinstance(last, nn.ConvTranspose2d | nn.ConvTranspose3d)
            nn.init.zeros_(last.weight)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def encode(self, blocks: Tensor) -> Tensor:
        """Return the latents, shape (batch, latent), of blocks, shape (batch, *block), in [-1, 1]."""
        if self.architecture.linear_path:
            coefficients = blocks.reshape(len(blocks), -1) @ self.basis.T
            return coefficients / self.spread
        found: Tensor = self.encoder(blocks[:, None])
        return found

    def decode(self, latents: Tensor) -> Tensor:
        """Return the blocks, shape (batch, *block), of latents, shape (batch, latent)."""
        made: Tensor = self.decoder(latents)[:, 0]
        if self.architecture.linear_path:
            made = made + ((latents * self.spread) @ self.basis).reshape(-1, *self.architecture.block)
        return made

    def forward(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Return what blocks come back as, and their latents."""
        latents = self.encode(blocks)
        return self.decode(latents), latents

    def macs(self) -> float:
        """Return multiplications and additions a value of the decoder, the linear path included."""
        total = 0.0
        cells = math.prod(self.architecture.deepest)
        axes = len(self.architecture.block)
        for layer in self.decoder:
            if isinstance(layer, nn.Linear):
                total += layer.weight.numel()
            elif isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
                total += cells * layer.weight.numel()  # each input meets each tap once
                cells <<= axes * (int(layer.stride[0]) - 1)
            elif isinstance(layer, nn.Conv2d | nn.Conv3d):
                total += cells * layer.weight.numel()
            elif isinstance(layer, GDN):
                total += cells * layer.root_gamma.numel()
        values = math.prod(self.architecture.block)
        return total / values + len(self.basis)


def sliced_wasserstein(latents: Tensor, prior: Tensor, directions: Tensor) -> Tensor:
    """Return the sliced Wasserstein distance of latents to a sample of the prior.

    Kolouri et al., "Sliced Wasserstein Auto-Encoders", ICLR 2019; the weight is that of AE-SZ's code,
    ``100 / (B (B - 1))`` for batches of B.

    Parameters
    ----------
    latents, prior : Tensor, float32, shape (batch, latent)
        The prior is a standard normal one.
    directions : Tensor, float32, shape (projections, latent)
        Of any length; 200 normal ones in AE-SZ's code.
    """
    ours = (latents @ directions.T).sort(dim=0).values
    theirs = (prior @ directions.T).sort(dim=0).values
    batch = len(latents)
    distance: Tensor = ((ours - theirs) ** 2).mean() * (_SWD_WEIGHT / max(batch * (batch - 1), 1))
    return distance


def directions(latent: int, generator: torch.Generator) -> Tensor:
    """Return 200 random unit vectors, float32, shape (200, latent)."""
    found = torch.randn(_PROJECTIONS, latent, generator=generator)
    unit: Tensor = found / torch.linalg.vector_norm(found, dim=1, keepdim=True)
    return unit


def _encoder(a: Architecture) -> list[nn.Module]:
    conv = nn.Conv2d if len(a.block) == 2 else nn.Conv3d
    layers: list[nn.Module] = []
    before = 1
    for channels in a.channels:
        if a.size == "paper":
            layers.append(conv(before, before, 3, padding=1))
        layers += [conv(before, channels, 3, stride=2, padding=1), GDN(channels)]
        before = channels
    return [*layers, nn.Flatten(), nn.Linear(before * math.prod(a.deepest), a.latent)]


def _decoder(a: Architecture) -> list[nn.Module]:
    plain = nn.ConvTranspose2d if len(a.block) == 2 else nn.ConvTranspose3d
    conv = nn.Conv2d if len(a.block) == 2 else nn.Conv3d
    *outer, widest = a.channels
    layers: list[nn.Module] = [
        nn.Linear(a.latent, widest * math.prod(a.deepest)),
        nn.Unflatten(1, (widest, *a.deepest)),
    ]
    before = widest
    for channels in reversed(outer):
        if a.size == "paper":
            layers.append(conv(before, before, 3, padding=1))  # a transposed one of stride 1 is a convolution
        layers += [_doubling(plain, before, channels), GDN(channels, inverse=True)]
        before = channels
    if a.size == "small":
        return [*layers, _doubling(plain, before, 1)]
    last = [conv(before, before, 3, padding=1), _doubling(plain, before, before), GDN(before, inverse=True)]
    return [*layers, *last, conv(before, 1, 3, padding=1), nn.Tanh()]


def _doubling(
    plain: type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d], before: int, channels: int
) -> nn.Module:
    return plain(before, channels, 3, stride=2, padding=1, output_padding=1)
