"""Enhancers that many chunks share: fitted once, kept in the metadata, tried beside each chunk's own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs.base import SZBase, as_stored
from sciflow.codecs.enhancement import DEFAULT_GROUPS, WORTH
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.sentinels import sentinel_bits
from sciflow.codecs.stream import check_status
from sciflow.codecs.sz import check_dtype
from sciflow.errors import InvalidArgument

__all__ = ["fit_shared"]


def fit_shared(chunks: Iterable[NDArray[np.floating]], config: GWLZConfig) -> bytes:
    """Return an enhancer for chunks like these, to be passed as ``shared=``.

    Each chunk is encoded and decoded with the base codec; cells from all of them are the samples of one fit.

    Parameters
    ----------
    chunks : iterable of ndarray, float32|float64, of one dtype, any shape
        All chunks of an array, or some that stand for them. They are held in memory together.
    config : GWLZConfig
        The base codec and the groups. A relative bound refers to each chunk: give it as ``Bound.abs``.

    Returns
    -------
    bytes
        Empty where no enhancer is worth its bytes.

    Raises
    ------
    InvalidArgument
        If there is no chunk, or dtypes differ.
    UnsupportedDtype
        If the dtype is neither float32 nor float64.

    Examples
    --------
    >>> from sciflow import SZ, Bound
    >>> wave = np.sin(np.arange(9216, dtype="f4") / 5).reshape(96, 96)
    >>> config = GWLZConfig(SZ(Bound.abs(0.2)))
    >>> model = fit_shared([wave[:48], wave[48:]], config)
    >>> 0 < len(model) < 500
    True
    """
    arrays: list[NDArray[np.floating]] = []
    shapes: list[tuple[int, ...]] = []
    nbytes = 0
    for chunk in chunks:
        check_dtype(chunk.dtype, ndim=chunk.ndim)
        stored, _ = as_stored(chunk)
        stream = config.base.encode(stored)
        nbytes += len(stream)
        decoded = config.base.decode(memoryview(stream), stored.dtype, stored.shape)
        arrays += [stored.reshape(-1), decoded.reshape(-1)]
        shapes.append(stored.shape)
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) != 1:
        raise InvalidArgument(
            f"found {len(shapes)} chunks of {len(dtypes)} dtypes: expected some, all of the same dtype"
        )
    preserve = config.base.config.preserve if isinstance(config.base, SZBase) else ()
    status, model = native.enhance_fit(
        arrays,
        shapes,
        {
            "groups": config.groups_number,
            "n_groups": config.n_groups or DEFAULT_GROUPS,
            "worth": sum(WORTH) / 2 * nbytes,
            "own": True,
            "shared": b"",
            "preserve": sentinel_bits(preserve, arrays[0].dtype),
            "bound": 0.0,
        },
    )
    check_status(status, 0)
    return model
