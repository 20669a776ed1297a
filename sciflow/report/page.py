"""The page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path

from sciflow.models.files import write_whole
from sciflow.store.results import Report, Row

__all__ = ["write_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .25rem .6rem; text-align: right; }
th { border-bottom: 1px solid #888; } td:first-child, th:first-child { text-align: left; }
tr.broken { color: #b00; font-weight: bold; } tr.exact { color: #777; } img { max-width: 100%; }
p.holds { color: #070; }
p.broken { color: #b00; font-weight: bold; } code { background: #eee; padding: 0 .2em; }
"""
_HEADINGS = (
    "variable", "bound asked", "bound", "largest error", "error / bound", "RMSE", "PSNR, dB", "ratio",
    "bits a value",
)  # fmt: skip


def write_page(path: Path, report: Report, figures: Mapping[str, bytes]) -> None:
    """Write what was found and drawn.

    Parameters
    ----------
    path : Path
        File to make or replace, whole or not at all.
    report : Report
        Of `sciflow.verify`.
    figures : mapping of str to bytes
        PNG by variable.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_whole(path, "\n".join(_lines(report, figures)).encode())


def _lines(report: Report, figures: Mapping[str, bytes]) -> list[str]:
    title = f"{Path(report.store).name}: what was kept"
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title>",
    ]
    lines += [f"<style>{_STYLE}</style></head><body>", f"<h1>{escape(title)}</h1>"]
    lines.append(f"<p><code>{escape(report.source)}</code> → <code>{escape(report.store)}</code>, ")
    lines.append(f"{_size(report)}.</p>")
    lines += _verdict(report)
    lines.append("<table><tr>" + "".join(f"<th>{heading}</th>" for heading in _HEADINGS) + "</tr>")
    lines += [_line(row) for row in sorted(report.rows, key=lambda row: row.bound is None)]
    lines.append("</table>")
    for name, png in figures.items():
        text = base64.b64encode(png).decode()
        lines += [
            f"<h2>{escape(name)}</h2>",
            f'<img alt="{escape(name)}" src="data:image/png;base64,{text}">',
        ]
    return [*lines, "</body></html>", ""]


def _verdict(report: Report) -> list[str]:
    if report.ok:
        return ['<p class="holds">Every value was read again and compared: every promise holds.</p>']
    return [f'<p class="broken">{escape(problem)}</p>' for problem in report.problems()]


def _line(row: Row) -> str:
    kind = "broken" if row.problems else "exact" if row.bound is None else "kept"
    asked = "every bit" if row.bound is None else f"{row.bound.kind} {row.bound.value:g}"
    numbers = (
        row.bound_abs,
        row.max_error,
        row.over_bound,
        row.rmse,
        row.psnr,
        row.ratio,
        row.bits_per_value,
    )
    cells = [escape(row.variable), asked, *map(_number, numbers)]
    return f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _size(report: Report) -> str:
    if report.store_bytes is None or report.ratio is None:
        return f"{report.bytes_in:,} bytes"
    return f"{report.bytes_in:,} bytes in {report.store_bytes:,}, {report.ratio:.1f} times smaller"
