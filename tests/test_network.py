"""Integer networks: the engine against the reference and its goldens, and what becomes of bad bytes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow._engine import native
from tests import reference_network
from tests.golden.networks import FOLDER, MANIFEST, Writer, blocks, examples
from tests.reference_reader import Truncated
from tests.test_package import run_python

ENTRIES: dict[str, Any] = json.loads(MANIFEST.read_text())
TRUNCATED, CORRUPT, UNSUPPORTED, BAD_ARGUMENT = 1, 2, 3, 4


def run(network: bytes, values: NDArray[np.int16], threads: int = 1) -> NDArray[np.int16]:
    """What the engine makes of blocks."""
    lengths = (values.shape[1], values.shape[2], values.shape[3])
    status, shape = native.network_shape(network, lengths)
    assert status == 0
    out = np.empty((len(values), *shape), np.int16)
    assert native.run_network(network, values, len(values), lengths, threads, out) == 0
    return out


@pytest.mark.parametrize("name", ENTRIES)
def test_goldens_give_the_same_values(name: str) -> None:
    entry = ENTRIES[name]
    network, example = (FOLDER / name).read_bytes(), examples()[entry["example"]]
    assert sha256(network).hexdigest() == entry["network_sha256"]
    found = run(network, example.blocks)
    assert list(found.shape) == entry["shape"]
    assert sha256(found.tobytes()).hexdigest() == entry["values_sha256"]
    np.testing.assert_array_equal(
        found, reference_network.run(reference_network.read(network), example.blocks)
    )
    assert len(np.unique(found)) > 8


@pytest.mark.parametrize("simd", ["v2", "v3"])
def test_every_instruction_set_gives_the_same_values(simd: str) -> None:
    code = (
        f"import os; os.environ['SCIFLOW_SIMD'] = {simd!r}\n"
        "from hashlib import sha256; from tests.test_network import run, examples\n"
        "found = [run(each.network, each.blocks) for each in examples().values()]\n"
        "print('VALUES', *[sha256(each.tobytes()).hexdigest() for each in found])"
    )
    done = run_python(code, path=[FOLDER.parent.parent])
    assert done.returncode == 0, done.stderr
    wanted = [
        next(entry["values_sha256"] for entry in ENTRIES.values() if entry["example"] == name)
        for name in examples()
    ]
    assert done.stdout.split("VALUES", 1)[1].split() == wanted


def test_threads_and_batches_change_nothing() -> None:
    network = examples()["decoder_3d"].network
    values = blocks(67, (1, 1, 1), 6)
    whole = run(network, values)
    np.testing.assert_array_equal(run(network, values, threads=3), whole)
    parts = [run(network, values[i : i + 13]) for i in range(0, 67, 13)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_values_beyond_what_it_takes_are_held() -> None:
    network = Writer(1, 2, most=100).conv(3).packed()
    values = blocks(1, (1, 1, 9), 2)
    np.testing.assert_array_equal(run(network, values), run(network, np.clip(values, -100, 100)))


@pytest.mark.parametrize("name", ENTRIES)
def test_bad_bytes_are_named_as_the_reference_does(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    shape = examples()[ENTRIES[name]["example"]].blocks.shape
    lengths = (shape[1], shape[2], shape[3])
    for size in [*range(40), len(data) - 1]:
        assert native.network_shape(data[:size], lengths)[0] == TRUNCATED
        with pytest.raises(Truncated):
            reference_network.read(data[:size])
    assert native.network_shape(b"\x02" + data[1:], lengths)[0] == UNSUPPORTED
    assert native.network_shape(data + b"\x00", lengths)[0] == CORRUPT
    for at in range(1, 60):
        for value in (0, 255, data[at] ^ 3):
            bad = data[:at] + bytes((value,)) + data[at + 1 :]
            status, _ = native.network_shape(bad, lengths)
            try:
                reference_network.read(bad)
            except ValueError:
                assert status != 0
            else:
                assert status in (0, CORRUPT)  # corrupt: not for these blocks, which a reader cannot know


def test_sums_that_could_overflow_are_refused() -> None:
    calm = Writer(3, 900, most=1400).conv(1).packed()
    wild = Writer(3, 900, most=32767).conv(1).packed()
    assert native.network_shape(calm, (2, 2, 2))[0] == 0
    assert native.network_shape(wild, (2, 2, 2))[0] == CORRUPT
    with pytest.raises(ValueError, match="overflow"):
        reference_network.read(wild)


def test_work_and_buffers_are_bounded() -> None:
    growing = Writer(3, 1)
    for _ in range(12):
        growing.upsample()
    assert native.network_shape(growing.packed(), (1, 1, 1))[0] == CORRUPT
    network, values = examples()["series"].network, examples()["series"].blocks
    out = np.empty((2, 1, 1, 56, 3), np.int16)
    assert native.run_network(network, values, 2, (1, 1, 60), 1, out) == BAD_ARGUMENT
    assert native.network_shape(network, (1, 2, 60))[0] == BAD_ARGUMENT
