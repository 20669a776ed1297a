"""Networks as enhancers: what they promise, and what becomes of bad bytes. Training needs torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sciflow import Bound
from sciflow.codecs import gwlz, integer_network, network, network_training
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported
from sciflow.testing import assert_bounded
from tests.golden.gwlz import FOLDER, waves
from tests.golden.networks import Writer
from tests.test_package import run_python

BLANK = network.Network(2, 1.0, 0.0, np.array([0.5], "f4"), (), ())
NETWORK = replace(
    BLANK,
    weights=tuple(np.ones(shape, np.int8) for shape in network_training.shapes(2, 2)),
    steps=(0.01,) * 6,
)


@pytest.fixture
def torch() -> Iterator[Any]:
    """Torch with one thread: many that wait for a busy core cost many times more."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


def test_a_network_comes_back() -> None:
    data = network.write_network(NETWORK)
    back, rest = network.read_network(data + b"more")
    assert rest == b"more"
    assert network.write_network(back) == data


def test_bad_networks_are_named() -> None:
    data = network.write_network(NETWORK)
    for size in (0, 5, len(data) - 1):
        with pytest.raises(Truncated):
            network.read_network(data[:size])
    with pytest.raises(Unsupported, match="version 2"):
        network.read_network(b"\x02" + data[1:])
    with pytest.raises(Corrupt, match="255 groups"):
        network.read_network(data[:2] + b"\xff" + data[3:])
    with pytest.raises(Corrupt, match="edges"):
        network.read_network(data[:11] + np.array([np.nan], "<f4").tobytes() + data[15:])


def test_marks_come_back_and_bad_ones_are_named() -> None:
    marked = waves((30, 41)) > 0
    data = network.write_marks(marked)
    assert np.array_equal(network.read_marks(data, marked.size), marked.reshape(-1))
    for bad, size in ((data, marked.size + 9), (data[:-9], marked.size), (b"no zlib", 8)):
        with pytest.raises(Corrupt):
            network.read_marks(bad, size)


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Unsupported, match=r"sciflow\[torch\]"):
        gwlz.encode(waves((30, 40)), GWLZConfig(SZConfig(0.5), enhancer="cnn"))


def test_what_may_be_asked_for() -> None:
    for arguments, named in (
        ({"enhancer": "gan"}, "enhancer"),
        ({"enhancer": "cnn", "groups": "activity"}, "value or quantile"),
        ({"seed": -1}, "seed"),
        ({"time_budget": 0.0}, "time_budget"),
    ):
        with pytest.raises(InvalidArgument, match=named):
            GWLZConfig(SZConfig(0.5), **arguments)


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("enhancer", ["cnn", "cnn-float"])
@pytest.mark.parametrize("target", ["bound", "psnr"])
def test_a_trained_one_keeps_the_promise(
    target: gwlz.Target, enhancer: gwlz.Enhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = network_training.train

    def few_steps(lesson: network_training.Lesson, **settings: Any) -> Any:
        return train(lesson, **(settings | {"steps": 30}))

    monkeypatch.setattr(network, "train_parameters", few_steps)
    monkeypatch.setattr(network_training, "train", few_steps)
    field = np.tile(waves((12, 40, 48)), (1, 2, 2))
    field[3, 4, 5] = np.nan
    base = SZConfig(Bound.abs(0.8))
    psnr = 20.0 if target == "psnr" else None
    config = GWLZConfig(base, target=target, psnr=psnr, enhancer=enhancer, n_groups=2, time_budget=3600.0)
    stream = gwlz.encode(field, config)
    found = gwlz.info(stream)
    assert found.enhancer == "network" or target == "psnr"
    assert found.reproducible or (found.enhancer == "network" and enhancer == "cnn-float")
    if found.enhancer == "network":
        assert stream[2:4] == (b"\x00\x01" if enhancer == "cnn-float" else b"\x00\x02")
    decoded = gwlz.decode(stream, config)
    if target == "bound":
        assert_bounded(field, decoded, base.bound)
    else:
        error = np.nanmean(np.square(field.astype("f8") - decoded))
        assert 20 * np.log10(np.nanmax(field) - np.nanmin(field)) - 10 * np.log10(error) >= 20.0


FIELD = np.tile(waves((48, 48)), (4, 4))
DECODED = np.rint(FIELD)


def trained(module: Any, seed: int = 1) -> Any:
    """A network after a fixed number of steps."""
    scale = float(np.abs(FIELD - DECODED).max())
    edges = np.array([-0.4], "f4")
    settings = {"seed": seed, "budget": 3600.0, "progress": False, "steps": 60}
    return module.train(FIELD, DECODED, scale=scale, edges=edges, **settings)


@pytest.mark.parametrize("module", [network, integer_network])
@pytest.mark.usefixtures("torch")
def test_training_lowers_the_error(module: Any) -> None:
    moved = module.apply(trained(module), DECODED)
    assert np.mean(np.square(FIELD - moved)) < 0.95 * np.mean(np.square(FIELD - DECODED))
    assert np.abs(moved - DECODED).max() <= 0.5 * np.abs(FIELD - DECODED).max() + 1e-6


@pytest.mark.usefixtures("torch")
def test_integers_lose_little(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    train = network_training.train

    def watch(lesson: network_training.Lesson, **settings: Any) -> Any:
        kept.extend((lesson, train(lesson, **settings)))
        return kept[1]

    monkeypatch.setattr(network_training, "train", watch)
    integers = integer_network.apply(trained(integer_network), DECODED)
    floats = DECODED + float_corrections(*kept) * np.abs(FIELD - DECODED).max()
    errors = [float(np.mean(np.square(FIELD - values))) for values in (integers, floats)]
    assert abs(10 * np.log10(errors[0] / errors[1])) < 0.3


def float_corrections(lesson: network_training.Lesson, parameters: Any) -> Any:
    import torch

    with torch.no_grad():
        weights = [torch.from_numpy(each) for each in parameters]
        inputs = torch.from_numpy(lesson.inputs[:, 0])
        found = network_training.forward(inputs, weights, lesson.axes, lesson.groups, padded=False).numpy()
    return np.clip(np.take_along_axis(found, lesson.group[:1], 0)[0, 0], -0.5, 0.5)


def test_bad_integer_networks_are_named() -> None:
    layers = Writer(2, 2, most=8191).conv(4, padding=0).conv(2, padding=0).packed()
    good = integer_network.IntegerNetwork(2, 2, 0.5, 1.0, np.array([3], "i4"), layers)
    data = integer_network.write(good)
    assert integer_network.write(integer_network.read(data)) == data
    for size in (0, 7, 14, len(data) - 1):
        with pytest.raises(Truncated):
            integer_network.read(data[:size])
    with pytest.raises(Unsupported, match="version 2"):
        integer_network.read(b"\x02" + data[1:])
    for other, named in (
        (replace(good, reach=1), "a check fails"),
        (replace(good, reach=17), "reach 17"),
        (replace(good, unit=0.0), "unit 0"),
        (replace(good, edges=np.array([3, 3], "i4")), "ascend"),
        (replace(good, edges=np.array([3, 4], "i4")), "a network that makes"),
        (replace(good, layers=Writer(2, 2).conv(2).packed()), "a network that makes"),
        (replace(good, reach=0, layers=Writer(2, 2).upsample().packed()), "a network that makes"),
    ):
        with pytest.raises(Corrupt, match=named):
            integer_network.read(integer_network.write(other))
    with pytest.raises(Corrupt, match="2 axes: the array has 3"):
        integer_network.apply(good, np.zeros((4, 5, 6), "f4"))


def test_parts_of_an_array_are_corrected_alike() -> None:
    """Tiles leave no trace: what is far from an end does not know where the array was cut."""
    layers = Writer(3, 2, most=8191).conv(6, padding=0, activation=b"\x01").conv(2, padding=0).packed()
    made = integer_network.IntegerNetwork(3, 2, 0.25, 0.0, np.array([3], "i4"), layers)
    field = waves((20, 40, 270))
    whole = integer_network.apply(made, field)
    part = integer_network.apply(made, field[4:, 3:, 9:].copy())
    np.testing.assert_array_equal(whole[8:, 7:, 13:], part[4:, 4:, 4:])
    assert (whole != field).mean() > 0.2


def test_decoding_loads_no_torch() -> None:
    name = "gwlz_0_2_network_3d.bin"
    code = (
        "import json, sys; from pathlib import Path; from sciflow.codecs import gwlz\n"
        f"folder = Path({str(FOLDER)!r}); config = json.loads((folder / 'gwlz.json').read_text())[{name!r}]\n"
        f"gwlz.decode((folder / {name!r}).read_bytes(), gwlz.GWLZConfig.from_json(config['config']))\n"
        "assert 'torch' not in sys.modules"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
