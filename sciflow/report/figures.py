"""The figures of one variable: the field, its errors, at which scales they lie and how they hang together."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument
from sciflow.physics import power_spectrum
from sciflow.report.samples import Sample

__all__ = ["autocorrelation", "draw"]

_LAGS = 32
_BINS = 101
_MISSING = "0.85"


def draw(sample: Sample) -> bytes:
    """Draw six panels: field, decoded, error; distribution, spectra and autocorrelation of errors.

    Parameters
    ----------
    sample : Sample
        Of one variable.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=(13, 7), layout="constrained")
    panels = figure.subplots(2, 3)
    show = _show_line if sample.original.ndim == 1 else _show_map
    for axes, kind in zip(panels[0], ("original", "decoded", "error"), strict=True):
        show(axes, sample, kind)
    _histogram(panels[1][0], sample)
    _spectra(panels[1][1], sample)
    _correlation(panels[1][2], sample)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    return out.getvalue()


def autocorrelation(errors: NDArray[np.float64], lags: int = _LAGS) -> NDArray[np.float64]:
    """Correlation of errors with those so many cells further along the last axis.

    Parameters
    ----------
    errors : ndarray, float64, shape (..., n)
        NaN where there is no datum: pairs with one count for nothing.
    lags : int
        The furthest, cut to n - 1.

    Returns
    -------
    ndarray, float64, shape (lags + 1,)
        1 at lag 0; NaN where no pair is left, or all errors are equal.
    """
    centred = errors - np.nanmean(errors) if np.isfinite(errors).any() else errors
    last = min(lags, errors.shape[-1] - 1)
    found = np.full(last + 1, np.nan)
    for lag in range(last + 1):
        product = centred[..., lag:] * centred[..., : errors.shape[-1] - lag]
        if np.isfinite(product).any():
            found[lag] = np.nanmean(product)
    return found / found[0] if found[0] > 0 else np.full(last + 1, np.nan)


def _chosen(sample: Sample, kind: str) -> NDArray[np.float64]:
    if kind == "error":
        return sample.decoded - sample.original
    return sample.original if kind == "original" else sample.decoded


def _show_map(axes: Axes, sample: Sample, kind: str) -> None:
    values = _chosen(sample, kind)
    known = sample.original[np.isfinite(sample.original)]
    if kind == "error":
        reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        limits, colours = (-reach or -1.0, reach or 1.0), "RdBu_r"
    else:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        colours = "viridis"
    image = axes.imshow(
        values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest",
        origin="upper" if sample.upside_down else "lower",
    )  # fmt: skip
    axes.set_facecolor(_MISSING)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set(title=_title(sample, kind), xlabel=sample.dims[1], ylabel=sample.dims[0])


def _show_line(axes: Axes, sample: Sample, kind: str) -> None:
    axes.plot(_chosen(sample, kind), linewidth=0.8)
    axes.set(title=_title(sample, kind), xlabel=sample.dims[0])


def _title(sample: Sample, kind: str) -> str:
    return f"{kind}, {sample.where}" if sample.where else kind


def _histogram(axes: Axes, sample: Sample) -> None:
    bound = sample.row.bound_abs or 0.0
    relative = sample.row.bound is not None and sample.row.bound.kind == "pointwise_rel"
    reach = float(np.abs(sample.errors).max(initial=0.0)) if relative or not bound else bound
    edges = np.linspace(-reach or -1.0, reach or 1.0, _BINS + 1)
    axes.hist(np.clip(sample.errors, edges[0], edges[-1]), bins=list(edges), color="0.4")
    if bound and not relative:
        for side in (-bound, bound):
            axes.axvline(side, color="C3", linestyle="--", linewidth=1)
    axes.set(title=f"errors of {sample.errors.size:,} values", xlabel="decoded - original", yticks=[])


def _spectra(axes: Axes, sample: Sample) -> None:
    shown = (("original", "C0", "-"), ("decoded", "C1", "--"), ("error", "C3", "-"))
    try:
        for kind, colour, style in shown:
            found = power_spectrum(_chosen(sample, kind), space=sample.original.ndim, window="hann")
            seen = found.power > 0
            axes.plot(found.wavenumber[seen], found.power[seen], color=colour, linestyle=style, label=kind)
    except InvalidArgument:  # too few cells along an axis
        axes.text(0.5, 0.5, "too few cells for a spectrum", ha="center", transform=axes.transAxes)
        return
    axes.set(title="power spectrum of the slice", xlabel="cycles a cell", xscale="log", yscale="log")
    axes.legend()


def _correlation(axes: Axes, sample: Sample) -> None:
    errors = _chosen(sample, "error")
    views = [(errors, sample.dims[-1])] + ([(errors.T, sample.dims[0])] if errors.ndim == 2 else [])
    for values, dim in views:
        axes.plot(autocorrelation(values), marker=".", label=f"along {dim}")
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    axes.set(title="autocorrelation of errors", xlabel="cells apart", ylim=(-1.05, 1.05))
    axes.legend()
