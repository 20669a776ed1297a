"""The catalogue: which data sets there are, where their recipes lie, and how one is made.

```
datasets/<name>/recipe.toml ──▶ Recipe(module, defaults) ── make(name, out, settings) ──▶ out (NetCDF-4, CF)
  in a wheel: sciflow/_catalog/datasets/<name>/
```
A module has ``Parameters`` and ``simulate``; one whose data set is drawn sample by sample has ``template``
and ``draw`` too, and is made in parallel (`sciflow.datasets.sampling`).
"""

from __future__ import annotations

import importlib
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from sciflow.datasets.cf import write_netcdf
from sciflow.datasets.sampling import Progress, unfinished, written
from sciflow.errors import InvalidArgument, StoreError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Progress", "Recipe", "card", "make", "names", "recipe", "simulate"]

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
    parameters : mapping of str to int, float or str
        Every parameter with its default; the type of the default is the type of the parameter.
    """

    name: str
    title: str
    licence: str
    module: str
    parameters: Mapping[str, int | float | str]


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


def card(name: str) -> str:
    """Return the card of data set ``name``, Markdown: what it is, its equations, cost and limits.

    Raises
    ------
    InvalidArgument
        The catalogue has no such recipe.
    """
    return (_folder() / recipe(name).name / "CARD.md").read_text(encoding="utf-8")


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
    chosen, values = _chosen(name, settings)
    module = _module(chosen)
    dataset = module.simulate(module.Parameters(**values), progress=progress or _ignore)
    return _described(dataset, chosen, values)


def make(
    name: str,
    out: str | Path,
    *,
    settings: Mapping[str, str | float] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write data set ``name`` to the NetCDF-4 file ``out``, whole or not at all, and return its path.

    A set of samples is drawn in Dask processes, equal for any number of them, and never whole in memory. One
    that is stopped keeps what it has in ``<out>.unfinished``, and the same call goes on from there.

    Parameters
    ----------
    name : str
        One of `names`.
    out : str or Path
        File to make; it must not exist, its folder must.
    settings, progress
        As for `simulate`.
    workers : int, optional
        Processes for a set of samples; 1 draws in this one. None uses the `distributed.Client` that is open
        (its workers must see the folder of ``out``), else a process for each core: a script needs
        ``if __name__ == "__main__":`` around that. Other data sets have no use for it.

    Raises
    ------
    InvalidArgument
        As `simulate`, or ``workers`` is below 1.
    StoreError
        ``out`` exists, cannot be written, or has parts of other settings beside it.
    """
    out = Path(out)
    if out.exists():
        raise StoreError(f"{out}: found a file, expected none; remove it or choose another name")
    if not out.parent.is_dir():
        raise StoreError(f"{out}: its folder {out.parent} does not exist; make it first")
    chosen, values = _chosen(name, settings)
    module = _module(chosen)
    if not hasattr(module, "draw"):
        write_netcdf(simulate(name, settings, progress=progress), out)
        return out
    parameters, record, report = module.Parameters(**values), _record(name, values), progress or _ignore
    dataset = written(chosen.module, parameters, record, out, workers=workers, progress=report)
    write_netcdf(_described(dataset, chosen, values), out)
    shutil.rmtree(unfinished(out))
    report(1.0)
    return out


def _chosen(
    name: str, settings: Mapping[str, str | float] | None
) -> tuple[Recipe, dict[str, int | float | str]]:
    """Return the recipe and all its parameters, with ``settings`` among them."""
    chosen = recipe(name)
    values = dict(chosen.parameters)
    for key, value in (settings or {}).items():
        values[key] = _parse(chosen, key, value)
    return chosen, values


def _module(chosen: Recipe) -> Simulation:
    return cast(Simulation, importlib.import_module(f"sciflow.datasets.{chosen.module}"))


def _described(dataset: xr.Dataset, chosen: Recipe, values: Mapping[str, int | float | str]) -> xr.Dataset:
    record = _record(chosen.name, values)
    return dataset.assign_attrs(title=chosen.title, license=chosen.licence, sciflow_recipe=record)


def _folder() -> Path:
    """Return the catalogue: that of the installed package, or of the source tree around it."""
    installed = _PACKAGE / "_catalog" / "datasets"
    return installed if installed.is_dir() else _PACKAGE.parent / "datasets"


def _parse(chosen: Recipe, key: str, value: str | float) -> int | float | str:
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


def _record(name: str, values: Mapping[str, int | float | str]) -> str:
    return f"{name}: " + ", ".join(f"{key}={value!r}" for key, value in values.items())


def _ignore(_fraction: float) -> None:
    pass
