"""The page of results: each surrogate beside its baselines, means over seeds and how far they spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.surrogates import baselines, judges
from bench.surrogates.measure import Row
from bench.surrogates.tasks import TASKS, Task

__all__ = ["write_page"]


def write_page(rows: Sequence[Row], machine: Mapping[str, Any], page: Path) -> Path:
    """Write the page of the rows and return its path."""
    tasks = [task for task in TASKS if any(row.task == task.name for row in rows)]
    text = [
        "# Surrogates: what was measured\n",
        "Written by `make bench-surrogates` from `bench/results/surrogates/`. Each surrogate of "
        "[the networks](surrogates.md) is trained\nfor a few minutes on a small version of a data set of the "
        f"catalogue, by one thread on {machine['cores']} cores (load {machine['load']:.1f} at the start), "
        f"torch {machine['torch']}.\nErrors are on a test split that neither training nor the choice of "
        "the best epoch saw; smaller is better.\nSplit, weights and order follow the seed; a number is the "
        f"mean over {_seeds(rows)}, ± half of the range.\n*gain*: the best baseline over the surrogate, "
        "the smallest of the seeds. These are not the sizes of the papers,\nand no statement about them.\n",
        "## Errors\n",
        _errors(rows, tasks),
        "\n## Runs\n",
        _runs(rows, tasks),
        "\n## Baselines and errors\n",
        _meanings(tasks),
        "\n## Settings\n",
        _settings(tasks),
    ]
    page.write_text("\n".join(text), encoding="utf-8")
    return page


def _seeds(rows: Sequence[Row]) -> str:
    counts = sorted(
        {len({row.seed for row in rows if row.task == name}) for name in {row.task for row in rows}}
    )
    text = " to ".join(map(str, counts[:: max(len(counts) - 1, 1)]))
    return "one seed" if text == "1" else f"{text} seeds"


def _errors(rows: Sequence[Row], tasks: Sequence[Task]) -> str:
    lines = []
    for task in tasks:
        ours = [row for row in rows if row.task == task.name]
        for metric in dict.fromkeys(row.metric for row in ours):
            found = {
                name: {row.seed: row.error for row in ours if (row.metric, row.predictor) == (metric, name)}
                for name in (task.name, *task.predictors)
            }
            plain, known = (
                ", ".join(f"{name} {_spread(found[name].values())}" for name in names)
                for names in (task.baselines, task.references)
            )
            lines.append(
                [
                    f"`{task.name}`",
                    task.dataset,
                    metric,
                    f"**{_spread(found[task.name].values())}**",
                    plain,
                    f"{_gain(found, task):.2f}x",
                    known,
                ]
            )
    return table(
        ["surrogate", "data set", "error", "surrogate's", "baselines'", "gain", "for reference"], lines
    )


def _gain(found: Mapping[str, Mapping[int, float]], task: Task) -> float:
    return min(
        min(found[name][seed] for name in task.baselines) / error for seed, error in found[task.name].items()
    )


def _spread(errors: Any) -> str:
    values = list(errors)
    spread = f" ± {(max(values) - min(values)) / 2:.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{spread}"


def _runs(rows: Sequence[Row], tasks: Sequence[Task]) -> str:
    lines = []
    for task in tasks:
        ours = [row for row in rows if row.task == task.name and row.predictor == task.name]
        one = ours[0]
        lines.append(
            [
                f"`{task.name}`",
                one.shape,
                f"{one.samples} / {one.tested}",
                f"{one.parameters:,}",
                str(one.steps),
                f"{statistics.fmean({row.seed: row.seconds for row in ours}.values()):.0f}",
            ]
        )
    head = ["surrogate", "input", "samples, trained / tested", "parameters", "steps", "seconds a run"]
    return table(head, lines)


def _meanings(tasks: Sequence[Task]) -> str:
    used = dict.fromkeys(name for task in tasks for name in task.predictors)
    lines = [[f"*{name}*", _first_line(baselines.BASELINES[name])] for name in used]
    judged = dict.fromkeys(task.judge for task in tasks)
    lines += [
        [f"`{', '.join(t.name for t in tasks if t.judge == name)}`", _first_line(judges.JUDGES[name])]
        for name in judged
    ]
    return table(["", "what it is"], lines)


def _first_line(function: Any) -> str:
    return str(function.__doc__).strip().splitlines()[0].rstrip(".")


def _settings(tasks: Sequence[Task]) -> str:
    lines = [
        [
            f"`{task.name}`",
            *(
                f"`{', '.join(f'{k}={v}' for k, v in table_.items())}`"
                for table_ in (task.make, task.settings)
            ),
            f"`{', '.join(f'{k}={v}' for k, v in task.training.items())}`",
        ]
        for task in tasks
    ]
    return table(["surrogate", "data set differs from the recipe by", "settings", "training"], lines)
