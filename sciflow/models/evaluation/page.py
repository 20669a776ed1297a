"""The report as files: JSON, CSV, a figure and a page of Markdown."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sciflow.errors import Unsupported
from sciflow.models.evaluation.results import Report, Rung, Values
from sciflow.models.files import write_whole

__all__ = ["draw", "markdown", "mean_predictions", "plot_changes", "write_report"]

_SHOWN = (
    "rmse",
    "pearson",
    "wasserstein",
    "quantile_error",
    "log_spectral_distance",
    "agreeing_wavenumber",
    "ssim",
    "dssim",
)
_HEADER = ("trained on", "ratio", "MB", "test loss", "change, %", "± seeds, %", "training, s", "")


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.json, report.csv, report.png (where matplotlib is installed) and report.md.

    Raises
    ------
    StoreError
        If one cannot be written.
    """
    written = [
        write_whole(folder / "report.json", report.to_json().encode()),
        write_whole(folder / "report.csv", report.to_csv().encode()),
    ]
    figure = folder / "report.png"
    try:
        written.append(draw(report, figure))
    except Unsupported:
        figure.unlink(missing_ok=True)
    return [*written, write_whole(folder / "report.md", markdown(report, figure).encode())]


def draw(report: Report, path: Path) -> Path:
    """Draw change of loss against ratio, with the spread over seeds, the tolerance and the knee.

    Raises
    ------
    Unsupported
        If matplotlib is not installed.
    StoreError
        If the figure cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unsupported("matplotlib is not installed: pip install 'sciflow[surrogates]'") from error
    made = Figure(figsize=(6.4, 4.0), layout="constrained")
    plot_changes(report, made.add_subplot())
    image = io.BytesIO()
    made.savefig(image, format="png", dpi=120)
    return write_whole(path, image.getvalue())


def plot_changes(report: Report, axes: Any) -> None:
    """Draw a ladder into the axes of a figure: percent of loss against ratio."""
    rungs = sorted(
        (rung for rung in report.rungs[1:] if math.isfinite(report.change(rung))), key=lambda rung: rung.ratio
    )
    ratios = [rung.ratio for rung in rungs]
    changes = [100.0 * report.change(rung) for rung in rungs]
    spreads = [0.0 if math.isnan(s := report.spread(rung)) else 100.0 * s for rung in rungs]
    accepted, noise = 100.0 * report.tolerance, 100.0 * report.noise
    if noise > 0.0:
        about = f"a seed alone: ±{noise:.2g} %"
        axes.axhspan(-noise, noise, alpha=0.12, color="gray", linewidth=0, label=about)
    axes.axhline(accepted, linestyle="--", linewidth=1, color="gray", label=f"accepted: {accepted:+.3g} %")
    axes.axhline(0.0, linewidth=0.8, color="black")
    axes.errorbar(ratios, changes, spreads, marker="o", capsize=3, label=report.model)
    for rung, change in zip(rungs, changes, strict=True):
        about, place = rung.name.removeprefix("rel:"), (rung.ratio, change)
        axes.annotate(about, place, xytext=(0, 9), textcoords="offset points", fontsize=8, ha="center")
    if (knee := report.knee) is not None:
        place = (knee.ratio, 100.0 * report.change(knee))
        axes.plot(*place, "o", markersize=13, fillstyle="none", color="red", label="knee")
    tops = [change + spread for change, spread in zip(changes, spreads, strict=True)]
    feet = [change - spread for change, spread in zip(changes, spreads, strict=True)]
    _scale(axes, ratios, min(feet, default=0.0), max([*tops, accepted]))
    axes.set(xlabel="times smaller", ylabel="change of test loss, %", title=f"{report.model}, {report.data}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")


def _scale(axes: Any, ratios: Sequence[float], low: float, high: float) -> None:
    """Plain numbers at the axes; what a seed changes may be beyond them."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    if ratios and max(ratios) > 3.0 * min(ratios):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    room = 0.15 * (high - min(low, 0.0))
    axes.set_ylim(min(low, 0.0) - room, high + 3 * room)
    if high > 30.0:
        axes.set_yscale("symlog", linthresh=5.0)
        axes.set_ylim(min(low, 0.0) - 1.0, 4 * high)
        axes.yaxis.set_major_formatter(ScalarFormatter())


def markdown(report: Report, figure: Path | None = None) -> str:
    """Return the page: verdict, table, figure, physics of the data and of the predictions."""
    seeds = len(report.reference.scores)
    parts = [
        f"# {report.model} on {report.data}, trained on compressed data\n\n",
        f"{report.verdict()}\n\n",
        _table(_HEADER, [report.cells(rung) for rung in report.rungs]),
        f"\nTest loss: mean over seeds ({seeds}) and held-out samples that were never compressed, in the "
        "units that the\nuncompressed training data are normalised to. Change: of that mean, against the "
        "model trained on the file itself.\n± seeds: standard deviation over seeds of the change of each; "
        "in the first row, of the loss itself.\n",
    ]
    if figure is not None and figure.is_file():
        parts.append(f"\n![change of test loss against ratio]({figure.name})\n")
    parts += ["\n## Held-out samples, decoded\n\n", "Metrics as in `sciflow.physics`.\n\n"]
    parts.append(_physics([(rung, rung.data) for rung in report.rungs[1:]]))
    parts += ["\n## Predictions against the truth\n\n", f"Mean over seeds: {seeds}.\n\n"]
    parts.append(_physics([(rung, mean_predictions(rung)) for rung in report.rungs]))
    return "".join(parts)


def _physics(rungs: Sequence[tuple[Rung, Values]]) -> str:
    variables = list(dict.fromkeys(name for _, values in rungs for name in values))
    if not variables:
        return "None: the network predicts no variable of the file.\n"
    shown = [m for m in _SHOWN if any(m in each for _, values in rungs for each in values.values())]
    lines = [
        [variable, rung.name, *(f"{values[variable].get(name, math.nan):.5g}" for name in shown)]
        for variable in variables
        for rung, values in rungs
        if variable in values
    ]
    return _table(["variable", "trained on", *shown], lines)


def mean_predictions(rung: Rung) -> Values:
    """Return physics metrics of the predictions, the mean over seeds."""
    known = [score.predictions for score in rung.scores if score.predictions]
    if not known:
        return {}
    return {
        variable: {name: math.fsum(each[variable][name] for each in known) / len(known) for name in metrics}
        for variable, metrics in known[0].items()
    }


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, rule, *lines])
