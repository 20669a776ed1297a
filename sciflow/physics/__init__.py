"""What is left of the physics: metrics of a field against its reference.

```
bias rmse max_error pearson spearman                                  cell by cell
wasserstein kolmogorov_smirnov histogram_distance quantile_error      distributions
maximum_change minimum_change return_level_error                      extremes
power_spectrum spectrum_ratio log_spectral_distance agreeing_wavenumber
divergence vorticity divergence_error vorticity_error                 vector fields
ssim dssim                                                            structure
compare(reference, candidate) ─▶ Comparison: many of them at once, a table
```

Sums are in float64. A cell that is NaN or infinite in one of two arrays is left out of both; ``lost`` says
how many the candidate lacks. ``weights`` are areas or the like: `latitude_weights`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.physics.cells import latitude_weights, lost
    from sciflow.physics.comparison import METRICS, Comparison, Metric, compare
    from sciflow.physics.datasets import area_weights, compare_datasets
    from sciflow.physics.derivatives import divergence, divergence_error, vorticity, vorticity_error
    from sciflow.physics.differences import bias, max_error, pearson, rmse, spearman
    from sciflow.physics.distributions import (
        histogram_distance,
        kolmogorov_smirnov,
        maximum_change,
        minimum_change,
        quantile_error,
        quantiles,
        return_level_error,
        return_levels,
        wasserstein,
    )
    from sciflow.physics.spectra import (
        Spectrum,
        agreeing_wavenumber,
        log_spectral_distance,
        power_spectrum,
        spectrum_ratio,
    )
    from sciflow.physics.structure import dssim, ssim

_HOME = {
    **dict.fromkeys(["latitude_weights", "lost"], "cells"),
    **dict.fromkeys(["METRICS", "Comparison", "Metric", "compare"], "comparison"),
    **dict.fromkeys(["area_weights", "compare_datasets"], "datasets"),
    **dict.fromkeys(["divergence", "divergence_error", "vorticity", "vorticity_error"], "derivatives"),
    **dict.fromkeys(["bias", "max_error", "pearson", "rmse", "spearman"], "differences"),
    **dict.fromkeys(
        [
            "histogram_distance",
            "kolmogorov_smirnov",
            "maximum_change",
            "minimum_change",
            "quantile_error",
            "quantiles",
            "return_level_error",
            "return_levels",
            "wasserstein",
        ],
        "distributions",
    ),
    **dict.fromkeys(
        [
            "Spectrum",
            "agreeing_wavenumber",
            "log_spectral_distance",
            "power_spectrum",
            "spectrum_ratio",
        ],
        "spectra",
    ),
    **dict.fromkeys(["dssim", "ssim"], "structure"),
}

__all__ = [
    "METRICS",
    "Comparison",
    "Metric",
    "Spectrum",
    "agreeing_wavenumber",
    "area_weights",
    "bias",
    "compare",
    "compare_datasets",
    "divergence",
    "divergence_error",
    "dssim",
    "histogram_distance",
    "kolmogorov_smirnov",
    "latitude_weights",
    "log_spectral_distance",
    "lost",
    "max_error",
    "maximum_change",
    "minimum_change",
    "pearson",
    "power_spectrum",
    "quantile_error",
    "quantiles",
    "return_level_error",
    "return_levels",
    "rmse",
    "spearman",
    "spectrum_ratio",
    "ssim",
    "vorticity",
    "vorticity_error",
    "wasserstein",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
