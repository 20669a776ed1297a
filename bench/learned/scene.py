"""The scene of the GWLZ paper as far as it fits: the data set `cosmology-lognormal`."""

from __future__ import annotations

from bench.protocol import Array
from sciflow.datasets.catalog import recipe
from sciflow.datasets.cosmology import Parameters, fields

__all__ = ["scene"]


def scene(size: int) -> dict[str, Array]:
    """Return a density and the fields that follow it, float32, shape (size, size, size)."""
    settings = {**recipe("cosmology-lognormal").parameters, "size": size}
    return dict(fields(Parameters(**settings), progress=[].append))  # type: ignore[arg-type] # of a TOML file
