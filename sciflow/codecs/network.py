"""Enhancers that are small networks of floats, one a group of cells. Needs torch, to decode as well.

```
decoded ─▶ [difference to the box mean, value] ─▶ conv ─ ReLU ─▶ conv ─ ReLU ─▶ conv ─▶ correction of a group
```
After Jia et al., "GWLZ", FlexScience 2024, arXiv:2404.13470: cells are grouped by value, one network a group
predicts what the base codec lost from what it decodes to. Their layers could not be read; these are ours.
Weights are held in eight bits. Inference is in floats, whose rounding differs among machines: the stream
carries a checksum of the values, and says that it is not reproducible. `sciflow.codecs.integer_network` has
what does not depend on the machine.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sciflow.codecs.network_training import MOST_STEPS, Lesson, forward, load_torch, shapes
from sciflow.codecs.network_training import train as train_parameters
from sciflow.errors import Corrupt, Truncated, Unsupported

__all__ = ["Network", "apply", "read_marks", "read_network", "train", "write_marks", "write_network"]

_VERSION = 1
_MAX_GROUPS = 64
_HEAD = struct.Struct("<BBBff")
_LIMIT = 0.5
"""Corrections are held to this share of the scale, which is the base's largest error."""


@dataclass(frozen=True, slots=True)
class Network:
    """What travels in a stream.

    Parameters
    ----------
    axes : int
        Axes that a convolution reaches along, 1 to 3: the last ones that are longer than one.
    scale : float
        What an output of 1 is worth, in the unit of the data.
    origin : float
        The middle of the values, in the same unit.
    edges : ndarray, float32, shape (groups - 1,)
        Ascending values between groups.
    weights : tuple of ndarray, int8
        Of the layers, each kernel and bias.
    steps : tuple of float
        What 1 is worth in each of `weights`.
    """

    axes: int
    scale: float
    origin: float
    edges: NDArray[np.float32]
    weights: tuple[NDArray[np.int8], ...]
    steps: tuple[float, ...]

    @property
    def groups(self) -> int:
        """How many networks."""
        return len(self.edges) + 1

    @property
    def furthest(self) -> float:
        """The largest correction that it makes."""
        return _LIMIT * self.scale

    def with_scale(self, scale: float) -> Self:
        """Return the same for another largest error of the base."""
        return replace(self, scale=scale)


def train(
    original: NDArray[Any],
    decoded: NDArray[Any],
    *,
    scale: float,
    edges: NDArray[np.float32],
    seed: int,
    budget: float,
    progress: bool | None,
    steps: int = MOST_STEPS,
) -> Network:
    """Train for at most `budget` seconds.

    Parameters
    ----------
    original, decoded : ndarray, float32|float64, the same shape, C-contiguous
        What went into the base codec and what came out; cells that are not finite are left out.
    scale : float
        The base's largest error.
    edges : ndarray, float32, shape (groups - 1,)
        Between groups.
    seed : int
        Of weights and of the patches that are looked at.
    budget : float
        Seconds.
    progress : bool, optional
        Show a bar on standard error; by default where that is a terminal.
    steps : int
        Of the optimiser, at most.

    Raises
    ------
    Unsupported
        If torch is not installed.
    """
    load_torch()
    volume, axes = _volume(decoded)
    origin = float(np.float32(np.median(decoded[np.isfinite(decoded)])))
    blank = Network(axes, scale, origin, edges, (), ())
    with np.errstate(invalid="ignore"):
        lost = ((original.astype(np.float64) - decoded) / scale).astype(np.float32).reshape(volume.shape)
    lesson = Lesson(
        inputs=_inputs(volume, blank),
        target=np.where(np.isfinite(lost) & np.isfinite(volume), lost, 0),
        group=_groups_of(volume, edges),
        axes=axes,
        groups=blank.groups,
        reach=0,
        rounded=False,
    )
    weights, worth = [], []
    for values in train_parameters(lesson, seed=seed, budget=budget, progress=progress, steps=steps):
        step = max(float(np.abs(values).max()) / 127.0, 1e-12)
        worth.append(float(np.float32(step)))
        weights.append(np.rint(values / np.float32(step)).clip(-127, 127).astype(np.int8))
    return Network(
        axes, float(np.float32(scale)), float(np.float32(origin)), edges, tuple(weights), tuple(worth)
    )


def apply(network: Network, decoded: NDArray[Any]) -> NDArray[Any]:
    """Return decoded values with their corrections; cells that are not finite keep their bits.

    Raises
    ------
    Corrupt
        If the network is of another number of axes.
    Unsupported
        If torch is not installed.
    """
    torch = load_torch()
    volume, axes = _volume(decoded)
    if axes != network.axes:
        raise Corrupt(f"a network of {network.axes} axes: the array has {axes}")
    parameters = [
        torch.from_numpy(weight.astype(np.float32) * np.float32(step))
        for weight, step in zip(network.weights, network.steps, strict=True)
    ]
    member = torch.from_numpy(_groups_of(volume, network.edges))
    with torch.no_grad():
        inputs = torch.from_numpy(_inputs(volume, network))
        correction = torch.empty(volume.shape)
        for slab in range(volume.shape[0]):
            found = forward(inputs[:, slab], parameters, axes, network.groups, padded=True)
            correction[slab] = found.gather(0, member[slab][None])[0]
    # Q: why a lattice? A: so that the last bits of a float sum, which differ among machines, seldom show.
    steps = np.rint(np.clip(correction.numpy(), -_LIMIT, _LIMIT) * 64).reshape(decoded.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (decoded.astype(np.float64) + steps * (network.scale / 64)).astype(decoded.dtype)
    return np.where(
        (steps == 0) | ~np.isfinite(decoded) | ((decoded == 0) & np.signbit(decoded)), decoded, moved
    )


def write_network(network: Network) -> bytes:
    """Return the bytes of a network."""
    head = _HEAD.pack(_VERSION, network.axes, network.groups, network.scale, network.origin)
    steps = np.array(network.steps, "<f4").tobytes()
    weights = b"".join(weight.tobytes() for weight in network.weights)
    return head + network.edges.astype("<f4").tobytes() + steps + weights


def read_network(data: bytes) -> tuple[Network, bytes]:
    """Read what `write_network` wrote, and what lies behind it.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If bytes are missing, hold what no encoder writes, or are of a newer version.
    """
    if len(data) < _HEAD.size:
        raise Truncated("the stream ends in the head of its network")
    version, axes, groups, scale, origin = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise Unsupported(f"a network of version {version}: this release reads {_VERSION}; upgrade sciflow")
    if not (
        1 <= axes <= 3 and 1 <= groups <= _MAX_GROUPS and np.isfinite([scale, origin]).all() and scale > 0
    ):
        raise Corrupt(
            f"a network of {axes} axes and {groups} groups: expected 1 to 3, and 1 to {_MAX_GROUPS}"
        )
    wanted = shapes(axes, groups)
    sizes = [int(np.prod(shape)) for shape in wanted]
    at = _HEAD.size + 4 * (groups - 1) + 4 * len(wanted)
    if len(data) < at + sum(sizes):
        raise Truncated("the stream ends in the weights of its network")
    edges = np.frombuffer(data, "<f4", groups - 1, _HEAD.size).astype(np.float32)
    steps = np.frombuffer(data, "<f4", len(wanted), _HEAD.size + 4 * (groups - 1))
    if not (np.isfinite(steps).all() and np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        raise Corrupt("a network whose edges or steps are no ascending, finite numbers")
    weights = []
    for shape, size in zip(wanted, sizes, strict=True):
        weights.append(np.frombuffer(data, np.int8, size, at).reshape(shape))
        at += size
    network = Network(axes, scale, origin, edges, tuple(weights), tuple(map(float, steps)))
    return network, data[at:]


def write_marks(marked: NDArray[np.bool_]) -> bytes:
    """Return the bytes of a mask."""
    return zlib.compress(np.packbits(marked.reshape(-1)).tobytes(), 9)


def read_marks(data: bytes, size: int) -> NDArray[np.bool_]:
    """Read what `write_marks` wrote for `size` cells.

    Raises
    ------
    Corrupt
        If it is no mask of that size.
    """
    wanted = (size + 7) // 8
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(data, wanted + 1)
    except zlib.error as error:
        raise Corrupt(f"the marks of a network: {error}") from error
    if len(raw) != wanted or reader.unused_data:
        raise Corrupt(f"the marks of a network hold {len(raw)} bytes: expected {wanted}")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=size).astype(bool)


def _volume(decoded: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The array as slabs of three axes, and how many of those are longer than one."""
    long = [n for n in decoded.shape if n != 1]
    inner = long[-3:]
    shape = (-1, *(1,) * (3 - len(inner)), *inner)
    return decoded.reshape(shape), max(len(inner), 1)


def _groups_of(volume: NDArray[Any], edges: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.searchsorted(edges.astype(volume.dtype), volume, side="right").astype(np.int64)


def _inputs(volume: NDArray[Any], network: Network) -> NDArray[np.float32]:
    """Difference to the mean of the box of three, and value, both in the scale; shape (2, slabs, z, y, x)."""
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.nan_to_num(
            (volume.astype(np.float64) - network.origin) / network.scale, posinf=0, neginf=0
        )
    mean = value
    for axis in range(4 - network.axes, 4):
        padded = np.pad(mean, [(1, 1) if a == axis else (0, 0) for a in range(4)], mode="edge")
        n = volume.shape[axis]
        before, here, after = (np.take(padded, range(d, d + n), axis) for d in range(3))
        mean = (before + here + after) / 3
    local = np.clip((value - mean) / 4, -4, 4)
    return np.stack([local, np.tanh(value / 64)]).astype(np.float32)
