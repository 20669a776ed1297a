"""Each network on its own: size, symmetries, parts against a plain reference, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from sciflow.models.surrogates import SampleSpec, Surrogate, build, describe
from sciflow.models.surrogates.blocks import convolution
from sciflow.models.surrogates.fno import SpectralConvolution


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def fields(channels: int, side: int, target: int = 1, axes: int = 2) -> SampleSpec:
    space = (side,) * axes
    return SampleSpec((channels, *space), (target, *space))


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("name", "spec", "settings", "count"),
    [
        ("ptychonn", fields(1, 64, 2), {}, 1_247_074),
        ("autophasenn", SampleSpec((1, 64, 64, 64)), {}, 7_003_106),
        ("cosmoflow", SampleSpec((1, 128, 128, 128), (3,)), {}, 7_041_443),
        ("cosmoflow", SampleSpec((1, 32, 32, 32), (3,)), {}, 7_041_443),
        ("unet", fields(1, 64, 2), {"norm": "none"}, 31_030_658),
        ("unet", fields(1, 64, 2), {}, 31_036_546),
        # table 1 of the paper, less the 4 x 2 x 20 of batch normalisation
        ("fno", fields(10, 64), {"modes": 8, "width": 20}, 414_517 - 160),
        ("fno", SampleSpec((10, 64, 64, 40), (1, 64, 64, 40)), {"modes": 8, "width": 20}, 6_558_537 - 160),
        ("fno", fields(1, 64), {}, 2_368_001),
    ],
)
def test_parameters_at_the_size_of_the_paper(
    name: str, spec: SampleSpec, settings: dict[str, Any], count: int, repository: Path
) -> None:
    assert describe(name, spec, settings).parameters == count
    assert f"| {count:,} |" in (repository / "docs" / "surrogates.md").read_text(encoding="utf-8")


def test_the_unet_of_the_paper_has_23_convolutions() -> None:
    unet = build("unet", fields(1, 64, 2))
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in unet.modules()) == 23


# ---------------------------------------------------------------- symmetries


@pytest.mark.parametrize("axes", [2, 3])
def test_a_periodic_unet_commutes_with_shifts_of_its_coarsest_cell(axes: int) -> None:
    torch.manual_seed(0)
    settings = {"width": 4, "depth": 2, "padding": "periodic", "residual": True}
    unet = build("unet", fields(1, 16, axes=axes), settings)
    x = torch.randn(2, 1, *(16,) * axes)
    dims = tuple(range(-axes, 0))

    def differs(cells: int) -> float:
        shift = (cells,) * axes
        return float((unet(x.roll(shift, dims)) - unet(x).roll(shift, dims)).detach().abs().max())

    assert differs(4) < 1e-5
    assert differs(1) > 1e-3  # pooling sees where cells lie


@pytest.mark.parametrize("axes", [2, 3])
def test_an_fno_without_coordinates_commutes_with_every_shift(axes: int) -> None:
    torch.manual_seed(0)
    spec = fields(1, 12, axes=axes)
    x = torch.randn(2, 1, *(12,) * axes, dtype=torch.float64)
    shift, dims = (5, 1, 3)[:axes], tuple(range(-axes, 0))
    for modes in (3, 6):  # 6: the highest wave number as well
        settings = {"modes": modes, "width": 6, "coordinates": False}
        fno = build("fno", spec, settings).double()
        torch.testing.assert_close(fno(x.roll(shift, dims)), fno(x).roll(shift, dims), rtol=0, atol=1e-10)
    placed = build("fno", spec, {"modes": 3, "width": 6}).double()
    assert float((placed(x.roll(shift, dims)) - placed(x).roll(shift, dims)).detach().abs().max()) > 1e-3


def test_an_fno_runs_on_a_finer_grid() -> None:
    torch.manual_seed(0)
    fno = build("fno", fields(1, 32), {"modes": 4, "width": 8, "coordinates": False})

    def wave(n: int) -> Tensor:
        y, x = torch.meshgrid(*[torch.arange(n) / n] * 2, indexing="ij")
        return torch.sin(2 * math.pi * (x + 2 * y))[None, None]

    fine = fno(wave(64))
    assert fine.shape == (1, 1, 64, 64)
    spread = float(fine.detach().std())
    torch.testing.assert_close(fine[..., ::2, ::2], fno(wave(32)), rtol=0, atol=0.02 * spread)


def test_a_periodic_cosmoflow_sees_past_the_edge() -> None:
    torch.manual_seed(0)
    spec, settings = SampleSpec((1, 8, 8, 8), (2,)), {"width": 2, "dense": [8], "dropout": 0.0}
    x = torch.randn(1, 1, 8, 8, 8)
    for padding, most in (("periodic", 1e-6), ("zero", math.inf)):
        network = build("cosmoflow", spec, settings | {"padding": padding})
        first = next(iter(network.children()))
        assert isinstance(first, nn.Sequential)
        moved = (first[0](x.roll((3, 1, 2), (2, 3, 4))) - first[0](x).roll((3, 1, 2), (2, 3, 4))).detach()
        assert float(moved.abs().max()) < most
        assert padding == "periodic" or float(moved.abs().max()) > 1e-3


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_convolution_of_any_width_keeps_the_sides_and_wraps_if_asked(width: int) -> None:
    x = torch.zeros(1, 1, 6, 6)
    x[..., 0, 0] = 1
    for padding in ("zero", "periodic"):
        layer = convolution(2, 1, 1, width=width, padding=padding)
        seen = (layer(x) - layer(torch.zeros_like(x))).detach()[0, 0] != 0
        low = (width - 1) // 2  # the corner is seen from so far behind it, and from the rest before it
        assert seen.shape == (6, 6)
        assert int(seen.sum()) == (width if padding == "periodic" else low + 1) ** 2


# ---------------------------------------------------------------- the spectral convolution


def test_a_spectral_convolution_is_a_multiplication_of_low_modes() -> None:
    torch.manual_seed(0)
    layer = SpectralConvolution(2, 3, (2, 3)).double()
    x = torch.randn(1, 2, 8, 10, dtype=torch.float64)
    weight = torch.view_as_complex(layer.weight).detach().reshape(2, 3, 4, 3).numpy()
    spectrum = np.fft.rfft2(x.numpy())
    wanted = np.zeros((1, 3, 8, 6), complex)
    for row, ky in enumerate([0, 1, -2, -1]):
        for kx in range(3):
            wanted[0, :, ky, kx] = spectrum[0, :, ky, kx] @ weight[:, :, row, kx]
    np.testing.assert_allclose(layer(x).detach().numpy(), np.fft.irfft2(wanted, (8, 10)), atol=1e-12)


def test_gradients_of_a_spectral_convolution() -> None:
    torch.manual_seed(0)
    layer = SpectralConvolution(2, 2, (2, 2, 2)).double()
    x = torch.randn(1, 2, 4, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()

    def run(x: Tensor, weight: Tensor) -> Any:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(run, (x, weight))


# ---------------------------------------------------------------- learning


def fitted(surrogate: Surrogate, x: Tensor, target: Tensor | None, steps: int, rate: float) -> float:
    """The last loss over the first one."""
    optimiser = torch.optim.Adam(surrogate.parameters(), rate)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = surrogate.loss(surrogate(x), x, target)
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]


def test_a_unet_learns_a_few_fields_by_heart() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(2, 4, 1, 16, 16).unbind(0)
    unet = build("unet", fields(1, 16), {"width": 12, "depth": 2})
    assert fitted(unet, x, target, 150, 5e-3) < 0.05


def test_an_fno_learns_a_derivative() -> None:
    torch.manual_seed(0)
    phase = torch.rand(8, 1, 1, 1) * 2 * math.pi
    angle = phase + 2 * math.pi * torch.arange(16) / 16
    x = torch.sin(angle).expand(8, 1, 16, 16)
    fno = build("fno", fields(1, 16), {"modes": 3, "width": 8, "layers": 2, "projection": 16})
    assert fitted(fno, x, torch.cos(angle).expand(8, 1, 16, 16), 120, 1e-2) < 0.1


def test_ptychonn_learns_a_few_patterns_by_heart() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 1, 16, 16)
    y = torch.linspace(0, 1, 16)[:, None].expand(16, 16)
    amplitude = torch.stack([0.2 + 0.15 * k * y for k in range(4)])
    target = torch.stack([amplitude, 2 * amplitude - 1], dim=1)
    network = build("ptychonn", fields(1, 16, 2), {"width": 8, "levels": 2})
    assert fitted(network, x, target, 150, 4e-3) < 0.2


def test_cosmoflow_learns_a_few_boxes_by_heart() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 1, 8, 8, 8) * torch.linspace(0.5, 2, 6).reshape(6, 1, 1, 1, 1)
    target = torch.stack([torch.linspace(-1, 1, 6), torch.linspace(1, -1, 6) ** 2], dim=1)
    network = build("cosmoflow", SampleSpec((1, 8, 8, 8), (2,)), {"width": 4, "dense": [32], "dropout": 0.0})
    assert fitted(network, x, target, 120, 5e-3) < 0.2


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    network = build("cosmoflow", SampleSpec((1, 8, 8, 8), (2,)), {"width": 2, "dense": [16]})
    x = torch.randn(2, 1, 8, 8, 8)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_autophasenn_learns_crystals_from_their_diffraction_alone() -> None:
    torch.manual_seed(0)
    x = crystals(3)
    network = build("autophasenn", SampleSpec((1, 16, 16, 16)), {"width": 8, "levels": 2, "norm": "group"})
    assert fitted(network, x, None, 100, 4e-3) < 0.5


def crystals(n: int) -> Tensor:
    """Magnitudes of boxes with a bent phase, shape (n, 1, 16, 16, 16)."""
    z, y, x = np.meshgrid(*[np.arange(16) - 7.5] * 3, indexing="ij")
    made = []
    for k in range(n):
        inside = (abs(z) < 2 + k / 2) & (abs(y) < 3) & (abs(x) < 3.5 - k / 2)
        rho = inside * np.exp(1j * 0.05 * (k + 1) * (x * y + z * z))
        made.append(abs(np.fft.fftshift(np.fft.fftn(rho))))
    return torch.tensor(np.array(made, np.float32)[:, None])
