"""The page of results: the promise, a table a ladder, physics of data and predictions, one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.evaluation.cases import Case
from bench.markdown import table
from sciflow.models.evaluation import Report, Rung
from sciflow.models.evaluation.page import mean_predictions, plot_changes

mpl.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["write_page"]

_PROMISED = 10.0
_SHOWN = ("rmse", "pearson", "log_spectral_distance", "dssim")
_RUNGS = ("trained on", "ratio", "MB", "test loss", "change, %", "± seeds, %", "training, s", "")


def write_page(reports: Sequence[tuple[Case, Report]], machine: Mapping[str, Any], page: Path) -> list[Path]:
    """Write page and figure; return them."""
    figure = page.with_suffix(".png")
    _draw([report for _, report in reports], figure)
    text = [
        "# Training on compressed data: what was measured\n\n",
        "Written by `python -m bench.evaluation` from `bench/results/evaluation/`. A surrogate is trained on "
        "what a store decodes\nto and tested on held-out samples that were never compressed; see "
        "[how it is done](evaluation.md). Small data, level `max`, short\ntrainings, on "
        f"{machine['cores']} cores ({machine['date']}, torch {machine['packages']['torch']}): what is "
        "measured is the effect of the data, not the best network.\n",
        f"\n![change of test loss against ratio]({figure.name})\n",
        "\n## The promise: 10 times smaller, 1 % of the loss at most\n\n",
        _promise(reports),
    ]
    for case, report in reports:
        epochs = max(score.epochs for rung in report.rungs for score in rung.scores)
        seeds = len(report.reference.scores)
        about = f"{case.about[:1].upper()}{case.about[1:]}; epochs: {epochs}, seeds: {seeds}"
        text.append(f"\n## {case.name}\n\n{about}. {report.verdict()}\n\n")
        text += [table(_RUNGS, [report.cells(rung) for rung in report.rungs]), "\n", _physics(report)]
    page.write_text("".join(text))
    return [page, figure]


def _promise(reports: Sequence[tuple[Case, Report]]) -> str:
    lines = []
    for case, report in reports:
        first = next((rung for rung in _by_ratio(report) if rung.ratio >= _PROMISED), None)
        knee = report.knee
        lines.append(
            [
                case.name,
                "-" if first is None else f"{first.name}: {first.ratio:.1f}",
                "-" if first is None else f"{100 * report.change(first):+.2f}",
                "-" if first is None else "yes" if report.accepted(first) else "no",
                "-" if knee is None else f"{knee.name}: {knee.ratio:.1f}",
                "-" if math.isnan(report.noise) else f"{100 * report.noise:.1f}",
            ]
        )
    header = ("ladder", "first 10 times smaller", "change, %", "kept", "knee", "a seed alone, %")
    return table(header, lines)


def _physics(report: Report) -> str:
    """What is seen of the data, and of predictions, at each rung."""
    lines = []
    for rung in report.rungs:
        for what, values in (("data", rung.data), ("predictions", mean_predictions(rung))):
            lines += [
                [rung.name, what, name, *(_number(metrics.get(each, math.nan)) for each in _SHOWN)]
                for name, metrics in values.items()
            ]
    return table(("rung", "of", "variable", *_SHOWN), lines)


def _by_ratio(report: Report) -> list[Rung]:
    return sorted(report.rungs[1:], key=lambda rung: rung.ratio)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _draw(reports: Sequence[Report], path: Path) -> None:
    made, panels = plt.subplots(
        1, len(reports), figsize=(4.6 * len(reports), 4), layout="constrained", squeeze=False
    )
    for report, axes in zip(reports, panels[0], strict=True):
        plot_changes(report, axes)
    made.savefig(path, dpi=110)
    plt.close(made)
