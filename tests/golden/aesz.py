"""The golden AESZ streams: what they were encoded from, and ``python -m tests.golden.aesz`` to add one."""

from __future__ import annotations

import base64
import json
import struct
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.codecs.aesz import AESZConfig, decode, encode
from sciflow.models import Model
from sciflow.models.integer import Network, Stage, write_network
from sciflow.models.linear import _chosen
from tests.golden.examples import noise

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "aesz.json"
VERSION = "0_2"
CELLS = 16


@dataclass(frozen=True, slots=True)
class Example:
    """An array and how it was encoded."""

    array: NDArray[Any]
    config: AESZConfig


def walsh() -> NDArray[np.int16]:
    """A basis for blocks of 4 x 4 of values +-1/4: exact in integers."""
    rows = np.array([[1]])
    for _ in range(4):
        rows = np.block([[rows, rows], [rows, -rows]])
    return np.asarray(rows * (1 << 12), np.int16)


def klt() -> Model:
    """All of the basis."""
    return Model("klt", (4, 4), {"basis": walsh()}, {"title": "Walsh functions"})


def autoencoder() -> Model:
    """Six of the basis, and a dense stage that adds little of its own."""
    weights = (np.arange(CELLS * 6).reshape(CELLS, 6) * 37 % 61 - 30).astype(np.int8)
    ones = np.ones(CELLS, np.int32)
    stage = Stage("dense", 1, weights, ones * 5, ones * 2, ones * 9000, lengths=(4, 4))
    network = write_network(Network(2, 6, stages=(stage,)))
    arrays: dict[str, NDArray[Any]] = {
        "basis": walsh()[:6],
        "decoder": np.frombuffer(network, np.uint8),
        "units": np.linspace(500, 900, 6).astype(np.float32),
        "out": np.array([1e-7], np.float32),
    }
    return Model("autoencoder", (4, 4), arrays, {"title": "Walsh functions and a dense stage"})


def linear(axes: int = 2) -> Model:
    """Weights for values that depend on the sum of a cell's places alone: exact where such a one is known."""
    near = _chosen(axes, 24)
    rows = []
    for cls, offsets in near.items():
        same = [not sum(each) for each in offsets]
        along = [sum(map(abs, each)) == 1 for each in offsets]
        served = same if any(same) else along
        weights = np.zeros(len(offsets), "<i2")
        weights[np.flatnonzero(served)] = 8192 // sum(served)
        weights[served.index(True)] += 8192 - weights.sum()
        assert len(cls) == axes
        rows.append(weights)
    cells = np.array(list(near.values()), np.int8)
    levels, halved = np.array(rows), np.array(rows) // 2
    head = struct.pack("<5B", 1, axes, 2, 2, cells.shape[1])
    weights = np.array([[levels, levels], [levels, halved]], "<i2")
    data = np.frombuffer(head + cells.tobytes() + weights.tobytes(), np.uint8)
    arrays: dict[str, NDArray[Any]] = {"weights": data, "noise": np.array([1e-2, 1e-4], np.float32)}
    return Model("linear", (8,) * axes, arrays, {"title": "Stripes across"})


def stripes(shape: tuple[int, ...], dtype: str = "<f4", axes: int = 2) -> NDArray[Any]:
    """Values that depend on the sum of a cell's places along the last axes, and a little noise."""
    ahead = len(shape) - axes
    sums = np.indices(shape)[ahead:].sum(axis=0)
    of = noise((*shape[:ahead], int(sums.max()) + 1), bits=9).reshape(*shape[:ahead], *[1] * (axes - 1), -1)
    return np.asarray(np.take_along_axis(of, sums, axis=-1) + noise(shape, bits=3) / 64).astype(dtype)


def striped_holes() -> NDArray[Any]:
    """Stripes with NaN, Inf, -0.0 and a sentinel."""
    field = stripes((61, 83))
    field[5:9, 7:12] = np.nan
    field[30, :4] = [np.inf, -np.inf, -0.0, -9999.0]
    field[40:44, 50:] = -9999.0
    return field


def patches(shape: tuple[int, ...], kept: int = 6, dtype: str = "<f4") -> NDArray[Any]:
    """Blocks that are sums of the first Walsh functions with random weights, and a little noise."""
    counts = (*shape[:-2], shape[-2] // 4, shape[-1] // 4)
    weights = noise((*counts, kept), bits=7)
    whole = (weights @ walsh()[:kept].astype(np.int64) / 4096).reshape(*counts, 4, 4)
    ahead = len(shape) - 2
    order = (*range(ahead), ahead, ahead + 2, ahead + 1, ahead + 3)
    field = whole.transpose(order).reshape(shape)
    return np.asarray(field + noise(shape, bits=3) / 8 + 1000).astype(dtype)


def holed() -> NDArray[Any]:
    """Patches with NaN, Inf, -0.0 and a sentinel; sides that are no multiples of a block's."""
    field = patches((64, 80))[:62, :77].copy()
    field[5:9, 7:12] = np.nan
    field[30, :4] = [np.inf, -np.inf, -0.0, -9999.0]
    field[40:44, 50:] = -9999.0
    return field


def examples() -> dict[str, Example]:
    """Every example by name; each is made anew."""
    return {
        "klt_2d": Example(patches((64, 64)), AESZConfig(0.5, model=klt())),
        "klt_3d_f8_big_fortran": Example(
            patches((3, 48, 40), dtype=">f8")[:, :, :39].copy().T,
            AESZConfig(0.25, model=klt()),
        ),
        "klt_holes": Example(holed(), AESZConfig(0.5, model=klt(), preserve=[-9999.0])),
        "autoencoder_2d": Example(patches((64, 64)), AESZConfig(0.5, model=autoencoder())),
        "linear_2d": Example(stripes((64, 80)), AESZConfig(0.5, model=linear())),
        "linear_2d_max": Example(stripes((90, 62)), AESZConfig(0.02, model=linear(), level="max")),
        "linear_3d": Example(stripes((21, 18, 35), axes=3), AESZConfig(1.0, model=linear(3))),
        "linear_3d_f8_big_fortran": Example(
            stripes((3, 48, 41), dtype=">f8").copy().T, AESZConfig(0.25, model=linear())
        ),
        "linear_holes": Example(striped_holes(), AESZConfig(0.5, model=linear(), preserve=[-9999.0])),
        "linear_blocks": Example(
            stripes((5, 48, 48)), AESZConfig(0.5, model=linear(), level="quick", block_values=1 << 12)
        ),
        "plain": Example(np.linspace(0, 1, 100, dtype="f4").reshape(10, 10), AESZConfig(0.01, model=klt())),
    }


def digest(array: NDArray[Any]) -> str:
    """The digest of an array's memory."""
    return sha256(array.tobytes(order="A")).hexdigest()


def add_missing() -> list[str]:
    """Encode each example that has no golden yet; returns the names of the files written."""
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    have = {entry["example"] for entry in manifest.values()}
    written = []
    for name, example in examples().items():
        if name in have:
            continue
        file = FOLDER / f"aesz_{VERSION}_{name}.bin"
        stream = encode(example.array, example.config)
        with file.open("xb") as out:
            out.write(stream)
        assert example.config.inline is not None
        model = FOLDER / f"aesz_model_{example.config.model[:12]}.bin"
        model.write_bytes(base64.b64decode(example.config.inline))
        manifest[file.name] = {
            "example": name,
            "model": model.name,
            "stream_sha256": sha256(stream).hexdigest(),
            "decoded_sha256": digest(decode(stream, inline=example.config.inline)),
        }
        written.append(file.name)
    MANIFEST.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n")
    return written


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in add_missing()) or "every example has its golden\n")
