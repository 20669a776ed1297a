"""Networks as enhancers: what they promise, and what becomes of bad bytes. Needs torch."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from sciflow import Bound
from sciflow.codecs import gwlz, network
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported
from sciflow.testing import assert_bounded
from tests.golden.gwlz import waves

BLANK = network.Network(2, 1.0, 0.0, np.array([0.5], "f4"), (), ())
NETWORK = replace(
    BLANK,
    weights=tuple(np.ones(shape, np.int8) for shape in network.shapes(2, 2)),
    steps=(0.01,) * 6,
)


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


@pytest.mark.parametrize("target", ["bound", "psnr"])
def test_a_trained_one_keeps_the_promise(target: gwlz.Target) -> None:
    pytest.importorskip("torch")
    field = np.tile(waves((12, 40, 48)), (1, 3, 3))
    field[3, 4, 5] = np.nan
    base = SZConfig(Bound.abs(0.8))
    psnr = 20.0 if target == "psnr" else None
    config = GWLZConfig(base, target=target, psnr=psnr, enhancer="cnn", n_groups=2, time_budget=1.5)
    stream = gwlz.encode(field, config)
    found = gwlz.info(stream)
    assert found.enhancer in ("network", "off")
    assert found.reproducible == (found.enhancer == "off")
    decoded = gwlz.decode(stream, config)
    if target == "bound":
        assert_bounded(field, decoded, base.bound)
    else:
        error = np.nanmean(np.square(field.astype("f8") - decoded))
        assert 20 * np.log10(np.nanmax(field) - np.nanmin(field)) - 10 * np.log10(error) >= 20.0


def test_training_lowers_the_error_and_the_seed_decides() -> None:
    pytest.importorskip("torch")
    field = np.tile(waves((48, 48)), (4, 4))
    decoded = np.rint(field)
    scale = float(np.abs(field - decoded).max())
    edges = np.empty(0, "f4")
    trained = network.train(field, decoded, scale=scale, edges=edges, seed=1, budget=3.0, progress=False)
    moved = network.apply(trained, decoded)
    assert np.mean(np.square(field - moved)) < 0.95 * np.mean(np.square(field - decoded))
    assert np.abs(moved - decoded).max() <= 0.5 * scale + 1e-6
