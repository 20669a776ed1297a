"""The forward model of AutoPhaseNN against NumPy, its gradients, and what of an object it cannot see."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from sciflow.models.surrogates import SampleSpec, build
from sciflow.models.surrogates.diffraction import chi_squared, magnitudes, misfit, padded, thresholded

RANDOM = np.random.default_rng(0)


def crystal(*, side: int = 4) -> tuple[Tensor, Tensor]:
    """Amplitude from 0.2 to 1 and phase of two objects, float64, shape (2, side, side, side) each."""
    shape = (2, side, side, side)
    return torch.tensor(RANDOM.uniform(0.2, 1, shape)), torch.tensor(RANDOM.uniform(-1, 1, shape))


def test_magnitudes_are_those_of_numpy() -> None:
    amplitude, phase = RANDOM.uniform(0, 1, (2, 6, 4, 8)), RANDOM.uniform(-3, 3, (2, 6, 4, 8))
    field = np.fft.fftn(amplitude * np.exp(1j * phase), axes=(1, 2, 3)) / np.sqrt(6 * 4 * 8)
    wanted = abs(np.fft.fftshift(field, axes=(1, 2, 3)))
    found = magnitudes(torch.tensor(amplitude), torch.tensor(phase))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-12)


def test_the_sum_of_an_object_is_in_the_middle_and_its_energy_is_kept() -> None:
    amplitude, phase = crystal()
    found = magnitudes(amplitude, torch.zeros_like(phase))
    assert found.flatten(1).argmax(1).tolist() == [2 * 16 + 2 * 4 + 2] * 2
    torch.testing.assert_close(found.square().sum(), amplitude.square().sum())


def test_zeros_surround_the_object() -> None:
    inside = torch.ones(1, 2, 4, 2, 6)
    found = padded(inside)
    assert found.shape == (1, 2, 8, 4, 12)
    assert float(found.sum()) == inside.numel()
    assert float(found[..., 2:6, 1:3, 3:9].sum()) == inside.numel()


def test_the_threshold_keeps_what_reaches_it() -> None:
    amplitude = torch.tensor([0.05, 0.1, 0.5])
    assert thresholded(amplitude, 0.1).tolist() == pytest.approx([0.0, 0.1, 0.5])


def test_gradients_of_the_forward_model_and_the_misfit() -> None:
    amplitude, phase = (each.requires_grad_() for each in crystal(side=2))
    measured = torch.tensor(RANDOM.uniform(0.5, 2, (2, 4, 4, 4)))

    def loss(power: int, amplitude: Tensor, phase: Tensor) -> Tensor:
        field = padded(torch.stack([thresholded(amplitude, 0.1), phase], dim=1))
        return misfit(magnitudes(field[:, 0], field[:, 1]), measured, power=power)

    for power in (1, 2):
        assert torch.autograd.gradcheck(partial(loss, power), (amplitude, phase))


def test_gradients_where_the_far_field_is_zero_are_finite() -> None:
    amplitude = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    found = misfit(magnitudes(amplitude, torch.zeros_like(amplitude)), torch.ones(1, 1, 4, 4, 4))
    torch.autograd.backward(found.sum())
    assert amplitude.grad is not None
    assert bool(amplitude.grad.isfinite().all())


def test_the_misfit_against_numpy_and_on_any_scale() -> None:
    estimate, measured = RANDOM.uniform(0, 1, (2, 3, 4, 4, 4))
    for power in (1, 2):
        found = misfit(torch.tensor(estimate), torch.tensor(measured), power=power)
        for e, m, one in zip(estimate, measured, found.tolist(), strict=True):
            scale = (e * m).sum() / (e * e).sum()
            assert one == pytest.approx((abs(scale * e - m) ** power).sum() / (m**power).sum())
        scaled = misfit(7 * torch.tensor(estimate), 1e-4 * torch.tensor(measured), power=power)
        torch.testing.assert_close(found, scaled)


def test_twin_shift_and_phase_diffract_alike_and_another_object_does_not() -> None:
    amplitude, phase = map(padded, crystal())
    measured = magnitudes(amplitude, phase)[:, None]
    axes = (1, 2, 3)
    alike = [
        (amplitude, phase + 0.7),
        (amplitude.roll((1, -1, 1), axes), phase.roll((1, -1, 1), axes)),
        (amplitude.flip(axes), -phase.flip(axes)),
    ]
    for each in alike:
        assert float(chi_squared(torch.stack(each, dim=1), measured).max()) < 1e-20
    other = chi_squared(torch.stack([amplitude, -phase], dim=1), measured)
    assert float(other.min()) > 1e-3


def test_the_network_keeps_to_half_of_every_side_and_to_its_support() -> None:
    torch.manual_seed(0)
    network = build("autophasenn", SampleSpec((1, 16, 16, 16)), {"width": 4, "levels": 2, "threshold": 0.5})
    x = torch.rand(2, 1, 16, 16, 16)
    amplitude, phase = network(x).detach().unbind(1)
    assert float(amplitude.sum()) == pytest.approx(float(amplitude[:, 4:12, 4:12, 4:12].sum()))
    kept = amplitude[amplitude > 0]
    assert float(kept.min()) >= 0.5
    assert 0 < len(kept) < 2 * 8**3
    assert float(kept.max()) < 1
    assert float(phase.abs().max()) < np.pi


def test_intensities_are_magnitudes_squared_on_any_scale() -> None:
    x = torch.rand(2, 1, 16, 16, 16) + 0.1
    losses = []
    for measured, values in (("magnitude", x), ("intensity", 25 * x * x)):
        torch.manual_seed(0)
        settings = {"width": 4, "levels": 2, "measured": measured}
        network = build("autophasenn", SampleSpec((1, 16, 16, 16), (2, 16, 16, 16)), settings)
        losses.append(float(network.loss(network(values), values, None).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] > 0.1
