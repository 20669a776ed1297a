"""The page of results: geometric means, every field, the scene, and a slice before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.learned.measure import BASES, Row, psnr_of
from bench.learned.networks import NetworkRow

__all__ = ["write_page"]

_SLICE = "turb_vorticity_3d"


def write_page(rows: Sequence[Row], networks: Sequence[NetworkRow], page: Path, data: Path) -> list[Path]:
    """Write the page, and its figure where the field that it shows is there; return what was written."""
    real = [row for row in rows if not row.field.startswith("scene:")]
    scene = [row for row in rows if row.field.startswith("scene:")]
    text = [
        "# GWLZ: what was measured\n",
        "Written by `make bench-learned` from `bench/results/learned/gwlz.csv`. Bytes are of whole streams, "
        "all side information included.\nA field is cut to 2^21 cells, as one chunk would be; cells that are "
        "no data are filled with the mean, for SZ3's sake.\n",
        "## At the PSNR of the base\n",
        "GWLZ is asked for the PSNR that the base reaches at a bound relative to the range "
        '(`target="psnr"`). *gain*: dB of the\nenhancer on the base\'s own stream.\n',
        _summary(real),
        "\n## Within the bound of the base\n",
        '`target="bound"`: every value within the bound; *bytes*: over the base at the same bound; *net*: '
        "over what the base alone takes\nfor the PSNR that is reached, read from its own streams.\n",
        _strict(real),
        "\n## Speed\n",
        _speed(rows),
    ]
    if networks:
        text += ["\n## Filters and networks\n", _networks(networks)]
    if scene:
        text += ["\n## A lognormal scene\n", _scene(scene)]
    written = [page]
    figure = page.with_suffix(".png")
    if _draw(data / f"{_SLICE}.npy", figure):
        text += [
            "\n## A slice\n",
            f"`{_SLICE}` at 1e-2 of its range: the original, what SZ gives, what GWLZ over it gives "
            f"within the same bound, and the errors of both.\n\n![a slice before and after]({figure.name})\n",
        ]
        written.append(figure)
    text += ["\n## Every field\n", _fields(real)]
    page.write_text("\n".join(text))
    return written


def _mean(values: Iterable[float]) -> float:
    found = [math.log(value) for value in values]
    return 100 * (math.exp(sum(found) / len(found)) - 1) if found else math.nan


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, rule, *lines])


def _cut(rows: Sequence[Row], base: str) -> list[tuple[float, list[Row]]]:
    rels = sorted({row.rel for row in rows}, reverse=True)
    return [(rel, [row for row in rows if (row.base, row.rel) == (base, rel)]) for rel in rels]


def _each(rows: Sequence[Row], line: Callable[[str, float, list[Row]], Sequence[str]]) -> list[Sequence[str]]:
    return [line(base, rel, found) for base in BASES for rel, found in _cut(rows, base) if found]


def _summary(rows: Sequence[Row]) -> str:
    def line(base: str, rel: float, found: list[Row]) -> Sequence[str]:
        change = [row.psnr_bytes / row.base_bytes for row in found]
        gain = sum(row.gain_db for row in found) / len(found)
        return [
            base,
            f"{rel:g}",
            str(len(found)),
            f"{_mean(change):+.1f} %",
            f"{100 * (min(change) - 1):+.1f} %",
            f"{100 * (max(change) - 1):+.2f} %",
            f"{gain:.2f} dB",
        ]

    return _table(
        ["base", "bound", "fields", "bytes, geometric mean", "best", "worst", "gain, mean"], _each(rows, line)
    )


def _strict(rows: Sequence[Row]) -> str:
    def line(base: str, rel: float, found: list[Row]) -> Sequence[str]:
        size = [row.strict_bytes / row.base_bytes for row in found]
        net = [1 + row.strict_net for row in found]
        gain = sum(row.strict_psnr - row.base_psnr for row in found) / len(found)
        return [
            base,
            f"{rel:g}",
            f"{_mean(size):+.1f} %",
            f"{_mean(net):+.1f} %",
            f"{100 * (max(net) - 1):+.2f} %",
            f"{gain:.2f} dB",
            f"{max(row.strict_over_bound for row in found):.6f}",
        ]

    head = [
        "base",
        "bound",
        "bytes",
        "net, geometric mean",
        "net, worst",
        "PSNR, mean",
        "largest error / bound",
    ]
    return _table(head, _each(rows, line))


def _speed(rows: Sequence[Row]) -> str:
    large = [row for row in rows if 4_000_000 <= row.raw_bytes <= 9_000_000]
    if not large:
        return "No field of 4 to 9 MB was measured.\n"
    fit = sorted(row.fit_ms for row in large)
    apply = sorted(row.apply_mbs for row in large if math.isfinite(row.apply_mbs))
    sizes = f"{len(large)} rows of 4 to 9 MB, one thread, CPU time"
    speed = f"{apply[len(apply) // 2]:.0f} MB/s" if apply else "not measured"
    return f"Median over {sizes}: {fit[len(fit) // 2]:.0f} ms to fit and apply; {speed} to apply.\n"


def _networks(rows: Sequence[NetworkRow]) -> str:
    def line(row: NetworkRow) -> Sequence[str]:
        return [
            row.field,
            row.enhancer,
            f"{row.gain_db:+.2f}",
            f"{row.enhancer_bytes} ({100 * row.enhancer_bytes / row.base_bytes:.1f} %)",
            f"{row.strict_db:+.2f}",
            f"{row.strict_bytes} ({100 * row.strict_bytes / row.base_bytes:.1f} %)",
            f"{row.make_seconds:.2f}",
            f"{row.apply_seconds:.2f}",
        ]

    head = ["field", "enhancer", "dB", "bytes (of SZ's at 1e-2)", "dB within the bound", "bytes", "s to make"]
    head.append("to apply")
    note = (
        "The same SZ stream at 1e-2 of the range for all. *Within the bound*: corrections that break it "
        "are taken back, and the\nbytes count what marks them. Training on one thread of the CPU, for the "
        "wall seconds that are named, which are fewer of\nthe processor where it is shared. NeurLZ's recipe "
        "is the bench's own (`bench/learned/neurlz.py`), without siblings.\n\n"
    )
    return note + _table(head, map(line, rows))


def _scene(rows: Sequence[Row]) -> str:
    def line(row: Row) -> Sequence[str]:
        percent = 100 * row.gain_db / row.base_psnr
        return [
            row.field.removeprefix("scene:"),
            f"{row.rel:g}",
            f"{row.base_psnr:.2f}",
            f"{row.gain_db:+.2f} dB ({percent:+.1f} %)",
            f"{100 * (row.psnr_bytes / row.base_bytes - 1):+.1f} %",
            f"{row.side_bytes}",
            f"{row.side_bytes / row.raw_bytes:.1e}",
        ]

    head = ["field", "bound", "SZ3, dB", "gain", "bytes at equal PSNR", "side bytes", "of the raw bytes"]
    note = (
        f"{rows[0].shape} cells, the data set `cosmology-lognormal`; base SZ3. The paper "
        "(abstract) says up to 20 % of PSNR on Nyx\nfields at an overhead as low as 0.0003 of the size; "
        "these fields are not Nyx.\n\n"
    )
    return note + _table(head, map(line, rows))


def _fields(rows: Sequence[Row]) -> str:
    def line(row: Row) -> Sequence[str]:
        return [
            row.field,
            row.base,
            f"{row.rel:g}",
            str(row.base_bytes),
            f"{100 * (row.psnr_bytes / row.base_bytes - 1):+.1f} %",
            f"{row.gain_db:.2f}",
            f"{100 * (row.strict_bytes / row.base_bytes - 1):+.1f} %",
            f"{row.strict_psnr - row.base_psnr:+.2f}",
        ]

    head = [
        "field",
        "base",
        "bound",
        "base bytes",
        "at equal PSNR",
        "gain, dB",
        "within the bound",
        "its PSNR, dB",
    ]
    return _table(head, map(line, rows))


def _draw(path: Path, figure: Path) -> bool:
    if not path.is_file():
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from sciflow import Bound
    from sciflow.codecs import gwlz, sz
    from sciflow.codecs.gwlz import GWLZConfig
    from sciflow.codecs.sz import SZConfig

    field = np.load(path)
    base = SZConfig(Bound.rel(1e-2))
    config = GWLZConfig(base)
    plain = sz.decode(sz.encode(field, base))
    enhanced = gwlz.decode(gwlz.encode(field, config), config)
    middle = field.shape[0] // 2
    bound = 1e-2 * float(np.ptp(field))
    shown = [
        ("original", field, None),
        (f"SZ, {psnr_of(field, plain):.2f} dB", plain, None),
        (f"GWLZ, {psnr_of(field, enhanced):.2f} dB", enhanced, None),
        ("error of SZ", plain - field, bound),
        ("error of GWLZ", enhanced - field, bound),
    ]
    panels, axes = plt.subplots(1, len(shown), figsize=(15, 3.4), layout="constrained")
    for axis, (title, values, most) in zip(axes, shown, strict=True):
        low, high = (-most, most) if most else (float(field[middle].min()), float(field[middle].max()))
        axis.imshow(values[middle], vmin=low, vmax=high, cmap="RdBu_r" if most else "viridis")
        axis.set(title=title, xticks=[], yticks=[])
    panels.savefig(figure, dpi=90)
    plt.close(panels)
    return True
