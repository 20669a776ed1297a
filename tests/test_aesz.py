"""AESZ keeps SZ's promises, is never longer by more than a byte, and decodes to the same bits anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciflow.bounds import Bound
from sciflow.codecs import aesz_model, sz
from sciflow.codecs.aesz import AESZConfig, decode, encode, encode_modelled, info
from sciflow.codecs.aesz_blocks import Grid
from sciflow.codecs.aesz_stream import (
    read_modelled,
    write_marks,
    write_modelled,
)
from sciflow.errors import Corrupt, InvalidArgument, ModelMismatch, SciflowError, Truncated, Unsupported
from sciflow.models import Model
from sciflow.testing import SENTINELS, assert_same_bits, bounds, fields
from tests import reference_aesz
from tests.aesz_streams import ENTRIES, GOLDENS, MODELLED, MODELS, assert_within, with_head
from tests.golden.aesz import (
    autoencoder,
    digest,
    examples,
    holed,
    klt,
    linear,
    patches,
    walsh,
)
from tests.json_schema import allowed, schema_of


@pytest.mark.parametrize("name", ENTRIES)
def test_goldens_decode_to_what_they_did(name: str) -> None:
    assert digest(decode(GOLDENS[name], file=MODELS[name])) == ENTRIES[name]["decoded_sha256"]


@pytest.mark.parametrize("name", ENTRIES)
def test_the_page_suffices_to_decode(name: str) -> None:
    ours, theirs = (
        decode(GOLDENS[name], file=MODELS[name]),
        reference_aesz.decode(GOLDENS[name], MODELS[name]),
    )
    assert_same_bits(ours, theirs)
    assert ours.dtype == theirs.dtype
    assert ours.flags.f_contiguous == theirs.flags.f_contiguous


@pytest.mark.parametrize("name", [name for name in ENTRIES if "plain" not in name])
def test_goldens_hold_what_they_show(name: str) -> None:
    example = examples()[ENTRIES[name]["example"]]
    found = info(GOLDENS[name])
    assert found.model == example.config.model
    assert found.bound == example.config.bound
    assert (found.dtype, found.shape) == (example.array.dtype, example.array.shape)
    assert len(GOLDENS[name]) == found.latent_bytes + found.residual_bytes + found.other_bytes
    back = decode(GOLDENS[name], file=MODELS[name])
    assert back.flags.f_contiguous == example.array.flags.f_contiguous
    assert_within(example.array, back, example.config.bound.value)


def test_marks_come_back_bit_for_bit() -> None:
    field = holed()
    back = decode(GOLDENS[MODELLED], file=MODELS[MODELLED])
    for mark in (field == -9999, np.isnan(field), np.isinf(field), (field == 0) & np.signbit(field)):
        assert mark.any()
        assert_same_bits(field[mark], back[mark])


def test_a_model_that_serves_saves_bytes() -> None:
    field = patches((64, 64))
    for model in (klt(), autoencoder()):
        config = AESZConfig(0.5, model=model)
        assert len(encode(field, config)) < 0.8 * len(sz.encode(field, config.sz))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_promise_holds(data: st.DataObject) -> None:
    field = data.draw(fields(max_ndim=4))
    bound = data.draw(bounds().filter(lambda b: b.kind in ("abs", "rel") and b.mse is None))
    model = data.draw(st.sampled_from([klt(), autoencoder(), linear(), linear(3)]))
    config = AESZConfig(bound, model=model, preserve=SENTINELS)
    plain = sz.encode(field, config.sz)
    stream = encode(field, config)
    assert len(stream) <= len(plain) + 1
    held = sz.info(plain).bound
    assert_within(field, decode(stream), 0.0 if held is None else held.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_promise_holds_where_the_model_is_no_use(data: st.DataObject) -> None:
    field = data.draw(fields(min_ndim=2, max_ndim=4))
    bound = data.draw(bounds().filter(lambda b: b.kind in ("abs", "rel") and b.mse is None))
    model = data.draw(st.sampled_from([klt(), autoencoder(), linear()]))
    config = AESZConfig(bound, model=model, preserve=SENTINELS)
    stream = encode_modelled(field, config)
    if stream is not None:
        assert info(stream).model == model.digest
        found = info(stream).bound
        assert_within(field, decode(stream), 0.0 if found is None else found.value)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_a_large_offset_leaves_no_value_beyond_the_bound(dtype: str) -> None:
    field = (patches((64, 64), dtype="<f8") + 3e5).astype(dtype)
    stream = encode(field, AESZConfig(0.5, model=klt()))
    assert info(stream).model
    assert_within(field, decode(stream), 0.5)


def test_a_bound_near_an_ulp_is_left_to_sz() -> None:
    field = patches((64, 64)) + np.float32(1e6)
    stream = encode(field, AESZConfig(0.07, model=klt()))
    assert info(stream).model is None
    assert_within(field, decode(stream), 0.07)


@pytest.mark.parametrize(("scale", "dtype"), [(1e-307, "<f8"), (1e305, "<f8"), (2e35, "<f4"), (1e-42, "<f4")])
def test_values_at_the_ends_of_their_dtype(scale: float, dtype: str) -> None:
    field = ((patches((64, 64), dtype="<f8") - 1000) * scale).astype(dtype)
    back = decode(encode(field, AESZConfig(Bound.rel(0.01), model=klt())))
    span = float(field.max()) / 2 - float(field.min()) / 2
    assert_within(field, back, 0.02 * span)


def test_threads_and_parts_give_the_same_bytes_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    field = np.tile(patches((64, 64)), (3, 2, 3))
    one = encode(field, AESZConfig(0.5, model=autoencoder()))
    values = decode(one)
    monkeypatch.setattr(aesz_model, "_PART", 7)
    assert encode(field, AESZConfig(0.5, model=autoencoder(), threads=3)) == one
    assert_same_bits(decode(one, threads=2), values)


def test_blocks_are_those_of_a_padded_array() -> None:
    grid = Grid((2, 5, 6), (4, 4))
    field = np.arange(60).reshape(2, 5, 6)
    blocks = grid.cut(field)
    assert grid.counts == (2, 2, 2)
    assert blocks.shape == (8, 4, 4)
    assert blocks[1, 0].tolist() == [4, 5, 5, 5]
    assert np.array_equal(grid.join(blocks), field)


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.0),
        np.zeros(5, "f4"),
        np.zeros((0, 4), "f4"),
        np.full((8, 8), np.nan, "f4"),
        np.ones((8, 8)),
    ],
)
def test_what_no_model_takes_is_plain(array: Any) -> None:
    stream = encode(np.asarray(array), AESZConfig(0.5, model=klt()))
    assert info(stream).model is None
    assert_same_bits(decode(stream), np.asarray(array))


def test_every_prefix_is_truncated_or_corrupt() -> None:
    stream = GOLDENS[MODELLED]
    for size in range(len(stream)):
        with pytest.raises(Corrupt):
            decode(stream[:size], file=MODELS[MODELLED])
    with pytest.raises(Truncated):
        decode(stream[:60])
    with pytest.raises(Truncated):
        decode(b"")


def test_every_damaged_byte_is_an_error() -> None:
    stream = bytearray(GOLDENS[MODELLED])
    for at in range(len(stream)):
        stream[at] ^= 0x41
        with pytest.raises(SciflowError):
            decode(stream, file=MODELS[MODELLED])
        stream[at] ^= 0x41


@pytest.mark.parametrize(
    ("at", "new", "error"),
    [
        (0, b"XX", Corrupt),
        (2, b"\1", Unsupported),
        (3, b"\2", Corrupt),
        (3, b"\3", Unsupported),
        (4, b"\2", Corrupt),
        (4, b"\1", Corrupt),
        (5, b"\0" * 32, ModelMismatch),
        (37, bytes(4), Corrupt),
        (37, b"\xff" * 4, Corrupt),
        (37, b"\xff\xff\x0f\0", Corrupt),
        (41, bytes(8), Corrupt),
        (41, b"\0\0\0\0\0\0\xf8\x7f", Corrupt),
        (49, b"\0\0\0\0\0\0\xf0\x3f", Corrupt),
        (57, bytes(4), Corrupt),
        (61, b"\xff" * 4, Truncated),
        (65, b"\xff" * 8, Truncated),
        (61, b"\x01\0\0\0", Corrupt),
        (73, b"\0", Corrupt),
    ],
)
def test_a_sealed_wrapper_that_no_encoder_writes(at: int, new: bytes, error: type[SciflowError]) -> None:
    with pytest.raises(error):
        decode(with_head(GOLDENS[MODELLED], at, new), file=MODELS[MODELLED])


def test_marks_and_latents_of_another_array_are_refused() -> None:
    found = read_modelled(memoryview(GOLDENS[MODELLED]))
    other = read_modelled(memoryview(GOLDENS["aesz_0_1_klt_2d.bin"]))

    def sealed(**parts: Any) -> bytes:
        from dataclasses import replace

        return write_modelled(replace(found, **parts))

    huge = sz.encode(np.full((1, 1, 16, 20), 1e9, "f4"), sz.SZConfig(0.5))
    gone = sz.encode(np.full((1, 1, 16, 20), np.nan, "f4"), sz.SZConfig(0.5))
    wide = sz.encode(np.zeros((17, 1, 16, 20), "f4"), sz.SZConfig(0.5))
    double = sz.encode(np.zeros((1, 1, 16, 20)), sz.SZConfig(0.5))
    bomb = __import__("zlib").compress(bytes(10**6))
    cases: list[dict[str, Any]] = [
        {"marks": write_marks(np.zeros(8, np.bool_))},
        {"marks": bomb},
        {"latents": other.latents},
        {"latents": huge},
        {"latents": gone},
        {"latents": wide},
        {"latents": double},
        {"residual": sz.encode(np.zeros(3, "f4"), sz.SZConfig(0.5))},
    ]
    for case in cases:
        with pytest.raises(Corrupt):
            decode(sealed(**case), file=MODELS[MODELLED])


def test_a_model_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path))
    model = Model("klt", (4, 4), {"basis": walsh()[:9]}, {"title": "not seen"})
    stream = encode(patches((64, 64)), AESZConfig(0.5, model=model))
    monkeypatch.setattr(aesz_model, "_recent", type(aesz_model._recent)())
    with pytest.raises(ModelMismatch, match=model.digest):
        decode(stream)
    with pytest.raises(ModelMismatch):
        decode(stream, file=model.to_bytes()[:-1])
    assert_within(patches((64, 64)), decode(stream, file=model.to_bytes()), 0.5)


def test_the_configuration_is_a_value() -> None:
    config = AESZConfig(Bound.rel(1e-3), model=klt(), level="max", preserve=[-1.0])
    data = json.loads(json.dumps(config.to_json(), allow_nan=False))
    schema = schema_of("aesz")
    assert allowed(data, schema)
    assert set(data) | {"threads"} == set(schema["properties"])
    assert AESZConfig.from_json(data) == config
    assert eval(repr(config), {"AESZConfig": AESZConfig, "Bound": Bound}) == config
    named = AESZConfig(0.5, model="navier-stokes-3d-klt")
    assert named.inline is None
    assert len(named.model) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"bound": Bound.pointwise_rel(0.1)},
        {"bound": Bound.psnr(60.0)},
        {"model": "no-such-model"},
        {"model": 3},
        {"inline": "?"},
        {"level": "best"},
    ],
)
def test_a_configuration_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        AESZConfig(**{"bound": 0.5, "model": klt().digest, **change})


def test_an_inlined_model_must_be_the_one_named() -> None:
    with pytest.raises(ModelMismatch):
        AESZConfig(0.5, model=klt().digest, inline=AESZConfig(0.5, model=autoencoder()).inline)
