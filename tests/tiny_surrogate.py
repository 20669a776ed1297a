"""Networks that train in milliseconds, and a file for them to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from sciflow.models.runs import Config
from sciflow.models.surrogates import SampleSpec, Surrogate

SAMPLES, SIDE = 48, 8


@dataclass(frozen=True, slots=True)
class Settings:
    width: int = 4
    dropout: float = 0.1
    bad_after: int = 0


class Tiny(Surrogate):
    """Two convolutions with dropout between; from forward pass `bad_after` on, its predictions are NaN."""

    settings_class = Settings
    about, paper, takes = "two convolutions", "none", "input (C, y, x), target (C', y, x)"

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        assert spec.target is not None
        self.passes = 0
        self.net = nn.Sequential(
            nn.Conv2d(spec.input[0], settings.width, 3, padding=1),
            nn.Dropout(settings.dropout),
            nn.Tanh(),
            nn.Conv2d(settings.width, spec.target[0], 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        self.passes += self.training
        found: Tensor = self.net(x)
        bad = self.training and 0 < self.settings.bad_after <= self.passes
        return found * torch.nan if bad else found


class Mirror(Surrogate):
    """Learns to give back what it gets, without a target."""

    settings_class = Settings
    about, paper, takes, supervised = "a convolution", "none", "input (C, y, x)", False

    def __init__(self, spec: SampleSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        self.net = nn.Conv2d(spec.input[0], spec.input[0], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found

    def loss(self, prediction: Tensor, x: Tensor, target: Tensor | None) -> Tensor:
        assert target is None
        return (prediction - x).square().mean()


def make_file(path: Path) -> Path:
    """Fields x, y = 3 (running mean of x) + 1, their mean as a parameter, and trajectories that decay."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, SIDE, SIDE)).astype("f4")
    y = 3 * (x + np.roll(x, 1, axis=2)) / 2 + 1
    start = rng.normal(size=(12, 1, SIDE, SIDE)).astype("f4")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x, chunks=(4, SIDE, SIDE), compression="gzip")
        file["y"] = y
        file["p"] = np.stack([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)
        file["u"] = (start * 0.8 ** np.arange(5)[:, None, None]).astype("f4")
    return path


def tiny_config(folder: Path, **changes: Any) -> Config:
    """A run of 3 epochs of 5 steps."""
    path = folder / "fields.h5"
    table: dict[str, Any] = {
        "seed": 3,
        "out": str(folder / "run"),
        "data": {"path": str(path if path.exists() else make_file(path)), "inputs": ["x"], "targets": ["y"]},
        "model": {"name": "tests.tiny_surrogate:Tiny"},
        "train": {"epochs": 3, "batch_size": 8, "rate": 0.01, "threads": 1, "ema": 0.9},
        "checkpoint": {"every": 2},
    }
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) else value
    return Config.of(table)
