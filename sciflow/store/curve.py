"""What each bound would cost: a variable's middle encoded at several bounds, before anything is written.

```
whole variable ─▶ range      middle, at most 2^21 values ─▶ bounds x levels ─▶ bytes, errors, seconds
```
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.codecs.sz import Level, SZConfig
from sciflow.errors import InvalidArgument
from sciflow.metrics import ErrorStats
from sciflow.store.plan import VariablePlan, make_plan, make_request, resolve_plan
from sciflow.store.running import open_runner, progress_bar
from sciflow.store.source import open_source

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["BOUNDS", "Curve", "Point", "tune"]

BOUNDS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Of the range, where the caller names none."""

_MOST = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One variable's sample at one bound and level.

    Parameters
    ----------
    variable, level : str
        Of what, and how.
    bound_rel, bound_abs : float
        Of the whole variable's range, and in the unit of the data.
    ratio, bits_per_value : float
        Bytes before over after, and bits a value after.
    max_error, rmse, psnr : float
        In the unit of the data; in dB over the sample's range.
    spectrum : float or None
        The part of the wavenumbers, from the largest scale on, at which the power is within 1 %; None where
        an axis has less than 4 cells.
    compress_mb_s, decompress_mb_s : float
        Uncompressed megabytes (10**6) a second, one thread.
    """

    variable: str
    level: str
    bound_rel: float
    bound_abs: float
    ratio: float
    bits_per_value: float
    max_error: float
    rmse: float
    psnr: float
    spectrum: float | None
    compress_mb_s: float
    decompress_mb_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    """All points, by variable, level and falling bound."""

    source: str
    points: tuple[Point, ...]

    def to_json(self) -> str:
        """Everything, as one JSON object; what is not a finite number is null."""
        rows = [{k: _finite(v) for k, v in asdict(point).items()} for point in self.points]
        return json.dumps({"source": self.source, "points": rows}, indent=2, allow_nan=False)

    def table(self) -> Table:
        """The points for people."""
        from rich import box
        from rich.table import Table

        table = Table(
            box=box.SIMPLE_HEAD, title=f"{self.source}, samples", title_justify="left", show_edge=False
        )
        several = len({p.level for p in self.points}) > 1
        for title in ("variable", "level") if several else ("variable",):
            table.add_column(title, overflow="fold")
        for title in (
            "rel",
            "abs",
            "ratio",
            "bits",
            "PSNR\ndB",
            "spectrum\nkept",
            "write\nMB/s",
            "read\nMB/s",
        ):
            table.add_column(title, justify="right", no_wrap=True)
        seen: tuple[str, str] | None = None
        for p in self.points:
            names: tuple[str, ...] = ("", "") if seen == (p.variable, p.level) else (p.variable, p.level)
            seen = (p.variable, p.level)
            names = names if several else names[:1]
            kept = "" if p.spectrum is None else f"{p.spectrum:.0%}"
            numbers = (f"{p.bound_rel:g}", f"{p.bound_abs:.3g}", f"{p.ratio:.1f}", f"{p.bits_per_value:.2f}")
            speeds = (f"{p.compress_mb_s:.0f}", f"{p.decompress_mb_s:.0f}")
            table.add_row(*names, *numbers, f"{p.psnr:.1f}", kept, *speeds)
        return table

    def __rich__(self) -> Table:
        return self.table()

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw ratio and PSNR over the bound, a line a variable and level, into an image file.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.5), layout="constrained")
        panels = figure.subplots(1, 2)
        for key in dict.fromkeys((p.variable, p.level) for p in self.points):
            line = [p for p in self.points if (p.variable, p.level) == key]
            for axes, heights in zip(panels, ([p.ratio for p in line], [p.psnr for p in line]), strict=True):
                axes.plot(
                    [p.bound_rel for p in line], heights, marker="o", markersize=4, label=", ".join(key)
                )
        panels[0].set(ylabel="compression ratio", xlabel="bound / range", xscale="log", yscale="log")
        panels[1].set(ylabel="PSNR in dB", xlabel="bound / range", xscale="log")
        panels[0].legend(fontsize=8)
        for axes in panels:
            axes.grid(visible=True, alpha=0.3)
        figure.savefig(path, dpi=120)
        return Path(path)


def tune(
    data: xr.Dataset | str | os.PathLike[str],
    *,
    variables: Sequence[str] | None = None,
    bounds: Sequence[float] = BOUNDS,
    levels: Sequence[Level] = ("balanced",),
    progress: bool | None = None,
) -> Curve:
    """Measure what bounds would cost, on the middle of every field (at most 2 million values each).

    Nothing is written. One pass over the data finds each variable's range; ratios of the whole differ from
    those of its middle as far as the field does.

    Parameters
    ----------
    data : Dataset or path or URL
        As for `sciflow.compress`.
    variables : sequence of str, optional
        By default all that `sciflow.compress` would compress lossily.
    bounds : sequence of float
        Relative to the range.
    levels : sequence of {"fast", "quick", "balanced", "max"}
        Each is tried with each bound.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Raises
    ------
    InvalidArgument
        If a variable is none, or has no bound; if a bound is not above 0.
    StoreError, FileNotFoundError
        If the data cannot be opened.
    """
    if not bounds or not all(0 < b < math.inf for b in bounds):
        raise InvalidArgument(f"bounds {list(bounds)}: expected numbers above 0, as 1e-3")
    request = make_request(
        bound=Bound.rel(1.0), per_variable=None, level="balanced", chunks=None, rewrite_safe=False
    )
    with open_source(data) as source, open_runner(None) as run:
        plan = make_plan(source, request, version="")
        chosen = _chosen([p for p in plan.variables if p.bound is not None], variables, source.name)
        ranges = {p.name: p for p in resolve_plan(plan, source.variables, request, run=run).variables}
        points: list[Point] = []
        total = sum(p.nbytes for p in chosen) * len(bounds) * len(levels)
        with progress_bar("try bounds", total, show=progress) as advance:
            for p in chosen:
                sample = _middle(source.variables[p.name])
                width = ranges[p.name].codec.config.bound.value  # type: ignore[union-attr] # as asked above
                for level in levels:
                    for bound in sorted(bounds, reverse=True):
                        points.append(_point(p, sample, level, bound, bound * width))
                        advance(p.nbytes)
    return Curve(source.name, tuple(points))


def _chosen(
    plans: Sequence[VariablePlan], names: Sequence[str] | None, source: str
) -> Sequence[VariablePlan]:
    if names is None:
        return plans
    known = {p.name: p for p in plans}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidArgument(
            f"{source}: found no field {', '.join(unknown)} to compress; there are {', '.join(known)}"
        )
    return [known[name] for name in names]


def _middle(variable: xr.Variable) -> NDArray[Any]:
    """Cut the longest axes to their middle until at most 2^21 values are left."""
    lengths = list(variable.shape)
    while math.prod(lengths) > _MOST:
        longest = lengths.index(max(lengths))
        lengths[longest] = (lengths[longest] + 1) // 2
    pick = {
        dim: slice((size - length) // 2, (size - length) // 2 + length)
        for dim, size, length in zip(variable.dims, variable.shape, lengths, strict=True)
    }
    return np.asarray(variable.isel(pick).values)


def _point(p: VariablePlan, sample: NDArray[Any], level: Level, rel: float, bound: float) -> Point:
    config = SZConfig(Bound.abs(bound), level=level, preserve=p.preserve)
    started = time.perf_counter()
    stream = sz.encode(sample, config)
    encoded = time.perf_counter()
    back = sz.decode(stream)
    decoded = time.perf_counter()
    stats = ErrorStats.measure(sample, back, preserve=p.preserve)
    return Point(
        variable=p.name,
        level=level,
        bound_rel=rel,
        bound_abs=bound,
        ratio=sample.nbytes / len(stream),
        bits_per_value=8.0 * len(stream) / max(1, sample.size),
        max_error=stats.max_abs_error,
        rmse=stats.rmse,
        psnr=stats.psnr,
        spectrum=_kept(sample, back, p),
        compress_mb_s=sample.nbytes / (encoded - started) / 1e6,
        decompress_mb_s=sample.nbytes / (decoded - encoded) / 1e6,
    )


def _kept(sample: NDArray[Any], back: NDArray[Any], p: VariablePlan) -> float | None:
    from sciflow.physics import agreeing_wavenumber, power_spectrum

    space = min(2, sample.ndim)
    if space == 0 or min(sample.shape[-space:]) < 4:
        return None
    x, y = sample.astype(np.float64), back.astype(np.float64)
    missing = ~np.isfinite(x)
    for sentinel in p.preserve:
        missing |= x == float(sentinel)
    x[missing] = y[missing] = np.nan
    last = float(power_spectrum(x, space=space, window="hann").wavenumber[-1])
    return agreeing_wavenumber(x, y, space=space, window="hann") / last


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
