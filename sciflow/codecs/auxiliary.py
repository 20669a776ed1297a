"""The other variables that an enhancer reads: whether they are those that the encoder was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs import sz
from sciflow.codecs.stream import as_bytes_view
from sciflow.codecs.wrapper import Enhanced
from sciflow.errors import AuxMismatch, InvalidArgument

__all__ = ["check_given", "digests", "prepare", "stored_aux"]


def check_given(names: Sequence[str], arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> None:
    """Refuse arrays that are not those that a configuration names.

    Raises
    ------
    InvalidArgument
        If their number, a shape or a dtype does not fit.
    """
    if len(names) != len(arrays):
        raise InvalidArgument(
            f"aux={list(names)!r} in the configuration and {len(arrays)} arrays: expected one array a name; "
            "sciflow.compress(..., aux={variable: names}) passes them"
        )
    for name, array in zip(names, arrays, strict=True):
        problem = _problem(np.asarray(array), shape)
        if problem:
            raise InvalidArgument(f"aux {name!r} {problem}")


def prepare(arrays: Sequence[NDArray[Any]], *, transposed: bool) -> list[NDArray[Any]]:
    """Return them C-contiguous and native, transposed where the array beside them is stored so."""
    return [sz.native_order(np.asarray(array).T if transposed else np.asarray(array)) for array in arrays]


def digests(arrays: Sequence[NDArray[Any]]) -> tuple[int, ...]:
    """CRC-32C of each, as prepared."""
    return tuple(native.crc32c(as_bytes_view(array)) for array in arrays)


def stored_aux(stream: Enhanced, names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the arrays that a stream needs, prepared, or none where it needs none.

    Raises
    ------
    AuxMismatch
        If some are missing, of another shape, or hold other values than the encoder was given.
    """
    if not stream.aux:
        return []
    if len(arrays) != len(stream.aux):
        raise AuxMismatch(
            f"the stream needs {len(stream.aux)} other variables ({', '.join(names) or 'not named'}) and met "
            f"{len(arrays)}: its codec alone cannot reach them; open the store with sciflow.open, or pass "
            "aux= to sciflow.codecs.gwlz.decode"
        )
    labels = list(names) if len(names) == len(arrays) else [f"number {k}" for k in range(len(arrays))]
    for label, array in zip(labels, arrays, strict=True):
        problem = _problem(np.asarray(array), stream.shape)
        if problem:
            raise AuxMismatch(f"the variable {label!r} that the stream needs {problem}")
    prepared = prepare(arrays, transposed=stream.order == "F")
    for label, found, expected in zip(labels, digests(prepared), stream.aux, strict=True):
        if found != expected:
            raise AuxMismatch(
                f"the variable {label!r} holds other values than when the stream was made (CRC-32C "
                f"{found:08x}, expected {expected:08x}): restore it, or compress both again"
            )
    return prepared


def _problem(array: NDArray[Any], shape: tuple[int, ...]) -> str:
    if array.shape != shape:
        return f"is of shape {array.shape}, expected {shape}"
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        return f"is {array.dtype}, expected float32 or float64"
    return ""
