"""Data sets: a catalogue of recipes, and the simulations that make them on the spot.

>>> from sciflow import datasets
>>> datasets.names()
('cosmology-lognormal', 'navier-stokes-3d', 'shallow-water')

From the shell: ``python -m sciflow.datasets make navier-stokes-3d in.nc --set snapshots=4``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.datasets.catalog import Recipe, make, names, recipe

__all__ = ["Recipe", "make", "names", "recipe"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from sciflow.datasets import catalog

    return getattr(catalog, name)


def __dir__() -> list[str]:
    return list(__all__)
