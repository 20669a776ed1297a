"""The golden integer networks: how they were written, and ``python -m tests.golden.networks`` to add one."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.golden.examples import noise

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "networks.json"
Lengths = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Example:
    """A network, and the blocks (count, z, y, x, channels) that it is run on."""

    network: bytes
    blocks: NDArray[np.int16]


def varint(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Writer:
    """Puts a network together, weights from a hash of their number."""

    def __init__(self, axes: int, channels: int, most: int = 2000) -> None:
        self._axes, self._channels = axes, channels
        self._head = bytes((1, axes)) + varint(channels) + struct.pack("<H", most)
        self._stages: list[bytes] = []

    def packed(self) -> bytes:
        return self._head + bytes((len(self._stages),)) + b"".join(self._stages)

    def _numbers(self, count: int, low: int, high: int) -> NDArray[np.int64]:
        raw = noise((count + 40 * len(self._stages),), bits=20)[-count:]
        return np.asarray(raw % (high - low + 1) + low)

    def _scales(self, count: int, low: int, pre: int) -> bytes:
        biases, times = self._numbers(count, low, 900), self._numbers(count, 6000, 16384)
        return b"".join(
            varint(int(2 * b if b >= 0 else -2 * b - 1)) + struct.pack("<BH", pre, t)
            for b, t in zip(biases, times, strict=True)
        )

    def _sums(self, outputs: int, inputs: int, activation: bytes, pre: int) -> bytes:
        weights = self._numbers(outputs * inputs, -50, 50).astype(np.int8).tobytes()
        return struct.pack("<H", 2000) + activation + self._scales(outputs, -900, pre) + weights

    def conv(
        self, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 1, groups: int = 1,
        activation: bytes = b"\x00",
    ) -> Writer:  # fmt: skip
        inputs = self._channels // groups * kernel**self._axes
        head = b"\x00" + varint(outputs) + bytes((kernel, stride, padding)) + varint(groups)
        return self._add(head + self._sums(outputs, inputs, activation, 7), outputs)

    def transposed(self, outputs: int) -> Writer:
        inputs = self._channels * 3**self._axes
        return self._add(b"\x01" + varint(outputs) + self._sums(outputs, inputs, b"\x00", 6), outputs)

    def upsample(self) -> Writer:
        return self._add(b"\x02", self._channels)

    def dense(self, inputs: int, channels: int, *lengths: int) -> Writer:
        outputs = channels * int(np.prod(lengths))
        head = b"\x03" + varint(inputs) + varint(channels) + b"".join(map(varint, lengths))
        return self._add(head + self._sums(outputs, inputs, b"\x02\x40", 5), channels)

    def norm(self, kind: int) -> Writer:
        n = self._channels
        weights = self._numbers(n * n, 0, 90).astype(np.int8).tobytes()
        pre = 4
        stage = bytes((kind,)) + struct.pack("<HBB", 2000, 8, 13) + self._scales(n, 1, pre) + weights
        return self._add(stage, n)

    def _add(self, stage: bytes, channels: int) -> Writer:
        self._stages.append(stage)
        self._channels = channels
        return self


def table() -> bytes:
    """An S-shaped activation."""
    at = np.arange(-128, 129, dtype=np.int64)
    values: NDArray[np.int64] = 8000 * at // (np.abs(at) + 9)
    return b"\x03" + values.astype("<i2").tobytes()


def blocks(count: int, lengths: Lengths, channels: int) -> NDArray[np.int16]:
    """Values within 12 bits from a hash."""
    return noise((count, *lengths, channels), bits=12).astype(np.int16)


def examples() -> dict[str, Example]:
    """Every example by name; each is made anew."""
    makers: dict[str, Callable[[], Example]] = {
        "decoder_3d": lambda: Example(
            Writer(3, 6).dense(6, 20, 1, 1, 1).conv(20).transposed(18).norm(5).transposed(9).norm(5)
            .conv(1, activation=table()).packed(),
            blocks(21, (1, 1, 1), 6),
        ),
        "decoder_2d": lambda: Example(
            Writer(2, 5).dense(5, 8, 2, 3).upsample().conv(17, activation=b"\x01").norm(5)
            .transposed(2).packed(),
            blocks(9, (1, 1, 1), 5),
        ),
        "encoder_2d": lambda: Example(
            Writer(2, 1).conv(12, stride=2).norm(4).conv(6, stride=2, groups=3).dense(24, 7, 1, 1).packed(),
            blocks(5, (1, 7, 8), 1),
        ),
        "series": lambda: Example(
            Writer(1, 2).conv(16, padding=0, activation=b"\x01").conv(16, padding=0, groups=4)
            .conv(4, kernel=1, padding=0, groups=4).packed(),
            blocks(2, (1, 1, 60), 2),
        ),
    }  # fmt: skip
    return {name: make() for name, make in makers.items()}


def add_missing() -> list[str]:
    """Write each example that has no golden yet; returns the names of the files written."""
    from tests import reference_network

    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    written = []
    for name, example in examples().items():
        file = FOLDER / f"network_{name}.bin"
        if file.name in manifest:
            continue
        with file.open("xb") as out:
            out.write(example.network)
        values = reference_network.run(reference_network.read(example.network), example.blocks)
        manifest[file.name] = {
            "example": name,
            "network_sha256": sha256(example.network).hexdigest(),
            "shape": list(values.shape),
            "values_sha256": sha256(values.tobytes()).hexdigest(),
        }
        written.append(file.name)
    MANIFEST.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n")
    return written


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in add_missing()) or "every example has its golden\n")
