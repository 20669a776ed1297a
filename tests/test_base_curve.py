"""What a base takes for an error: read off a curve that is known."""

from __future__ import annotations

import math

import pytest

from sciflow.codecs.base_curve import BaseCurve, Point


def smooth(parameter: float) -> Point:
    return Point(parameter, round(1e6 * parameter**-0.5), parameter**2 / 3)


@pytest.mark.parametrize("part", [0.9, 0.5, 0.11])
def test_a_smooth_base_is_read_within_a_per_cent(part: float) -> None:
    curve = BaseCurve(smooth)
    curve.at(1.0)
    wanted = smooth(part)
    assert math.isclose(curve.bytes_for(wanted.mse), wanted.size, rel_tol=0.01)


def test_a_point_that_is_known_is_not_encoded_again() -> None:
    seen = list[float]()

    def measure(parameter: float) -> Point:
        seen.append(parameter)
        return smooth(parameter)

    curve = BaseCurve(measure)
    assert curve.at(1.0) is curve.at(1.0)
    curve.bytes_for(0.99 * smooth(1.0).mse)
    assert seen[0] == 1.0
    assert len(seen) <= 3


def test_a_base_that_finds_a_lattice_is_looked_at_more_closely() -> None:
    """At 0.4 and below it takes half of the bytes."""

    def measure(parameter: float) -> Point:
        point = smooth(parameter)
        return point if parameter > 0.4 else Point(parameter, point.size // 2, point.mse)

    curve = BaseCurve(measure)
    curve.at(1.0)
    curve.at(0.3)
    assert curve.bytes_for(smooth(0.6).mse) < 0.9 * smooth(0.6).size


def test_an_error_that_is_never_met_counts_as_little_as_can_be_said() -> None:
    curve = BaseCurve(lambda parameter: Point(parameter, 1000, 1.0))
    curve.at(1.0)
    assert curve.bytes_for(0.25) == 1000
