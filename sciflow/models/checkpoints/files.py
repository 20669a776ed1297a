"""One checkpoint, one file: `docs/checkpoints.md` has its bytes.

```
"sciflowW" u32 version ▶ parts of all tensors ▶ JSON: tree, tensors ▶ u64 length of the JSON ▶ SHA-256 of all
```
The JSON stands behind the parts, so that no more than one packed tensor is in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from sciflow.errors import Corrupt, Truncated, Unsupported
from sciflow.models.checkpoints.packing import METHODS, Packed, Part, pack, unpack
from sciflow.models.checkpoints.tree import flatten, from_bytes, to_bytes, unflatten

__all__ = ["TEMPORARY", "read_checkpoint", "write_checkpoint"]

TEMPORARY = ".new-"
"""How the names of files begin that are not whole yet."""
_MAGIC, _VERSION = b"sciflowW", 1
_HEAD = len(_MAGIC) + 4
_TAIL = 8 + 32
_MAX_TREE = 1 << 28
_MAX_AXES = 16
_STEP = 1 << 22
_DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
    )
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class _Hashed:
    """A file that sums up what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.sum.update(data)


def write_checkpoint(path: str | os.PathLike[str], state: Any, *, dense: bool = False) -> Path:
    """Write a state, whole or not at all: temporary file, fsync, rename, fsync of the folder.

    Parameters
    ----------
    path : path
        The file; what is there is replaced once the new one is on the disk.
    state : nested dict, list and tuple of numbers, text, None and Tensor
        What comes back from `read_checkpoint`.
    dense : bool
        Whether to pack a few percent smaller, several times slower: for what is kept.

    Raises
    ------
    OSError
        If the disk is full or the file cannot be written; what was at the path is as it was.
    InvalidArgument
        If the state holds anything else.
    """
    path = Path(path)
    tree, tensors = flatten(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY, delete=False) as file:
        try:
            _write(_Hashed(file), tree, tensors, dense)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
    _sync_folder(path.parent)
    return path


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Return the state in a file, its tensors in the processor's memory.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Truncated, Corrupt
        If it does not have its checksum, or contradicts itself.
    Unsupported
        If a later release wrote it.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _HEAD + _TAIL:
            raise Truncated(f"{path}: a checkpoint of {size} bytes: expected at least {_HEAD + _TAIL}")
        head = file.read(_HEAD)
        if head[: len(_MAGIC)] != _MAGIC:
            raise Corrupt(f"{path}: not a checkpoint of ours; remove it")
        if int.from_bytes(head[len(_MAGIC) :], "little") != _VERSION:
            raise Unsupported(f"{path}: a checkpoint of a later release; install a newer sciflow")
        _check_sum(file, size, path)
        try:
            return _read(file, size)
        except Corrupt as error:
            raise type(error)(f"{path}: {error}") from error


def _write(file: _Hashed, tree: Any, tensors: list[Tensor], dense: bool) -> None:
    file.write(_MAGIC + _VERSION.to_bytes(4, "little"))
    entries = []
    for tensor in tensors:
        is_float = tensor.is_floating_point() or tensor.is_complex()
        packed = pack(to_bytes(tensor), is_float=is_float, dense=dense)
        for part in packed.parts:
            file.write(part.data)
        entries.append(
            {
                "dtype": _NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "rotated": packed.rotated,
                "parts": [[part.method, len(part.data)] for part in packed.parts],
            }
        )
    text = json.dumps({"tree": tree, "tensors": entries}, separators=(",", ":")).encode()
    file.write(text)
    file.write(len(text).to_bytes(8, "little"))
    file.file.write(file.sum.digest())


def _check_sum(file: IO[bytes], size: int, path: Path) -> None:
    file.seek(0)
    found, left = hashlib.sha256(), size - 32
    while left:
        data = file.read(min(_STEP, left))
        if not data:
            raise Truncated(f"{path}: {left} bytes are missing; it is being written, or was cut")
        found.update(data)
        left -= len(data)
    if file.read(32) != found.digest():
        raise Corrupt(f"{path}: its checksum does not hold; it was cut or damaged")


def _read(file: IO[bytes], size: int) -> Any:
    file.seek(size - _TAIL)
    length = int.from_bytes(file.read(8), "little")
    if length > min(_MAX_TREE, size - _HEAD - _TAIL):
        raise Corrupt(f"its JSON has {length} bytes; expected fewer than the file's {size}")
    end = size - _TAIL - length
    file.seek(end)
    header = _parse(file.read(length))
    file.seek(_HEAD)
    budget = _Budget(file, end - _HEAD)
    tensors = [_tensor(entry, budget.read) for entry in header["tensors"]]
    if budget.left:
        raise Corrupt(f"{budget.left} bytes belong to no tensor")
    return unflatten(header["tree"], tensors)


class _Budget:
    """Reads no more than there is."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self.file, self.left = file, left

    def read(self, length: int) -> bytes:
        if length > self.left:
            raise Truncated(f"a part of {length} bytes: {self.left} are left")
        self.left -= length
        return self.file.read(length)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"its JSON cannot be read ({type(error).__name__})") from error
    good = isinstance(header, dict) and isinstance(header.get("tensors"), list) and "tree" in header
    if not good:
        raise Corrupt("its JSON has no tree and tensors")
    found: dict[str, Any] = header
    return found


def _tensor(entry: Any, read: Callable[[int], bytes]) -> Tensor:
    if not isinstance(entry, dict):
        raise Corrupt("a tensor without a description")
    dtype, shape, parts = _DTYPES.get(str(entry.get("dtype"))), entry.get("shape"), entry.get("parts")
    if dtype is None or not _counts(shape, _MAX_AXES):
        raise Corrupt(f"a tensor of {entry.get('dtype')!r}, shape {shape!r}")
    assert isinstance(shape, list)
    if not (isinstance(parts, list) and all(_is_part(part) for part in parts)):
        raise Corrupt("a tensor without parts")
    real = 2 if dtype.is_complex else 1
    items, size = math.prod(shape) * real, dtype.itemsize // real
    packed = Packed(bool(entry.get("rotated")), tuple(Part(kind, read(length)) for kind, length in parts))
    return from_bytes(unpack(packed, items, size), dtype, shape)


def _counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(n) is int and n >= 0 for n in value)


def _is_part(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and part[0] in METHODS and _counts([part[1]], 1)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
