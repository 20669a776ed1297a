"""docs/benchmarks.md: the tables of a run, and where its figures are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.plot import plot_rate_distortion, plot_ratios
from bench.results import REFERENCE, Results, load_results

HEAD = """\
# Benchmarks

Written by `python -m bench table` from `{csv}`; how it is measured, and which mistakes it avoids, stands in
`bench/README.md`.

{machine}

Bounds are relative to the range of a field's valid cells. Where a field has missing values, a lossy peer is
given the field with those cells set to the mean of the others, and need not store where they were; sciflow
and the lossless codecs are given the field as it is.
"""


def write_page(csv: Path, page: Path) -> list[Path]:
    """Write ``page`` and its two figures beside it from the results in ``csv``; return what was written."""
    results = load_results(csv)
    ratios, rates = page.with_name("benchmarks-ratio.png"), page.with_name("benchmarks-rate.png")
    page.parent.mkdir(parents=True, exist_ok=True)
    plot_ratios(results, ratios)
    plot_rate_distortion(results, rates)
    described = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    parts = [
        HEAD.format(csv=f"bench/results/{csv.name}", machine=f"Machine: {described}."),
        _relative(results),
        f"![ratio of every field]({ratios.name})\n\n![bits a value and PSNR]({rates.name})\n",
        _speed(results),
        _violations(results),
        _specials(results),
        _failures(results),
        *(_per_field(results, bound) for bound in results.bounds),
    ]
    page.write_text("\n".join(part for part in parts if part))
    return [page, ratios, rates]


def _relative(results: Results) -> str:
    lines = []
    for codec in results.codecs:
        means = [results.relative_ratio(codec, bound) for bound in results.bounds]
        fields = max((count for _, count in means), default=0)
        lines.append([codec, *(f"{mean:.3f}" for mean, _ in means), str(fields)])
    title = f"## Ratio over that of {REFERENCE}, geometric mean over the fields (above 1: smaller files)"
    return f"{title}\n\n" + _table(["codec", *map(_short, results.bounds), "fields"], lines)


def _speed(results: Results) -> str:
    header = ["codec", *(f"{_short(bound)} comp / decomp" for bound in results.bounds)]
    lines = []
    for codec in results.codecs:
        speeds = [results.speed(codec, bound) for bound in results.bounds]
        lines.append([codec, *(f"{comp:.0f} / {decomp:.0f}" for comp, decomp in speeds)])
    fields = ", ".join(results.large_fields())
    title = "## Speed in MB/s, one thread, geometric mean over the large fields of three axes or more"
    return f"{title}\n\n" + _table(header, lines) + f"\nThese fields: {fields}.\n"


def _violations(results: Results) -> str:
    lines = []
    for codec in results.codecs:
        cases = [(field, bound) for field in results.fields for bound in results.bounds]
        tried = [row for case in cases if (row := results.at(codec, *case)) and row.bound]
        broken = [row for row in tried if row.violations]
        if broken:
            worst = max(broken, key=lambda row: row.maxerr_over_bound)
            where = f"{worst.field} at {_short(worst.bound)}"
            runs = f"{len(broken)} of {len(tried)}"
            lines.append([codec, runs, f"{worst.maxerr_over_bound:.6g}", where])
    if not lines:
        return "## Bounds that were broken\n\nNone.\n"
    title = "## Bounds that were broken\n\nA codec that is not listed kept every bound.\n\n"
    return title + _table(["codec", "runs", "largest error over bound", "where"], lines)


def _specials(results: Results) -> str:
    lines = []
    for codec in results.codecs:
        own = [row for row in results.rows if row.codec == codec and row.given == "as is"]
        tried = [row for row in own if row.specials]
        failed = sum(row.status != "ok" for row in own)
        kept = sum(row.specials_lost == 0 for row in tried)
        harmed = sum(row.violations > 0 and row.bound > 0 for row in tried)
        lines.append([codec, f"{kept} of {len(tried)}", str(harmed), str(failed)])
    title = "## Given the missing values as they are (NaN, 1e20, -9999000)"
    header = [
        "codec",
        "runs that kept every one bit for bit",
        "runs that broke the bound beside them",
        "failed",
    ]
    return f"{title}\n\n" + _table(header, lines)


def _failures(results: Results) -> str:
    failed = [row for row in results.rows if row.status != "ok"]
    lines = [[row.codec, row.field, _short(row.bound), row.given, row.status] for row in failed]
    return (
        "## Runs that failed\n\n" + _table(["codec", "field", "bound", "given", "how"], lines)
        if failed
        else ""
    )


def _per_field(results: Results, bound: float) -> str:
    lines = []
    for field in results.fields:
        ratios = []
        for codec in results.codecs:
            row = results.at(codec, field, bound)
            ratios.append(row.ratio if row else math.nan)
        best = max((ratio for ratio in ratios if not math.isnan(ratio)), default=math.nan)
        lines.append([field, *(f"**{ratio:.2f}**" if ratio == best else f"{ratio:.2f}" for ratio in ratios)])
    return f"## Ratios at {_short(bound)}\n\n" + _table(["field", *results.codecs], lines)


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, rule, *lines])


def _short(bound: float) -> str:
    return f"{bound:.0e}".replace("e-0", "e-")
