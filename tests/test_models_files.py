"""Files of models: the same bytes for the same model, errors for bad ones, and where they are looked for."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from sciflow.errors import Corrupt, InvalidArgument, ModelMismatch, StoreError, Truncated, Unsupported
from sciflow.models import Model, catalog, find, fit_klt, inlined, names, predictor, put, resolve, write_model
from sciflow.models.store import INLINE_LIMIT
from sciflow.models.tensors import read_tensors, write_tensors


def small() -> Model:
    values = np.random.default_rng(1).normal(size=(64, 4, 4)).cumsum(axis=2)
    return fit_klt(values, latents=5, card={"title": "test", "licence": "CC0-1.0"})


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIFLOW_MODEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCIFLOW_MODEL_PATH", raising=False)


# ---------------------------------------------------------------- bytes


def test_a_model_reads_back_as_it_was_written() -> None:
    model = small()
    back = Model.from_bytes(model.to_bytes())
    assert (back.kind, back.block, dict(back.card)) == ("klt", (4, 4), dict(model.card))
    np.testing.assert_array_equal(back.arrays["basis"], model.arrays["basis"])
    assert back.digest == model.digest
    assert len(model.digest) == 64


def test_the_order_of_arrays_and_text_does_not_show() -> None:
    a, b = np.arange(3, dtype="i1"), np.arange(4, dtype=">f4")
    first = write_tensors({"a": a, "b": b}, {"x": "1", "y": "2"})
    assert first == write_tensors({"b": b, "a": a}, {"y": "2", "x": "1"})
    arrays, text = read_tensors(first)
    assert text == {"x": "1", "y": "2"}
    np.testing.assert_array_equal(arrays["b"], b)


def test_the_file_is_laid_out_as_safetensors_says() -> None:
    data = write_tensors({"a": np.array([[1, -2]], "<i2")}, {})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert header["a"] == {"dtype": "I16", "shape": [1, 2], "data_offsets": [0, 4]}
    assert data[8 + length :] == b"\x01\x00\xfe\xff"


def test_every_prefix_is_refused() -> None:
    data = small().to_bytes()
    for end in {*range(0, 300, 7), *range(300, len(data), 61), len(data) - 1}:
        with pytest.raises((Truncated, Corrupt)):
            Model.from_bytes(data[:end])


def test_no_changed_byte_of_the_header_gets_by_without_an_error_or_another_digest() -> None:
    model = small()
    data = model.to_bytes()
    for at in range(8 + int.from_bytes(data[:8], "little")):
        for flip in (1, 0x80):
            changed = bytearray(data)
            changed[at] ^= flip
            try:
                predictor(Model.from_bytes(bytes(changed)))
            except (Corrupt, Unsupported):
                continue
            assert Model.from_bytes(bytes(changed)).to_bytes() != data


HEADERS = [
    {"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 5]}},
    {"a": {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]}},
    {"a": {"dtype": "I8", "shape": [-4], "data_offsets": [0, 4]}},
    {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}},
    {"a": {"dtype": "I8", "shape": [4]}},
    {"a": 3},
    {"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}, "__metadata__": {"x": 1}},
    [1],
    {
        "a": {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "I8", "shape": [3], "data_offsets": [1, 4]},
    },
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_contradicts_itself_is_refused(header: object) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(Corrupt):
        read_tensors(len(text).to_bytes(8, "little") + text + b"abcd")


def test_a_header_longer_than_any_is_refused_before_it_is_read() -> None:
    with pytest.raises(Corrupt, match="at most"):
        read_tensors((1 << 60).to_bytes(8, "little") + b"{}")


def test_a_newer_format_says_so() -> None:
    data = small().to_bytes().replace(b'"format":"1"', b'"format":"2"')
    with pytest.raises(Unsupported, match="upgrade"):
        Model.from_bytes(data)


def test_arrays_that_are_not_of_the_kind_are_refused() -> None:
    basis = np.zeros((3, 15), np.int16)
    with pytest.raises(Corrupt, match="basis"):
        predictor(Model("klt", (4, 4), {"basis": basis}))
    with pytest.raises(Corrupt, match=r"weights|order"):
        predictor(Model("linear", (4, 4), {"basis": basis}))
    with pytest.raises(Corrupt, match="decoder"):
        predictor(Model("autoencoder", (4, 4), {"basis": basis}))


# ---------------------------------------------------------------- places


def test_the_first_place_that_has_it_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    data, digest = model.to_bytes(), model.digest
    assert find(digest, inline=base64.b64encode(data).decode()) == data
    store = tmp_path / "out.zarr"
    put(model, store / "models")
    assert find(digest, beside=store) == data
    assert find(digest, beside={f"models/{digest}": data}) == data
    with pytest.raises(ModelMismatch):
        find(digest)
    elsewhere = tmp_path / "elsewhere"
    put(model, elsewhere)
    monkeypatch.setenv("SCIFLOW_MODEL_PATH", f"{tmp_path / 'none'}:{elsewhere}")
    assert find(digest) == data
    monkeypatch.delenv("SCIFLOW_MODEL_PATH")
    assert find(digest) == data  # out of the cache, into which the last one went


def test_a_url_is_asked_last_and_kept(tmp_path: Path) -> None:
    model = small()
    put(model, tmp_path / "served")
    url = f"file://{tmp_path}/served/{{digest}}"
    assert find(model.digest, url=url) == model.to_bytes()
    assert (tmp_path / "cache" / model.digest).read_bytes() == model.to_bytes()


def test_the_error_names_the_digest_and_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIFLOW_MODEL_PATH", str(tmp_path / "mine"))
    digest = "ab" * 32
    with pytest.raises(ModelMismatch) as error:
        find(digest, beside=tmp_path / "out.zarr", url="file:///nowhere/{digest}")
    for part in (digest, "out.zarr/models", "cache", "mine", "catalogue", f"file:///nowhere/{digest}"):
        assert part in str(error.value)


def test_a_tampered_file_is_passed_over(tmp_path: Path) -> None:
    model = small()
    path = put(model, tmp_path / "out.zarr" / "models")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelMismatch, match="another file"):
        resolve(model.digest, beside=tmp_path / "out.zarr")
    put(model, tmp_path / "cache")
    assert resolve(model.digest, beside=tmp_path / "out.zarr").digest == model.digest


def test_what_is_no_digest_is_refused_before_any_path_is_made_of_it() -> None:
    for name in ("../../etc/passwd", "AB" * 32, ""):
        with pytest.raises(InvalidArgument):
            find(name)


def test_only_small_models_are_inlined() -> None:
    model = small()
    text = inlined(model)
    assert text is not None
    assert Model.from_bytes(base64.b64decode(text)).digest == model.digest
    assert inlined(Model("klt", (4, 4), {"x": np.zeros(INLINE_LIMIT, np.int8)})) is None


def test_a_config_that_is_not_base64_is_named() -> None:
    with pytest.raises(Corrupt, match="base64"):
        find("ab" * 32, inline="*")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        put(small(), tmp_path / "file")


def test_a_model_is_written_with_its_card(tmp_path: Path) -> None:
    model = small()
    path = write_model(model, tmp_path / "m")
    assert resolve(str(path)).digest == model.digest
    assert model.digest in (tmp_path / "m" / "CARD.md").read_text()


# ---------------------------------------------------------------- catalogue


def test_the_catalogue_holds_what_its_recipes_name(repository: Path) -> None:
    assert set(names()) >= {"shallow-water-klt", "navier-stokes-3d-klt"}
    for name in names():
        about, model = catalog.entry(name), resolve(name)
        assert model.digest == about.digest
        assert (model.kind, list(model.block)) == (about.recipe["kind"], about.recipe["block"])
        assert model.digest in (repository / "models" / name / "CARD.md").read_text()
        assert len(model.to_bytes()) < 1_000_000
        assert predictor(model).block == model.block
        assert find(model.digest) == model.to_bytes()


def test_an_unknown_name_lists_the_catalogue() -> None:
    with pytest.raises(InvalidArgument, match="navier-stokes-3d-klt"):
        resolve("no-such-model")
