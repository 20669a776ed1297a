"""Data sets: recipes that make them, and loading that feeds a model from files as they are.

Recipes, a catalogue of them and the simulations behind it:

>>> from sciflow import datasets
>>> datasets.names()
('bragg-cdi', 'cosmology-boxes', 'cosmology-lognormal', 'darcy', 'navier-stokes-3d', 'ptychography',
 'shallow-water', 'turbulence-2d')

From the shell: ``python -m sciflow.datasets make darcy darcy.nc --set samples=4096 --workers 2``.

Loading, from HDF5, NetCDF-4, Zarr, npy or a file a sample::

    source = datasets.open_source("run.nc", keys=("u", "v"))
    with datasets.SolarLoader(source.pairs(1, key="u"), batch_size=32, buffer_bytes=8 << 30) as loader:
        for epoch in range(10):
            for batch in loader: ...   # {"input": tensor, "target": tensor}

`FieldDataset` is the same source for torch's own DataLoader. Files of PDEBench, of the Well and series in
time become samples with `open_samples`. More sources are in `sciflow.datasets.sources`,
more of the loader in `sciflow.datasets.loading`, and plans for several nodes in `sciflow.datasets.planning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.datasets.catalog import Recipe, make, names, recipe
    from sciflow.datasets.layouts import open_samples
    from sciflow.datasets.loading import FieldDataset, SolarLoader
    from sciflow.datasets.planning import make_plan
    from sciflow.datasets.sources import open_source

__all__ = [
    "FieldDataset",
    "Recipe",
    "SolarLoader",
    "make",
    "make_plan",
    "names",
    "open_samples",
    "open_source",
    "recipe",
]

_HOME = {
    **dict.fromkeys(["Recipe", "make", "names", "recipe"], "catalog"),
    **dict.fromkeys(["FieldDataset", "SolarLoader"], "loading"),
    "make_plan": "planning",
    "open_samples": "layouts",
    "open_source": "sources",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
