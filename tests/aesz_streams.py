"""Golden streams of AESZ with their models, and what its tests share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.codecs.aesz_stream import (
    read_modelled,
)
from sciflow.testing import assert_same_bits
from tests.golden.aesz import (
    FOLDER,
    MANIFEST,
)

ENTRIES: dict[str, dict[str, str]] = json.loads(MANIFEST.read_text())
GOLDENS = {name: (FOLDER / name).read_bytes() for name in ENTRIES}
MODELS = {name: (FOLDER / entry["model"]).read_bytes() for name, entry in ENTRIES.items()}
MODELLED = "aesz_0_1_klt_holes.bin"
WEIGHTED = "aesz_0_2_linear_holes.bin"


def assert_within(array: NDArray[Any], back: NDArray[Any], bound: float) -> None:
    """Fail unless every finite value is within a bound, and others are the same bits."""
    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    finite = np.isfinite(array)
    wide = np.longdouble
    assert np.abs(array[finite].astype(wide) - back[finite].astype(wide)).max(initial=0) <= bound
    assert_same_bits(array[~finite], back[~finite])


def with_head(stream: bytes, at: int, new: bytes) -> bytes:
    """The stream with other bytes in its wrapper, and a checksum that fits."""
    import zlib

    found = read_modelled(memoryview(stream))
    end = len(stream) - len(found.residual) - 4
    front = stream[:at] + new + stream[at + len(new) : end]
    crc = zlib.crc32(found.residual, zlib.crc32(front))
    return front + crc.to_bytes(4, "little") + bytes(found.residual)
