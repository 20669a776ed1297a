"""Parameters of small sets of samples."""

from __future__ import annotations

from typing import Any

from sciflow import datasets
from sciflow.datasets import boxes, bragg

SMALL: dict[str, dict[str, str | float]] = {
    "bragg-cdi": {"samples": 7, "size": 16},
    "cosmology-boxes": {"samples": 7, "size": 8},
    "darcy": {"samples": 7, "size": 16},
    "ptychography": {"samples": 7, "size": 16, "scan": 2, "step": 4},
    "turbulence-2d": {"samples": 7, "size": 16, "snapshots": 3, "duration": 0.2, "viscosity": 0.05,
                      "lowest_peak": 2, "highest_peak": 3},
}  # fmt: skip


def values_of(name: str, **changes: Any) -> dict[str, Any]:
    return {**datasets.recipe(name).parameters, **changes}


def beam(**changes: Any) -> bragg.Parameters:
    return bragg.Parameters(**values_of("bragg-cdi", **changes))


def cosmos(**changes: Any) -> boxes.Parameters:
    return boxes.Parameters(**values_of("cosmology-boxes", **changes))
