"""The figures: the ratio of every field, bits a value against PSNR, bytes against speed."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl

from bench.derive import bytes_over, rate_points, speed
from bench.results import LOSSLESS, Results

mpl.use("Agg")
from matplotlib import pyplot as plt

SHOWN = (
    "sciflow", "sciflow-fast", "sciflow-max",
    "pysz", "hdf5-sz3", "hdf5-sz", "hdf5-sperr", "zfpy", "lattice-pco", "pco",
)  # fmt: skip
MARKERS = dict(zip(SHOWN, "o<>s^1vDPx", strict=True))
CURVES = (
    "hurricane_isabel_wind", "turb_vorticity_3d", "ccsm_trefht_ensemble",
    "era5_temperature_2d", "navier-stokes-256:u", "lognormal-256:density",
)  # fmt: skip
"""Weather in 3-D, turbulence, a climate ensemble, a slice of a reanalysis, a simulation, a density."""


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
    """Write bits a value against PSNR over all bounds, for six fields."""
    chosen = [field for field in CURVES if field in results.fields] or results.fields[:6]
    columns = min(3, len(chosen))
    lines = math.ceil(len(chosen) / columns)
    size = (4.5 * columns, 4 * lines)
    figure, panels = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axes, field in zip(panels.flat, chosen, strict=False):
        for codec in SHOWN:
            points = sorted(
                (bits, psnr) for psnr, bits in rate_points(results, codec, field) if math.isfinite(psnr)
            )
            if points:
                axes.plot(*zip(*points, strict=True), marker=MARKERS[codec], label=codec, markersize=4)
        axes.set(title=field, xlabel="bits a value", ylabel="PSNR in dB", xscale="log")
        axes.grid(visible=True, alpha=0.3)
    for axes in list(panels.flat)[len(chosen) :]:
        axes.set_visible(False)
    panels[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_speed(results: Results, path: Path, bound: float = 1e-3) -> None:
    """Write the bytes of every codec against its speeds at ``bound``, both as means of the tables."""
    bound = bound if bound in results.bounds else results.bounds[0]
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharey=True)
    for direction, (axes, title) in enumerate(zip(panels, ("compress", "decompress"), strict=True)):
        for codec in results.codecs:
            height, speeds = bytes_over(results, codec, bound).value, speed(results, codec, bound)
            if not math.isnan(height) and not math.isnan(speeds.mbs[direction]):
                axes.plot(speeds.mbs[direction], height, "x" if codec in LOSSLESS else "o")
                axes.annotate(codec, (speeds.mbs[direction], height), fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel=f"{title}, MB/s", title=f"relative bound {bound:g}")
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("bytes over those of pysz")
    figure.savefig(path, dpi=120)
    plt.close(figure)
