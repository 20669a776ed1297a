"""The catalogue of models: which there are, where they lie, and how each is made again.

```
models/<name>/recipe.toml ─ make(name) ─▶ simulate the data set, fit or train ─▶ model.safetensors, CARD.md
  in a wheel: sciflow/_catalog/models/<name>/
```
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument, ModelMismatch
from sciflow.models.model import Model

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.models.training import Watch

__all__ = ["Entry", "entry", "file_of", "home", "kind_of", "load", "make", "names"]

_PACKAGE = Path(__file__).resolve().parents[1]
_DIGEST_LINE = re.compile(r'^digest = "[0-9a-f]*"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the catalogue.

    Attributes
    ----------
    name : str
        That of its folder.
    title, licence : str
        One line, and an SPDX identifier.
    digest : str
        SHA-256 of its file.
    dataset, variable : str
        What it is trained on: a recipe of `sciflow.datasets`, and a variable of it.
    settings : dict
        Parameters of the data set that differ from its recipe.
    recipe : dict
        Fields of `sciflow.models.Recipe`.
    training : dict
        Fields of `sciflow.models.training.Settings`; of an autoencoder.
    """

    name: str
    title: str
    licence: str
    digest: str
    dataset: str
    variable: str
    settings: dict[str, int | float]
    recipe: dict[str, Any]
    training: dict[str, Any]


def names() -> tuple[str, ...]:
    """Return the names of the catalogue's predictors of blocks, sorted; surrogates are another kind."""
    return tuple(
        sorted(path.parent.name for path in home().glob("*/recipe.toml") if kind_of(path) != "surrogate")
    )


def kind_of(recipe: Path) -> str:
    """Return what a recipe makes: "surrogate", or "" for a predictor of blocks."""
    return str(tomllib.loads(recipe.read_text(encoding="utf-8")).get("kind", ""))


def entry(name: str) -> Entry:
    """Return what the catalogue says of a model.

    Raises
    ------
    InvalidArgument
        If it has none of this name; the message lists those that it has.
    """
    if name not in names():
        raise InvalidArgument(
            f"model: found {name!r}, expected a digest, a .safetensors file or one of {', '.join(names())}"
        )
    found = tomllib.loads((home() / name / "recipe.toml").read_text(encoding="utf-8"))
    return Entry(
        found["name"],
        found["title"],
        found["licence"],
        found["digest"],
        found["dataset"],
        found["variable"],
        found.get("settings", {}),
        found["model"],
        found.get("training", {}),
    )


def load(name: str) -> Model:
    """Return a model of the catalogue.

    Raises
    ------
    InvalidArgument
        If it has none of this name.
    ModelMismatch
        If its file is absent or not the one that the recipe names.
    """
    wanted = entry(name)
    path = home() / name / "model.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelMismatch(
            f"model {name} ({wanted.digest[:12]}): {path} cannot be read; `make models` makes it"
        ) from error
    model = Model.from_bytes(data)
    if model.digest != wanted.digest:
        raise ModelMismatch(f"model {name}: found {model.digest} in {path}, expected {wanted.digest}")
    return model


def file_of(digest: str) -> Path | None:
    """Return the path of the model with this digest, or None."""
    name = _by_digest().get(digest)
    return None if name is None else home() / name / "model.safetensors"


def make(name: str, *, folder: str | os.PathLike[str] | None = None, watch: Watch | None = None) -> Model:
    """Make a model of the catalogue again: simulate its data, fit or train, write it and its digest.

    The same bytes on one machine; another BLAS may round another way, and give another digest.

    Parameters
    ----------
    name : str
        One of `names`.
    folder : path, optional
        Where a training keeps its checkpoint.
    watch : callable, optional
        For a progress bar.

    Raises
    ------
    InvalidArgument, Unsupported, StoreError
        As `sciflow.models.produce` and ``write_model``.
    """
    from sciflow.models.files import write_whole
    from sciflow.models.fitting import Recipe, produce, write_model

    asked = entry(name)
    data = _simulated(asked.dataset, tuple(asked.settings.items()))
    recipe = Recipe(**{**asked.recipe, "block": tuple(asked.recipe["block"])})
    training = _training(asked) if recipe.kind == "autoencoder" else None
    about = {"title": asked.title, "licence": asked.licence, "data": data.attrs["sciflow_recipe"]}
    model = produce([data], asked.variable, recipe, training=training, folder=folder, watch=watch, card=about)
    place = home() / name
    write_model(model, place)
    text = (place / "recipe.toml").read_text(encoding="utf-8")
    write_whole(place / "recipe.toml", _DIGEST_LINE.sub(f'digest = "{model.digest}"', text).encode())
    _by_digest.cache_clear()
    return model


@lru_cache(maxsize=1)
def _simulated(dataset: str, settings: tuple[tuple[str, int | float], ...]) -> xr.Dataset:
    """Return a data set; models of the same one that are made in a row share it."""
    from sciflow.datasets.catalog import simulate

    return simulate(dataset, dict(settings))


def _training(asked: Entry) -> Any:
    from sciflow.models.training import Settings

    made: Callable[..., Any] = Settings
    return made(**asked.training)


@cache
def _by_digest() -> dict[str, str]:
    return {entry(name).digest: name for name in names()}


def home() -> Path:
    """Return the catalogue: that of the installed package, or of the source tree around it."""
    installed = _PACKAGE / "_catalog" / "models"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"
