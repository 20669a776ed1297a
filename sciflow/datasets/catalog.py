"""The catalogue: which data sets there are, where their recipes lie, and how one is made.

```
datasets/<name>/recipe.toml ──▶ Recipe(module, defaults) ── make(name, out, settings) ──▶ out (NetCDF-4, CF)
  in a wheel: sciflow/_catalog/datasets/<name>/
```
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from sciflow.datasets.cf import write_netcdf
from sciflow.errors import InvalidArgument, StoreError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Progress", "Recipe", "make", "names", "recipe", "simulate"]

Progress = Callable[[float], None]
"""Called with the fraction done, in [0, 1]."""

_PACKAGE = Path(__file__).resolve().parents[1]


class Simulation(Protocol):
    """A module that a recipe names: its parameters, and the run."""

    Parameters: Callable[..., Any]

    def simulate(self, parameters: Any, *, progress: Progress) -> xr.Dataset:
        """Return the data set that ``parameters`` describe, the same values at every call."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """A data set that can be made here.

    Attributes
    ----------
    name : str
        Name in the catalogue, that of its folder.
    title : str
        One line.
    licence : str
        SPDX identifier of what is made.
    module : str
        Module of `sciflow.datasets` that makes it.
    parameters : mapping of str to int or float
        Every parameter with its default; the type of the default is the type of the parameter.
    """

    name: str
    title: str
    licence: str
    module: str
    parameters: Mapping[str, int | float]


def names() -> tuple[str, ...]:
    """Return the names in the catalogue, sorted."""
    return tuple(sorted(path.parent.name for path in _folder().glob("*/recipe.toml")))


def recipe(name: str) -> Recipe:
    """Return the recipe called ``name``.

    Raises
    ------
    InvalidArgument
        The catalogue has no such recipe; the message lists those that it has.
    """
    if name not in names():
        raise InvalidArgument(f"data set: found {name!r}, expected one of {', '.join(names())}")
    entry = tomllib.loads((_folder() / name / "recipe.toml").read_text(encoding="utf-8"))
    return Recipe(entry["name"], entry["title"], entry["licence"], entry["module"], entry["parameters"])


def simulate(
    name: str, settings: Mapping[str, str | float] | None = None, *, progress: Progress | None = None
) -> xr.Dataset:
    """Return data set ``name`` in memory; equal settings give equal values, bit for bit, on one machine.

    Parameters
    ----------
    name : str
        One of `names`.
    settings : mapping of str to str, int or float, optional
        Parameters that differ from the recipe's defaults; text is parsed as the default's type.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    xarray.Dataset
        CF-1.11 variables, float32 with coordinates in float64.

    Raises
    ------
    InvalidArgument
        Unknown name or parameter, or a value out of its domain.
    """
    chosen = recipe(name)
    values = dict(chosen.parameters)
    for key, value in (settings or {}).items():
        values[key] = _parse(chosen, key, value)
    module = cast(Simulation, importlib.import_module(f"sciflow.datasets.{chosen.module}"))
    dataset = module.simulate(module.Parameters(**values), progress=progress or _ignore)
    record = _record(name, values)
    return dataset.assign_attrs(title=chosen.title, license=chosen.licence, sciflow_recipe=record)


def make(
    name: str,
    out: str | Path,
    *,
    settings: Mapping[str, str | float] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write data set ``name`` to the NetCDF-4 file ``out``, whole or not at all, and return its path.

    Parameters
    ----------
    name : str
        One of `names`.
    out : str or Path
        File to make; it must not exist, its folder must.
    settings, progress
        As for `simulate`.

    Raises
    ------
    InvalidArgument
        As `simulate`.
    StoreError
        ``out`` exists, or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise StoreError(f"{out}: found a file, expected none; remove it or choose another name")
    if not out.parent.is_dir():
        raise StoreError(f"{out}: its folder {out.parent} does not exist; make it first")
    write_netcdf(simulate(name, settings, progress=progress), out)
    return out


def _folder() -> Path:
    """Return the catalogue: that of the installed package, or of the source tree around it."""
    installed = _PACKAGE / "_catalog" / "datasets"
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets"


def _parse(chosen: Recipe, key: str, value: str | float) -> int | float:
    if key not in chosen.parameters:
        known = ", ".join(chosen.parameters)
        raise InvalidArgument(f"parameter of {chosen.name}: found {key!r}, expected one of {known}")
    kind = type(chosen.parameters[key])
    try:
        parsed = kind(value)
    except ValueError as error:
        raise InvalidArgument(f"{key}: found {value!r}, expected {kind.__name__}") from error
    if isinstance(value, float) and parsed != value:
        raise InvalidArgument(f"{key}: found {value!r}, expected {kind.__name__}")
    return parsed


def _record(name: str, values: Mapping[str, int | float]) -> str:
    return f"{name}: " + ", ".join(f"{key}={value!r}" for key, value in values.items())


def _ignore(_fraction: float) -> None:
    pass
