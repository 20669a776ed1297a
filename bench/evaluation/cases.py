"""Surrogates and their data sets, small enough for two cores: some minutes a ladder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sciflow.datasets import make
from sciflow.models.runs import Config

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A ladder.

    Parameters
    ----------
    name : str
        Of the surrogate and what it learns.
    recipe : str
        A data set of the catalogue.
    parameters : mapping of str to Any
        Of the recipe, where they differ from its defaults.
    data, settings, training : mapping of str to Any
        Of the run's config.
    bounds : tuple of str
        The rungs.
    """

    name: str
    recipe: str
    parameters: Mapping[str, Any]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    bounds: tuple[str, ...] = ("1e-3", "1e-2", "3e-2", "1e-1")
    about: str = field(default="", kw_only=True)

    @property
    def model(self) -> str:
        """Name of the surrogate."""
        return self.name.partition("-")[0]

    def config(self, folder: Path, threads: int) -> Config:
        """Return the run's config, for data in a folder."""
        return Config.of(
            {
                "out": str(folder / self.name),
                "data": {"path": str(self.file(folder)), "validation": 0.1, "test": 0.2, **self.data},
                "model": {"name": self.model, "settings": dict(self.settings)},
                "train": {"threads": threads, **self.training},
            }
        )

    def file(self, folder: Path) -> Path:
        """Return where the data set is."""
        return folder / f"{self.name}.nc"

    def make(self, folder: Path) -> None:
        """Simulate the data set, if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        if not self.file(folder).exists():
            make(self.recipe, self.file(folder), settings=dict(self.parameters), workers=1)


CASES = (
    Case(
        "fno-darcy",
        "darcy",
        {"samples": 1000, "size": 32, "field": "lognormal"},
        {"inputs": ["permeability"], "targets": ["pressure"]},
        {"modes": 8, "width": 16, "projection": 64, "padding": 4},
        {"epochs": 14, "batch_size": 20, "rate": 3e-3},
        bounds=("1e-4", "1e-3", "1e-2", "pointwise_rel:2e-2", "pointwise_rel:5e-2"),
        about="permeability (lognormal) to pressure, 32 x 32 cells",
    ),
    Case(
        "ptychonn-ptychography",
        "ptychography",
        {"samples": 2000, "size": 32, "aperture": 0.5, "defocus": 5.0, "grain": 24.0, "slope": 6.0},
        {"inputs": ["diffraction"], "targets": ["amplitude", "phase"], "normalise": "none"},
        {"width": 16, "scale": 20.0},
        {"epochs": 14, "batch_size": 16, "rate": 1e-3},
        about="diffraction to amplitude and phase, 32 x 32 pixels",
    ),
    Case(
        "unet-turbulence",
        "turbulence-2d",
        {"samples": 96, "size": 32, "snapshots": 11},
        {"inputs": ["vorticity"], "layout": "next-step"},
        {"width": 12, "depth": 3, "padding": "periodic", "residual": True},
        {"epochs": 14, "batch_size": 12, "rate": 3e-3},
        bounds=("3e-4", "1e-3", "3e-3", "1e-2"),
        about="vorticity to that of the next instant, 32 x 32 cells",
    ),
    Case(
        "cosmoflow-boxes",
        "cosmology-boxes",
        {"samples": 600, "size": 32},
        {"inputs": ["density"], "targets": ["parameters"], "normalise": "none"},
        {"width": 8, "dense": [64, 32], "dropout": 0.0, "padding": "periodic", "log": True},
        {"epochs": 10, "batch_size": 16, "rate": 1e-3},
        bounds=("1e-4", "1e-3", "1e-2", "pointwise_rel:5e-2"),
        about="boxes of density to the parameters of their cosmology, 32 x 32 x 32 cells",
    ),
)
