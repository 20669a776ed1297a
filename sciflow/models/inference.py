"""Networks run by the engine where it has them, else in NumPy: the same integers either way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.errors import Corrupt
from sciflow.models.integer import Network, run, write_network

__all__ = ["run_blocks"]

_PART = 512
_AXES = 3


def run_blocks(network: Network, values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return what comes out of a network, shape (n, *space, channels), of inputs of such a shape.

    Raises
    ------
    InvalidArgument
        If the input has other axes or channels than the network takes.
    Corrupt
        If the engine refuses the network.
    """
    if getattr(native, "run_network", None) is not None:
        return _by_engine(network, np.ascontiguousarray(values))
    parts = [run(network, values[at : at + _PART]) for at in range(0, max(len(values), 1), _PART)]
    return np.concatenate(parts)


def _by_engine(network: Network, values: NDArray[np.int16]) -> NDArray[np.int16]:
    data = write_network(network)
    lengths = (1,) * (_AXES - network.axes) + values.shape[1:-1]
    status, shape = getattr(native, "network_shape")(data, lengths)  # noqa: B009 - absent from older engines
    if status:
        raise Corrupt(f"a network that the engine refuses (status {status})")
    made = np.zeros((len(values), *shape), np.int16)
    status = getattr(native, "run_network")(data, values, len(values), lengths, 1, made)  # noqa: B009
    if status:
        raise Corrupt(f"a network that the engine refuses (status {status})")
    return made.reshape(len(values), *shape[_AXES - network.axes :])
