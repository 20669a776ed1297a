"""One way a function pair: tensors to bytes and back, each in one thread."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd
from torch import Tensor

from sciflow.models.checkpoints import Packed, pack, unpack
from sciflow.models.checkpoints.tree import from_bytes, to_bytes

__all__ = ["PACKERS", "Packer"]

_DEPTH = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True, slots=True)
class Packer:
    """A way to pack.

    Parameters
    ----------
    name : str
        In the table.
    encode : callable
        Tensors to whatever holds their bytes.
    decode : callable
        That, and the tensors whose shapes and dtypes it has, to tensors.
    size : callable
        Bytes of what `encode` gave.
    """

    name: str
    encode: Callable[[Sequence[Tensor]], Any]
    decode: Callable[[Any, Sequence[Tensor]], list[Tensor]]
    size: Callable[[Any], int]


def _saved(tensors: Sequence[Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(list(tensors), buffer)
    return buffer.getvalue()


def _loaded(data: bytes) -> list[Tensor]:
    found: list[Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    return found


def _zstd(level: int) -> Packer:
    return Packer(
        f"torch.save, zstd -{level}",
        lambda tensors: Zstd(level=level).encode(_saved(tensors)),
        lambda data, _: _loaded(bytes(Zstd().decode(data))),
        len,
    )


def _blosc() -> Packer:
    def encode(tensors: Sequence[Tensor]) -> list[bytes]:
        made = []
        for tensor in tensors:
            coder = Blosc("zstd", clevel=5, shuffle=Blosc.SHUFFLE, typesize=tensor.element_size())
            made.append(bytes(coder.encode(to_bytes(tensor))))
        return made

    def decode(parts: list[bytes], like: Sequence[Tensor]) -> list[Tensor]:
        found = (np.frombuffer(bytearray(Blosc().decode(part)), np.uint8) for part in parts)
        return [from_bytes(data, t.dtype, t.shape) for data, t in zip(found, like, strict=True)]

    return Packer("bytes shuffled, zstd", encode, decode, _total)


def _zipnn() -> Packer:
    from zipnn import ZipNN

    def coder(tensor: Tensor) -> Any:
        return ZipNN(input_format="torch", bytearray_dtype=_DEPTH[tensor.dtype], threads=1)

    def encode(tensors: Sequence[Tensor]) -> list[bytes]:
        return [bytes(coder(t).compress(t.clone().contiguous())) for t in tensors]

    def decode(parts: list[bytes], like: Sequence[Tensor]) -> list[Tensor]:
        return [coder(t).decompress(part).reshape(t.shape) for part, t in zip(parts, like, strict=True)]

    return Packer("ZipNN", encode, decode, _total)


def _ours(name: str, *, dense: bool) -> Packer:
    def encode(tensors: Sequence[Tensor]) -> list[Packed]:
        return [pack(to_bytes(t), is_float=t.is_floating_point(), dense=dense) for t in tensors]

    def decode(parts: list[Packed], like: Sequence[Tensor]) -> list[Tensor]:
        return [
            from_bytes(unpack(part, t.numel(), t.element_size()), t.dtype, t.shape)
            for part, t in zip(parts, like, strict=True)
        ]

    return Packer(name, encode, decode, lambda parts: sum(part.nbytes for part in parts))


def _total(parts: Sequence[bytes]) -> int:
    return sum(map(len, parts))


PACKERS = [
    Packer("torch.save", _saved, lambda data, _: _loaded(data), len),
    _zstd(1),
    _zstd(3),
    _blosc(),
    *([_zipnn()] if importlib.util.find_spec("zipnn") else []),
    _ours("sciflow", dense=False),
    _ours("sciflow, dense", dense=True),
]
"""All that are installed."""
