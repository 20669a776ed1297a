"""One task and seed: make the data, train, predict the test split, judge it beside the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.surrogates.baselines import BASELINES
from bench.surrogates.judges import JUDGES
from bench.surrogates.parts import part
from bench.surrogates.tasks import Task
from sciflow import datasets
from sciflow.models.runs import Predictor, open_data, train

__all__ = ["Row", "measured"]


@dataclass(frozen=True, slots=True)
class Row:
    """One error of one predictor.

    Parameters
    ----------
    task, dataset : str
        Names of the surrogate and of the data set.
    seed : int
        Of split, weights and order.
    digest : str
        Of all that the row depends on.
    predictor : str
        The surrogate's name, or a baseline's.
    metric : str
        What `error` is.
    error : float
        On the test split; smaller is better.
    samples : int
        In the training split.
    tested : int
        In the test split.
    shape : str
        Of the input of a sample.
    parameters : int
        That the surrogate trains.
    steps : int
        Of its training.
    seconds : float
        Of its training, validation included.
    """

    task: str
    dataset: str
    seed: int
    digest: str
    predictor: str
    metric: str
    error: float
    samples: int
    tested: int
    shape: str
    parameters: int
    steps: int
    seconds: float


def measured(task: Task, seed: int, folder: Path, *, note: Callable[[str], None]) -> list[Row]:
    """Return the rows of a task and seed; data and a run that was stopped are taken up again.

    Parameters
    ----------
    task : Task
    seed : int
        Of split, weights and order.
    folder : Path
        For data and runs.
    note : callable
        Takes a line about what is being done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = task.file(folder)
    if not path.is_file():
        note(f"makes {path.name}")
        datasets.make(task.dataset, path, settings=dict(task.make), workers=1)
    config = task.config(seed, folder)
    result = train(config, resume=True, device="cpu", progress=True)
    if not result.finished:
        raise SystemExit(f"{result.stopped}: saved; the same command goes on from here")
    splits, data = open_data(config)
    assert splits.test is not None
    note(f"trained for {result.seconds:.0f} s, {result.steps} steps; baselines")
    predictor = Predictor(result.folder)
    parts = [part(source, data) for source in (splits.train, splits.validation, splits.test)]
    predicted = {task.name: predictor(splits.test)}
    predicted |= {name: BASELINES[name](*parts) for name in task.predictors}
    return [
        Row(
            task=task.name,
            dataset=task.dataset,
            seed=seed,
            digest=task.digest(seed),
            predictor=name,
            metric=metric,
            error=error,
            samples=len(splits.train),
            tested=len(splits.test),
            shape=" x ".join(map(str, parts[0].x.shape[1:])),
            parameters=predictor.network.parameter_count(),
            steps=result.steps,
            seconds=result.seconds,
        )
        for name, values in predicted.items()
        for metric, error in JUDGES[task.judge](parts[2], values, path).items()
    ]
