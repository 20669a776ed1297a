"""Section 1 of docs/format.md, for the reference decoder: what reads streams, and what may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]  # T
Axes: TypeAlias = tuple[int, ...]


class Corrupt(ValueError):
    """The bytes break a rule of the page."""


class Truncated(Corrupt):
    """The bytes end early."""


class Unsupported(ValueError):
    """The stream is of a newer version."""


def require(holds: bool, rule: str) -> None:
    if not holds:
        raise Corrupt(f"broken rule: {rule}")


def crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
        table.append(value)
    return table


CRC = crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


# 1. Numbers
@dataclass(slots=True)
class Reader:
    data: bytes  # fields are taken from its front
    at: int = 0  # in bits

    @property
    def left(self) -> int:
        return len(self.data) - (self.at + 7) // 8

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Truncated(f"{count} bytes expected, {self.left} bytes before the end of {len(self.data)}")
        self.at = 8 * (len(self.data) - self.left + count)
        return self.data[self.at // 8 - count : self.at // 8]

    def bits(self, count: int) -> int:
        require(self.at + count <= 8 * len(self.data), "no bits are read beyond the end")
        value = int.from_bytes(self.data[self.at // 8 : (self.at + count + 7) // 8], "little") >> self.at % 8
        self.at += count
        return value & (1 << count) - 1

    def u8(self) -> int:
        return self.take(1)[0]

    def f64(self) -> float:
        value = float(self.array("<f8", 1)[0])
        require(math.isfinite(value), "every f64 is finite")
        return value

    def array(self, dtype: str, count: int) -> Values:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def varint(self) -> int:
        groups = [self.u8()]
        while groups[-1] >= 128:
            groups.append(self.u8())
        value = sum((byte & 127) << 7 * place for place, byte in enumerate(groups))
        require(value < 1 << 64, "a varint is below 2^64")
        require(groups[-1] > 0 or len(groups) == 1, "a varint has no superfluous last byte of zero")
        return value

    def checksum(self, checked: bytes) -> None:
        require(self.take(4) == crc32c(checked).to_bytes(4, "little"), "checksums fit")
