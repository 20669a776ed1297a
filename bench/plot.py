"""Two figures: the ratio of every field, and bits a value against PSNR."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from bench.results import Results

mpl.use("Agg")
from matplotlib import pyplot as plt

SHOWN = ("sciflow", "pysz", "hdf5-sz3", "hdf5-sperr", "zfpy", "lattice-pco", "pco")
MARKERS = dict(zip(SHOWN, "os^vDPx", strict=True))
CURVES = ("hurricane_isabel_wind", "turb_vorticity_3d", "ccsm_trefht_ensemble", "navier-stokes-3d:u")


def plot_ratios(results: Results, path: Path, bound: float = 1e-3) -> None:
    """Write the ratio of every field at ``bound``, or at the run's only bounds, sorted by our own."""
    bound = bound if bound in results.bounds else results.bounds[0]
    codecs = [codec for codec in SHOWN if codec in results.codecs]
    ratios = {
        codec: {field: row.ratio for field in results.fields if (row := results.at(codec, field, bound))}
        for codec in codecs
    }
    ordered = sorted(results.fields, key=lambda field: ratios[codecs[0]].get(field, 0.0)) if codecs else []
    figure, axes = plt.subplots(figsize=(12, 6), layout="constrained")
    for codec in codecs:
        places = [place for place, field in enumerate(ordered) if field in ratios[codec]]
        heights = [ratios[codec][ordered[place]] for place in places]
        axes.plot(places, heights, MARKERS[codec], label=codec, markersize=5)
    axes.set_xticks(range(len(ordered)), ordered, rotation=90, fontsize=7)
    axes.set(yscale="log", ylabel="compression ratio", title=f"relative bound {bound:g}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_rate_distortion(results: Results, path: Path) -> None:
    """Write bits a value against PSNR over all bounds, for a few fields."""
    chosen = [field for field in CURVES if field in results.fields] or results.fields[:4]
    size = (4 * len(chosen), 4)
    figure, panels = plt.subplots(1, len(chosen), figsize=size, layout="constrained", squeeze=False)
    for axes, field in zip(panels[0], chosen, strict=True):
        for codec in SHOWN:
            rows = [row for bound in results.bounds if (row := results.at(codec, field, bound)) and row.bound]
            points = sorted((row.bits_per_value, row.psnr) for row in rows)
            if points:
                axes.plot(*zip(*points, strict=True), marker=MARKERS[codec], label=codec, markersize=4)
        axes.set(title=field, xlabel="bits a value", ylabel="PSNR in dB")
        axes.grid(visible=True, alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
