"""Sets of samples: the physics of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow.datasets import boxes, bragg, catalog, darcy, ptychography, sampling, turbulence
from tests.sample_sets import beam, cosmos, values_of

# ---------------------------------------------------------------- two-dimensional turbulence


def flow(**changes: Any) -> turbulence.Parameters:
    return turbulence.Parameters(**values_of("turbulence-2d", **changes))


def test_energy_and_enstrophy_fall_by_what_the_viscosity_takes() -> None:
    plane = turbulence.Plane(48, 0.01)
    w = turbulence.initial(flow(size=48, viscosity=0.01), 0)
    moments = [plane.moments(w)]
    for _ in range(40):
        w = plane.advance(w, 0.01)
        moments.append(plane.moments(w))
    energy, enstrophy, palinstrophy = np.array(moments).T
    assert energy[0] == pytest.approx(0.5)
    taken = [2 * 0.01 * np.trapezoid(each, dx=0.01) for each in (enstrophy, palinstrophy)]
    assert energy[0] - energy[-1] == pytest.approx(taken[0], rel=1e-4)
    assert enstrophy[0] - enstrophy[-1] == pytest.approx(taken[1], rel=1e-3)


def test_without_viscosity_energy_and_enstrophy_stay() -> None:
    plane = turbulence.Plane(48, 0.0)
    w = turbulence.initial(flow(size=48, viscosity=0.01), 0)
    before = plane.moments(w)
    for _ in range(50):
        w = plane.advance(w, 0.005)
    np.testing.assert_allclose(plane.moments(w)[:2], before[:2], rtol=1e-8)


def test_the_moments_are_those_of_the_fields() -> None:
    plane = turbulence.Plane(32, 0.01)
    w = turbulence.initial(flow(size=32), 3)
    energy, enstrophy, palinstrophy = plane.moments(w)
    slopes = plane.to_space(np.stack([1j * plane.kx * w, 1j * plane.ky * w]))
    assert energy == pytest.approx(np.square(plane.velocity(w)).sum(axis=0).mean() / 2)
    assert enstrophy == pytest.approx(np.square(plane.to_space(w)).mean() / 2)
    assert palinstrophy == pytest.approx(np.square(slopes).sum(axis=0).mean() / 2)


def test_a_taylor_green_vortex_decays_as_it_must() -> None:
    x = np.arange(32) * (2 * np.pi / 32)
    plane = turbulence.Plane(32, 0.02)
    w = 2 * np.cos(x)[None, :] * np.cos(x)[:, None]
    after = plane.to_space(plane.run(plane.to_spectrum(w), 1.0))
    np.testing.assert_allclose(after, w * np.exp(-2 * 0.02), atol=1e-12)


def test_a_vortex_is_carried_by_a_shear_at_fourth_order() -> None:
    plane = turbulence.Plane(32, 0.01)
    w = turbulence.initial(flow(size=32, viscosity=0.01), 1)

    def at_one(steps: int) -> NDArray[Any]:
        state = w
        for _ in range(steps):
            state = plane.advance(state, 0.4 / steps)
        return plane.to_space(state)

    exact = at_one(320)
    coarse, fine = (np.abs(at_one(steps) - exact).max() for steps in (20, 40))
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.4)


def test_trajectories_are_those_of_a_finer_grid() -> None:
    parameters = flow()
    start = turbulence.initial(parameters, 1)
    fine, refined = turbulence.Plane(128, parameters.viscosity), np.zeros((128, 65), np.complex128)
    for rows in (slice(0, 32), slice(-31, None)):
        refined[rows, :32] = start[rows, :32] * 4
    expected = fine.to_space(fine.run(refined, parameters.spin_up))[::2, ::2]
    found = turbulence.draw(parameters, 1)["vorticity"][0]
    assert np.square(found - expected).mean() < 0.06**2 * np.square(expected).mean()
    assert turbulence.plane(64, parameters.viscosity).moments(start)[0] == pytest.approx(0.5)


# ---------------------------------------------------------------- Darcy's law


def manufactured(size: int) -> float:
    """The error of the solve where the pressure is known: sin pi x sin 2 pi y."""
    x = (np.arange(size) + 0.5) / size
    y, x = x[:, None], x[None, :]
    a = 1 + 0.5 * np.sin(2 * np.pi * x) * y
    u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
    along = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y) * np.pi * np.cos(2 * np.pi * x) * y
    across = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y) * 0.5 * np.sin(2 * np.pi * x)
    source = 5 * np.pi**2 * a * u - along - across
    return float(np.abs(darcy.solve(a, source) - u).max())


def test_a_manufactured_pressure_is_met_at_second_order() -> None:
    errors = [manufactured(size) for size in (16, 32, 64)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx(2, abs=0.15)
    assert errors[-1] < 2e-3


def test_layers_are_solved_exactly_in_the_flux() -> None:
    layers = np.repeat(np.random.default_rng(0).uniform(0.01, 100, 8), 2)
    permeability = np.broadcast_to(layers[:, None], (16, 16)).copy()
    source = np.zeros((16, 16))
    source[0] = 256.0  # all in the first row: beyond it as much flows through each layer
    pressure = darcy.solve(permeability, source)
    middle = pressure[:, 8]
    between = 2 * layers[1:] * layers[:-1] / (layers[1:] + layers[:-1])
    sides = 2 * np.cumsum(layers * (pressure[:, 0] + pressure[:, -1]))
    down = (between[:, None] * (pressure[:-1] - pressure[1:])).sum(axis=1)
    top = 2 * layers[0] * pressure[0].sum()
    np.testing.assert_allclose(top + sides[:-1] + down, 16.0, rtol=1e-10)
    assert middle[0] > middle[-1] > 0


@pytest.mark.parametrize("field", darcy.FIELDS)
def test_what_is_stored_balances_the_source(field: str) -> None:
    parameters = darcy.Parameters(**values_of("darcy", field=field, size=32, source=2.0))
    drawn = darcy.draw(parameters, 3)
    a = drawn["permeability"].astype(np.float64)
    u = darcy.solve(a, 2.0)
    np.testing.assert_allclose(drawn["pressure"], u, rtol=1e-6)
    wide, tall = np.pad(u, ((0, 0), (1, 1))), np.pad(u, ((1, 1), (0, 0)))
    along = np.full((32, 33), np.nan)
    along[:, 1:-1] = 2 / (1 / a[:, 1:] + 1 / a[:, :-1])
    along[:, 0], along[:, -1] = 2 * a[:, 0], 2 * a[:, -1]
    down = np.full((33, 32), np.nan)
    down[1:-1] = 2 / (1 / a[1:] + 1 / a[:-1])
    down[0], down[-1] = 2 * a[0], 2 * a[-1]
    flux_x, flux_y = along * (wide[:, :-1] - wide[:, 1:]), down * (tall[:-1] - tall[1:])
    leaving = (np.diff(flux_x, axis=1) + np.diff(flux_y, axis=0)) * 32**2
    np.testing.assert_allclose(leaving, 2.0, rtol=1e-7)


def test_the_permeability_is_what_was_asked_for() -> None:
    two = darcy.Parameters(**values_of("darcy", size=16))
    drawn = np.stack([darcy.draw(two, number)["permeability"] for number in range(40)])
    assert set(np.unique(drawn)) == {3.0, 12.0}
    assert 0.4 < (drawn == 12).mean() < 0.6
    fields = [darcy.gaussian_field(two, sampling.generator(two, number)) for number in range(300)]
    assert np.square(fields).mean() == pytest.approx(1, rel=0.1)
    from scipy.fft import dctn

    modes = np.mean([np.square(dctn(field, norm="ortho")) for field in fields], axis=0)
    expected = ((np.pi**2 * (1 + 0) + 9) / (np.pi**2 * (4 + 1) + 9)) ** 2
    assert modes[2, 1] / modes[1, 0] == pytest.approx(expected, rel=0.3)


# ---------------------------------------------------------------- ptychography


def beamline(**changes: Any) -> ptychography.Parameters:
    return ptychography.Parameters(**values_of("ptychography", **changes))


def test_a_pattern_is_the_transform_written_out() -> None:
    parameters = beamline(size=16)
    beam = ptychography.probe(parameters)
    log_amplitude, phase = ptychography.object_of(parameters, 4)
    wave = beam * np.exp(log_amplitude + 1j * phase)
    n = np.arange(16) - 8
    kernel = np.exp(-2j * np.pi * np.outer(n, n) / 16) / 4
    expected = np.square(np.abs(kernel @ wave @ kernel.T))
    found = ptychography.pattern(np.exp(log_amplitude + 1j * phase), beam)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * expected.max())
    assert found.sum() == pytest.approx(np.square(np.abs(wave)).sum(), rel=1e-12)


def test_the_beam_has_its_photons_and_fills_its_aperture() -> None:
    parameters = beamline()
    beam = ptychography.probe(parameters)
    assert np.square(np.abs(beam)).sum() == pytest.approx(1e6, rel=1e-12)
    spectrum = np.square(np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(beam)))))
    k = np.hypot(*np.meshgrid(np.arange(64) - 32, np.arange(64) - 32))
    assert spectrum[k > 0.35 * 32 + 1].sum() < 1e-20 * spectrum.sum()
    assert spectrum[k < 0.3 * 0.35 * 32 - 1].sum() < 1e-20 * spectrum.sum()
    edge = np.square(np.abs(np.concatenate([beam[0], beam[-1], beam[:, 0], beam[:, -1]])))
    assert edge.max() < 0.02 * np.square(np.abs(beam)).max()


def test_counts_are_poisson_around_the_pattern() -> None:
    parameters = beamline(samples=60, photons=1e5)
    light = np.square(np.abs(ptychography.probe(parameters)))
    deviations, totals = [], []
    for number in range(60):
        drawn = ptychography.draw(parameters, number)
        transmission = drawn["amplitude"] * np.exp(1j * drawn["phase"].astype(np.float64))
        mean = ptychography.pattern(transmission, ptychography.probe(parameters))
        counts = np.square(drawn["diffraction"].astype(np.float64))
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-2)
        bright = mean > 1
        deviations.append((counts - mean)[bright] / np.sqrt(mean[bright]))
        totals.append(counts.sum() / (light * np.square(drawn["amplitude"])).sum())
    assert np.concatenate(deviations).mean() == pytest.approx(0, abs=0.02)
    assert np.concatenate(deviations).std() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(totals, 1, atol=5 / np.sqrt(5e4))


def test_objects_have_the_spectrum_and_the_correlation_asked_for() -> None:
    parameters = beamline(size=64)
    fields = np.array([ptychography.object_of(parameters, number) for number in range(200)])
    log_amplitude, phase = fields[:, 0] + 0.3, fields[:, 1]
    assert phase.std() == pytest.approx(0.7, rel=0.03)
    assert log_amplitude.std() == pytest.approx(0.08, rel=0.03)
    assert np.corrcoef(log_amplitude.ravel(), phase.ravel())[0, 1] == pytest.approx(0.6, abs=0.03)
    k = np.fft.fftfreq(64)
    squared = k[:, None] ** 2 + k**2
    found = np.square(np.abs(np.fft.fft2(phase))).mean(axis=0)
    expected = (1 + squared * 16**2) ** -2.5
    ratio = found / expected
    low, high = (squared > 0) & (squared < 0.01), (squared > 0.1) & (squared < 0.2)
    assert ratio[low].mean() / ratio[high].mean() == pytest.approx(1, abs=0.1)


def test_no_phase_can_be_added_to_a_patch() -> None:
    parameters = beamline(samples=4)
    light = np.square(np.abs(ptychography.probe(parameters)))
    for number in range(4):
        phase = ptychography.draw(parameters, number)["phase"]
        assert (light * phase).sum() / light.sum() == pytest.approx(0, abs=1e-5)


def test_scanned_patches_overlap() -> None:
    parameters = beamline(size=32, scan=3, step=8)
    first, right, below = (ptychography.draw(parameters, number) for number in (9, 10, 12))
    assert {int(each["object"]) for each in (first, right, below)} == {1}
    np.testing.assert_array_equal(first["amplitude"][:, 8:], right["amplitude"][:, :-8])
    np.testing.assert_array_equal(first["amplitude"][8:], below["amplitude"][:-8])
    assert not np.array_equal(first["diffraction"], right["diffraction"])
    assert int(ptychography.draw(parameters, 8)["object"]) == 0


# ---------------------------------------------------------------- Bragg


def widths(amplitude: NDArray[Any]) -> list[int]:
    inside = [np.flatnonzero(amplitude.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [int(each[-1] - each[0]) + 1 for each in inside]


@pytest.mark.parametrize("oversampling", [2.0, 3.0])
def test_a_crystal_is_oversampled_convex_and_in_the_middle(oversampling: float) -> None:
    parameters = beam(oversampling=oversampling, dislocations=0)
    for number in range(6):
        amplitude = bragg.draw(parameters, number)["amplitude"].astype(np.float64)
        assert max(widths(amplitude)) <= 32 / oversampling
        r = np.stack(np.meshgrid(*(np.arange(32) - 16.0,) * 3, indexing="ij"))
        assert np.abs([(amplitude * axis).sum() / amplitude.sum() for axis in r]).max() <= 0.5
        assert amplitude.max() == 1
        points = np.argwhere(amplitude > 0)
        rng = np.random.default_rng(number)
        ends = points[rng.integers(len(points), size=(2, 400))]
        between = ends.sum(axis=0)
        whole = between[(between % 2 == 0).all(axis=1)] // 2
        assert (amplitude[tuple(whole.T)] > 0).all()


def test_the_pattern_of_a_crystal_is_direct_and_keeps_the_photons() -> None:
    parameters = beam(size=16)
    strained = bragg.crystal(parameters, sampling.generator(parameters, 2))
    n = np.arange(16) - 8
    kernel = np.exp(-2j * np.pi * np.outer(n, n) / 16)
    direct = np.square(
        np.abs(np.einsum("az,by,cx,zyx->abc", kernel, kernel, kernel, strained, optimize=True))
    )
    found = bragg.pattern(strained, 1e5)
    np.testing.assert_allclose(found, direct * (1e5 / direct.sum()), rtol=1e-8, atol=1e-6)
    assert found.sum() == pytest.approx(1e5)


def test_settling_moves_the_pattern_and_nothing_else() -> None:
    parameters = beam(strain=2.0, dislocations=0.5)
    for number in range(6):
        strained = bragg.crystal(parameters, sampling.generator(parameters, number))
        fixed = bragg.settled(strained)
        pattern = bragg.pattern(fixed, 1.0)
        assert pattern[16, 16, 16] == pattern.max()
        np.testing.assert_allclose(
            np.sort(pattern.ravel()), np.sort(bragg.pattern(strained, 1.0).ravel()), rtol=1e-6, atol=1e-15
        )
        assert np.angle(fixed.sum()) == pytest.approx(0, abs=1e-9)
        twin = np.conj(np.roll(strained[::-1, ::-1, ::-1], (4, 0, -2), axis=(0, 1, 2)))
        np.testing.assert_allclose(bragg.settled(twin), fixed, atol=1e-9)


def test_the_phase_of_a_strained_crystal_gives_its_pattern_back() -> None:
    parameters = beam(photons=1e7)
    drawn = bragg.draw(parameters, 1)
    strained = drawn["amplitude"] * np.exp(1j * drawn["phase"].astype(np.float64))
    mean = bragg.pattern(strained, 1e7)
    counts = np.square(drawn["diffraction"].astype(np.float64))
    bright = mean > 1
    assert ((counts - mean)[bright] / np.sqrt(mean[bright])).std() == pytest.approx(1, abs=0.05)
    assert counts.sum() == pytest.approx(1e7, rel=5 / np.sqrt(1e7))
    assert not drawn["phase"][drawn["amplitude"] == 0].any()


def test_a_dislocation_winds_the_phase_once_and_strain_does_not() -> None:
    def windings(**changes: Any) -> set[int]:
        parameters = beam(strain=0.5, **changes)
        found: set[int] = set()
        for number in range(4):
            strained = bragg.crystal(parameters, sampling.generator(parameters, number))
            for plane in (strained, strained.transpose(1, 2, 0), strained.transpose(2, 0, 1)):
                corners = [
                    plane,
                    np.roll(plane, -1, 1),
                    np.roll(plane, (-1, -1), (1, 2)),
                    np.roll(plane, -1, 2),
                ]
                steps = [
                    np.angle(b * np.conj(a)) for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
                ]
                solid = np.min([np.abs(corner) for corner in corners], axis=0) > 0.1
                found |= set(np.rint(np.sum(steps, axis=0)[solid] / (2 * np.pi)).astype(int).tolist())
        return found

    assert windings(dislocations=0.0) == {0}
    assert windings(dislocations=1.0) & {-1, 1}


# ---------------------------------------------------------------- cosmology


@pytest.mark.parametrize("cosmology", [(0.3, 0.8, 0.96), (0.12, 0.95, 1.15)])
def test_boxes_have_the_power_spectrum_of_their_cosmology(cosmology: tuple[float, ...]) -> None:
    parameters, drawn = cosmos(size=24), np.array(cosmology)
    rng = np.random.default_rng(5)
    found = np.zeros((24, 24, 13))
    for _ in range(60):
        contrast = boxes.density(parameters, drawn, rng) - 1
        found += np.square(np.abs(np.fft.rfftn(contrast))) / 24**6 * 256.0**3 / 60
    waves = 2 * np.pi / 256 * np.fft.fftfreq(24, 1 / 24)
    k = np.sqrt(waves[:, None, None] ** 2 + waves[:, None] ** 2 + waves[:13] ** 2)
    theory = boxes.power(k, drawn, parameters)
    for low in range(1, 12, 2):
        ring = (k >= (low - 0.5) * waves[1]) & (k < (low + 1.5) * waves[1])
        assert found[ring].sum() / theory[ring].sum() == pytest.approx(1, abs=0.1)


def test_the_spectrum_has_its_normalisation_and_its_slopes() -> None:
    parameters, drawn = cosmos(), np.array([0.3, 0.8, 0.96])
    k = np.geomspace(1e-4, 20, 3000)
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(k**2 * boxes.power(k, drawn, parameters) * window**2 / (2 * np.pi**2), k)
    assert np.sqrt(variance) == pytest.approx(0.8, rel=2e-3)
    slope = np.gradient(np.log(boxes.power(k, drawn, parameters)), np.log(k))
    assert slope[0] == pytest.approx(0.96, abs=0.02)
    assert -2.9 < slope[-1] < -2.3
    assert 0.01 < k[np.argmax(boxes.power(k, drawn, parameters))] < 0.03
    assert boxes.transfer(np.array([1e-9]), 0.3, 0.049, 0.67)[0] == pytest.approx(1, abs=1e-6)


def test_without_baryons_the_transfer_function_is_that_of_cold_dark_matter() -> None:
    k = np.geomspace(0.01, 1, 9)
    q = k / (0.25 * 0.7) / 0.25 * 0.25  # k / (Omega h), Omega h = 0.175
    bbks = (
        np.log(1 + 2.34 * q)
        / (2.34 * q)
        * (1 + 3.89 * q + (16.1 * q) ** 2 + (5.46 * q) ** 3 + (6.71 * q) ** 4) ** -0.25
    )
    np.testing.assert_allclose(boxes.transfer(k, 0.25, 1e-6, 0.7), bbks, rtol=0.06)


def test_densities_are_positive_of_mean_one_and_parameters_in_their_ranges() -> None:
    dataset = catalog.simulate("cosmology-boxes", {"samples": 40, "size": 16})
    assert float(dataset.density.min()) > 0
    assert float(dataset.density.mean()) == pytest.approx(1, abs=0.02)
    low, high = np.array([0.1, 0.6, 0.8]), np.array([0.5, 1.0, 1.2])
    drawn = dataset.parameters.values
    assert (drawn > low).all()
    assert (drawn < high).all()
    assert np.abs((drawn.mean(axis=0) - low) / (high - low) - 0.5).max() < 0.15
    assert list(dataset.parameter.values) == ["Omega_m", "sigma_8", "n_s"]
    assert np.corrcoef(drawn[:, 1], dataset.density.std(("z", "y", "x")))[0, 1] > 0.3


# ---------------------------------------------------------------- sets
