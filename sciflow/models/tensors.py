"""The safetensors format, read and written here: equal arrays give equal bytes, and bad bytes an error.

```
u64 little-endian: length of the header ▶ header, JSON ▶ arrays, little-endian, C order, one behind another
```
https://github.com/huggingface/safetensors, section "Format". Files of that library read here and the other
way round, for the dtypes below. Nothing in a file is executed.

Q: why not that library? A: it writes metadata in another order in each process (0.8), so that equal models
would have other digests, and gives none of bytes in memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument, Truncated

__all__ = ["read_tensors", "write_tensors"]

_DTYPES: dict[str, np.dtype[Any]] = {
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 1 << 20
_ALIGNMENT = 8


def write_tensors(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of named arrays and of text about them, whatever order they are given in.

    Parameters
    ----------
    arrays : mapping of str to ndarray, int8|uint8|int16|int32|int64|float32|float64, any shape
        Values.
    metadata : mapping of str to str
        Text.

    Raises
    ------
    InvalidArgument
        If an array is of another dtype.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts: list[bytes] = []
    at = 0
    for name, array in sorted(arrays.items()):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise InvalidArgument(
                f"array {name!r}: found {array.dtype}, expected one of {', '.join(_DTYPES)}"
            )
        parts.append(np.ascontiguousarray(array, dtype).tobytes())
        end = at + len(parts[-1])
        header[name] = {"dtype": _NAMES[dtype], "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def read_tensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the text that `write_tensors` wrote.

    Raises
    ------
    Truncated
        If bytes are missing.
    Corrupt
        If the header is no such JSON, or arrays leave gaps, overlap or do not fill the file.
    """
    if len(data) < 8:
        raise Truncated(f"a file of tensors of {len(data)} bytes: expected 8 and a header")
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise Corrupt(
            f"a header of {length} bytes: expected at most {_MAX_HEADER}; is it a safetensors file?"
        )
    if len(data) < 8 + length:
        raise Truncated(f"a file of tensors of {len(data)} bytes: its header alone needs {8 + length}")
    header = _parse(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise Corrupt("the metadata of a file of tensors: expected an object of text")
    body = data[8 + length :]
    found: dict[str, NDArray[Any]] = {}
    at = 0
    for name, entry in sorted(header.items(), key=_start):
        dtype, shape = _described(name, entry)
        nbytes = dtype.itemsize * math.prod(shape)
        if entry["data_offsets"] != [at, at + nbytes]:
            raise Corrupt(
                f"array {name!r}: found offsets {entry['data_offsets']}, expected {[at, at + nbytes]}"
            )
        if len(body) < at + nbytes:
            raise Truncated(f"array {name!r} ends at byte {at + nbytes} of {len(body)}")
        found[name] = np.frombuffer(body, dtype, math.prod(shape), at).reshape(shape)
        at += nbytes
    if at != len(body):
        raise Corrupt(f"a file of tensors with {len(body) - at} bytes behind its last array: expected none")
    return found, metadata


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the header of a file of tensors is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise Corrupt("the header of a file of tensors is not an object")
    return header


def _start(item: tuple[str, Any]) -> tuple[int, int, str]:
    name, entry = item
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    good = isinstance(offsets, list) and len(offsets) == 2 and all(type(value) is int for value in offsets)
    if not good:
        raise Corrupt(f"array {name!r}: expected dtype, shape and two data_offsets")
    assert isinstance(offsets, list)
    return offsets[0], offsets[1], name


def _described(name: str, entry: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not (isinstance(dtype, str) and dtype in _DTYPES):
        raise Corrupt(f"array {name!r}: found dtype {dtype!r}, expected one of {', '.join(_DTYPES)}")
    if not (isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)):
        raise Corrupt(f"array {name!r}: found shape {shape!r}, expected up to 8 lengths")
    found: np.dtype[Any] = _DTYPES[dtype]
    return found, tuple(shape)
