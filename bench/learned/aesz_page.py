"""docs/aesz-results.md and its figure, from the rows of `bench.learned.aesz`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["write_page"]

Row = dict[str, str]
_INTRO = """# AESZ: what was measured

Bytes of one snapshot that no model has seen (`python -m bench.learned.aesz`). The catalogue's
models meet runs of another seed; those of real series are fitted on their first snapshots and the last
one is coded. The model's own bytes are stored once a store and are in a column of their own; 0 where the
stream is that of SZ and needs no model. pysz is SZ3, hdf5-sz is SZ2. PSNR is over the range of the
snapshot. Speeds are MB of values a second of CPU time, one thread, on a machine with other work: compare
within a table only.
"""


def write_page(rows: Sequence[Row], page: Path) -> None:
    """Write the page and, beside it, the figure."""
    fields = list(dict.fromkeys(row["field"] for row in rows))
    parts = [_INTRO, _summary(rows), f"![Rate and distortion]({page.stem}.png)\n"]
    parts += [f"## {field}\n\n{_table([row for row in rows if row['field'] == field])}" for field in fields]
    page.write_text("\n".join(parts), encoding="utf-8")
    _figure(rows, fields, page.with_suffix(".png"))


def _summary(rows: Sequence[Row]) -> str:
    """AESZ against SZ at the same level: how often a model is used, and what it saves."""
    sizes = {(r["field"], r["rel"], r["codec"]): int(r["bytes"]) for r in rows}
    ours = [row for row in rows if row["codec"].startswith("aesz")]
    used = [row for row in ours if int(row["model_bytes"])]
    lines = [
        f"A model is used in {len(used)} of {len(ours)} cases; the others are SZ's own and one byte.\n",
        "| field | bound, of the range | codec | bytes against SZ | with the model's bytes |",
        "|---|---|---|---|---|",
    ]
    for row in used:
        base = sizes[row["field"], row["rel"], f"sciflow {row['codec'].split()[-1]}"]
        sums = int(row["bytes"]), int(row["bytes"]) + int(row["model_bytes"])
        changes = " | ".join(f"{100 * (size / base - 1):+.1f} %" for size in sums)
        lines.append(f"| {row['field']} | {row['rel']} | {row['codec']} | {changes} |")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| bound, of the range | codec | bytes | of these latents | model, bytes | PSNR, dB "
        "| encode MB/s | decode MB/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['rel']} | {r['codec']} | {r['bytes']} | {r['latent_bytes']} | {r['model_bytes']} "
        f"| {float(r['psnr']):.2f} | {float(r['encode_mbs']):.3g} | {float(r['decode_mbs']):.3g} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def _figure(rows: Sequence[Row], fields: Sequence[str], path: Path) -> None:
    figure, panels = plt.subplots(1, len(fields), figsize=(4 * len(fields), 4.2), layout="constrained")
    for panel, field in zip(panels, fields, strict=True):
        mine = [row for row in rows if row["field"] == field]
        for index, codec in enumerate(dict.fromkeys(row["codec"] for row in mine)):
            points = [row for row in mine if row["codec"] == codec]
            style = "o-" if codec.startswith("aesz") else ".--"
            panel.plot(
                [int(p["bytes"]) / 1e3 for p in points],
                [float(p["psnr"]) for p in points],
                style,
                color=f"C{index}",
                label=codec,
                markersize=5,
                linewidth=1,
            )
        panel.set(xscale="log", xlabel="kB, without the model", ylabel="PSNR, dB", title=field)
        panel.grid(visible=True, alpha=0.3)
    panels[0].legend(fontsize=6)
    figure.savefig(path, dpi=110)
    plt.close(figure)
