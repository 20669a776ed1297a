"""The fields that we make ourselves, kept as ``.npy`` in the cache folder of the bench."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.fields import Source
from bench.protocol import Array
from bench.synthetic import lognormal

Progress = Callable[[str, float], None]
"""Called with what is being made and the fraction done."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A recipe of ``datasets/`` with settings of ours, and the variables that become fields.

    Attributes
    ----------
    name : str
        First half of the names of its fields; the variable is the second.
    recipe : str
        Name in `sciflow.datasets.names`.
    settings : mapping
        Parameters that differ from the recipe's.
    variables : tuple of str
    last_only : bool
        Whether the last instant alone is kept, without its axis of time.
    """

    name: str
    recipe: str
    settings: Mapping[str, str | float]
    variables: tuple[str, ...]
    last_only: bool = False


SIMULATIONS = (
    Simulation("navier-stokes-3d", "navier-stokes-3d", {}, ("pressure",)),
    Simulation("shallow-water", "shallow-water", {}, ("uo", "potential_vorticity")),
    Simulation(
        "navier-stokes-256",
        "navier-stokes-3d",
        {"size": 256, "snapshots": 2, "duration": 0.04, "halvings": 2, "viscosity": 0.0025},
        ("u", "vorticity_magnitude"),
        last_only=True,
    ),
    Simulation(
        "shallow-water-256", "shallow-water", {"columns": 256, "rows": 256, "snapshots": 256}, ("eta",)
    ),
)
LOGNORMAL = "lognormal-256:density"
NAMES = (*(f"{each.name}:{variable}" for each in SIMULATIONS for variable in each.variables), LOGNORMAL)


def simulated_sources(folder: Path, wanted: tuple[str, ...], progress: Progress) -> list[Source]:
    """Return those of `NAMES` that are ``wanted``, made in ``folder`` where they are not there yet."""
    found: dict[str, Path] = {}
    for simulation in SIMULATIONS:
        fields = [f"{simulation.name}:{variable}" for variable in simulation.variables]
        if any(field in wanted for field in fields):
            found |= zip(fields, _simulated(folder, simulation, progress), strict=True)
    if LOGNORMAL in wanted:
        found[LOGNORMAL] = _lognormal(folder, progress)
    return [Source(name, found[name]) for name in NAMES if name in wanted]


def _simulated(folder: Path, simulation: Simulation, progress: Progress) -> list[Path]:
    """Return the files of the variables of ``simulation``; its settings are part of their names."""
    digest = hashlib.sha256(json.dumps(dict(simulation.settings), sort_keys=True).encode()).hexdigest()[:8]
    paths = [folder / f"{simulation.name}-{digest}-{variable}.npy" for variable in simulation.variables]
    if not all(path.exists() for path in paths):
        for path, (_, values) in zip(paths, _run(simulation, progress), strict=True):
            _save(path, values)
    return paths


def _run(simulation: Simulation, progress: Progress) -> Iterator[tuple[str, Array]]:
    from sciflow.datasets.catalog import simulate

    def report(done: float) -> None:
        progress(simulation.name, done)

    dataset = simulate(simulation.recipe, simulation.settings, progress=report)
    for variable in simulation.variables:
        values = dataset[variable].values
        yield variable, values[-1] if simulation.last_only else values


def _lognormal(folder: Path, progress: Progress) -> Path:
    path = folder / "lognormal-256.npy"
    if not path.exists():
        progress(LOGNORMAL, 0.0)
        _save(path, lognormal(256))
    return path


def _save(path: Path, values: Array) -> None:
    """Write ``path`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npy")
    np.save(unfinished, values)
    unfinished.replace(path)
