"""From a trained autoencoder to a model in integers, and what that costs in dB. Needs torch.

Scales are found by running the network on blocks: what a stage puts out is given 16 bits with a quarter to
spare, weights 8 bits an output. Whatever a value is beyond that is held to the last one, on every machine
alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.autoencoder import GDN, Autoencoder
from sciflow.models.integer import MOST, SCALE_BITS, TABLE, Network, Stage, StageKind, write_network
from sciflow.models.model import Model

__all__ = ["export"]

_SPARE = 1.25
_LARGEST_SUM = 2**31 - 1
_LARGEST_BIAS = 1 << 28
_CALIBRATION = 2048

Real = NDArray[np.float64]


def export(
    network: Autoencoder, blocks: NDArray[np.float32], *, card: Mapping[str, str] | None = None
) -> Model:
    """Return the model of a network.

    Parameters
    ----------
    network : Autoencoder
        Trained.
    blocks : ndarray, float32, shape (n, *block)
        In [-1, 1]; those that scales are found on, of the training.
    card : mapping of str to str, optional
        For the model.

    Returns
    -------
    Model
        Of kind ``"autoencoder"``; its arrays are those of `sciflow.models.decoder`.
    """
    some = torch.from_numpy(blocks[:: max(1, len(blocks) // _CALIBRATION)])
    network = network.eval()
    with torch.no_grad():
        latents = network.encode(some)
        sensitivity = _sensitivity(network, latents)
        most = float(latents.abs().max()) * _SPARE
        input_scale = MOST / most
        decoder, out_scale = _stages(network.decoder, latents, input_scale, len(network.architecture.block))
        arrays: dict[str, NDArray[np.generic]] = {
            "decoder": np.frombuffer(write_network(decoder), np.uint8),
            "out": np.array([1 / out_scale], np.float32),
            "units": (input_scale / sensitivity).astype(np.float32),
        }
        if network.architecture.linear_path:
            arrays["basis"] = np.rint(network.basis.numpy() * 2**14).astype(np.int16)
        else:
            encoder, latent_scale = _stages(
                network.encoder, some[:, None], MOST / _SPARE, len(blocks.shape) - 1
            )
            arrays["encoder"] = np.frombuffer(write_network(encoder), np.uint8)
            arrays["latent"] = np.array([input_scale / latent_scale], np.float32)
    return Model("autoencoder", network.architecture.block, arrays, card or {})


def _sensitivity(network: Autoencoder, latents: Tensor) -> Real:
    """How far a block moves, by its Euclidean length, as each latent moves by 1; shape (latent,)."""
    if network.architecture.linear_path:
        return network.spread.numpy().astype(np.float64)
    some = latents[:256]
    step = some.std(dim=0).clamp_min(1e-6) / 8
    found = []
    for axis in range(some.shape[1]):
        moved = some.clone()
        moved[:, axis] += step[axis]
        off = (network.decode(moved) - network.decode(some)).reshape(len(some), -1)
        found.append(float((off**2).sum(dim=1).mean().sqrt()) / float(step[axis]))
    return np.maximum(np.array(found, np.float64), 1e-9)


def _stages(layers: nn.Sequential, x: Tensor, scale: float, axes: int) -> tuple[Network, float]:
    """Return a network of layers, and what 1 is worth in its output; inputs are worth `scale`."""
    stages: list[Stage] = []
    channels = x.shape[1]
    shape: tuple[int, ...] = (1,) * axes
    for at, layer in enumerate(layers):
        before, x = x, layer(x)
        largest = float(x.abs().max()) * _SPARE
        if isinstance(layer, nn.Flatten | nn.Unflatten):
            if isinstance(layer, nn.Flatten):
                shape = tuple(before.shape[2:])
            continue
        if isinstance(layer, nn.Tanh):
            stages[-1], scale = _with_tanh(stages[-1], scale)
            continue
        wanted = MOST / max(largest, 1e-9)
        if isinstance(layer, GDN):
            stage, scale = _norm(layer, before, scale, wanted)
        else:
            if at + 1 < len(layers) and isinstance(layers[at + 1], nn.Tanh):
                wanted = MOST / 4.0  # tanh(4) = 0.9993
            weights, bias, kind, lengths, out = _weights(layer, layers, at, shape, axes)
            stage, scale = _linear(weights, bias, scale, wanted)
            stage = replace(stage, kind=kind, channels=out, lengths=lengths)
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                stage = replace(stage, stride=int(layer.stride[0]))
        if (reach := _reach(stage)) < MOST:
            stages, scale = _narrowed(stages, stage, scale, reach)
        else:
            stages.append(stage)
    return Network(axes, channels, MOST, tuple(stages)), scale


def _weights(
    layer: nn.Module, layers: nn.Sequential, at: int, shape: tuple[int, ...], axes: int
) -> tuple[Real, Real, StageKind, tuple[int, ...], int]:
    assert isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight = layer.weight.detach().numpy().astype(np.float64)
    assert layer.bias is not None
    bias = layer.bias.detach().numpy().astype(np.float64)
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        return weight.reshape(len(weight), -1), bias, "conv", (), len(weight)
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        weight = weight.swapaxes(0, 1)
        return weight.reshape(len(weight), -1), bias, "transposed", (), len(weight)
    # torch flattens channel by channel, the engine cell by cell
    lengths: tuple[int, ...] = (1,) * axes
    follows = layers[at + 1] if at + 1 < len(layers) else None
    if isinstance(follows, nn.Unflatten):
        out, *rest = follows.unflattened_size
        lengths = tuple(int(n) for n in rest)
        cells = int(np.prod(lengths))
        weight = weight.reshape(int(out), cells, -1).swapaxes(0, 1).reshape(int(out) * cells, -1)
        bias = bias.reshape(int(out), cells).T.reshape(-1)
        return weight, bias, "dense", lengths, int(out)
    cells = int(np.prod(shape))
    weight = weight.reshape(len(weight), -1, cells).swapaxes(1, 2).reshape(len(weight), -1)
    return weight, bias, "dense", lengths, len(weight)


def _linear(weights: Real, bias: Real, scale: float, wanted: float) -> tuple[Stage, float]:
    steps = np.maximum(np.abs(weights).max(axis=1), 1e-9) / 127
    # a bias has to fit as well: a coarser step where it would not
    steps = np.maximum(steps, np.abs(bias) * scale / _LARGEST_BIAS)
    wanted = min(wanted, 1.99 * scale / float(steps.max()))
    pre, multiplier = _factor(wanted * steps / scale)
    quantised = np.rint(weights / steps[:, None]).astype(np.int8)
    sums = np.rint(bias * scale / steps).astype(np.int32)
    return Stage("conv", 0, quantised, sums, pre, multiplier), wanted


def _norm(layer: GDN, x: Tensor, scale: float, wanted: float) -> tuple[Stage, float]:
    """Integers of ``N_i = a_i (beta_i + sum_j gamma_ij x_j^2)``, whose root is the norm but for a factor."""
    gamma, beta = layer.gamma().numpy().astype(np.float64), layer.beta().numpy().astype(np.float64)
    norm = layer.norm(x)
    factor = norm if layer.inverse else 1 / norm
    largest = float(factor.max()) * _SPARE
    square = 15
    worth = 2.0**square / scale**2  # of a squared activation that is shifted, per 1
    a = 127 / np.maximum(gamma.max(axis=1) * worth, 1e-30)
    a = np.minimum(a, _LARGEST_BIAS / beta)
    weights = np.rint(gamma * worth * a[:, None]).astype(np.int8)
    bias = np.maximum(np.rint(beta * a), 1).astype(np.int32)
    shift = int(np.clip(np.floor(np.log2(scale * (MOST / largest) / wanted)), 0, 29))
    per_one = wanted * 2.0**shift / scale  # integers of the factor, per 1
    factors = per_one / (2.0**8 * np.sqrt(a)) if layer.inverse else per_one * np.sqrt(a) / 2.0**30
    if (over := float(factors.max()) / 1.99) > 1:
        factors, wanted = factors / over, wanted / over
    pre, multiplier = _factor(factors)
    kind: StageKind = "inverse_gdn" if layer.inverse else "gdn"
    return Stage(kind, len(beta), weights, bias, pre, multiplier, square=square, shift=shift), wanted


def _factor(factors: Real) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Shifts and multipliers of factors below 2: ``multiplier / 2^14 / 2^pre``."""
    pre = np.clip(np.floor(-np.log2(factors)) + 1, 0, 30).astype(np.int32)
    multiplier = np.rint(factors * 2.0**pre * 2**SCALE_BITS)
    multiplier[multiplier > MOST] = MOST
    return pre, np.maximum(multiplier, 1).astype(np.int32)


def _with_tanh(stage: Stage, scale: float) -> tuple[Stage, float]:
    places = (np.arange(TABLE) - 128) * 256 / scale
    table = np.clip(np.rint(np.tanh(places) * MOST), -MOST, MOST).astype(np.int16)
    return replace(stage, table=table), float(MOST)


def _reach(stage: Stage) -> int:
    """What inputs may be at most, that no sum leaves 32 bits."""
    spare = _LARGEST_SUM - np.abs(stage.bias.astype(np.int64)) - (np.int64(1) << stage.pre.astype(np.int64))
    total = np.abs(stage.weights.astype(np.int64)).sum(axis=1)
    return int((spare // np.maximum(total, 1)).min())


def _narrowed(stages: list[Stage], stage: Stage, scale: float, reach: int) -> tuple[list[Stage], float]:
    """Let weights of a wide stage have fewer bits, for sums to fit."""
    if stage.kind in ("gdn", "inverse_gdn") or reach < 1:
        raise InvalidArgument(
            f"a {stage.kind} stage whose sums need more than 32 bits: expected narrower ones"
        )
    share = reach / MOST * 0.98
    weights = np.rint(stage.weights * share).astype(np.int8)
    bias = np.rint(stage.bias * share).astype(np.int32)
    factors = stage.multiplier / 2.0**SCALE_BITS / 2.0**stage.pre / share
    if (over := float(factors.max()) / 1.99) > 1:
        factors, scale = factors / over, scale / over
    pre, multiplier = _factor(factors)
    return [*stages, replace(stage, weights=weights, bias=bias, pre=pre, multiplier=multiplier)], scale
