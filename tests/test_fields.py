"""The bound on every real field, at every tolerance, asserted by NumPy alone."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.sz import Level, SZConfig, decode, encode, info
from sciflow.testing import assert_bounded
from tests.conftest import RealFields, find_real_fields

FOUND = find_real_fields()
NAMES = FOUND.names() if FOUND else []
REL = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
SAMPLE_VALUES = 100_000


def assert_within(field: NDArray[Any], decoded: NDArray[Any], limit: float) -> None:
    """The definition, in so many words and without ours."""
    assert decoded.dtype == field.dtype
    assert decoded.shape == field.shape
    finite = np.isfinite(field)
    np.testing.assert_array_equal(field[~finite], decoded[~finite])
    wide = np.float64 if field.itemsize == 4 else np.longdouble
    error = np.abs(field[finite].astype(wide) - decoded[finite].astype(wide))
    assert error.max() <= limit


@pytest.mark.skipif(not NAMES, reason="no real fields")
@pytest.mark.parametrize("name", NAMES)
def test_rel(name: str, real_fields: RealFields) -> None:
    field = np.array(real_fields.load(name))
    finite = field[np.isfinite(field)]
    width = float(finite.max()) - float(finite.min())
    sizes = []
    for rel in REL:
        stream = encode(field, SZConfig(Bound.rel(rel)))
        assert_within(field, decode(stream), rel * width)
        header = info(stream)
        assert header.bound is None or header.bound == Bound.abs(rel * width)
        sizes.append(len(stream))
    assert sizes[0] <= sizes[-1] < 1.01 * field.nbytes


@pytest.mark.skipif(not NAMES, reason="no real fields")
@pytest.mark.parametrize("name", NAMES)
def test_other_bounds_levels_and_lattices_on_a_part(name: str, real_fields: RealFields) -> None:
    field = np.array(real_fields.load(name))
    field = np.ascontiguousarray(field[: max(1, SAMPLE_VALUES * len(field) // field.size)])
    finite = field[np.isfinite(field)]
    width = float(finite.max()) - float(finite.min())
    for level in get_args(Level):
        for bound in (Bound.psnr(60.0), Bound.pointwise_rel(1e-3)):
            assert_bounded(field, decode(encode(field, SZConfig(bound, level=level))), bound)
        if width:
            bound = Bound.abs(1e-3 * width)
            config = SZConfig(bound, level=level, rewrite_safe=True)
            assert_bounded(field, decode(encode(field, config)), bound)
