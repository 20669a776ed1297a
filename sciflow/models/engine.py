"""Runs a network in the engine: the values of `sciflow.models.integer.run` bit for bit, only faster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs.stream import check_status

__all__ = ["run"]

_CHUNK = 512
"""Blocks at a time, so that memory does not grow with their number."""


def run(network: bytes, values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return what comes out of blocks, one thread at work.

    Parameters
    ----------
    network : bytes
        As docs/network-format.md lays it out.
    values : ndarray, int16, shape (n, *space, channels), 1 to 3 axes of space
        Inputs.

    Returns
    -------
    ndarray, int16, shape (n, *space, channels)
        Space and channels as the network makes them.

    Raises
    ------
    Truncated, Corrupt, Unsupported
        If the bytes are no network of this release, or one that does not take such blocks.
    """
    axes = values.ndim - 2
    z, y, x = [1] * (3 - axes) + list(values.shape[1:-1])
    status, made = native.network_shape(network, (z, y, x))
    check_status(status, 0)
    out = np.empty((len(values), *made[3 - axes :]), np.int16)
    for at in range(0, len(values), _CHUNK):
        part = np.ascontiguousarray(values[at : at + _CHUNK])
        check_status(native.run_network(network, part, len(part), (z, y, x), 1, out[at : at + _CHUNK]), 0)
    return out
