"""Enhancers that are small integer networks, one a group of cells: decoded without torch, anywhere alike.

```
decoded ─▶ integers ─▶ [difference to the box mean, value] ─▶ network (engine) ─▶ correction of a cell's group
```
docs/gwlz-format.md, section 9; networks are those of docs/network-format.md. After Jia et al., "GWLZ",
FlexScience 2024, arXiv:2404.13470: cells are grouped by value, one network a group predicts what the base
codec lost from what it decodes to.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs import network_training
from sciflow.codecs.network_training import MOST_STEPS
from sciflow.codecs.stream import check_status
from sciflow.errors import Corrupt, Truncated, Unsupported

__all__ = ["IntegerNetwork", "apply", "read", "train", "write"]

_VERSION = 1
_HEAD = struct.Struct("<BBBBff")
_MAX_GROUPS = 64
_REACH = 3
_MAX_REACH = 16
_UNITS = 16
"""Integers are multiples of the base's largest error over this."""
_FINER = 4
"""A correction is a multiple of such an integer's unit over this."""
_MOST_CORRECTION = 32
_MOST_LOCAL, _MOST_VALUE, _BEND = 8191, 4096, 1024
_FAR = float(1 << 30)
_TILE = (16, 32, 256)
_SPARE_BITS = 4
"""By which the last rounding but one of a correction is finer than the last."""
_CALIBRATED = 1 << 16


@dataclass(frozen=True, slots=True)
class IntegerNetwork:
    """What travels in a stream.

    Parameters
    ----------
    axes : int
        Axes that it reaches along, 1 to 3: the last ones that are longer than one.
    reach : int
        Cells that it reaches to each side.
    unit, origin : float
        What 1 is worth and where 0 is, in the unit of the data; binary32 values.
    edges : ndarray, int32, shape (groups - 1,)
        Ascending integers between groups.
    layers : bytes
        The network: two channels in, one for each group out.
    """

    axes: int
    reach: int
    unit: float
    origin: float
    edges: NDArray[np.int32]
    layers: bytes

    @property
    def groups(self) -> int:
        """How many groups."""
        return len(self.edges) + 1

    @property
    def furthest(self) -> float:
        """The largest correction that `train` lets it make."""
        return _MOST_CORRECTION * self.unit / _FINER

    def with_scale(self, scale: float) -> Self:
        """Return the same for another largest error of the base; groups stay where they are."""
        unit = float(np.float32(scale / _UNITS))
        edges = _edges(self.edges * (self.unit / unit))
        if len(edges) != len(self.edges):  # so small a unit, or so large a one, that some would fall together
            return self
        return replace(self, unit=unit, edges=edges)


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
) -> IntegerNetwork:
    """Train for at most `budget` seconds, and round to integers.

    Parameters
    ----------
    original, decoded : ndarray, float32|float64, the same shape, C-contiguous
        What went into the base codec and what came out; cells that are not finite are left out.
    scale : float
        The base's largest error.
    edges : ndarray, float32, shape (groups - 1,)
        Values between groups, ascending.
    seed, budget, progress, steps
        As for `sciflow.codecs.network_training.train`.

    Raises
    ------
    Unsupported
        If torch is not installed.
    """
    network_training.load_torch()
    volume, axes = _volume(decoded)
    unit = float(np.float32(scale / _UNITS))
    origin = float(np.float32(np.median(decoded[np.isfinite(decoded)])))
    blank = IntegerNetwork(
        axes, _REACH, unit, origin, _edges((edges.astype(np.float64) - origin) / unit), b""
    )
    integers, hole = _integers(volume, blank)
    features = _features(integers, axes, _REACH)
    with np.errstate(invalid="ignore"):
        lost = ((original.astype(np.float64) - decoded) / scale).astype(np.float32).reshape(volume.shape)
    worth = np.array([1.0 / (3**axes * 64), 1.0 / _MOST_VALUE], np.float32)
    lesson = network_training.Lesson(
        inputs=np.moveaxis(features.astype(np.float32) * worth, -1, 0).copy(),
        target=np.where(np.isfinite(lost) & ~hole, lost, 0).astype(np.float32),
        group=_groups(integers, blank.edges),
        axes=axes,
        groups=blank.groups,
        reach=_REACH,
        rounded=True,
    )
    parameters = network_training.train(lesson, seed=seed, budget=budget, progress=progress, steps=steps)
    layers = _layers(parameters, worth, features, axes, blank.groups)
    return IntegerNetwork(axes, _REACH, unit, origin, blank.edges, layers)


def apply(network: IntegerNetwork, decoded: NDArray[Any]) -> NDArray[Any]:
    """Return decoded values with their corrections; cells that are not finite keep their bits.

    Raises
    ------
    Corrupt
        If the network is of another number of axes, or none of those that an enhancer may be.
    """
    volume, axes = _volume(decoded)
    if axes != network.axes:
        raise Corrupt(f"a network of {network.axes} axes: the array has {axes}")
    integers, hole = _integers(volume, network)
    features = _features(integers, axes, network.reach)
    group = _groups(integers, network.edges)
    correction: NDArray[Any] = np.empty(volume.shape, np.int16)
    for slab in range(len(volume)):
        for inner, outer in _tiles(volume.shape[1:], axes, network.reach):
            found = _run(network, features[(slab, *outer)])
            correction[(slab, *inner)] = np.take_along_axis(found, group[(slab, *inner)][..., None], -1)[
                ..., 0
            ]
    correction[hole] = 0
    steps = correction.reshape(decoded.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (decoded.astype(np.float64) + steps * (network.unit / _FINER)).astype(decoded.dtype)
    return np.where(steps == 0, decoded, moved)


def write(network: IntegerNetwork) -> bytes:
    """Return the bytes of a network."""
    head = _HEAD.pack(
        _VERSION, network.axes, network.groups, network.reach, np.float32(network.unit), network.origin
    )
    return head + network.edges.astype("<i4").tobytes() + network.layers


def read(data: bytes) -> IntegerNetwork:
    """Read what `write` wrote.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If bytes are missing, hold what no encoder writes, or are of a newer version.
    """
    if len(data) < _HEAD.size:
        raise Truncated("the stream ends in the head of its network")
    version, axes, groups, reach, unit, origin = _HEAD.unpack_from(data)
    if version > _VERSION:
        raise Unsupported(f"a network of version {version}: this release reads {_VERSION}; upgrade sciflow")
    ranges = 1 <= axes <= 3 and 1 <= groups <= _MAX_GROUPS and reach <= _MAX_REACH and version == _VERSION
    if not (ranges and math.isfinite(unit) and unit > 0 and math.isfinite(origin)):
        raise Corrupt(
            f"a network of version {version}, {axes} axes, {groups} groups, reach {reach}, unit {unit:g}: "
            f"expected {_VERSION}, 1 to 3, 1 to {_MAX_GROUPS}, 0 to {_MAX_REACH}, a number above 0"
        )
    if len(data) < _HEAD.size + 4 * (groups - 1):
        raise Truncated("the stream ends in the groups of its network")
    edges = np.frombuffer(data, "<i4", groups - 1, _HEAD.size).astype(np.int32)
    if (np.diff(edges.astype(np.int64)) <= 0).any():
        raise Corrupt("a network whose groups do not ascend")
    layers = data[_HEAD.size + 4 * (groups - 1) :]
    # It must make one cell of `reach` more to each side, and two of one more than that.
    for cells in (1, 2):
        z, y, x = (2 * reach + cells if axis >= 3 - axes else 1 for axis in range(3))
        lengths = (z, y, x)
        status, shape = native.network_shape(layers, lengths)
        check_status(status, 0)
        if shape != (*(cells if axis >= 3 - axes else 1 for axis in range(3)), groups):
            raise Corrupt(f"a network that makes {shape} of {lengths}: expected {cells} cells a side")
    return IntegerNetwork(axes, reach, unit, origin, edges, layers)


def _edges(values: NDArray[Any]) -> NDArray[np.int32]:
    return np.unique(np.clip(np.rint(values), 1 - _FAR, _FAR - 1)).astype(np.int32)


def _volume(decoded: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The array as slabs of three axes, and how many of those are longer than one."""
    inner = [n for n in decoded.shape if n != 1][-3:]
    return decoded.reshape((-1, *(1,) * (3 - len(inner)), *inner)), max(len(inner), 1)


def _integers(volume: NDArray[Any], network: IntegerNetwork) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Values in units, 0 for holes, and the holes."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint((volume.astype(np.float64) - network.origin) * (1.0 / network.unit))
        inside = np.abs(scaled) < _FAR
    hole = ~inside | ((volume == 0) & np.signbit(volume))
    return np.where(hole, 0.0, scaled).astype(np.int32), hole


def _features(integers: NDArray[np.int32], axes: int, reach: int) -> NDArray[Any]:
    """Shape (slabs, z, y, x, 2), `reach` cells longer at the ends of each axis: the end ones repeated."""
    wide = integers.astype(np.int64)
    total = wide
    for axis in range(4 - axes, 4):
        n = total.shape[axis]
        padded = np.pad(total, [(1, 1) if a == axis else (0, 0) for a in range(4)], mode="edge")
        total = sum((np.take(padded, range(d, d + n), axis) for d in (1, 2)), np.take(padded, range(n), axis))
    local = np.clip(3**axes * wide - total, -_MOST_LOCAL, _MOST_LOCAL)
    size = np.abs(wide)
    value = np.sign(wide) * (_MOST_VALUE * size // (size + _BEND))
    both = np.stack([local, value], axis=-1).astype(np.int16)
    around = [(reach, reach) if 4 - axes <= a < 4 else (0, 0) for a in range(5)]
    return np.pad(both, around, mode="edge")


def _groups(integers: NDArray[np.int32], edges: NDArray[np.int32]) -> NDArray[Any]:
    return np.searchsorted(edges, integers, side="right").astype(np.int64)


def _tiles(
    shape: tuple[int, ...], axes: int, reach: int
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Parts of a volume, and the same with the cells around them."""
    for z in range(0, shape[0], _TILE[0]):
        for y in range(0, shape[1], _TILE[1]):
            for x in range(0, shape[2], _TILE[2]):
                inner = tuple(
                    slice(start, min(start + most, n))
                    for start, most, n in zip((z, y, x), _TILE, shape, strict=True)
                )
                outer = tuple(
                    slice(part.start, part.stop + (2 * reach if axis >= 3 - axes else 0))
                    for axis, part in enumerate(inner)
                )
                yield inner, outer


def _run(network: IntegerNetwork, block: NDArray[np.int16]) -> NDArray[np.int16]:
    """Corrections of every group, shape (z, y, x, groups), of a block with the cells around it."""
    lengths = (block.shape[0], block.shape[1], block.shape[2])
    status, shape = native.network_shape(network.layers, lengths)
    check_status(status, 0)
    inner = tuple(
        n - (2 * network.reach if axis >= 3 - network.axes else 0) for axis, n in enumerate(lengths)
    )
    if shape != (*inner, network.groups):
        raise Corrupt(f"a network that makes {shape} of {lengths}: expected {(*inner, network.groups)}")
    out = np.empty(shape, np.int16)
    check_status(native.run_network(network.layers, np.ascontiguousarray(block), 1, lengths, 1, out), 0)
    return out


# ---- rounding to integers --------------------------------------------------------------------------------


def _layers(
    parameters: Sequence[NDArray[np.float32]],
    worth: NDArray[np.float32],
    features: NDArray[Any],
    axes: int,
    groups: int,
) -> bytes:
    """Return the bytes of the three convolutions; what is between them gets the finest step that holds it."""
    parts = [bytes((1, axes)), _varint(network_training.INPUTS), struct.pack("<HB", _MOST_LOCAL, 3)]
    ranges = _ranges(parameters, worth, features, axes, groups)
    step = worth.astype(np.float64)  # what an integer is worth, of each input channel
    for layer in range(3):
        kernel, bias = (parameters[2 * layer + i].astype(np.float64) for i in range(2))
        last = layer == 2
        made = 1.0 / (_UNITS * _FINER) if last else max(ranges[layer], 1e-6) / 16384
        whole = kernel * step.reshape(1, -1, 1, 1, 1)
        weight = np.maximum(np.abs(whole).max(axis=(1, 2, 3, 4)) / 127.0, 1e-12)
        rounded = np.rint(whole / weight.reshape(-1, 1, 1, 1, 1)).astype(np.int8)
        shared = groups if layer else 1
        parts.append(
            b"\x00"
            + _varint(len(bias))
            + bytes((3, 1, 0))
            + _varint(shared)
            + struct.pack("<HB", _MOST_CORRECTION if last else 32767, 0 if last else 1)
            + b"".join(
                _scale(b / w, w / made, spare=_SPARE_BITS if last else 0)
                for b, w in zip(bias, weight, strict=True)
            )
            + rounded.tobytes()
        )
        step = np.full(network_training.CHANNELS, made)
    return b"".join(parts)


def _ranges(
    parameters: Sequence[NDArray[np.float32]],
    worth: NDArray[np.float32],
    features: NDArray[Any],
    axes: int,
    groups: int,
) -> list[float]:
    """Largest activations of the first two layers on a part of the array that stands for it."""
    torch = network_training.load_torch()
    side = round(_CALIBRATED ** (1 / axes)) + 2 * _REACH
    middle: tuple[Any, ...] = tuple(
        slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) if a >= 3 - axes else slice(None)
        for a, n in enumerate(features.shape[1:4])
    )
    part = features[(len(features) // 2, *middle)].astype(np.float32) * worth
    x = torch.from_numpy(np.moveaxis(part, -1, 0).copy()).repeat(groups, 1, 1, 1)[None]
    found = []
    for layer in range(2):
        kernel, bias = (torch.from_numpy(parameters[2 * layer + i]) for i in range(2))
        x = torch.relu(torch.nn.functional.conv3d(x, kernel, bias, groups=groups))
        found.append(float(x.max()))
    return found


def _scale(bias: float, factor: float, *, spare: int) -> bytes:
    """A bias, and a factor as ``times * 2**-14 * 2**-pre``."""
    mantissa, exponent = math.frexp(factor)
    pre = min(max(-exponent - spare, 0), 30)
    times = min(max(round(mantissa * 2.0 ** (14 + exponent + pre)), 1), 32767)
    whole = min(max(round(bias), -(1 << 28)), 1 << 28)
    return _varint(2 * whole if whole >= 0 else -2 * whole - 1) + struct.pack("<BH", pre, times)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
