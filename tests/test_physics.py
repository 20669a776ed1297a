"""Metrics of physics: closed forms, other people's implementations, weights by hand, missing cells."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import sciflow.physics as physics
from sciflow.errors import InvalidArgument
from sciflow.physics.comparison import DEFAULT, METRICS

Array = NDArray[Any]
TAU = 2.0 * np.pi


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def waves(side: int = 64, across: int = 5, up: int = 0) -> Array:
    y, x = np.mgrid[:side, :side] / side
    return np.asarray(np.sin(TAU * (across * x + up * y)))


# Cell by cell


def test_differences_by_hand() -> None:
    x, y, w = [1.0, 2.0, 4.0], [1.5, 2.0, 3.0], [1.0, 2.0, 1.0]
    assert physics.bias(x, y, weights=w) == pytest.approx((0.5 + 0 - 1.0) / 4)
    assert physics.rmse(x, y, weights=w) == pytest.approx(math.sqrt((0.25 + 0 + 1.0) / 4))
    assert physics.max_error(x, y) == 1.0
    assert physics.max_error(x, y, weights=[1, 1, 0]) == 0.5


def test_a_weight_is_so_many_cells() -> None:
    x, y = noise(2, 6)
    times = np.array([1, 2, 3, 1, 1, 4])
    for name in ("bias", "rmse", "pearson", "wasserstein", "kolmogorov_smirnov", "histogram_distance"):
        metric: Callable[..., float] = getattr(physics, name)
        assert metric(x, y, weights=times) == pytest.approx(metric(x.repeat(times), y.repeat(times))), name


def test_correlations_agree_with_scipy() -> None:
    from scipy import stats

    x = noise(200)
    y = np.round(x**3 + 0.3 * noise(200, seed=1), 1)
    assert physics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)
    assert physics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert physics.spearman(x, np.exp(x)) == pytest.approx(1.0)
    assert physics.pearson(np.ones(4), np.ones(4)) == 1.0
    assert math.isnan(physics.pearson(np.ones(4), np.arange(4.0)))


def test_latitude_weights_are_areas() -> None:
    latitude = np.linspace(-89.5, 89.5, 180)
    weights = physics.latitude_weights(latitude)
    assert weights.mean() == pytest.approx(1.0)
    # The mean of sin^2 over the sphere is 1/3; unweighted it is 1/2.
    field = np.sin(np.deg2rad(latitude))[:, None] * np.ones((1, 7))
    assert physics.rmse(np.zeros_like(field), field, weights=weights[:, None]) ** 2 == pytest.approx(
        1 / 3, rel=1e-4
    )
    with pytest.raises(InvalidArgument, match="-90 to 90"):
        physics.latitude_weights([0.0, 91.0])


# Missing cells, shapes


@pytest.mark.parametrize(
    "name", ["bias", "rmse", "max_error", "pearson", "spearman", "wasserstein", "ssim", "dssim"]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_cells_of_either_are_left_out(name: str, bad: float) -> None:
    metric: Callable[..., float] = getattr(physics, name)
    x = waves(32, 3)
    y = x + 0.01 * noise(32, 32)
    holed_x, holed_y = x.copy(), y.copy()
    holed_x[3, 4], holed_y[20, 20] = bad, bad
    known = np.isfinite(holed_x) & np.isfinite(holed_y)
    value = metric(holed_x, holed_y)
    assert value == metric(np.where(known, x, np.nan), np.where(known, y, np.nan))
    if name in ("bias", "rmse", "max_error", "pearson", "wasserstein"):
        assert value == pytest.approx(metric(x[known], y[known]), rel=1e-12)
    assert math.isfinite(value)
    assert math.isnan(metric(np.full((16, 16), np.nan), noise(16, 16)))


def test_lost_cells_are_counted() -> None:
    found = physics.compare([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.nan, 4.0], which=["bias"])
    assert (found.cells, found.lost) == (2, 1)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_shapes_that_differ_are_one_line(name: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"shapes \(2, 12, 12\), \(2, 12, 11\): expected the same twice"
    ) as caught:
        METRICS[name].function(noise(2, 12, 12), noise(2, 12, 11))
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(InvalidArgument, match="do not broadcast"):
        physics.bias(noise(3, 4), noise(3, 4), weights=np.ones(3))
    with pytest.raises(InvalidArgument, match="negative"):
        physics.bias(noise(3), noise(3), weights=[1, -1, 1])
    with pytest.raises(InvalidArgument, match="real numbers"):
        physics.bias(np.ones(3, complex), np.ones(3))


# Spectra


@pytest.mark.parametrize("up", [0, 3])
def test_a_wave_is_in_its_shell(up: int) -> None:
    found = physics.power_spectrum(2.0 * waves(64, 4, up), spacing=1 / 64)
    k = math.hypot(4, up)
    assert found.wavenumber[found.energy.argmax()] == pytest.approx(k)
    assert found.energy.sum() == pytest.approx(2.0)  # A^2 / 2
    assert np.sort(found.energy)[-2] < 1e-20


@pytest.mark.parametrize("shape", [(33,), (16, 24), (9, 12, 10)])
def test_shells_hold_the_variance(shape: tuple[int, ...]) -> None:
    field = noise(3, *shape)
    found = physics.power_spectrum(field, space=len(shape))
    of_modes = np.abs(np.fft.fftn(field, axes=range(1, field.ndim))) ** 2 / np.prod(shape) ** 2
    steps = np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")
    length = np.sqrt(sum(k**2 for k in steps))
    inside = (length > 0) & (np.rint(length * min(shape)) <= len(found.wavenumber))
    assert found.modes.sum() == inside.sum()
    assert found.energy.sum() == pytest.approx(of_modes.mean(axis=0)[inside].sum())


def test_white_noise_is_flat_and_a_window_keeps_its_level() -> None:
    field = noise(40, 64, 64)
    for window in ("periodic", "hann"):
        found = physics.power_spectrum(field, window=window)
        assert found.power[3:] * 64**2 == pytest.approx(1.0, abs=0.15)


def test_a_window_takes_the_jump_at_the_border_away() -> None:
    ramp = np.arange(64.0) * np.ones((64, 1))
    share = [physics.power_spectrum(ramp, window=w).power[20] for w in ("periodic", "hann")]
    assert share[1] < 1e-5 * share[0]


def test_a_ratio_of_spectra_is_that_of_a_filter() -> None:
    field = noise(64, 64)
    k = np.sqrt(np.fft.fftfreq(64)[:, None] ** 2 + np.fft.rfftfreq(64) ** 2) * 64
    low = np.fft.irfft2(np.fft.rfft2(field) * np.where(np.rint(k) <= 10, 1.0, 0.5), s=(64, 64))
    wavenumber, ratio = physics.spectrum_ratio(field, low, spacing=1 / 64)
    assert ratio == pytest.approx(np.where(wavenumber <= 10.5, 1.0, 0.25))
    assert physics.agreeing_wavenumber(field, low, spacing=1 / 64) == pytest.approx(10.0)
    decibel = 10 * math.log10(0.25)
    assert physics.log_spectral_distance(field, low) == pytest.approx(abs(decibel) * math.sqrt(22 / 32))
    assert physics.log_spectral_distance(field, np.zeros_like(field)) == math.inf
    assert physics.agreeing_wavenumber(field, 2 * field) == 0.0


def test_a_spectrum_says_what_it_cannot_do() -> None:
    with pytest.raises(InvalidArgument, match="4 or more"):
        physics.power_spectrum(noise(3, 30))
    with pytest.raises(InvalidArgument, match="axes of space"):
        physics.power_spectrum(noise(30))
    with pytest.raises(InvalidArgument, match="spacing"):
        physics.power_spectrum(noise(8, 8), spacing=0.0)
    with pytest.raises(InvalidArgument, match="window"):
        physics.power_spectrum(noise(8, 8), window="flat")  # type: ignore[arg-type]


# Vector fields


def test_a_stream_function_has_no_divergence() -> None:
    side = 64
    y, x = np.meshgrid(*[np.arange(side) * TAU / side] * 2, indexing="ij")
    # psi = sin x sin 2y: u = dpsi/dy, v = -dpsi/dx, and the vorticity is minus its Laplacian, 5 psi.
    u, v = 2 * np.sin(x) * np.cos(2 * y), -np.cos(x) * np.sin(2 * y)
    field, step = np.stack([v, u]), TAU / side
    assert np.abs(physics.divergence(field, spacing=step, periodic=True)).max() < 0.02
    found = physics.vorticity(field, spacing=step, periodic=True)
    assert found == pytest.approx(5 * np.sin(x) * np.sin(2 * y), abs=0.03)
    assert np.abs(physics.divergence(field, spacing=step)).max() < 0.1  # one-sided at the border


def test_rigid_rotation_in_three_dimensions() -> None:
    z, y, x = np.mgrid[:4, :5, :6].astype(float)
    turning = np.array([0.5, -1.0, 2.0])  # about z, y, x
    u = turning[1] * z - turning[0] * y
    v = turning[0] * x - turning[2] * z
    w = turning[2] * y - turning[1] * x
    found = physics.vorticity(np.stack([w, v, u]))
    assert found == pytest.approx(2 * turning[:, None, None, None] * np.ones((3, 4, 5, 6)))
    assert physics.divergence(np.stack([w + z, v + y, u + x])) == pytest.approx(3.0)


def test_errors_of_derivatives() -> None:
    y, x = np.mgrid[:9, :9].astype(float)
    still = np.zeros((2, 9, 9))
    assert physics.divergence_error(still, np.stack([2 * y, x]), spacing=0.5) == pytest.approx(6.0)
    assert physics.vorticity_error(still, np.stack([x, -y]), spacing=[1.0, 1.0]) == pytest.approx(2.0)
    with pytest.raises(InvalidArgument, match="a component an axis"):
        physics.divergence(np.zeros((3, 9, 9)))


# Distributions


def test_distances_of_shifted_distributions() -> None:
    from scipy import stats

    x = noise(5000)
    assert physics.wasserstein(x, x + 0.25) == pytest.approx(0.25)
    y = 1.3 * noise(5000, seed=1)
    assert physics.kolmogorov_smirnov(x, y) == pytest.approx(stats.ks_2samp(x, y).statistic)
    assert physics.histogram_distance(x, x) == 0.0
    assert physics.histogram_distance([0.0, 0.0], [1.0, 0.0]) == pytest.approx(0.5)
    assert physics.histogram_distance([2.0], [2.0]) == 0.0


def test_quantiles_of_weights() -> None:
    assert physics.quantiles([3.0, 1.0, 2.0, np.nan], [0.0, 1 / 3, 0.34, 1.0]).tolist() == [1, 1, 2, 3]
    assert physics.quantiles([1.0, 2.0], [0.5], weights=[1, 9]).tolist() == [2.0]
    x = noise(4000)
    assert physics.quantiles(x) == pytest.approx(
        np.quantile(x, [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999], method="inverted_cdf")
    )
    assert physics.quantile_error(x, 2 * x) == pytest.approx(np.abs(physics.quantiles(x)).max())
    assert (physics.maximum_change(x, x + 1), physics.minimum_change(x, x - 2)) == pytest.approx((1.0, -2.0))


def test_return_levels_of_a_known_distribution() -> None:
    uniform = (np.arange(4000) + 0.5) / 4000
    gumbel = 10.0 - 2.0 * np.log(-np.log(uniform))
    levels = physics.return_levels(gumbel[:, None], [10, 100])
    expected = 10.0 - 2.0 * np.log(-np.log1p(-1 / np.array([10, 100])))
    assert levels[:, 0] == pytest.approx(expected, rel=0.005)
    assert physics.return_level_error(gumbel[:, None], gumbel[:, None] + 0.5) == pytest.approx(0.5)
    assert physics.return_levels(np.full((16, 2), 3.0), [2]).tolist() == [[3.0, 3.0]]


def test_return_levels_take_maxima_of_blocks() -> None:
    daily = noise(20 * 30, 3)
    assert physics.return_levels(daily, [5], block=30) == pytest.approx(
        physics.return_levels(daily.reshape(20, 30, 3).max(axis=1), [5])
    )
    with pytest.raises(InvalidArgument, match="8 or more"):
        physics.return_levels(daily, block=100)
    with pytest.raises(InvalidArgument, match="more than 1 block"):
        physics.return_levels(daily, [1])


# Structure


def test_ssim_is_that_of_scikit_image() -> None:
    structural_similarity = import_module("skimage.metrics").structural_similarity

    x = waves(40, 3)
    y = x + 0.2 * noise(40, 40)
    expected = structural_similarity(
        x, y, data_range=x.max() - x.min(), gaussian_weights=True, use_sample_covariance=False
    )
    assert physics.ssim(x, y) == pytest.approx(expected, rel=1e-12)
    assert physics.ssim(np.stack([x, x]), np.stack([x, y])) == pytest.approx((1 + expected) / 2)
    assert physics.ssim(x, x) == 1.0
    assert physics.ssim(x, y) == pytest.approx(physics.ssim(x[::-1], y[::-1]))


def naive_data_similarity(x: Array, y: Array) -> float:
    """The paper's definition, window by window."""
    known = np.isfinite(x) & np.isfinite(y)
    low, high = min(x[known].min(), y[known].min()), max(x[known].max(), y[known].max())
    a, b = (np.round((each - low) / (high - low) * 255) / 255 for each in (x, y))
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    found = []
    for i in range(5, x.shape[0] - 5):
        for j in range(5, x.shape[1] - 5):
            if not known[i, j]:
                continue
            box = (slice(i - 5, i + 6), slice(j - 5, j + 6))
            p, q, w = a[box][known[box]], b[box][known[box]], np.outer(line, line)[known[box]]
            mean_p, mean_q = np.average(p, weights=w), np.average(q, weights=w)
            var_p, var_q = np.average((p - mean_p) ** 2, weights=w), np.average((q - mean_q) ** 2, weights=w)
            both = np.average((p - mean_p) * (q - mean_q), weights=w)
            light = (2 * mean_p * mean_q + 1e-8) / (mean_p**2 + mean_q**2 + 1e-8)
            found.append(light * (2 * both + 1e-8) / (var_p + var_q + 1e-8))
    return float(np.mean(found))


def test_dssim_is_that_of_its_paper() -> None:
    x = 280 + 20 * waves(24, 1, 1)
    y = x + 0.3 * noise(24, 24)
    assert physics.dssim(x, y) == pytest.approx(naive_data_similarity(x, y), abs=1e-9)
    x[10:13, 5:9] = np.nan
    y[2, 2] = np.nan
    assert physics.dssim(x, y) == pytest.approx(naive_data_similarity(x, y), abs=1e-9)


def test_dssim_falls_with_the_error_and_gives_the_worst_plane() -> None:
    x = 280 + 20 * waves(32, 1, 1)
    values = [physics.dssim(x, x + size * noise(32, 32)) for size in (0.0, 0.1, 1.0, 10.0)]
    assert values[0] == 1.0
    assert values == sorted(values, reverse=True)
    stacked = physics.dssim(np.stack([x, x]), np.stack([x, x + noise(32, 32)]))
    assert stacked == pytest.approx(values[2])
    assert physics.dssim(np.full((16, 16), 3.0), np.full((16, 16), 3.0)) == 1.0


def test_planes_that_are_too_small_are_one_line() -> None:
    for metric in (physics.ssim, physics.dssim):
        with pytest.raises(InvalidArgument, match="11 x 11"):
            metric(noise(8, 20), noise(8, 20))


# All at once


def test_compare_measures_what_fits() -> None:
    x = waves(32, 3)
    everything = physics.compare(x, x + 0.01, title="u")
    assert tuple(everything.to_dict()) == DEFAULT
    assert everything["bias"] == pytest.approx(0.01)
    small = physics.compare(noise(8), noise(8, seed=1)).to_dict()
    assert "dssim" not in small
    assert "log_spectral_distance" in small
    assert tuple(physics.compare(x, x, which=["dssim", "bias"]).to_dict()) == ("dssim", "bias")
    vectors = physics.compare(np.stack([x, x]), np.stack([x, x]), which=["divergence_error"])
    assert vectors.to_dict() == {"divergence_error": 0.0}


def test_compare_shows_a_table_and_json() -> None:
    from rich.console import Console

    found = physics.compare(
        [1.0, 2.0, 3.0], [1.0, 2.0, np.nan], which=["rmse", "pearson"], title="t", units="K"
    )
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(found)
    for text in ("rmse", " K ", "root mean square difference", "1 were lost"):
        assert text in capture.get()
    told = json.loads(found.to_json())
    assert told["metrics"] == {"rmse": 0.0, "pearson": 1.0}
    assert json.loads(physics.compare([1.0], [np.nan], which=["rmse"]).to_json())["metrics"]["rmse"] is None
    with pytest.raises(KeyError, match="there are rmse, pearson"):
        found["bias"]


def test_compare_refuses_unknown_names() -> None:
    with pytest.raises(InvalidArgument, match="metric 'rms': expected some of bias, rmse"):
        physics.compare([1.0], [1.0], which=["rms"])


def dataset(error: float) -> xr.Dataset:
    latitude = ("lat", np.linspace(-80, 80, 9), {"units": "degrees_north"})
    shape = (4, 9, 12)
    ramp = np.ones(shape) * (np.abs(latitude[1]) > 70)[None, :, None]
    return xr.Dataset(
        {
            "t": (("time", "lat", "lon"), noise(*shape) + error * ramp, {"units": "K"}),
            "v": (("y", "x"), np.zeros((9, 9))),
            "u": (("y", "x"), error * np.arange(9.0) * np.ones((9, 1))),
            "mask": ("lat", np.arange(9)),
        },
        coords={"lat": latitude, "x": np.arange(9) * 2.0, "y": np.arange(9) * 2.0},
    )


def test_datasets_are_weighted_by_area() -> None:
    found = physics.compare_datasets(dataset(0.0), dataset(1.0), vectors=[("v", "u")])
    assert set(found) == {"t", "v", "u", "v,u"}
    weights = np.cos(np.deg2rad(np.linspace(-80, 80, 9)))
    assert found["t"]["bias"] == pytest.approx((weights[0] + weights[-1]) / weights.sum())
    assert (found["t"].title, found["t"].units) == ("t", "K")
    assert found["v,u"]["divergence_error"] == pytest.approx(0.5)  # du/dx over cells of 2


def test_datasets_that_do_not_fit_are_one_line() -> None:
    one = dataset(0.0)
    with pytest.raises(InvalidArgument, match="no variable 'q' in the reference"):
        physics.compare_datasets(one, one, variables=["q"])
    with pytest.raises(InvalidArgument, match="expected the same twice"):
        physics.compare_datasets(one, one.isel(time=slice(2)), variables=["t"])
    with pytest.raises(InvalidArgument, match="nothing to compare"):
        physics.compare_datasets(one[["mask"]], one)
    with pytest.raises(InvalidArgument, match="on one grid"):
        physics.compare_datasets(one, one, variables=["t"], vectors=[("t", "u")])


def test_a_dataset_compares_itself() -> None:
    import sciflow.accessor  # noqa: F401 - Dataset.sciflow

    found = dataset(0.0).sciflow.physics(dataset(1.0), variables=["u"], which=["max_error"])
    assert {name: each.to_dict() for name, each in found.items()} == {"u": {"max_error": 8.0}}
