"""docs/benchmarks.md: the tables of a run, and where its figures are."""

from __future__ import annotations

import math
from pathlib import Path

from bench.child import ROOT
from bench.derive import (
    bits_at_equal_psnr,
    bytes_over,
    bytes_over_oracle,
    disturbed,
    fields_lost,
    memcpy_mbs,
    roofline,
    speed,
    worst,
)
from bench.lossless import section as lossless_section
from bench.markdown import number, short, table
from bench.plot import plot_rate_distortion, plot_ratios, plot_speed
from bench.results import LOSSLESS, REFERENCE, Results, load_results
from bench.run import HUGE, HUGE_BOUNDS, SLOW

ANCHORS = (REFERENCE, "hdf5-sperr")
"""Peers at whose PSNR the bytes are compared."""

HEAD = """\
# Benchmarks

Written by `python -m bench table` from `{csv}`; how it is measured, and which mistakes it avoids, stands in
`bench/README.md`. `sciflow` is level balanced, `sciflow-safe` the same with `rewrite_safe=True`.

{machine}

Bounds are relative to the range of a field's valid cells. Where a field has missing values, a lossy peer is
given the field with those cells set to the mean of the others, and need not store where they were; sciflow
and the lossless codecs are given the field as it is. Means of a column are over the fields that have both
codecs.{slow}
"""


def write_page(csv: Path, page: Path, lossless: Path | None = None) -> list[Path]:
    """Write ``page`` and its figures beside it; return what was written.

    Parameters
    ----------
    csv : Path
        The comparison.
    page : Path
        Its folder is made.
    lossless : Path, optional
        The CSV of the comparison without a bound.
    """
    results = load_results(csv)
    figures = [page.with_name(f"benchmarks-{name}.png") for name in ("ratio", "rate", "speed")]
    page.parent.mkdir(parents=True, exist_ok=True)
    for plot, figure in zip((plot_ratios, plot_rate_distortion, plot_speed), figures, strict=True):
        plot(results, figure)
    parts = [
        _head(results, csv),
        _relative(results),
        _oracle(results),
        f"![ratio of every field]({figures[0].name})\n",
        _worst(results),
        _equal_psnr(results),
        f"![bits a value and PSNR]({figures[1].name})\n",
        _speed(results),
        f"![bytes and speed]({figures[2].name})\n",
        lossless_section(load_results(lossless)) if lossless else "",
        _violations(results),
        _specials(results),
        _failures(results),
        *(_per_field(results, bound) for bound in results.bounds),
    ]
    page.write_text("\n".join(part for part in parts if part))
    return [page, *figures]


def roofline_section(csv: Path) -> str:
    """Return how far from the speed of memory each level is, for the page of the studies."""
    results = load_results(csv)
    bound = 1e-3 if 1e-3 in results.bounds else results.bounds[0]
    lines = []
    for codec in [*results.ours, *(name for name in (REFERENCE,) if name in results.codecs)]:
        found = roofline(results, codec, bound)
        times = (found.least, found.compress, found.decompress)
        shares = (found.least / found.compress, found.least / found.decompress)
        cells = [number(found.moved, 2), *(number(time, 2) for time in times)]
        lines.append([codec, *cells, *(number(100 * share, 1) for share in shares)])
    about = (
        f"Relative bound {short(bound)}, large fields of the comparison, one thread. Moved: bytes a value of "
        "the field and of the stream, each once.\nFloor: nanoseconds a value that this takes at the speed of "
        f"memcpy in the same processes ({number(memcpy_mbs(results), 0)} MB/s copied). What a codec\n"
        "takes above it is arithmetic, and passes over its own scratch.\n\n"
    )
    header = ["codec", "moved, B", "floor, ns", "compress, ns", "decompress, ns", "share, %", "share, %"]
    return about + table(header, lines)


def _head(results: Results, csv: Path) -> str:
    described = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    late, timed = disturbed(results)
    quiet = f"In {late} of {timed} measurements the wall clock ran a tenth longer than the CPU's."
    return HEAD.format(
        csv=_inside(csv), machine=f"Machine: {described}. {quiet}", slow=_fewer_bounds(results)
    )


def _fewer_bounds(results: Results) -> str:
    """Return which codecs left bounds out on the largest fields, empty if none did."""
    slow = [name for name in SLOW if name in results.codecs]
    if not slow or not results.large_fields(HUGE):
        return ""
    return f" On fields of 2^24 values only {', '.join(map(short, HUGE_BOUNDS))} of {', '.join(slow)}."


def _inside(path: Path) -> str:
    """Return ``path`` as it is called within the repository."""
    return str(path.resolve().relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path.name)


def _relative(results: Results) -> str:
    lines = []
    for codec in results.codecs:
        means = [bytes_over(results, codec, bound) for bound in results.bounds]
        fields = max((mean.fields for mean in means), default=0)
        lines.append([codec, *(number(mean.value) for mean in means), str(fields)])
    title = f"## Bytes over those of {REFERENCE}, geometric mean over the fields (below 1: smaller files)"
    return f"{title}\n\n" + table(["codec", *map(short, results.bounds), "fields"], lines)


def _oracle(results: Results) -> str:
    lines = []
    for codec in results.ours:
        means = [bytes_over_oracle(results, codec, bound) for bound in results.bounds]
        lost = [fields_lost(results, codec, bound) for bound in results.bounds]
        cells = (
            f"{number(mean.value)}, {number(share.value * share.fields, 0)} of {share.fields}"
            for mean, share in zip(means, lost, strict=True)
        )
        lines.append([codec, *cells])
    title = "## Bytes over those of the best peer of each field and bound"
    about = (
        "The best peer is the smallest that kept the bound there, lossless codecs included: no peer is that "
        "good everywhere.\nAfter the mean: the fields on which that level is larger than it.\n\n"
    )
    return f"{title}\n\n{about}" + table(["codec", *map(short, results.bounds)], lines)


def _worst(results: Results) -> str:
    lines = []
    for codec in results.ours:
        found = [worst(results, codec, bound) for bound in results.bounds]
        cells = [f"{each.factor:.3f} {each.field} ({each.peer})" if each else "-" for each in found]
        lines.append([codec, *cells])
    title = "## Where each level does worst: bytes over those of the best peer, field, and that peer"
    return f"{title}\n\n" + table(["codec", *map(short, results.bounds)], lines)


def _equal_psnr(results: Results) -> str:
    parts = [
        "## Bytes at equal PSNR\n\nBits a value, interpolated (their logarithm, over PSNR) where a codec has "
        "points on both sides, over those of the anchor\nat its own PSNR; in brackets, of how many fields.\n"
    ]
    for anchor in ANCHORS:
        if anchor not in results.codecs:
            continue
        lines = []
        for codec in results.codecs:
            if codec not in LOSSLESS:
                means = [bits_at_equal_psnr(results, codec, anchor, bound) for bound in results.bounds]
                lines.append([codec, *(f"{number(mean.value)} ({mean.fields})" for mean in means)])
        header = ["codec", *(f"{anchor} at {short(bound)}" for bound in results.bounds)]
        parts.append(table(header, lines))
    return "\n".join(parts)


def _speed(results: Results) -> str:
    header = ["codec", *map(short, results.bounds)]
    speeds = {codec: [speed(results, codec, bound) for bound in results.bounds] for codec in results.codecs}
    mbs = [[codec, *(_pair(each.mbs, 0) for each in row)] for codec, row in speeds.items()]
    over = [[codec, *(_pair(each.over_reference, 2) for each in row)] for codec, row in speeds.items()]
    share = [[codec, *(_pair(each.over_memcpy, 3) for each in row)] for codec, row in speeds.items()]
    fields = ", ".join(results.large_fields())
    return (
        "## Speed, one thread, compress / decompress\n\nBy the CPU time of all threads of the process; "
        "geometric means over the fields of a million\nvalues or more.\n\n"
        f"MB/s:\n\n{table(header, mbs)}\n"
        f"Over that of {REFERENCE} in the same run:\n\n{table(header, over)}\n"
        f"Over that of memcpy in the same processes ({number(memcpy_mbs(results), 0)} MB/s):\n\n"
        f"{table(header, share)}\nThese fields: {fields}.\n"
    )


def _pair(pair: tuple[float, float], digits: int) -> str:
    return f"{number(pair[0], digits)} / {number(pair[1], digits)}"


def _violations(results: Results) -> str:
    lines = []
    for codec in results.codecs:
        cases = [(field, bound) for field in results.fields for bound in results.bounds]
        tried = [row for case in cases if (row := results.at(codec, *case)) and row.bound]
        broken = [row for row in tried if row.violations]
        if broken:
            worst_row = max(broken, key=lambda row: row.maxerr_over_bound)
            where = f"{worst_row.field} at {short(worst_row.bound)}"
            runs = f"{len(broken)} of {len(tried)}"
            lines.append([codec, runs, f"{worst_row.maxerr_over_bound:.6g}", where])
    if not lines:
        return "## Bounds that were broken\n\nNone.\n"
    title = "## Bounds that were broken\n\nA codec that is not listed kept every bound.\n\n"
    return title + table(["codec", "runs", "largest error over bound", "where"], lines)


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
    return f"{title}\n\n" + table(header, lines)


def _failures(results: Results) -> str:
    failed = [row for row in results.rows if row.status != "ok"]
    lines = [[row.codec, row.field, short(row.bound), row.given, row.status] for row in failed]
    header = ["codec", "field", "bound", "given", "how"]
    return "## Runs that failed\n\n" + table(header, lines) if failed else ""


def _per_field(results: Results, bound: float) -> str:
    lines = []
    for field in results.fields:
        ratios = []
        for codec in results.codecs:
            row = results.at(codec, field, bound)
            ratios.append(row.ratio if row else math.nan)
        best = max((ratio for ratio in ratios if not math.isnan(ratio)), default=math.nan)
        cells = (f"**{ratio:.2f}**" if ratio == best else number(ratio, 2) for ratio in ratios)
        lines.append([field, *cells])
    return f"## Ratios at {short(bound)}\n\n" + table(["field", *results.codecs], lines)
