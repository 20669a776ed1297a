"""AESZ with latents from torch or from the engine: either stream decodes to what its encoder saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch

from sciflow.codecs import aesz_model
from sciflow.codecs.aesz import AESZConfig, decode, encode_modelled, info
from sciflow.codecs.aesz_model import Predictor
from sciflow.models import Model
from sciflow.models.autoencoder import Architecture, Autoencoder
from sciflow.models.export import export
from sciflow.testing import assert_same_bits


def made() -> tuple[Autoencoder, Model, NDArray[np.float32]]:
    """A network with an encoder of its own, weights as they were drawn; its model; a smooth field."""
    torch.manual_seed(4)
    network = Autoencoder(Architecture((8, 8), latent=3, channels=(4, 6), linear_path=False)).eval()
    y, x = np.meshgrid(np.arange(48), np.arange(64), indexing="ij")
    field = (np.sin(x / 9) * np.cos(y / 7) + 0.3 * np.sin((x + y) / 5)).astype(np.float32)
    blocks = field.reshape(6, 8, 8, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    return network, export(network, blocks), field


def test_latents_of_torch_and_of_the_engine_make_streams_of_the_same_standing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, model, field = made()
    config = AESZConfig(0.01, model=model)
    engine = encode_modelled(field, config)
    assert engine is not None
    ours = Predictor.encode

    def of_torch(self: Predictor, blocks: NDArray[np.float64], **numbers: Any) -> NDArray[np.float64]:
        with torch.no_grad():
            found = network.encode(torch.from_numpy((blocks / numbers["half_range"]).astype(np.float32)))
        by_engine = ours(self, blocks, **numbers)
        worth = np.abs(by_engine).max(axis=0) / np.maximum(np.abs(found.numpy()).max(axis=0), 1e-9)
        return np.asarray(found.numpy() * worth, np.float64)

    monkeypatch.setattr(Predictor, "encode", of_torch)
    torchs = encode_modelled(field, config)
    monkeypatch.undo()
    assert torchs is not None
    for stream in (engine, torchs):
        assert info(stream).model == model.digest
        first = decode(stream)  # which compares the checksum that its encoder took
        assert np.abs(first.astype(float) - field).max() <= 0.01
        monkeypatch.setattr(aesz_model, "_recent", type(aesz_model._recent)())
        monkeypatch.setattr(aesz_model, "_PART", 5)
        assert_same_bits(decode(stream, file=model.to_bytes(), threads=2), first)
