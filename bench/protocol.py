"""What every competitor looks like to the bench: one array in, bytes out, and back."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """What a codec may know besides the bytes.

    Attributes
    ----------
    shape : tuple of int
        Shape of the field, C order.
    dtype : str
        ``"float32"`` or ``"float64"``.
    bound : float
        Absolute error bound in the units of the field; 0 asks for every bit.
    preserve : tuple of float
        Fill values that the field holds besides NaN (only ``sciflow`` can use them).
    """

    shape: tuple[int, ...]
    dtype: str
    bound: float
    preserve: tuple[float, ...] = ()


class Codec(Protocol):
    """One competitor; a new object decodes, so nothing but the bytes can be remembered.

    ``lossless`` codecs run once a field, without a bound. ``takes_specials`` says that NaN and fill values
    are meant to survive, so the codec is never given a filled field.
    """

    lossless: bool
    takes_specials: bool

    def encode(self, field: Array, task: Task) -> bytes:
        """Return the stream of ``field`` (C-contiguous, native byte order)."""
        ...

    def decode(self, stream: bytes, task: Task) -> Array:
        """Return the array of ``task.shape`` that ``stream`` holds."""
        ...


_MODULES = {
    "sciflow": "sciflow_sz",
    "sciflow-fast": "sciflow_sz",
    "sciflow-quick": "sciflow_sz",
    "sciflow-max": "sciflow_sz",
    "sciflow-safe": "sciflow_sz",
    "pysz": "sz3_pysz",
    "pysz-lorenzo": "sz3_pysz",
    "hdf5-sz3": "sz3_hdf5",
    "hdf5-sz": "sz2_hdf5",
    "hdf5-sperr": "sperr",
    "zfpy": "zfp",
    "lattice-pco": "pco_lattice",
    "pco": "pco",
    "hdf5-blosc2": "blosc2",
    "blosc": "blosc",
    "zstd": "zstd",
}
NAMES = tuple(_MODULES)
OURS = tuple(name for name in NAMES if name.startswith("sciflow"))


def load(name: str) -> Codec:
    """Return the competitor called ``name``.

    Raises
    ------
    KeyError
        No competitor has that name.
    ImportError
        Its package is not installed.
    """
    module = importlib.import_module(f"bench.codecs.{_MODULES[name]}")
    return cast(Codec, module.make(name))


def fold(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Return ``shape`` with its leading axes merged until at most ``most`` are left.

    Examples
    --------
    >>> fold((10, 4, 2, 61, 120), 4)
    (40, 2, 61, 120)
    """
    while len(shape) > most:
        shape = (shape[0] * shape[1], *shape[2:])
    return shape
