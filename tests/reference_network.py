"""Integer networks in numpy, from docs/network-format.md alone and to be read beside it: `read` and `run`."""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference_reader import Truncated, Unsupported, require

Values = NDArray[Any]


@dataclass
class Bytes:
    data: bytes
    at: int = 0

    def of(self, form: str) -> int:
        size = struct.calcsize("<" + form)
        return int(struct.unpack("<" + form, self.take(size))[0])

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise Truncated("a field is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def within(self, form: str, low: int, high: int) -> int:
        value = self.of(form)
        require(low <= value <= high, "range")
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.of("B")
            require(not (byte == 0 and shift) and (shift < 63 or byte < 2), "varint")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def count(self, most: int) -> int:
        value = self.varint()
        require(1 <= value <= most, "number")
        return value


@dataclass
class Stage:
    kind: int
    inputs: int = 0
    outputs: int = 0
    channels: int = 0
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    lengths: tuple[int, ...] = ()
    most: int = 32767
    activation: int = 0
    slope: int = 0
    table: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    square: int = 0
    shift: int = 0
    bias: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    pre: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    times: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: Values = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass
class Network:
    axes: int
    channels: int
    most: int
    stages: list[Stage] = field(default_factory=list)


# 1. Layout
def read(data: bytes) -> Network:
    fields = Bytes(data)
    version = fields.of("B")
    if version > 1:
        raise Unsupported
    require(version == 1, "version")
    network = Network(fields.within("B", 1, 3), fields.count(1024), fields.within("H", 1, 32767))
    channels, reach, total = network.channels, network.most, 0
    for _ in range(fields.within("B", 1, 64)):
        stage = Stage(fields.within("B", 0, 5), channels, channels, channels)
        if stage.kind >= 4:
            normalisation(fields, stage)
        elif stage.kind != 2:
            {0: convolution, 1: transposed, 3: dense}[stage.kind](fields, stage, network.axes, channels)
            sums(fields, stage, reach)
        total += stage.weights.size * stage.groups
        require(total <= 1 << 24, "weights")
        network.stages.append(stage)
        channels = stage.channels
        if stage.kind != 2:
            reach = max(1, int(np.abs(stage.table).max())) if stage.activation == 3 else stage.most
    require(fields.at == len(data), "nothing is left over")
    return network


def taps(stage: Stage, axes: int) -> int:
    return int(stage.kernel**axes)


def convolution(fields: Bytes, stage: Stage, axes: int, channels: int) -> None:
    stage.outputs = stage.channels = fields.count(1024)
    stage.kernel, stage.stride = fields.of("B"), fields.within("B", 1, 2)
    stage.padding, stage.groups = fields.within("B", 0, 1), fields.count(1024)
    require(stage.kernel in (1, 3) and not (stage.kernel == 1 and stage.padding), "kernel")
    require(channels % stage.groups == 0 and stage.outputs % stage.groups == 0, "groups")
    stage.weights = np.zeros((stage.outputs, channels // stage.groups, taps(stage, axes)), np.int64)


def transposed(fields: Bytes, stage: Stage, axes: int, channels: int) -> None:
    stage.outputs = stage.channels = fields.count(1024)
    stage.kernel = 3
    stage.weights = np.zeros((stage.outputs, channels, taps(stage, axes)), np.int64)


def dense(fields: Bytes, stage: Stage, axes: int, channels: int) -> None:
    stage.inputs, stage.channels = fields.count(65536), fields.count(1024)
    stage.lengths = (1,) * (3 - axes) + tuple(fields.count(64) for _ in range(axes))
    stage.outputs = stage.channels * math.prod(stage.lengths)
    require(stage.inputs % channels == 0 and stage.outputs <= 65536, "dense")
    stage.weights = np.zeros((stage.outputs, stage.inputs, 1), np.int64)


def sums(fields: Bytes, stage: Stage, reach: int) -> None:
    stage.most, stage.activation = fields.within("H", 1, 32767), fields.within("B", 0, 3)
    if stage.activation == 2:
        stage.slope = fields.of("B")
    if stage.activation == 3:
        stage.table = np.frombuffer(fields.take(514), "<i2").astype(np.int64)
        require(stage.table.min() >= -32767, "table")
    scales(fields, stage, -(2**31) + 1)
    weights(fields, stage, reach)


def normalisation(fields: Bytes, stage: Stage) -> None:
    stage.most = fields.within("H", 1, 32767)
    stage.square, stage.shift = fields.within("B", 0, 30), fields.within("B", 0, 29)
    stage.weights = np.zeros((stage.channels, stage.channels, 1), np.int64)
    scales(fields, stage, 1)
    weights(fields, stage, 32767)
    require(stage.weights.min() >= 0, "weights of a normalisation")


def scales(fields: Bytes, stage: Stage, least: int) -> None:
    found = []
    for _ in range(stage.outputs):
        zigzag = fields.varint()
        bias = (zigzag >> 1) ^ -(zigzag & 1)
        require(least <= bias < 2**31, "bias")
        found.append((bias, fields.within("B", 0, 30), fields.within("H", 1, 32767)))
    stage.bias, stage.pre, stage.times = np.array(found, np.int64).T


def weights(fields: Bytes, stage: Stage, reach: int) -> None:
    """And section 3, sums."""
    raw = np.frombuffer(fields.take(stage.weights.size), np.int8).astype(np.int64)
    stage.weights = raw.reshape(stage.weights.shape)
    most = np.abs(stage.bias) + half(stage.pre) + reach * np.abs(stage.weights).sum(axis=(1, 2))
    require(int(most.max()) < 2**31, "a sum could overflow")


# 2. What a stage computes
def half(shift: Any) -> Any:
    return (1 << shift) >> 1


def scaled(stage: Stage, a: Values, most: int) -> Values:
    held = np.clip((a + half(stage.pre)) >> stage.pre, -65535, 65535)
    return np.asarray(np.clip((held * stage.times + 2**13) >> 14, -most, most))


def activated(stage: Stage, v: Values) -> Values:
    if stage.activation == 1:
        return np.maximum(v, 0)
    if stage.activation == 2:
        return np.asarray(np.where(v < 0, (v * stage.slope + 128) >> 8, v))
    if stage.activation == 3:
        u = v + 32768
        low, part = u >> 8, u & 255
        return np.asarray((stage.table[low] * (256 - part) + stage.table[low + 1] * part + 128) >> 8)
    return v


def kernel(stage: Stage, axes: int) -> list[tuple[int, ...]]:
    """Places in the kernel, (z, y, x), in the order of taps."""
    lengths = (1,) * (3 - axes) + (stage.kernel,) * axes
    return list(itertools.product(*map(range, lengths)))


def convolve(stage: Stage, x: Values, axes: int) -> Values:
    pads = [(stage.padding, stage.padding) if a > 3 - axes else (0, 0) for a in range(4)]
    x = np.pad(x, [*pads, (0, 0)])
    lost = stage.kernel - 1
    strides = [stage.stride if a >= 3 - axes else 1 for a in range(3)]
    ends = [n - (lost if a >= 3 - axes else 0) for a, n in enumerate(x.shape[1:4])]
    require(min(ends) > 0, "a cell comes out")
    cells = [(end - 1) // stride + 1 for end, stride in zip(ends, strides, strict=True)]
    total = np.zeros((x.shape[0], *cells, stage.outputs), np.int64)
    each, made = x.shape[-1] // stage.groups, stage.outputs // stage.groups
    for tap, place in enumerate(kernel(stage, axes)):
        cut = [slice(k, k + (n - 1) * s + 1, s) for k, n, s in zip(place, cells, strides, strict=True)]
        read = x[(slice(None), *cut)]
        for g in range(stage.groups):
            outputs = slice(g * made, (g + 1) * made)
            total[..., outputs] += read[..., g * each : (g + 1) * each] @ stage.weights[outputs, :, tap].T
    return total


def spread(stage: Stage, x: Values, axes: int) -> Values:
    lengths = [n * (2 if a >= 3 - axes else 1) for a, n in enumerate(x.shape[1:4])]
    room = [n + (2 if a >= 3 - axes else 0) for a, n in enumerate(lengths)]
    total = np.zeros((x.shape[0], *room, stage.outputs), np.int64)
    for tap, place in enumerate(kernel(stage, axes)):
        cut = [
            slice(k, k + 2 * n, 2) if a >= 3 - axes else slice(None)
            for a, (k, n) in enumerate(zip(place, x.shape[1:4], strict=True))
        ]
        total[(slice(None), *cut)] += x @ stage.weights[:, :, tap].T
    inside = [slice(1, n + 1) if a >= 3 - axes else slice(None) for a, n in enumerate(lengths)]
    return total[(slice(None), *inside)]


def normalised(stage: Stage, x: Values) -> Values:
    q = np.minimum((x * x + half(stage.square)) >> stage.square, 32767)
    a = q @ stage.weights[:, :, 0].T + stage.bias
    r = np.array([math.isqrt(int(v) << 16) for v in a.reshape(-1)], np.int64).reshape(a.shape)
    f = scaled(stage, (1 << 38) // r if stage.kind == 4 else r, 32767)
    return np.asarray(np.clip((x * f + half(stage.shift)) >> stage.shift, -stage.most, stage.most))


def run(network: Network, blocks: Values) -> Values:
    """Return what comes out of ``blocks``, shape (count, z, y, x, channels)."""
    x = np.clip(blocks.astype(np.int64), -network.most, network.most)
    for stage in network.stages:
        if stage.kind == 2:
            for axis in range(4 - network.axes, 4):
                x = np.repeat(x, 2, axis)
            continue
        if stage.kind >= 4:
            x = normalised(stage, x)
            continue
        if stage.kind == 3:
            require(math.prod(x.shape[1:]) == stage.inputs, "inputs")
            total = x.reshape(len(x), -1) @ stage.weights[:, :, 0].T
        else:
            total = (convolve if stage.kind == 0 else spread)(stage, x, network.axes)
        x = activated(stage, scaled(stage, total + stage.bias, stage.most))
        if stage.kind == 3:
            x = x.reshape(len(x), *stage.lengths, stage.channels)
    return x.astype(np.int16)
