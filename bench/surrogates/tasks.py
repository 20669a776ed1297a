"""What is learned: a data set, a run's config, the error that counts, what it is held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciflow.models.runs import Config

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One surrogate on one data set.

    Parameters
    ----------
    name : str
        Of the surrogate.
    dataset : str
        A recipe of the catalogue.
    make : mapping
        What differs from the recipe: smaller samples, fewer of them.
    judge : str
        The error: a key of `bench.surrogates.judges.JUDGES`.
    baselines : tuple of str
        Keys of `bench.surrogates.baselines.BASELINES`.
    references : tuple of str
        Likewise: no rivals, but what is known to be good, or as good as can be.
    data, settings, training : mapping
        The tables of the run's config.
    """

    name: str
    dataset: str
    make: Mapping[str, Any]
    judge: str
    baselines: tuple[str, ...]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    references: tuple[str, ...] = ()

    def digest(self, seed: int) -> str:
        """Return what the rows of this task depend on, 12 digits."""
        parts = [
            self.dataset,
            self.make,
            self.judge,
            self.predictors,
            self.data,
            self.settings,
            self.training,
        ]
        text = json.dumps([*parts, seed], sort_keys=True, default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of what needs no network."""
        return (*self.baselines, *self.references)

    def file(self, folder: Path) -> Path:
        """Return where its data set lies."""
        text = json.dumps(self.make, sort_keys=True, default=dict)
        return folder / f"{self.dataset}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.nc"

    def config(self, seed: int, folder: Path) -> Config:
        """Return the run's config; its folder is beside the data."""
        return Config.of(
            {
                "seed": seed,
                "out": str(folder / f"{self.name}-{self.digest(seed)}"),
                "data": {"path": str(self.file(folder)), "validation": 0.1, "test": 0.15, **self.data},
                "model": {"name": self.name, "settings": dict(self.settings)},
                "train": {"threads": 1, **self.training},
                "checkpoint": {"every": 10_000, "keep": 1},
            }
        )


TASKS = (
    Task(
        "fno",
        dataset="darcy",
        make={"samples": 1200, "size": 32},
        judge="relative",
        baselines=("mean", "ridge"),
        data={"inputs": ["permeability"], "targets": ["pressure"]},
        settings={"modes": 8, "width": 16, "projection": 64, "padding": 4},
        training={"epochs": 16, "batch_size": 20, "rate": 3e-3},
    ),
    Task(
        "unet",
        dataset="turbulence-2d",
        make={"samples": 96, "size": 48, "snapshots": 11},
        judge="relative",
        baselines=("persistence", "mean", "stencil"),
        data={"inputs": ["vorticity"], "layout": "next-step"},
        settings={"width": 12, "depth": 3, "padding": "periodic", "residual": True},
        training={"epochs": 16, "batch_size": 12, "rate": 3e-3},
    ),
    Task(
        "ptychonn",
        dataset="ptychography",
        make={
            "samples": 8000,
            "size": 32,
            "defocus": 3.0,
            "grain": 24,
            "slope": 6,
            "phase_spread": 1.0,
        },
        judge="lit",
        baselines=("mean", "ridge"),
        data={"inputs": ["diffraction"], "targets": ["amplitude", "phase"], "normalise": "none"},
        settings={"width": 12, "scale": 20.0, "amplitude_weight": 3.0},
        training={"epochs": 14, "batch_size": 20, "rate": 1.2e-3, "warmup": 60},
    ),
    Task(
        "cosmoflow",
        dataset="cosmology-boxes",
        make={"samples": 1400, "size": 32},
        judge="parameters",
        baselines=("mean", "ridge"),
        references=("spectrum",),
        data={"inputs": ["density"], "targets": ["parameters"], "normalise": "none"},
        settings={"width": 6, "dense": [64, 32], "dropout": 0.0, "padding": "periodic", "log": True},
        training={"epochs": 20, "batch_size": 16, "rate": 1.5e-3},
    ),
    Task(
        "autophasenn",
        dataset="bragg-cdi",
        make={"samples": 600, "size": 24, "strain": 0.5, "dislocations": 0.0},
        judge="chi",
        baselines=("mean", "another"),
        references=("truth",),
        data={"inputs": ["diffraction"], "targets": ["amplitude", "phase"], "normalise": "none"},
        settings={"width": 8, "levels": 3, "loss": "squared"},
        training={"epochs": 30, "batch_size": 8, "rate": 4e-3},
    ),
)
