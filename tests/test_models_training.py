"""Autoencoders: training that learns, stops and goes on exactly; integers that stand for the floats."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch")

import torch

from sciflow.cli import run
from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported
from sciflow.models import Learned, Model, Recipe, engine, fit_klt, integer, produce, resolve
from sciflow.models.autoencoder import GDN, Architecture, Autoencoder, directions, sliced_wasserstein
from sciflow.models.blocks import Blocks
from sciflow.models.export import export
from sciflow.models.training import Settings, Trained, train

SETTINGS = Settings(epochs=4, batch=32, rate=4e-3, seed=3)
SMALL = Architecture((8, 8), latent=2, channels=(8, 12), linear_path=False)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)  # many threads of small networks wait for each other on a busy machine


def blocks() -> Blocks:
    """Fronts at any angle: one number describes a block, but no linear basis of few rows does."""
    random = np.random.default_rng(5)
    y, x = np.meshgrid(*[np.linspace(-1, 1, 8)] * 2, indexing="ij")
    angle = random.uniform(0, 2 * np.pi, (640, 1, 1))
    values = np.tanh(8 * (x * np.cos(angle) + y * np.sin(angle))).astype(np.float32)
    return Blocks(values[:512], values[512:], -1.0, 1.0, "fronts")


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


def same(a: Trained, b: Trained) -> bool:
    return all(torch.equal(one, weights(b)[name]) for name, one in weights(a).items())


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(blocks(), replace(SMALL, linear_path=True), replace(SETTINGS, epochs=15, rate=1e-2))


# ---------------------------------------------------------------- learning


def test_a_training_beats_the_klt_where_blocks_are_not_gaussian(trained: Trained) -> None:
    data = blocks()
    values = data.normalised(data.held_out)
    rows = fit_klt(data.normalised(data.train), latents=2).arrays["basis"] / 2**14
    flat = values.reshape(len(values), -1)
    klt = 10 * np.log10(4 / ((flat @ rows.T @ rows - flat) ** 2).mean())
    assert trained.history[-1]["psnr"] > klt + 1
    assert trained.history[-1]["loss"] < 0.7 * trained.history[0]["loss"]


def test_an_untrained_linear_path_is_the_klt() -> None:
    data = blocks()
    rows = torch.from_numpy(fit_klt(data.train, latents=2).arrays["basis"].astype(np.float32) / 2**14)
    network = Autoencoder(replace(SMALL, linear_path=True), basis=rows, spread=torch.ones(2))
    x = torch.from_numpy(data.held_out)
    with torch.no_grad():
        found, latents = network(x)
    torch.testing.assert_close(found.reshape(len(x), -1), x.reshape(len(x), -1) @ rows.T @ rows)
    assert latents.shape == (len(x), 2)


ARCHITECTURES = [((32, 32), "small"), ((8, 8, 8), "small"), ((16, 16, 16), "small"), ((8, 8, 8), "paper")]


@pytest.mark.parametrize(("block", "size"), ARCHITECTURES)
def test_blocks_come_back_in_their_shape(block: tuple[int, ...], size: str) -> None:
    architecture = Architecture.default(block, size="paper" if size == "paper" else "small")
    network = Autoencoder(replace(architecture, linear_path=False))
    found, latents = network(torch.zeros(2, *block))
    assert found.shape == (2, *block)
    assert latents.shape == (2, 16)
    assert network.macs() < (110 if size == "small" else 15000)


def test_the_network_of_the_paper_has_its_parameters() -> None:
    network = Autoencoder(Architecture.default((8, 8, 8), size="paper"))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1.33e6, rel=0.01)


def test_a_norm_and_its_inverse_follow_the_formula() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    gdn, inverse = GDN(3), GDN(3, inverse=True)
    wanted = torch.sqrt(gdn.beta()[1] + sum(gdn.gamma()[1, j] * x[:, j] ** 2 for j in range(3)))
    torch.testing.assert_close(gdn(x)[:, 1], x[:, 1] / wanted)
    torch.testing.assert_close(inverse(x)[:, 1], x[:, 1] * wanted)


def test_the_wasserstein_distance_is_least_for_the_prior() -> None:
    generator = torch.Generator().manual_seed(2)
    prior, other = torch.randn(2, 64, 4, generator=generator)
    along = directions(4, generator)
    assert float(sliced_wasserstein(prior, prior, along)) == 0
    assert sliced_wasserstein(other, prior, along) < sliced_wasserstein(other + 1, prior, along)


def test_a_block_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="multiples of 4"):
        Architecture((8, 6), channels=(4, 4))


# ---------------------------------------------------------------- stopping


def test_two_trainings_give_the_same_weights() -> None:
    once = replace(SETTINGS, epochs=2)
    first = train(blocks(), SMALL, once)
    assert same(first, train(blocks(), SMALL, once))
    assert not same(first, train(blocks(), SMALL, replace(once, seed=4)))


@pytest.mark.parametrize("at", [5, 16, 50])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path, at: int) -> None:
    def interrupt(step: int, _steps: int, _entry: dict[str, float]) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(blocks(), SMALL, SETTINGS, folder=tmp_path, watch=interrupt)
    torch.rand(3)  # what others draw in between does not matter
    steps: list[int] = []
    again = train(blocks(), SMALL, SETTINGS, folder=tmp_path, watch=lambda step, *_: steps.append(step))
    assert steps[0] == at + 2 or steps[0] == at + 1
    whole = train(blocks(), SMALL, SETTINGS)
    assert same(again, whole)
    for ours, theirs in zip(again.history, whole.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_curves_and_nothing_half_written_are_left(tmp_path: Path) -> None:
    train(blocks(), SMALL, SETTINGS, folder=tmp_path)
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert {path.name for path in tmp_path.iterdir()} <= {"checkpoint.pt", "curves.csv", "curves.png"}


def test_it_stops_where_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    quality = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    monkeypatch.setattr("sciflow.models.training.psnr", lambda *_: next(quality))
    found = train(blocks(), SMALL, replace(SETTINGS, epochs=50, patience=2))
    assert [entry["psnr"] for entry in found.history] == [1.0, 3.0, 2.0, 2.5]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(blocks(), SMALL, replace(SETTINGS, epochs=1), folder=tmp_path)
    with pytest.raises(InvalidArgument, match="other settings"):
        train(blocks(), SMALL, SETTINGS, folder=tmp_path)


def test_a_checkpoint_that_is_cut_is_refused(tmp_path: Path) -> None:
    train(blocks(), SMALL, replace(SETTINGS, epochs=1), folder=tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Corrupt, match="checkpoint"):
        train(blocks(), SMALL, replace(SETTINGS, epochs=1), folder=tmp_path)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"rate": 0.0}, {"seed": -1}, {"noise": 1.0}])
def test_settings_out_of_their_domain_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


# ---------------------------------------------------------------- integers


def test_integers_lose_next_to_nothing(trained: Trained) -> None:
    data = blocks()
    values = data.normalised(data.held_out)
    learned = Learned.of(export(trained.network, data.normalised(data.train)))
    step = 2.0**-10
    latents = learned.encode(values, step=step, half_range=1.0)
    found = learned.decode(latents, ratio=step / 256) * (step / 256)
    with torch.no_grad():
        floats = trained.network(torch.from_numpy(values))[0].numpy()
    error = [float(((each - values) ** 2).mean()) for each in (floats, found)]
    assert error[1] < 1.05 * error[0]


@pytest.mark.parametrize("size", ["small", "paper"])
def test_every_layer_is_exported(size: str) -> None:
    torch.manual_seed(1)
    block = (8, 8, 8)
    architecture = Architecture(block, 4, (4, 6), "paper" if size == "paper" else "small", linear_path=False)
    network = Autoencoder(architecture)
    values = torch.rand(64, *block).numpy() * 2 - 1
    model = Model.from_bytes(export(network, values).to_bytes())
    learned = Learned.of(model)
    found = learned.decode(learned.encode(values, step=1e-4, half_range=1.0), ratio=1e-4 / 256) * (1e-4 / 256)
    with torch.no_grad():
        floats = network(torch.from_numpy(values))[0].numpy()
    assert np.abs(found - floats).max() < 0.03 * np.abs(floats).max()


def test_a_network_reads_back_and_every_prefix_is_refused(trained: Trained) -> None:
    data = blocks()
    model = export(trained.network, data.normalised(data.train))
    raw = model.arrays["decoder"].tobytes()
    network = integer.read_network(raw)
    assert integer.write_network(network) == raw
    for end in range(len(raw)):
        with pytest.raises((Truncated, Corrupt, Unsupported)):
            integer.read_network(raw[:end])


def test_stages_are_the_sums_that_the_format_says() -> None:
    random = np.random.default_rng(7)
    weights = random.integers(-127, 128, (2, 3 * 3)).astype(np.int8)
    scales = (np.array([5, -9], np.int32), np.array([4, 7], np.int32), np.array([16384, 9000], np.int32))
    stage = integer.Stage("transposed", 2, weights, *scales)
    x = random.integers(-3000, 3000, (1, 4, 3)).astype(np.int16)
    found = integer.run(integer.Network(1, 3, stages=(stage,)), x)
    kernel = weights.reshape(2, 3, 3)
    for at in range(8):
        for o in range(2):
            total = int(scales[0][o])
            for i in range(4):
                tap = at - 2 * i + 1
                if 0 <= tap < 3:
                    total += sum(int(x[0, i, c]) * int(kernel[o, c, tap]) for c in range(3))
            pre, multiplier = int(scales[1][o]), int(scales[2][o])
            value = max(-65535, min(65535, (total + (1 << pre >> 1)) >> pre))
            value = max(-32767, min(32767, (value * multiplier + 8192) >> 14))
            assert int(found[0, at, o]) == value


@pytest.mark.parametrize("name", ["shallow-water-autoencoder", "navier-stokes-3d-autoencoder"])
def test_the_engine_gives_the_same_values(name: str) -> None:
    raw = resolve(name).arrays["decoder"].tobytes()
    network = integer.read_network(raw)
    shape = (40, *(1,) * network.axes, network.channels)
    blocks = np.random.default_rng(3).integers(-32768, 32768, shape).astype(np.int16)
    wanted = integer.run(network, blocks)
    np.testing.assert_array_equal(engine.run(raw, blocks), wanted)
    many = np.tile(blocks, (14, *(1,) * (blocks.ndim - 1)))
    np.testing.assert_array_equal(engine.run(raw, many)[520:], wanted)
    assert engine.run(raw, blocks[:0]).shape == (0, *wanted.shape[1:])


def test_bad_networks_are_named_by_the_engine() -> None:
    raw = resolve("shallow-water-autoencoder").arrays["decoder"].tobytes()
    with pytest.raises(Truncated):
        engine.run(raw[:-1], np.zeros((1, 1, 1, 8), np.int16))
    with pytest.raises(Corrupt):
        engine.run(raw + b"x", np.zeros((1, 1, 1, 8), np.int16))


# ---------------------------------------------------------------- the whole way


def test_the_command_line_trains_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = blocks().train.reshape(4, 128, 8, 8).transpose(0, 2, 1, 3).reshape(4, 8, 1024)
    path = tmp_path / "fronts.nc"
    xr.Dataset({"t": (("time", "y", "x"), values)}).to_netcdf(path, engine="h5netcdf")
    out = tmp_path / "model"
    options = ["--var", "t", "--out", str(out), "--block", "8,8", "--kind", "autoencoder", "--epochs", "3"]
    assert run(["train-codec", str(path), *options]) == 0
    digest = capsys.readouterr().out.strip()
    model = Model.from_bytes((out / "model.safetensors").read_bytes())
    assert (model.digest, model.kind) == (digest, "autoencoder")
    card = (out / "CARD.md").read_text()
    assert "held_out.psnr_integers" in card
    assert digest in card
    assert Learned.of(model).block == (8, 8)
    again = produce([path], "t", Recipe("autoencoder", (8, 8)), training=Settings(epochs=3), folder=out)
    assert again.digest == digest or again.card != model.card
