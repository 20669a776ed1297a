"""Networks in integers: weights of 8 bits, activations of 16, sums of 32, and the bytes that the engine runs.

```
int16 ─▶ stage ─▶ int16 ─▶ stage ─▶ ...    stage: sum of products ─ >> pre ─ x multiplier >> 14 ─ clip
```
The stages, their arithmetic and their bytes are those of the engine's network format (`codecs/network/`).
This is the slow reading of it in NumPy, the same values bit for bit: no result depends on the order of a sum.
`sciflow.models.engine` lets the engine run them.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported

__all__ = ["Network", "Stage", "StageKind", "read_network", "run", "write_network"]

StageKind = Literal["conv", "transposed", "upsample", "dense", "gdn", "inverse_gdn"]
_KINDS: tuple[StageKind, ...] = ("conv", "transposed", "upsample", "dense", "gdn", "inverse_gdn")

MOST = 32767
SCALE_BITS = 14
TABLE = 257
_MOST_SCALED = 65535
_ROOT_BITS, _INVERSE_BITS = 16, 38
_VERSION = 1
_NONE, _TABLE = 0, 3

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One stage.

    Parameters
    ----------
    kind : str
        Of `StageKind`.
    weights : ndarray, int8, shape (outputs, inputs * taps)
        For each output, channel by channel, the taps of the 3-wide kernel in C order; of a dense stage the
        cells of the input in C order, each with its channels, and outputs in the same order.
    bias : ndarray, int32, shape (outputs,)
        Added to sums.
    pre, multiplier : ndarray, int32, shape (outputs,)
        A sum is shifted right by ``pre``, then times ``multiplier / 2^14``.
    most : int
        What comes out is held to this.
    stride : int
        Of a convolution, 1 or 2.
    lengths : tuple of int
        Of what a dense stage makes.
    channels : int
        Of what comes out.
    square, shift : int
        Of a norm: squares are shifted right by the first, products with the norm by the second.
    table : ndarray, int16, shape (257,), optional
        What -32768, -32512, ... 32768 become; linear between.
    """

    kind: StageKind
    channels: int
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    pre: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    most: int = MOST
    stride: int = 1
    lengths: tuple[int, ...] = ()
    square: int = 0
    shift: int = 0
    table: NDArray[np.int16] | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """Stages, one after the other; inputs of ``channels`` channels on ``axes`` axes, held to ``most``."""

    axes: int
    channels: int
    most: int = MOST
    stages: tuple[Stage, ...] = field(default=())


def run(network: Network, values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return what comes out, shape (n, *space, channels), of int16 inputs of such a shape.

    Raises
    ------
    InvalidArgument
        If the input has other axes or channels than the network takes.
    """
    if values.ndim != network.axes + 2 or values.shape[-1] != network.channels:
        raise InvalidArgument(
            f"a network of {network.axes} axes and {network.channels} channels: found input {values.shape}"
        )
    found = np.clip(values.astype(np.int64), -network.most, network.most)
    for stage in network.stages:
        found = _RUN[stage.kind](stage, found)
    return found.astype(np.int16)


def write_network(network: Network) -> bytes:
    """Return the bytes of a network, as the engine reads them."""
    parts = [struct.pack("<BB", _VERSION, network.axes), _varint(network.channels)]
    parts.append(struct.pack("<HB", network.most, len(network.stages)))
    for stage in network.stages:
        parts.append(bytes([_KINDS.index(stage.kind)]))
        if stage.kind in ("gdn", "inverse_gdn"):
            parts.append(struct.pack("<HBB", stage.most, stage.square, stage.shift))
        else:
            parts.append(_write_head(stage))
        for bias, pre, multiplier in zip(stage.bias, stage.pre, stage.multiplier, strict=True):
            parts += [_varint(_zigzag(int(bias))), struct.pack("<BH", int(pre), int(multiplier))]
        parts.append(stage.weights.tobytes())
    return b"".join(parts)


def read_network(data: bytes) -> Network:
    """Read what `write_network` wrote; the engine checks hostile bytes, and more than is done here.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If bytes are missing, hold what no encoder writes, or are of a newer version.
    """
    reader = _Reader(data)
    version, axes = reader.unpack("<BB")
    if version != _VERSION:
        raise Unsupported(f"a network of version {version}: this release reads {_VERSION}; upgrade sciflow")
    channels = reader.varint(1024)
    most, count = reader.unpack("<HB")
    if not (1 <= axes <= 3 and 1 <= most <= MOST and 1 <= count <= 64):
        raise Corrupt(f"a network of {axes} axes and {count} stages: expected 1 to 3, and 1 to 64")
    stages: list[Stage] = []
    before = channels
    for _ in range(count):
        stages.append(_read_stage(reader, axes, before))
        before = stages[-1].channels
    if reader.at != len(data):
        raise Corrupt(f"a network with {len(data) - reader.at} bytes behind it: expected none")
    return Network(axes, channels, most, tuple(stages))


def _write_head(stage: Stage) -> bytes:
    head = b""
    if stage.kind == "conv":
        head = _varint(stage.channels) + bytes([3, stage.stride, 1]) + _varint(1)
    elif stage.kind == "transposed":
        head = _varint(stage.channels)
    elif stage.kind == "dense":
        head = _varint(stage.weights.shape[1]) + b"".join(map(_varint, (stage.channels, *stage.lengths)))
    activation = (
        bytes([_NONE]) if stage.table is None else bytes([_TABLE]) + stage.table.astype("<i2").tobytes()
    )
    return head + struct.pack("<H", stage.most) + activation


def _read_stage(reader: _Reader, axes: int, before: int) -> Stage:
    (code,) = reader.unpack("<B")
    if code >= len(_KINDS) or _KINDS[code] == "upsample":
        raise Corrupt(f"a stage of kind {code}: expected one that is exported here")
    kind = _KINDS[code]
    if kind in ("gdn", "inverse_gdn"):
        most, square, shift = reader.unpack("<HBB")
        bias, pre, multiplier = reader.scales(before)
        weights = reader.weights(before, before)
        return Stage(kind, before, weights, bias, pre, multiplier, most, square=square, shift=shift)
    stride, each = 1, before * 3**axes
    lengths: tuple[int, ...] = ()
    if kind == "conv":
        channels = outputs = reader.varint(1024)
        kernel, stride, padded = reader.unpack("<BBB")
        if (kernel, padded, reader.varint(1024)) != (3, 1, 1) or stride not in (1, 2):
            raise Corrupt("a convolution that is not 3 wide, padded and of one group: none is exported here")
    elif kind == "transposed":
        channels = outputs = reader.varint(1024)
    else:
        each, channels = reader.varint(65536), reader.varint(1024)
        lengths = tuple(reader.varint(64) for _ in range(axes))
        outputs = channels * math.prod(lengths)
    most, activation = reader.unpack("<HB")
    if activation not in (_NONE, _TABLE):
        raise Corrupt(f"activation {activation}: expected one that is exported here")
    table = reader.array("<i2", TABLE).astype(np.int16) if activation == _TABLE else None
    bias, pre, multiplier = reader.scales(outputs)
    weights = reader.weights(outputs, each)
    return Stage(kind, channels, weights, bias, pre, multiplier, most, stride, lengths, table=table)


# ---------------------------------------------------------------- arithmetic


def _half(bits: Integers | int) -> Integers:
    found: Integers = np.left_shift(np.int64(1), np.asarray(bits, np.int64)) >> 1
    return found


def _finish(stage: Stage, sums: Integers, most: int) -> Integers:
    pre = stage.pre.astype(np.int64)
    shifted = np.clip((sums + _half(pre)) >> pre, -_MOST_SCALED, _MOST_SCALED)
    scaled = (shifted * stage.multiplier + _half(SCALE_BITS)) >> SCALE_BITS
    found: Integers = np.clip(scaled, -most, most)
    return found


def _products(x: Integers, weights: NDArray[np.int8]) -> Integers:
    # Q: why floats? A: sums below 2^53 are exact in float64 in any order, and a BLAS is far quicker.
    found: Integers = (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)
    return found


def _activated(stage: Stage, sums: Integers) -> Integers:
    v = _finish(stage, sums, stage.most)
    if stage.table is None:
        return v
    at, part = (v + 32768) >> 8, (v + 32768) & 255
    table = stage.table.astype(np.int64)
    found: Integers = (table[at] * (256 - part) + table[at + 1] * part + 128) >> 8
    return found


def _dense(stage: Stage, x: Integers) -> Integers:
    found = _activated(stage, _products(x.reshape(len(x), -1), stage.weights) + stage.bias)
    return found.reshape(len(x), *stage.lengths, stage.channels)


def _conv(stage: Stage, x: Integers) -> Integers:
    axes = x.ndim - 2
    padded = np.pad(x, [(0, 0), *[(1, 1)] * axes, (0, 0)])
    kernel = stage.weights.reshape(stage.channels, x.shape[-1], -1)
    out = [(n - 1) // stage.stride + 1 for n in x.shape[1:-1]]
    sums = np.zeros((len(x), *out, stage.channels), np.int64)
    sums += stage.bias
    for tap, place in enumerate(itertools.product(range(3), repeat=axes)):
        cut = tuple(
            slice(t, t + (n - 1) * stage.stride + 1, stage.stride) for t, n in zip(place, out, strict=True)
        )
        sums += _products(padded[(slice(None), *cut)], kernel[:, :, tap])
    return _activated(stage, sums)


def _transposed(stage: Stage, x: Integers) -> Integers:
    axes = x.ndim - 2
    kernel = stage.weights.reshape(stage.channels, x.shape[-1], -1)
    wide = [2 * n + 1 for n in x.shape[1:-1]]  # one cell before the first, which is cut off
    sums = np.zeros((len(x), *wide, stage.channels), np.int64)
    for tap, place in enumerate(itertools.product(range(3), repeat=axes)):
        cut = tuple(slice(t, t + 2 * n - 1, 2) for t, n in zip(place, x.shape[1:-1], strict=True))
        sums[(slice(None), *cut)] += _products(x, kernel[:, :, tap])
    sums += stage.bias
    return _activated(stage, sums[(slice(None), *[slice(1, None)] * axes)])


def _norm(stage: Stage, x: Integers) -> Integers:
    squares = np.minimum((x * x + _half(stage.square)) >> stage.square, MOST)
    sums = np.maximum(_products(squares, stage.weights) + stage.bias, 1)
    norm = np.floor(np.sqrt(sums.astype(np.float64) * 2.0**_ROOT_BITS)).astype(np.int64)
    if stage.kind == "gdn":
        norm = (1 << _INVERSE_BITS) // norm
    scaled = _finish(stage, norm, MOST)
    found: Integers = np.clip((x * scaled + _half(stage.shift)) >> stage.shift, -stage.most, stage.most)
    return found


def _upsample(_stage: Stage, x: Integers) -> Integers:
    for axis in range(1, x.ndim - 1):
        x = np.repeat(x, 2, axis=axis)
    return x


_RUN = {
    "conv": _conv,
    "transposed": _transposed,
    "upsample": _upsample,
    "dense": _dense,
    "gdn": _norm,
    "inverse_gdn": _norm,
}


# ---------------------------------------------------------------- bytes


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def _take(self, n: int) -> bytes:
        if len(self.data) - self.at < n:
            raise Truncated(f"a network ends at byte {len(self.data)}: expected {n} at {self.at}")
        self.at += n
        return self.data[self.at - n : self.at]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def array(self, dtype: str, count: int) -> NDArray[np.int16]:
        return np.frombuffer(self._take(np.dtype(dtype).itemsize * count), dtype)

    def weights(self, outputs: int, each: int) -> NDArray[np.int8]:
        return np.frombuffer(self._take(outputs * each), np.int8).reshape(outputs, each)

    def _number(self) -> int:
        value, shift = 0, 0
        while True:
            (byte,) = self._take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise Corrupt("a number of more than 63 bits in a network")

    def varint(self, largest: int) -> int:
        value = self._number()
        if not 1 <= value <= largest:
            raise Corrupt(f"a number in a network: found {value}, expected 1 to {largest}")
        return value

    def scales(self, outputs: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        rows = []
        for _ in range(outputs):
            coded = self._number()
            bias = coded // 2 if coded % 2 == 0 else -(coded + 1) // 2
            pre, multiplier = self.unpack("<BH")
            if abs(bias) > 2**31 - 1 or pre > 30 or not 1 <= multiplier <= MOST:
                raise Corrupt(f"scales of a stage: found bias {bias}, shift {pre}, multiplier {multiplier}")
            rows.append((bias, pre, multiplier))
        bias_, pre_, multiplier_ = np.array(rows, np.int32).T
        return bias_, pre_, multiplier_
