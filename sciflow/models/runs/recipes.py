"""Runs of the catalogue: ``models/<name>/recipe.toml`` with ``kind = "surrogate"``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sciflow.errors import InvalidArgument
from sciflow.models.catalog import home, kind_of
from sciflow.models.runs.config import Config, load_config

__all__ = ["example", "find_config", "recipe_names"]


def recipe_names() -> tuple[str, ...]:
    """Return the names of the catalogue's surrogates, sorted."""
    return tuple(
        sorted(path.parent.name for path in home().glob("*/recipe.toml") if kind_of(path) == "surrogate")
    )


def find_config(name: str, *, set: Iterable[str] = ()) -> Config:  # noqa: A002 - as --set
    """Read a config by its path, or that of a recipe by its name.

    Parameters
    ----------
    name : str
        A path, or one of `recipe_names`.
    set : iterable of str
        As `load_config`.

    Raises
    ------
    InvalidArgument
        If there is neither, or as `load_config`.
    """
    if Path(name).is_file():
        return load_config(name, set=set)
    if name in recipe_names():
        return load_config(home() / name / "recipe.toml", set=set)
    raise InvalidArgument(
        f"{name}: no such file, and no recipe; there are {', '.join(recipe_names()) or 'none'}"
    )


def example() -> Config:
    """Return a config to begin with: every key at its default, names to be replaced."""
    return Config.of(
        {
            "data": {"path": "fields.h5", "inputs": ["permeability"], "targets": ["pressure"]},
            "model": {"name": "fno"},
        }
    )
