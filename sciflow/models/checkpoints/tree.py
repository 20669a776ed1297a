"""Nested state as JSON and a list of arrays: what a checkpoint holds, without pickle.

A tensor becomes ``{"$tensor": index}``, a tuple ``{"$tuple": [...]}``, a dict with other keys than text
``{"$items": [[key, value], ...]}``. Floats come back bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciflow.errors import Corrupt, InvalidArgument

__all__ = ["copied", "flatten", "from_bytes", "to_bytes", "unflatten"]

_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"


def copied(state: Any) -> Any:
    """Return a state whose tensors are copies in the processor's memory, that training cannot change."""
    if isinstance(state, Tensor):
        found = state.detach()
        return found.clone() if found.device.type == "cpu" else found.cpu()
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(copied(value) for value in state)
    return state


def flatten(state: Any) -> tuple[Any, list[Tensor]]:
    """Return a tree for JSON, and the tensors that it points to.

    Raises
    ------
    InvalidArgument
        If the state holds anything but numbers, text, None, lists, tuples, dicts and tensors.
    """
    tensors: list[Tensor] = []
    return _flat(state, tensors), tensors


def _flat(state: Any, tensors: list[Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors.append(state)
        return {_TENSOR: len(tensors) - 1}
    if isinstance(state, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in state):
            return {key: _flat(value, tensors) for key, value in state.items()}
        return {_ITEMS: [[_flat(key, tensors), _flat(value, tensors)] for key, value in state.items()]}
    if isinstance(state, tuple):
        return {_TUPLE: [_flat(value, tensors) for value in state]}
    if isinstance(state, list):
        return [_flat(value, tensors) for value in state]
    if state is None or type(state) in (bool, int, float, str):
        return state
    raise InvalidArgument(
        f"state of a checkpoint: found {type(state).__name__}, expected numbers, text, lists and tensors"
    )


def unflatten(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """Return the state that `flatten` took apart.

    Raises
    ------
    Corrupt
        If the tree points to a tensor that is not there, or is none of ours.
    """
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        index = tree[_TENSOR]
        if len(tree) != 1 or type(index) is not int or not 0 <= index < len(tensors):
            raise Corrupt(f"a checkpoint points to tensor {index!r}: it has {len(tensors)}")
        return tensors[index]
    if _TUPLE in tree:
        return tuple(unflatten(_listed(tree[_TUPLE]), tensors))
    if _ITEMS in tree:
        return _dict(unflatten(_listed(tree[_ITEMS]), tensors))
    return {key: unflatten(value, tensors) for key, value in tree.items()}


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Corrupt(f"a checkpoint's tree: found {type(value).__name__}, expected a list")
    return value


def _dict(pairs: list[Any]) -> dict[Any, Any]:
    try:
        return dict(pairs)
    except (TypeError, ValueError) as error:
        raise Corrupt("a checkpoint's tree: expected pairs of a key and a value") from error


def to_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Return the bytes of a tensor in C order, uint8, shape (items, bytes of an item)."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    size = plain.element_size()
    if plain.is_complex():
        plain, size = torch.view_as_real(plain).reshape(-1), size // 2
    if plain.numel() == 0:
        return np.empty((0, size), np.uint8)
    found: NDArray[np.uint8] = plain.view(torch.uint8).numpy().reshape(-1, size)
    return found


def from_bytes(data: NDArray[np.uint8], dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """Return the tensor that has these bytes."""
    if data.size == 0:
        return torch.empty(tuple(shape), dtype=dtype)
    return torch.from_numpy(data.reshape(-1)).view(dtype).reshape(tuple(shape))
