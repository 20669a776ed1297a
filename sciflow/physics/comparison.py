"""One call for many metrics: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sciflow.errors import InvalidArgument
from sciflow.physics import derivatives, differences, distributions, spectra, structure
from sciflow.physics.cells import arrays, lost

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["DEFAULT", "METRICS", "Comparison", "Metric", "compare"]

Unit = Literal["data", "1", "dB", "1/length", "data/length"]
Needs = Literal["cells", "spectrum", "planes", "vectors", "time"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number.

    Parameters
    ----------
    name : str
        As in `METRICS`.
    value : float
        NaN where it says nothing.
    unit : str
        "data": the unit of the data; "1": none; "dB"; "1/length": cycles per unit of the spacing;
        "data/length".
    about : str
        In a few words.
    """

    name: str
    value: float
    unit: Unit
    about: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Parameters
    ----------
    metrics : tuple of Metric
        In the order of `METRICS`.
    cells, lost : int
        Cells that are finite in both, and those that only the reference has.
    title : str
        Of what.
    units : str
        Of the data.

    Examples
    --------
    >>> found = compare([1.0, 2.0, np.nan], [1.0, 2.5, 0.0], which=["bias", "max_error"])
    >>> found["max_error"], found.cells
    (0.5, 2)
    """

    metrics: tuple[Metric, ...]
    cells: int
    lost: int
    title: str = ""
    units: str = ""

    def __getitem__(self, name: str) -> float:
        """The value of a metric.

        Raises
        ------
        KeyError
            If it was not measured.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric.value
        raise KeyError(f"no metric {name!r}; there are {', '.join(metric.name for metric in self.metrics)}")

    def to_dict(self) -> dict[str, float]:
        """Values by name."""
        return {metric.name: metric.value for metric in self.metrics}

    def to_json(self) -> str:
        """Everything, as one JSON object; what is not a finite number is null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.to_dict().items()}
        return json.dumps(
            {
                "title": self.title,
                "units": self.units,
                "cells": self.cells,
                "lost": self.lost,
                "metrics": values,
            },
            indent=1,
        )

    def table(self) -> Table:
        """For people."""
        from rich import box
        from rich.table import Table

        table = Table(
            box=box.SIMPLE_HEAD,
            title=self.title or None,
            title_justify="left",
            pad_edge=False,
            show_edge=False,
        )
        table.add_column("metric", no_wrap=True)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        table.add_column("what it is", overflow="fold")
        for metric in self.metrics:
            unit = metric.unit.replace("data", self.units or "data")
            table.add_row(metric.name, f"{metric.value:.6g}", unit, metric.about)
        table.caption, table.caption_justify = self._caption(), "left"
        return table

    def __rich__(self) -> Table:
        return self.table()

    def _caption(self) -> str:
        said = f"{self.cells} cells are finite in both"
        return f"{said}; {self.lost} were lost: finite in the reference only" if self.lost else said


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a metric may need besides the arrays."""

    weights: ArrayLike | None
    space: int
    spacing: float | Sequence[float]
    window: spectra.Window
    periodic: bool


@dataclass(frozen=True, slots=True)
class _Known:
    function: Callable[..., float]
    unit: Unit
    about: str
    needs: Needs = "cells"

    def measure(self, x: Any, y: Any, asked: _Asked) -> float:
        if self.needs == "spectrum":
            return self.function(x, y, space=asked.space, spacing=asked.spacing, window=asked.window)
        if self.needs == "vectors":
            return self.function(x, y, weights=asked.weights, spacing=asked.spacing, periodic=asked.periodic)
        return self.function(x, y, weights=asked.weights)

    def fits(self, shape: tuple[int, ...], space: int) -> bool:
        if self.needs == "planes":
            return len(shape) >= 2 and min(shape[-2:]) >= 11
        if self.needs == "spectrum":
            return len(shape) >= space and min(shape[len(shape) - space :], default=0) >= 4
        return self.needs == "cells"


METRICS: dict[str, _Known] = {
    "bias": _Known(differences.bias, "data", "mean of candidate - reference"),
    "rmse": _Known(differences.rmse, "data", "root mean square difference"),
    "max_error": _Known(differences.max_error, "data", "largest difference"),
    "pearson": _Known(differences.pearson, "1", "linear correlation"),
    "spearman": _Known(differences.spearman, "1", "correlation of ranks"),
    "wasserstein": _Known(distributions.wasserstein, "data", "area between the distributions"),
    "kolmogorov_smirnov": _Known(
        distributions.kolmogorov_smirnov, "1", "largest distance of the distributions"
    ),
    "histogram_distance": _Known(
        distributions.histogram_distance, "1", "part of all cells in another of 100 bins"
    ),
    "quantile_error": _Known(
        distributions.quantile_error, "data", "largest change of a quantile, 0.1 to 99.9 %"
    ),
    "maximum_change": _Known(distributions.maximum_change, "data", "change of the largest value"),
    "minimum_change": _Known(distributions.minimum_change, "data", "change of the smallest value"),
    "return_level_error": _Known(
        distributions.return_level_error, "data", "RMSE of 10-step return levels", "time"
    ),
    "log_spectral_distance": _Known(
        spectra.log_spectral_distance, "dB", "RMS difference of the power spectra", "spectrum"
    ),
    "agreeing_wavenumber": _Known(
        spectra.agreeing_wavenumber, "1/length", "up to which the spectra agree within 1 %", "spectrum"
    ),
    "ssim": _Known(structure.ssim, "1", "structural similarity, mean of planes", "planes"),
    "dssim": _Known(structure.dssim, "1", "data SSIM, worst plane", "planes"),
    "divergence_error": _Known(
        derivatives.divergence_error, "data/length", "RMSE of the divergence", "vectors"
    ),
    "vorticity_error": _Known(derivatives.vorticity_error, "data/length", "RMSE of the vorticity", "vectors"),
}
"""Every metric by its name."""

DEFAULT = tuple(name for name, known in METRICS.items() if known.needs not in ("vectors", "time"))
"""What a field is judged by where nothing is asked."""


def compare(
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    which: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    space: int | None = None,
    spacing: float | Sequence[float] = 1.0,
    window: spectra.Window = "hann",
    periodic: bool = False,
    title: str = "",
    units: str = "",
) -> Comparison:
    """Measure a candidate against its reference.

    Parameters
    ----------
    reference, candidate : array_like, any real dtype, same shape (..., [[z,] y,] x)
        Cells that are not finite in both are left out of every metric, as its own page says; ``lost`` counts
        those that the candidate lacks. For divergence and vorticity: (2, y, x) or (3, z, y, x).
    which : sequence of str, optional
        Names in `METRICS`. By default all of `DEFAULT` for which the fields are large enough.
    weights : array_like, optional
        Areas or the like, broadcast against the arrays: ``latitude_weights(lat)[:, None]``.
    space : int, optional
        Axes of space, the last ones, of a spectrum; 2 by default, or 1 where there is one axis.
    spacing : float or sequence of float
        Distance of cells, for spectra and derivatives.
    window : {"hann", "periodic"}
        Of the spectrum; ``"periodic"`` where the fields are.
    periodic : bool
        Of derivatives.
    title, units : str
        For the table.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, a name is unknown, or a metric that was asked for needs other fields.
    Unsupported
        If SciPy or scikit-image is needed and not installed.

    Examples
    --------
    >>> y, x = np.mgrid[:32, :32] / 32
    >>> field = np.sin(6 * x) * np.cos(4 * y)
    >>> found = compare(field, field)
    >>> found["dssim"], found["bias"], found["log_spectral_distance"]
    (1.0, 0.0, 0.0)
    """
    x, y = arrays(reference, candidate)
    axes = space if space is not None else min(max(x.ndim, 1), 2)
    for name in which or ():
        if name not in METRICS:
            raise InvalidArgument(f"metric {name!r}: expected some of {', '.join(METRICS)}")
    names = which if which is not None else [n for n in DEFAULT if METRICS[n].fits(x.shape, axes)]
    asked = _Asked(weights, axes, spacing, window, periodic)
    metrics = tuple(
        Metric(name, METRICS[name].measure(x, y, asked), METRICS[name].unit, METRICS[name].about)
        for name in names
    )
    both = int(np.count_nonzero(np.isfinite(x) & np.isfinite(y)))
    return Comparison(metrics, both, lost(x, y), title, units)
