"""Streams of AESZ with the weights of a linear model: what they keep, and what of hostile ones is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sciflow
from sciflow._engine import native
from sciflow.codecs import sz
from sciflow.codecs.aesz import AESZConfig, decode, encode, info
from sciflow.codecs.aesz_stream import (
    Weighted,
    write_weighted,
)
from sciflow.errors import Corrupt, SciflowError, Truncated, Unsupported
from sciflow.models import Linear, Model, inlined, resolve
from sciflow.testing import assert_same_bits
from tests.aesz_streams import GOLDENS, MODELLED, MODELS, WEIGHTED, assert_within, with_head
from tests.golden.aesz import (
    klt,
    linear,
    patches,
    stripes,
    walsh,
)


def test_weights_that_serve_save_bytes_and_are_needed_to_decode() -> None:
    field = stripes((64, 64))
    config = AESZConfig(0.5, model=linear())
    stream = encode(field, config)
    assert len(stream) < 0.7 * len(sz.encode(field, config.sz))
    assert_within(field, decode(stream), 0.5)
    with pytest.raises(Corrupt):
        sz.decode(stream[40:])


def test_the_catalogues_weights_fit_other_runs_of_their_data() -> None:
    model = resolve("shallow-water-linear")
    assert inlined(model) is not None
    weights = Linear.of(model)
    assert [weights.nearest(share) for share in (1.0, 3e-2, 1e-9)] == [0, 1, len(weights.noise) - 1]


@pytest.mark.parametrize("level", ["quick", "balanced", "max"])
def test_every_instruction_set_reads_what_another_wrote(level: str) -> None:
    program = (
        "import hashlib, sys; from tests.golden.aesz import linear, stripes, patches, autoencoder; "
        "from sciflow.codecs.aesz import AESZConfig, decode, encode; "
        f"runs = [(stripes((60, 77)), AESZConfig(0.5, model=linear(), level={level!r})), "
        f"(stripes((9, 20, 33), axes=3), AESZConfig(0.5, model=linear(3), level={level!r})), "
        f"(patches((64, 64)), AESZConfig(0.5, model=autoencoder(), level={level!r}))]; "
        "made = [encode(*run) for run in runs]; "
        "parts = made + [decode(stream).tobytes() for stream in made]; "
        "sys.stdout.write(hashlib.sha256(b''.join(parts)).hexdigest())"
    )

    def said(simd: str) -> str:
        environment = {**os.environ, "SCIFLOW_SIMD": simd}
        command = [sys.executable, "-c", program]
        root = Path(__file__).resolve().parents[1]
        return subprocess.run(
            command, env=environment, cwd=root, capture_output=True, text=True, check=True
        ).stdout

    assert len({said(simd) for simd in ("base", "v2", "v3", "v4")}) == 1


def test_threads_and_blocks_of_weighted_streams_give_the_same_values() -> None:
    field = stripes((40, 48, 48))
    config = AESZConfig(0.5, model=linear(), level="quick", block_values=1 << 14)
    stream = encode(field, config)
    assert (
        encode(field, AESZConfig(0.5, model=linear(), level="quick", block_values=1 << 14, threads=3))
        == stream
    )
    assert_same_bits(decode(stream, threads=3), decode(stream))


def test_a_stream_of_one_kind_with_a_model_of_another() -> None:
    body = GOLDENS[WEIGHTED][40:]
    wrong = write_weighted(Weighted(digest=klt().digest, body=body))
    with pytest.raises(Corrupt, match="not linear"):
        decode(wrong, file=klt().to_bytes())
    latents = with_head(GOLDENS[MODELLED], 4 + 1, bytes.fromhex(linear().digest))
    with pytest.raises(Corrupt, match="linear"):
        decode(latents, file=linear().to_bytes())


def test_every_prefix_and_every_damaged_byte_of_a_weighted_stream() -> None:
    stream = bytearray(GOLDENS[WEIGHTED])
    for size in range(len(stream)):
        with pytest.raises(Corrupt):
            decode(stream[:size], file=MODELS[WEIGHTED])
    for at in range(len(stream)):
        stream[at] ^= 0x41
        with pytest.raises(SciflowError):
            decode(stream, file=MODELS[WEIGHTED])
        stream[at] ^= 0x41


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(GOLDENS)), st.data())
def test_sealed_and_mutated_streams_end_in_a_named_error_or_an_array(name: str, data: st.DataObject) -> None:
    stream = GOLDENS[name]
    at = data.draw(st.integers(4, len(stream) - 1))
    new = data.draw(st.binary(min_size=1, max_size=4))
    if stream[:1] == b"\0":
        changed = stream[:at] + new + stream[at + len(new) :]
    elif stream[3] == 2:
        changed = sealed_blocks(stream, at, new)
    else:
        changed = with_head(stream, min(at, 72), new)
    try:
        back = decode(changed, file=MODELS[name])
    except SciflowError:
        return
    assert back.dtype.kind == "f"


def sealed_blocks(stream: bytes, at: int, new: bytes) -> bytes:
    """The stream with other bytes in one of its blocks, and checksums that fit."""
    body = bytearray(stream[40:])
    offsets = sz.info(body).block_offsets
    at = offsets[0] + (at - 40) % (offsets[1] - offsets[0] - 4)
    new = new[: offsets[1] - 4 - at]
    body[at : at + len(new)] = new
    crc = native.crc32c(bytes(body[offsets[0] : offsets[1] - 4]))
    body[offsets[1] - 4 : offsets[1]] = crc.to_bytes(4, "little")
    return stream[:40] + bytes(body)


@pytest.mark.parametrize(
    ("at", "new", "error"),
    [
        (0, b"\2", Unsupported),
        (1, b"\0", Corrupt),
        (1, b"\4", Corrupt),
        (1, b"\3", Corrupt),
        (2, b"\x11", Corrupt),
        (3, b"\5", Corrupt),
        (4, b"\0", Corrupt),
        (4, b"\x21", Corrupt),
        (5, b"\4", Corrupt),
        (5, b"\0\0", Corrupt),
        (5, b"\1\1", Corrupt),
    ],
)
def test_weights_that_no_fit_makes(at: int, new: bytes, error: type[SciflowError]) -> None:
    arrays = dict(linear().arrays)
    data = arrays["weights"].tobytes()
    bad = np.frombuffer(data[:at] + new + data[at + len(new) :], np.uint8)
    with pytest.raises(error):
        AESZConfig(0.5, model=Model("linear", (8, 8), {**arrays, "weights": bad}))
    for size in (0, 4, len(data) - 1):
        short = Model("linear", (8, 8), {**arrays, "weights": np.frombuffer(data[:size], np.uint8)})
        with pytest.raises(Truncated):
            AESZConfig(0.5, model=short)


def test_weights_for_other_axes_or_bounds() -> None:
    arrays = dict(linear().arrays)
    for block, changed in [
        ((8, 8, 8), arrays),
        ((8, 8), {**arrays, "noise": arrays["noise"][:1]}),
        ((8, 8), {**arrays, "noise": -arrays["noise"]}),
    ]:
        with pytest.raises(Corrupt):
            AESZConfig(0.5, model=Model("linear", block, changed))


def test_a_model_of_more_axes_than_the_array_leaves_it_to_sz() -> None:
    field = stripes((64, 64))
    for model in (linear(3), Model("klt", (2, 2, 4), {"basis": walsh()}, {})):
        stream = encode(field, AESZConfig(0.5, model=model))
        assert info(stream).model is None
        assert_within(field, decode(stream), 0.5)


def test_a_basis_for_blocks_of_another_shape_is_named() -> None:
    with pytest.raises(Corrupt, match="blocks of"):
        AESZConfig(0.5, model=Model("klt", (4, 5), {"basis": walsh()}))


@pytest.mark.parametrize("size", [-1, 0, 7, 40, 200])
def test_a_damaged_model_file_is_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(klt().to_bytes()[:size])
    with pytest.raises(Truncated):
        AESZConfig(0.5, model=str(path))
    path.write_bytes(klt().to_bytes() + b"x")
    with pytest.raises(Corrupt):
        AESZConfig(0.5, model=str(path))


def test_numcodecs_knows_it() -> None:
    import numcodecs

    codec = sciflow.AESZ(0.5, model=klt())
    again = numcodecs.get_codec(codec.get_config())
    assert again == codec
    field = patches((64, 64))
    assert_within(field, again.decode(codec.encode(field)), 0.5)
