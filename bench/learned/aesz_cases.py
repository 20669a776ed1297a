"""The fields of `bench.learned.aesz`, and models fitted or trained on others of their kind.

```
catalogue ─ models ─┐
recipe, seeds 1 ... ├─ siblings ─ fit ─▶ models ─▶ Case(name, values of another seed, models)
series, first steps ┘
```
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.learned.predictors import FEW, SEED
from bench.protocol import Array
from sciflow.datasets.catalog import simulate
from sciflow.models import Model, fit_klt, fit_linear, resolve
from sciflow.models.blocks import Blocks, cut

__all__ = ["Case", "Epochs", "cases"]

_FITTED, _TRAINED = 20000, 12000
"""Blocks at most."""


@dataclass(frozen=True, slots=True)
class Case:
    """A snapshot that no model has seen, and the models of its field by label."""

    name: str
    values: Array
    models: dict[str, Model]


@dataclass(frozen=True, slots=True)
class Epochs:
    """Of each small autoencoder that is trained, and of the one of the paper's size; 0: none is."""

    small: int
    paper: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A data set that is simulated: some seeds to fit to, another to code."""

    dataset: str
    variable: str
    settings: Mapping[str, int]
    seeds: tuple[int, ...]
    block: tuple[int, ...]
    patch: tuple[int, ...]


RECIPES = (
    Recipe("cosmology-lognormal", "density", {"size": 96}, (1, 2, 3), (8, 8, 8), (32, 32, 32)),
    Recipe("ptychography", "diffraction", {"samples": 192}, (1, 2), (16, 16), (64, 64)),
)
CATALOGUE = (("shallow-water", "vorticity"), ("navier-stokes-3d", "u"))


def cases(data: Path, made: Path, *, only: Sequence[str], epochs: Epochs) -> Iterator[Case]:
    """Each case in turn: those of the catalogue, of other recipes, of the series in `data`."""

    def wanted(name: str) -> bool:
        return any(name.startswith(each) for each in only)

    for dataset, variable in CATALOGUE:
        if wanted(dataset):
            kinds: dict[str, Model] = {k: resolve(f"{dataset}-{k}") for k in ("linear", "klt", "autoencoder")}
            if dataset == "navier-stokes-3d" and epochs.paper:
                kinds["paper autoencoder"] = _paper(made, epochs.paper)
            values = _field(made, dataset, variable, FEW[dataset], SEED)[-1]
            yield Case(f"{dataset}: {variable}", _whole(values), kinds)
    for recipe in RECIPES:
        if wanted(recipe.dataset):
            yield _of_recipe(recipe, made, epochs.small)
    yield from (case for case in _series(data) if wanted(case.name))


def _of_recipe(recipe: Recipe, made: Path, epochs: int) -> Case:
    ahead = (recipe.dataset, recipe.variable, recipe.settings)
    train = [_field(made, *ahead, seed) for seed in recipe.seeds]
    values = _field(made, *ahead, SEED + len(recipe.seeds) + 1)
    if values.ndim > len(recipe.block):
        values = values[: len(values) // 3]
    models = _fitted(train, recipe.block, recipe.patch)
    if epochs:
        models["autoencoder"] = _trained(train, recipe.block, "small", epochs)
    return Case(f"{recipe.dataset}: {recipe.variable}", np.ascontiguousarray(values), models)


def _series(data: Path) -> Iterator[Case]:
    cube, patch = (8, 8, 8), (32, 32, 32)
    hurricane = np.load(data / "hurricane_isabel_wind.npy")
    models = _fitted(list(hurricane[:9]), cube, (24, 24, 24))
    yield Case("hurricane: wind, step 48", np.ascontiguousarray(hurricane[11]), models)
    members = np.load(data / "ccsm_trefht_ensemble.npy")
    models = _fitted([members[0]], cube, patch)
    yield Case("ccsm: trefht, other member, 32 years", np.ascontiguousarray(members[1, :32]), models)
    fingers = np.load(data / "viscous_fingering_3d.npy")
    models = _fitted(list(fingers[:4]), cube, patch)
    yield Case("viscous fingers: step 46", np.ascontiguousarray(fingers[5]), models)


def _fitted(train: Sequence[Array], block: tuple[int, ...], patch: tuple[int, ...]) -> dict[str, Model]:
    return {"linear": fit_linear(_cut(train, patch)), "klt": fit_klt(_cut(train, block)[:_FITTED])}


def _cut(fields: Sequence[Array], block: tuple[int, ...]) -> Array:
    blocks: Array = np.concatenate([cut(np.asarray(each), block) for each in fields])
    found: Array = blocks[np.isfinite(blocks).all(axis=tuple(range(1, blocks.ndim)))]
    return found


def _trained(
    train: Sequence[Array], block: tuple[int, ...], size: Literal["small", "paper"], epochs: int
) -> Model:
    """An autoencoder, trained on all blocks but every tenth; those judge it."""
    from sciflow.models import export
    from sciflow.models.autoencoder import Architecture
    from sciflow.models.training import Settings
    from sciflow.models.training import train as run

    every = _cut(train, block).astype(np.float32)
    every = every[np.random.default_rng(0).permutation(len(every))[:_TRAINED]]
    judges = np.arange(len(every)) % 10 == 0
    blocks = Blocks(every[~judges], every[judges], float(every.min()), float(every.max()), "a bench")
    settings = Settings(epochs=epochs, patience=epochs, batch=64 if size == "paper" else 128)
    made = run(blocks, Architecture.default(block, size=size), settings)
    for entry in made.history:
        sys.stdout.write(f"  {size} autoencoder, epoch {entry['epoch']:.0f}: {entry['psnr']:.2f} dB\n")
    quality = {"held_out.psnr": f"{max(entry['psnr'] for entry in made.history):.2f} dB"}
    return export.export(made.network, blocks.normalised(blocks.train), card={"title": f"{size}", **quality})


def _paper(made: Path, epochs: int) -> Model:
    """The network of AE-SZ's own size, on runs of the catalogue's seed."""
    train = _field(made, "navier-stokes-3d", "u", {**FEW["navier-stokes-3d"], "snapshots": 4}, 1)
    return _trained(list(train), (8, 8, 8), "paper", epochs)


def _whole(values: Array) -> Array:
    """Sides that are multiples of 32."""
    cutting = tuple(slice(0, n // 32 * 32) for n in values.shape)
    return np.ascontiguousarray(values[cutting])


def _field(folder: Path, dataset: str, variable: str, settings: Mapping[str, int], seed: int) -> Array:
    """A variable of a data set, simulated once and kept; missing values become 0."""
    name = "-".join([dataset, variable, *(f"{k}{v}" for k, v in settings.items()), f"seed{seed}.npy"])
    path = folder / name
    if path.exists():
        kept: Array = np.load(path)
        return kept
    found: Array = np.nan_to_num(simulate(dataset, {**settings, "seed": seed})[variable].values).astype(
        np.float32
    )
    folder.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found
