"""docs/aesz-results.md and its figure, from the rows of `bench.learned.aesz`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

__all__ = ["write_page"]

Row = dict[str, str]
_HIGH = 100.0
_RIVALS = ("pysz-lorenzo", "hdf5-sz", "zfpy", "pysz")
_COLUMNS = 4
_INTRO = """# AESZ: what was measured

Bytes of one snapshot that no model has seen (`python -m bench.learned.aesz`, some ten minutes; `make
bench-learned` runs it too). The catalogue's models meet runs of another seed; those of other recipes are
fitted or trained on two or three other seeds, those of real series on their first snapshots. The model's own
bytes are stored once a store and are in a column of their own; 0 where the stream is that of SZ and needs no
model. pysz is SZ3, pysz-lorenzo its Lorenzo predictor, hdf5-sz SZ2. PSNR is over the range of the snapshot.
Speeds are MB of values a second of CPU time of one process: compare within a table only.
"""


def write_page(rows: Sequence[Row], forced: Sequence[Row], page: Path) -> None:
    """Write the page and, beside it, the figure."""
    fields = list(dict.fromkeys(row["field"] for row in rows))
    parts = [
        _INTRO,
        _summary(rows),
        _kinds(rows),
        _high_ratios(rows),
        _every_block(forced),
        f"## Rate and distortion\n\n![PSNR over bits a value]({page.stem}.png)\n",
    ]
    parts += [f"## {field}\n\n{_table([row for row in rows if row['field'] == field])}" for field in fields]
    page.write_text("\n".join(parts), encoding="utf-8")
    _figure(rows, fields, page.with_suffix(".png"))


def _kind(row: Row) -> str:
    return row["codec"].removeprefix("aesz ").rpartition(" ")[0]


def _level(row: Row) -> str:
    return row["codec"].rpartition(" ")[2]


def _ours(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["codec"].startswith("aesz")]


def _sizes(rows: Iterable[Row]) -> dict[tuple[str, str, str], int]:
    return {(row["field"], row["rel"], row["codec"]): int(row["bytes"]) for row in rows}


def _change(size: int, base: int) -> str:
    return f"{100 * (size / base - 1):+.1f} %"


def _markdown(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    every = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in every) + "\n"


def _summary(rows: Sequence[Row]) -> str:
    """AESZ against SZ at the same level: how often each kind is used, and what it saves."""
    sizes, ours = _sizes(rows), _ours(rows)
    lines = []
    for kind, level in dict.fromkeys((_kind(row), _level(row)) for row in ours):
        mine = [row for row in ours if (_kind(row), _level(row)) == (kind, level)]
        bases = [sizes[row["field"], row["rel"], f"sciflow {level}"] for row in mine]
        pairs = list(zip(mine, bases, strict=True))
        used = [int(row["bytes"]) / base for row, base in pairs if int(row["model_bytes"])]
        changes = used + [1.0] * (len(mine) - len(used))
        mean = math.exp(float(np.mean(np.log(changes))))
        where = f"{100 * (math.exp(float(np.mean(np.log(used)))) - 1):+.1f} %" if used else "-"
        best = f"{100 * (min(changes) - 1):+.1f} %"
        models = {int(row["model_bytes"]) for row in mine} - {0}
        span = f"{min(models)} to {max(models)}" if models else "-"
        row = (kind, level, len(mine), len(used), where, f"{100 * (mean - 1):+.1f} %", best, span)
        lines.append(row)
    header = (
        "model", "level", "cases", "used", "there, against SZ", "over all cases", "best", "model, bytes",
    )  # fmt: skip
    return (
        "Against SZ at the same level and bound, without the model's bytes; means are geometric. Where no "
        "model pays the stream is SZ's own and one byte. (At level max it may be smaller all the same: the "
        "pass with a linear model's weights tries no raster scans, which SZ sometimes takes where others are "
        "cheaper. That counts as no change here.)\n\n" + _markdown(header, lines)
    )


def _kinds(rows: Sequence[Row]) -> str:
    """Which model is best where one is used."""
    sizes = _sizes(rows)
    lines = []
    for row in _ours(rows):
        if not int(row["model_bytes"]):
            continue
        base = sizes[row["field"], row["rel"], f"sciflow {_level(row)}"]
        lines.append((
            row["field"], row["rel"], _kind(row), _level(row), _change(int(row["bytes"]), base),
            _change(int(row["bytes"]) + int(row["model_bytes"]), base),
        ))  # fmt: skip
    header = ("field", "bound, of the range", "model", "level", "bytes against SZ", "with the model's bytes")
    beaten = _beaten(rows)
    return "## Where a model is used\n\n" + beaten + "\n" + _markdown(header, lines)


def _beaten(rows: Sequence[Row]) -> str:
    """How often an autoencoder takes fewer bytes than the linear model and the basis."""
    sizes = _sizes(rows)
    cases = [row for row in _ours(rows) if "autoencoder" in _kind(row)]
    wins = 0
    for row in cases:
        others = [f"aesz {kind} {_level(row)}" for kind in ("linear", "klt")]
        wins += all(int(row["bytes"]) < sizes[row["field"], row["rel"], other] for other in others)
    return (
        f"An autoencoder is smallest, against the linear model and the KLT at the same level, in {wins} of "
        f"{len(cases)} cases.\n"
    )


def _high_ratios(rows: Sequence[Row]) -> str:
    """Ratios above 100: the best branch of AESZ against SZ2's Lorenzo predictor, ZFP and SZ3."""
    sizes = _sizes(rows)
    lines = []
    for field, rel in dict.fromkeys((row["field"], row["rel"]) for row in rows):
        mine = [row for row in _ours(rows) if (row["field"], row["rel"]) == (field, rel)]
        best = min(mine, key=lambda row: int(row["bytes"]))
        ratio = 4 * int(best["values"]) / int(best["bytes"])
        if ratio <= _HIGH:
            continue
        bound = [f"{sizes[field, rel, rival] / int(best['bytes']):.1f}" for rival in _RIVALS]
        equal = [_at_equal_psnr(rows, field, rival, best) for rival in _RIVALS]
        used = _kind(best) if int(best["model_bytes"]) else "none"
        lines.append((field, rel, f"{ratio:.0f}", used, *bound, *equal))
    header = ("field", "bound", "ratio", "model", *_RIVALS, *(f"{rival}, same PSNR" for rival in _RIVALS))
    return (
        "## Ratios above 100\n\nThe smallest of AESZ's streams at level balanced and max, ratio without the "
        "model's bytes, and how many times more bytes others take: at the same bound, then at the same PSNR, "
        "between two measured points; `-` where these do not reach it.\n\n" + _markdown(header, lines)
    )


def _at_equal_psnr(rows: Sequence[Row], field: str, codec: str, best: Row) -> str:
    points = sorted(
        (float(row["psnr"]), math.log(int(row["bytes"])))
        for row in rows
        if (row["field"], row["codec"]) == (field, codec)
    )
    quality = float(best["psnr"])
    if not points or not points[0][0] <= quality <= points[-1][0]:
        return "-"
    size = float(np.interp(quality, *np.array(points).T))
    return f"{math.exp(size) / int(best['bytes']):.1f}"


def _every_block(forced: Sequence[Row]) -> str:
    lines = [
        (
            row["field"], row["model"], row["rel"], _change(int(row["bytes"]), int(row["plain_bytes"])),
            f"{float(row['encode_mbs']):.3g}", f"{float(row['decode_mbs']):.3g}",
        )
        for row in forced
    ]  # fmt: skip
    header = ("field", "model", "bound", "bytes against SZ", "encode MB/s", "decode MB/s")
    return (
        "## A model on every block\n\nLevel balanced, the model in all blocks, whether that pays or not.\n\n"
        + _markdown(header, lines)
    )


def _table(rows: Sequence[Row]) -> str:
    header = (
        "bound, of the range", "codec", "bytes", "bits a value", "of these latents, bytes", "model, bytes",
        "PSNR, dB", "encode MB/s", "decode MB/s",
    )  # fmt: skip
    lines = [
        (
            r["rel"], r["codec"], r["bytes"], f"{8 * int(r['bytes']) / int(r['values']):.3f}",
            r["latent_bytes"], r["model_bytes"], f"{float(r['psnr']):.2f}", f"{float(r['encode_mbs']):.3g}",
            f"{float(r['decode_mbs']):.3g}",
        )
        for r in rows
    ]  # fmt: skip
    return _markdown(header, lines)


def _figure(rows: Sequence[Row], fields: Sequence[str], path: Path) -> None:
    down = -(-len(fields) // _COLUMNS)
    figure, grid = plt.subplots(
        down, _COLUMNS, figsize=(4 * _COLUMNS, 3.8 * down), layout="constrained", squeeze=False
    )
    panels = list(grid.flat)
    codecs = list(dict.fromkeys(row["codec"] for row in rows))
    for panel, field in zip(panels, fields, strict=False):
        for index, codec in enumerate(codecs):
            points = [row for row in rows if (row["field"], row["codec"]) == (field, codec)]
            if not points:
                continue
            panel.plot(
                [8 * int(p["bytes"]) / int(p["values"]) for p in points],
                [float(p["psnr"]) for p in points],
                "o-" if codec.startswith("aesz") else ".--",
                color=mpl.colormaps["tab20"](index % 20),
                label=codec,
                markersize=4,
                linewidth=1,
            )
        panel.set(xscale="log", xlabel="bits a value, without the model", ylabel="PSNR, dB", title=field)
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[len(fields) :]:
        panel.set_axis_off()
    handles = {
        label: handle for p in panels for handle, label in zip(*p.get_legend_handles_labels(), strict=True)
    }
    panels[-1].legend(handles.values(), handles.keys(), fontsize=7, loc="center")
    figure.savefig(path, dpi=110)
    plt.close(figure)
