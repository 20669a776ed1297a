"""The ladder: one rung after another, each in a folder of its own, each kept once it is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sciflow.bounds import Bound
from sciflow.codecs.sz import Level
from sciflow.errors import InvalidArgument
from sciflow.models.evaluation.page import write_report
from sciflow.models.evaluation.results import Report, Rung, Score
from sciflow.models.evaluation.work import Compression, compressed, scored
from sciflow.models.runs import Config
from sciflow.models.runs.recipes import find_config
from sciflow.store.plan import as_bound

__all__ = ["BOUNDS", "Watch", "evaluate"]

BOUNDS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
"""Relative to the range of a variable: from "nobody sees it" to "everybody does"."""

_LAYOUTS = ("samples", "next-step")
"""Of files that compress into a store of the same layout."""

Watch = Callable[[Rung, Score], None]
"""Called with the rung, so far without scores, and each score as soon as there is one."""


def evaluate(
    config: Config | str | os.PathLike[str],
    *,
    bounds: Sequence[float | str | Bound] = BOUNDS,
    seeds: int = 2,
    out: str | os.PathLike[str] | None = None,
    level: Level = "balanced",
    model: str | None = None,
    per_variable: Mapping[str, Bound | str | None] | None = None,
    tolerance: float = 0.01,
    device: str = "auto",
    progress: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Find the coarsest bound that a surrogate does not notice: trained on compressed data, tested on others.

    For each bound, the variables that the config learns from are compressed into a store, a surrogate is
    trained on what the store decodes to, and tested on held-out samples of the original file. The same is
    done with the file itself, with the same seeds. All is kept: a call that was stopped goes on, and a rung
    of the same request is not done again.

    Parameters
    ----------
    config : Config or path or str
        A training run, as `sciflow.models.train` takes it, or the name of a recipe of the catalogue. Its
        ``seed`` is the first.
    bounds : sequence of float or str or Bound
        Numbers are relative to the range of each variable; text as in ``"abs:0.1"``, ``"ratio:20"``.
    seeds : int
        Trainings of each rung, with seeds counting up from the config's. Two give an error bar, one does not.
    out : path, optional
        Folder for everything; by default ``<config.out>-evaluation``.
    level, model, per_variable
        As for `sciflow.compress`. Variables of parameters, (sample, parameter), keep every bit unless they
        are named in `per_variable`.
    tolerance : float
        Largest relative growth of the mean test loss that is accepted.
    device : str
        As for `train`.
    progress : bool
        Whether to show bars, if standard error is a terminal.
    watch : callable, optional
        See `Watch`.

    Returns
    -------
    Report
        Also written into `out`: report.json, report.csv, report.md, report.png.

    Raises
    ------
    FileNotFoundError
        If there is no config or no data.
    InvalidArgument
        If a bound is none or named twice, `seeds` is below 1, the config has no test split or the layout of a
        collection, or as `train` and `sciflow.compress`.
    KeyboardInterrupt, InterruptedError
        At Ctrl-C, and at SIGTERM or SIGUSR1 while training; the same call goes on from there.

    Examples
    --------
    ::

        report = sciflow.models.evaluation.evaluate("fno.toml", bounds=[1e-3, 1e-2], seeds=3)
        print(report.verdict())
    """
    config = config if isinstance(config, Config) else find_config(os.fspath(config))
    if seeds < 1 or not tolerance > 0.0:
        raise InvalidArgument(f"seeds {seeds}, tolerance {tolerance:g}: expected 1 or more, above 0")
    if not config.data.test:
        raise InvalidArgument("data.test = 0: nothing is held out to judge by; expected a part, as 0.1")
    if config.data.layout not in _LAYOUTS:
        raise InvalidArgument(
            f"data.layout = {config.data.layout!r}: found files of a collection, expected one of "
            f"{', '.join(_LAYOUTS)}; write what is learned from into NetCDF or Zarr first"
        )
    asked = [
        Compression(bound, level=level, model=model, per_variable=per_variable) for bound in _bounds(bounds)
    ]
    folder = Path(f"{config.out}-evaluation" if out is None else out)
    configs = [config.replace(seed=config.seed + number) for number in range(seeds)]
    rungs = []
    for each in asked:
        place = folder / each.folder
        rung = compressed(config, each, place, progress=None if progress else False)
        scores = []
        for seeded in configs:
            scores.append(scored(seeded, each.name, place, device=device, progress=progress))
            if watch is not None:
                watch(rung, scores[-1])
        rungs.append(replace(rung, scores=tuple(scores)))
    report = Report(
        model=config.model.name, data=Path(config.data.path).name, tolerance=tolerance, rungs=tuple(rungs)
    )
    write_report(report, folder)
    return report


def _bounds(given: Sequence[float | str | Bound]) -> list[Bound | None]:
    """The uncompressed rung, then the bounds as they are given."""
    made = [_bound(each) for each in given]
    if not made:
        raise InvalidArgument("bounds: found none, expected some, as 1e-3,1e-2")
    if len(set(made)) < len(made):
        raise InvalidArgument(f"bounds {', '.join(map(str, given))}: one is named twice")
    return [None, *made]


def _bound(given: float | str | Bound) -> Bound:
    bound = Bound.rel(given) if isinstance(given, int | float) else as_bound(given)
    if bound is None:
        raise InvalidArgument(
            f"bounds: found {given!r}, expected numbers or bounds; the uncompressed rung is always there"
        )
    return bound
