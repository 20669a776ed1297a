"""What a flow leaves to look at: tables, pages and pictures in Prefect, lines of numbers in files."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciflow.flows.compression import Summary
from sciflow.flows.pictures import MAX_PICTURES, rate_curve, slices

__all__ = [
    "ProgressArtifact",
    "add_metrics",
    "key_of",
    "page",
    "pictures_of",
    "table",
    "write_prometheus",
]

_MAX_ROWS = 500
"""Of a table: artifacts live in the server's database."""

_EVERY = 5.0
"""Seconds between two updates of a progress artifact."""


def key_of(*parts: str) -> str:
    """Join names to a key that Prefect takes: lower-case letters, digits and dashes.

    Examples
    --------
    >>> key_of("slices", "Wind_U.v2")
    'slices-wind-u-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for people: variable, bound, error, ratio, PSNR, what does not hold.

    Parameters
    ----------
    rows : sequence of mapping
        ``Row.to_json``, with ``store`` where there are many.
    """
    many = len({row.get("store") for row in rows}) > 1
    shown = []
    for row in rows[:_MAX_ROWS]:
        bound = row["bound"]
        asked = "lossless" if bound is None else f"{bound['kind']} {bound['value']:g}"
        shown.append(
            ({"store": row["store"]} if many else {})
            | {
                "variable": row["variable"],
                "bound": asked,
                "bound, absolute": _short(row["bound_abs"]),
                "largest error": _short(row["max_error"]),
                "ratio": _short(row["ratio"]),
                "PSNR, dB": _short(row["psnr"]),
                "problems": "; ".join(row["problems"]),
            }
        )
    return shown


def page(summary: Summary, title: str) -> str:
    """The report as Markdown: what was done, where it is, what failed."""
    told = summary.to_json()
    ratio = "" if summary.ratio is None else f", {summary.ratio:.1f} times smaller"
    lines = [
        f"# {title}",
        "",
        f"{summary.bytes_in:,} bytes became {summary.bytes_out:,}{ratio}; {told['written']} of "
        f"{summary.pieces} pieces written by this run in {summary.seconds:.1f} s.",
        "",
        *[f"- `{source}` to `{store}`" for source, store in summary.stores[:50]],
    ]
    if len(summary.stores) > 50:
        lines.append(f"- and {len(summary.stores) - 50} more")
    if summary.failed:
        lines += ["", "## Failed", "", *[f"- `{name}`: {why}" for name, why in summary.failed.items()]]
    problems = [f"- {row['variable']}: {problem}" for row in summary.rows for problem in row["problems"]]
    if problems:
        lines += ["", "## Promises that do not hold", "", *problems]
    return "\n".join(lines) + "\n"


def pictures_of(summary: Summary) -> list[tuple[str, str, str]]:
    """Draw the first compressed variables: key, title and data URI of each picture."""
    found: list[tuple[str, str, str]] = []
    fields = [row for row in summary.rows if row["bound"] is not None and row["bound_abs"]]
    for row in fields[:MAX_PICTURES]:
        name, where = row["variable"], (row["source"], row["store"])
        found.append((key_of("slices", name), f"{name}: slices and error", slices(*where, name)))
        if row["bound"]["kind"] != "pointwise_rel":
            curve, _ = rate_curve(row["source"], name, row["bound_abs"])
            found.append((key_of("rate", name), f"{name}: PSNR over bits a value", curve))
    return found


def add_metrics(path: str | os.PathLike[str], summary: Summary, *, run: str) -> None:
    """Add a JSON line for each variable to a file, and one for the run.

    Parameters
    ----------
    path : path
        The file; made if it is not there.
    summary : Summary
        What to tell.
    run : str
        Name or id that tells runs apart.
    """
    when = time.time()
    lines = [{"run": run, "time": when, "kind": "variable"} | dict(row) for row in summary.rows]
    lines.append({"run": run, "time": when, "kind": "run"} | summary.to_json())
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def write_prometheus(path: str | os.PathLike[str], summary: Summary, *, flow: str) -> None:
    """Write gauges for the textfile collector of Prometheus' node exporter; the file is there at once.

    Parameters
    ----------
    path : path
        The file, ``*.prom``.
    summary : Summary
        What to tell.
    flow : str
        Label.
    """
    lines = []
    for name, value in summary.to_json().items():
        if value is not None:
            lines += [f"# TYPE sciflow_{name} gauge", f'sciflow_{name}{{flow="{flow}"}} {value}']
    target = Path(path)
    draft = target.with_name(target.name + ".draft")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.replace(target)


class ProgressArtifact:
    """A bar in Prefect's UI that is moved every few seconds; made inside a task.

    Parameters
    ----------
    key : str
        Of the artifact.
    """

    def __init__(self, key: str) -> None:
        from prefect.artifacts import create_progress_artifact

        self._identifier = create_progress_artifact(progress=0.0, key=key, description="pieces written")
        self._told = time.monotonic()

    def __call__(self, done: int, total: int, nbytes: int) -> None:
        """Move it to ``done / total``; `nbytes` are those that came since."""
        del nbytes
        if done < total and time.monotonic() - self._told < _EVERY:
            return
        from prefect.artifacts import update_progress_artifact

        update_progress_artifact(artifact_id=self._identifier, progress=100.0 * done / max(1, total))  # type: ignore[arg-type]
        self._told = time.monotonic()


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
