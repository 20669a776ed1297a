"""Pictures of what a compression did, as data URIs that a web page shows: slices, errors, rate curves."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.codecs.sz import Level, SZConfig
from sciflow.metrics import ErrorStats
from sciflow.store.plan import sentinels_of
from sciflow.store.source import open_source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MAX_PICTURES", "rate_curve", "slices"]

MAX_PICTURES = 3
"""Variables that get pictures: artifacts live in the server's database."""

_CELLS = 256
"""Along an axis of a picture."""

_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the bound, in a rate curve."""


def slices(source: str, store: str, variable: str) -> str:
    """Draw the middle of a variable before and after, and the error between the two.

    Parameters
    ----------
    source, store : path or URL
        The original and what it was compressed to.
    variable : str
        One with at least one dimension.

    Returns
    -------
    str
        A PNG as ``data:`` URI.
    """
    before, preserve = _middle(source, variable)
    after, _ = _middle(store, variable)
    x, y = (_shown(values, preserve) for values in (before, after))
    titles, panels = ("original", "stored", "error"), (x, y, y - x)
    figure = _figure(9.0, 3.0)
    for number, (title, values) in enumerate(zip(titles, panels, strict=True), 1):
        axes = figure.add_subplot(1, 3, number)
        axes.set_title(f"{variable}: {title}" if number == 1 else title, fontsize=9)
        if values.ndim == 1:
            axes.plot(values, linewidth=0.8)
            continue
        limit = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        options: dict[str, Any] = {"cmap": "viridis"}
        if title == "error":
            options = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        image = axes.imshow(values, origin="lower", aspect="auto", interpolation="nearest", **options)
        figure.colorbar(image, ax=axes)
        axes.set_xticks([])
        axes.set_yticks([])
    return _uri(figure)


def rate_curve(
    source: str, variable: str, bound_abs: float, *, level: Level = "balanced"
) -> tuple[str, list[dict[str, float]]]:
    """Draw PSNR over bits a value around a bound, measured on the middle of a variable.

    Parameters
    ----------
    source : path or URL
        The original.
    variable : str
        float32 or float64.
    bound_abs : float
        In the unit of the data, above 0.
    level : Level
        As it is compressed.

    Returns
    -------
    str
        A PNG as ``data:`` URI.
    list of dict
        ``bound``, ``bits`` a value and ``psnr`` in dB of each point.
    """
    values, preserve = _middle(source, variable)
    values = np.ascontiguousarray(values)
    points = []
    for factor in _FACTORS:
        config = SZConfig(Bound.abs(bound_abs * factor), level=level, preserve=preserve)
        stream = sz.encode(values, config)
        stats = ErrorStats.measure(values, sz.decode(stream), preserve=preserve)
        bits = 8.0 * len(stream) / max(1, values.size)
        points.append({"bound": bound_abs * factor, "bits": bits, "psnr": stats.psnr})
    figure = _figure(4.5, 3.0)
    axes = figure.add_subplot(1, 1, 1)
    shown = [point for point in points if math.isfinite(point["psnr"])]
    axes.plot([p["bits"] for p in shown], [p["psnr"] for p in shown], marker="o")
    axes.set_xlabel("bits a value")
    axes.set_ylabel("PSNR, dB")
    axes.set_title(f"{variable}: 0.1 to 10 times the bound, middle slice", fontsize=9)
    return _uri(figure), points


def _middle(path: str, name: str) -> tuple[NDArray[Any], tuple[float, ...]]:
    """The last two dimensions in the middle of the others; fill values as they are."""
    with open_source(path) as source:
        variable: xr.Variable = source.variables[name]
        where = {dim: variable.sizes[dim] // 2 for dim in variable.dims[:-2]}
        values = np.asarray(variable.isel(where).values)
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        return native, sentinels_of(variable.attrs, native.dtype)


def _shown(values: NDArray[Any], preserve: tuple[float, ...]) -> NDArray[np.float64]:
    thin = values[tuple(slice(None, None, max(1, n // _CELLS)) for n in values.shape)].astype(np.float64)
    thin[~np.isfinite(thin)] = np.nan
    for sentinel in preserve:
        thin[thin == sentinel] = np.nan
    return thin


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=80, layout="constrained")


def _uri(figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
