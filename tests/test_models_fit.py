"""Models in closed form: what they predict, that decoding is exact, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.cli import run
from sciflow.codecs import aesz, sz
from sciflow.codecs.aesz import AESZConfig
from sciflow.errors import InvalidArgument
from sciflow.models import KLT, Linear, Model, fit_klt, fit_linear, read_blocks
from sciflow.models.blocks import cut, join
from sciflow.models.estimate import residual_codes, transformed

RANDOM = np.random.default_rng


def field(seed: int, *, size: int = 96) -> NDArray[np.float64]:
    """Waves of random phase whose amplitudes fall with the wave number: smooth, and none like another."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    amplitude = np.exp(-18 * k) * (k > 0)
    phase = np.exp(2j * np.pi * RANDOM(seed).random(k.shape))
    found: NDArray[np.float64] = np.fft.irfft2(amplitude * phase, (size, size))
    found /= np.abs(found).max()
    return found


def test_blocks_join_to_the_field_they_were_cut_from() -> None:
    values = np.arange(2 * 6 * 8 * 4).reshape(2, 6, 8, 4)
    blocks = cut(values, (3, 4, 2))
    assert blocks.shape == (2 * 2 * 2 * 2, 3, 4, 2)
    np.testing.assert_array_equal(blocks[0], values[0, :3, :4, :2])
    np.testing.assert_array_equal(join(blocks, values.shape), values)


def test_a_basis_is_orthonormal_and_ordered() -> None:
    blocks = cut(field(1), (8, 8))
    model = fit_klt(blocks)
    basis = model.arrays["basis"].astype(float) / 2**14
    np.testing.assert_allclose(basis @ basis.T, np.eye(64), atol=2e-3)
    assert (np.diff(model.arrays["spread"]) <= 0).all()


def test_a_full_basis_gives_blocks_back() -> None:
    blocks = cut(field(2), (8, 8))
    klt = KLT.of(fit_klt(cut(field(1), (8, 8))))
    step = 1e-3
    predicted = klt.decode(klt.encode(blocks, step=step)) * (step / 256)
    assert np.abs(predicted - blocks).max() < 6 * step


def test_few_latents_predict_another_field_of_the_kind() -> None:
    klt = KLT.of(fit_klt(np.concatenate([cut(field(s), (8, 8)) for s in range(3)]), latents=12))
    blocks = cut(field(9), (8, 8))
    predicted = klt.decode(klt.encode(blocks, step=1e-4)) * (1e-4 / 256)
    assert ((predicted - blocks) ** 2).mean() < 0.02 * (blocks**2).mean()


def test_decoding_is_the_sum_in_integers_that_the_table_says() -> None:
    random = RANDOM(3)
    basis = random.integers(-(2**15) + 1, 2**15, (7, 16)).astype(np.int16)
    latents = random.integers(-(2**20), 2**20, (5, 7)).astype(np.int32)
    klt = KLT.of(Model("klt", (4, 4), {"basis": basis}))
    found = klt.decode(latents, gain=700)
    for n, block in enumerate(found.reshape(5, 16)):
        for cell, value in enumerate(block):
            total = sum(int(b) * int(q) for b, q in zip(basis[:, cell], latents[n], strict=True))
            assert int(value) == (700 * total + 2**13) >> 14


def test_latents_that_could_overflow_are_refused() -> None:
    klt = KLT.of(fit_klt(cut(field(1), (8, 8)), latents=2))
    with pytest.raises(InvalidArgument, match=r"2\^28"):
        klt.decode(np.full((1, 2), 2**30, np.int32))
    with pytest.raises(InvalidArgument, match="gain"):
        klt.decode(np.zeros((1, 2), np.int32), gain=0)


def test_residuals_hold_the_bound() -> None:
    values = field(5)
    klt = KLT.of(fit_klt(cut(field(1), (8, 8)), latents=6))
    step = 2e-2
    predicted = join(klt.decode(klt.encode(cut(values, (8, 8)), step=step, gain=512), gain=512), values.shape)
    codes = residual_codes(values, predicted, step)
    assert np.abs(values - step * (predicted / 256 + codes)).max() <= step / 2 * (1 + 1e-12)


# ---------------------------------------------------------------- linear


def test_weights_add_up_to_one_and_are_of_the_nearest_cells() -> None:
    made = fit_linear(cut(field(1), (32, 32)), taps=8, noise=(1e-2, 1e-4))
    weights = np.frombuffer(Linear.of(made).weights, np.uint8)
    sets, levels, taps = weights[2:5].tolist()
    assert (sets, levels, taps) == (2, 3, 8)
    values = weights[5 + 3 * 8 * 2 :].view("<i2").reshape(sets, levels, 3, taps)
    assert (values.sum(axis=-1, dtype=np.int64) == 1 << 13).all()
    smaller, larger = np.abs(values.astype(np.int64)).sum(axis=(1, 2, 3))
    assert smaller < larger  # against errors of a larger bound


def test_small_patches_show_fewer_levels() -> None:
    made = fit_linear(cut(field(1), (8, 8)), taps=8)
    assert made.arrays["weights"][3] == 1


def test_fitted_weights_beat_those_along_axes() -> None:
    values = field(7).astype(np.float32)
    model = fit_linear(cut(field(1), (32, 32)))
    config = AESZConfig(Bound.rel(1e-3), model=model)
    stream = aesz.encode(values, config)
    assert aesz.info(stream).model == model.digest
    assert len(stream) < len(sz.encode(values, config.sz))


@pytest.mark.parametrize(
    "change", [{"taps": 1}, {"taps": 33}, {"noise": ()}, {"noise": (0.0,)}, {"levels": 0}]
)
def test_weights_that_cannot_be_fitted(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        fit_linear(cut(field(1), (16, 16)), **change)
    with pytest.raises(InvalidArgument):
        fit_linear(cut(field(1), (4, 4)))


def test_estimates_fall_with_the_bound() -> None:
    values = field(8)
    klt = KLT.of(fit_klt(cut(field(1), (8, 8))))
    bits = [sum(transformed(klt, values, step, 256)) for step in (1e-3, 1e-2, 1e-1)]
    assert bits == sorted(bits, reverse=True)


# ---------------------------------------------------------------- reading


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    values = np.stack([field(s, size=48) for s in range(6)]).astype("f4")
    values[:, :8, :8] = 1e20
    values[:, 8:16, :8] = 0.25
    data = xr.Dataset({"t": (("time", "y", "x"), values, {"_FillValue": np.float32(1e20)})})
    path = tmp_path / "t.nc"
    data.to_netcdf(path, engine="h5netcdf")
    return path


def test_blocks_without_content_and_with_fill_values_are_dropped(snapshots: Path) -> None:
    blocks = read_blocks([snapshots], "t", (8, 8), held_out=0.3)
    assert len(blocks.train) == 4 * (36 - 2)
    assert len(blocks.held_out) == 2 * (36 - 2)
    assert blocks.high <= 1
    assert np.abs(blocks.normalised(blocks.train)).max() <= 1.00001


def test_a_limit_chooses_by_the_seed(snapshots: Path) -> None:
    a, b, c = (read_blocks([snapshots], "t", (8, 8), limit=20, seed=s) for s in (1, 1, 2))
    assert len(a.train) == 20
    assert a.digest == b.digest != c.digest


MISTAKES = [("q", (8, 8), "no variable"), ("t", (64, 64), "block"), ("t", (8, 8, 8, 8), "axes")]


@pytest.mark.parametrize(("name", "block", "message"), MISTAKES)
def test_a_mistake_is_named(snapshots: Path, name: str, block: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read_blocks([snapshots], name, block)


def test_the_command_line_fits_a_model(snapshots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = snapshots.parent / "model"
    arguments = [
        "train-codec",
        str(snapshots),
        "--var",
        "t",
        "--out",
        str(out),
        "--block",
        "8,8",
        "--latents",
        "9",
    ]
    assert run(arguments) == 0
    digest = capsys.readouterr().out.strip()
    model = Model.from_bytes((out / "model.safetensors").read_bytes())
    assert model.digest == digest
    assert model.arrays["basis"].shape == (9, 64)
    assert run([*arguments[:-3], "8,x"]) == 2
