"""Checkpoints: what was saved comes back, what was damaged is seen, what cannot be written costs nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sciflow.errors import Corrupt, InvalidArgument, Truncated, Unsupported  # noqa: E402
from sciflow.models.checkpoints import (  # noqa: E402
    Checkpoints,
    files,
    pack,
    read_checkpoint,
    unpack,
    write_checkpoint,
)
from sciflow.models.checkpoints.packing import Packed, Part  # noqa: E402
from tests.tiny_surrogate import tiny_config  # noqa: E402

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool", "int8", "int64")


def weights(dtype: str, count: int = 5000) -> Any:
    """Numbers as a network has them, and all that is special."""
    made = torch.randn(count, generator=torch.Generator().manual_seed(1)) * 0.05
    kind = getattr(torch, dtype)
    if kind.is_floating_point:
        made[:4] = torch.tensor([math.inf, -math.inf, math.nan, -0.0])
    return (made * 100).to(kind) if not (kind.is_floating_point or kind.is_complex) else made.to(kind)


def bits(tensor: Any) -> bytes:
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    found: bytes = plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return found


def state() -> dict[str, Any]:
    return {
        "network": {name: weights(name) for name in DTYPES},
        "optimiser": {0: {"step": torch.tensor(3.0), "betas": (0.9, 0.999)}, 1: {"empty": torch.empty(0, 3)}},
        "history": [{"loss": 0.1 + 0.2, "nan": math.nan, "inf": -math.inf}],
        "text": "für",
        "none": None,
        "flag": True,
        "grid": torch.arange(24).reshape(2, 3, 4).transpose(0, 2),
    }


def sealed(head: bytes, text: bytes) -> bytes:
    """A file with a right checksum, whatever it says."""
    data = head + text + len(text).to_bytes(8, "little")
    return data + hashlib.sha256(data).digest()


# ---------------------------------------------------------------- what comes back


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    given = state()
    found = read_checkpoint(write_checkpoint(tmp_path / "deep" / "a.ckpt", given))
    for name, tensor in given["network"].items():
        assert found["network"][name].dtype == tensor.dtype
        assert bits(found["network"][name]) == bits(tensor)
    assert torch.equal(found["grid"], given["grid"])
    assert found["optimiser"][0]["betas"] == (0.9, 0.999)
    assert found["optimiser"][1]["empty"].shape == (0, 3)
    assert found["history"][0]["loss"] == 0.1 + 0.2
    assert math.isnan(found["history"][0]["nan"])
    assert (found["text"], found["none"], found["flag"]) == ("für", None, True)
    found["network"]["float32"].add_(1)  # can be written to


def test_equal_states_give_equal_files(tmp_path: Path) -> None:
    one, other = (write_checkpoint(tmp_path / name, state()).read_bytes() for name in ("a", "b"))
    assert one == other


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="found function, expected numbers"):
        write_checkpoint(tmp_path / "a", {"call": bits})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 1000, 100_000])
@pytest.mark.parametrize("dense", [False, True])
def test_packing_is_never_larger(dtype: str, count: int, dense: bool) -> None:
    real = weights(dtype, max(count, 4))[:count]
    size = real.element_size() // (1 + real.is_complex())
    noise = np.random.default_rng(0).integers(0, 256, (count, size), np.uint8)
    for data in (np.frombuffer(bits(real), np.uint8).reshape(-1, size), noise):
        packed = pack(data, is_float=True, dense=dense)
        assert packed.nbytes <= data.nbytes
        np.testing.assert_array_equal(unpack(packed, *data.shape), data)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 0.85), ("bfloat16", 0.69), ("float16", 0.9)])
def test_weights_take_less(dtype: str, most: float) -> None:
    made = weights(dtype, 100_000)
    data = np.frombuffer(bits(made), np.uint8).reshape(len(made), -1)
    assert pack(data, is_float=True).nbytes < most * data.nbytes


# ---------------------------------------------------------------- what was damaged


def test_any_damage_is_seen(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a", {"w": weights("float32", 200), "step": 3})
    whole = path.read_bytes()
    for length in {*range(60), *range(60, len(whole), 37), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(Corrupt):
            read_checkpoint(path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises((Corrupt, Unsupported)):
            read_checkpoint(path)


HEAD = b"sciflowW" + (1).to_bytes(4, "little")


@pytest.mark.parametrize(
    "header",
    [
        b"not JSON",
        b"[]",
        b'{"tree": 1}',
        b'{"tree": {"$tensor": 0}, "tensors": []}',
        b'{"tree": {"$tensor": -1}, "tensors": []}',
        b'{"tree": {"$tensor": true}, "tensors": []}',
        b'{"tree": {"$items": [[[], 1]]}, "tensors": []}',
        b'{"tree": {"$items": 3}, "tensors": []}',
        b'{"tree": 1, "tensors": [3]}',
        b'{"tree": 1, "tensors": [{"dtype": "object", "shape": [1], "parts": []}]}',
        b'{"tree": 1, "tensors": [{"dtype": "float32", "shape": [-1], "parts": []}]}',
        b'{"tree": 1, "tensors": [{"dtype": "float32", "shape": [4], "parts": [["raw", 16]]}]}',
        b'{"tree": 1, "tensors": [{"dtype": "uint8", "shape": [99999999999999], "parts": [["zstd", 0]]}]}',
        b'{"tree": 1, "tensors": [{"dtype": "uint8", "shape": [1], "parts": [["pickle", 0]]}]}',
        b"[" * 100_000,
    ],
)
def test_hostile_files_are_errors(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(sealed(HEAD, header))
    with pytest.raises(Corrupt, match=str(path)):
        read_checkpoint(path)


def test_a_length_is_checked_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a"
    data = HEAD + b"{}" + (1 << 60).to_bytes(8, "little")
    path.write_bytes(data + hashlib.sha256(data).digest())
    with pytest.raises(Corrupt, match="its JSON has"):
        read_checkpoint(path)
    bomb = Packed(False, (Part("zstd", b"x" * 100),))
    with pytest.raises(Corrupt, match="100 bytes cannot hold"):
        unpack(bomb, 1 << 40, 1)


@pytest.mark.parametrize("dense", [False, True])
def test_parts_that_hold_something_else_are_corrupt(dense: bool) -> None:
    data = np.frombuffer(bits(torch.linspace(0, 1, 1000)), np.uint8).reshape(-1, 4)
    packed = pack(data, is_float=True, dense=dense)
    assert ("sz" in [part.method for part in packed.parts]) is dense
    for items in (999, 1001):
        with pytest.raises(Corrupt):
            unpack(packed, items, 4)
    for number, part in enumerate(packed.parts):
        for damaged in (part.data[:-1], part.data + b"x", b"", b"\xff" * len(part.data)):
            parts = [*packed.parts]
            parts[number] = Part(part.method, damaged)
            try:
                found = unpack(Packed(packed.rotated, tuple(parts)), 1000, 4)
            except Corrupt:
                continue
            assert found.shape == (1000, 4)


def test_other_files_and_later_ones_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    torch.save({"w": torch.zeros(100)}, path)
    with pytest.raises(Corrupt, match="not a checkpoint of ours"):
        read_checkpoint(path)
    path.write_bytes(sealed(b"sciflowW" + (2).to_bytes(4, "little"), b"{}"))
    with pytest.raises(Unsupported, match="later release"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(Truncated):
        read_checkpoint(path)


# ---------------------------------------------------------------- a folder of them


def test_the_newest_that_verifies_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved = Checkpoints(tmp_path, keep=3)
    assert saved.load_latest() is None
    for step in (5, 10, 15, 20):
        saved.save(step, {"step": step})
    saved.flush()
    assert [path.name for path in saved.paths()] == [f"step-{step:09d}.ckpt" for step in (20, 15, 10)]
    newest, second, _ = saved.paths()
    newest.write_bytes(newest.read_bytes()[:-5])
    second.write_bytes(second.read_bytes().replace(b"tree", b"tree"[::-1]))
    with caplog.at_level(logging.WARNING):
        loaded = saved.load_latest()
    assert loaded is not None
    assert loaded.state == {"step": 10}
    assert [str(newest) in loaded.skipped[0], str(second) in loaded.skipped[1]] == [True, True]
    assert caplog.text.count("skipped a checkpoint") == 2
    saved.paths()[2].write_bytes(b"")
    with pytest.raises(Corrupt, match="no checkpoint verifies"):
        saved.load_latest()


def test_what_is_saved_is_what_it_was_when_it_was_saved(tmp_path: Path) -> None:
    saved, tensor = Checkpoints(tmp_path), torch.zeros(1000)
    saved.save(1, {"w": tensor, "list": [tensor]})
    tensor.add_(1)
    loaded = saved.load_latest()
    assert loaded is not None
    assert not loaded.state["w"].any()
    assert not loaded.state["list"][0].any()


def test_the_best_weights_have_a_file_of_their_own(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, keep=1)
    saved.save(1, {"step": 1}, best={"epoch": 1})
    saved.save(2, {"step": 2})
    saved.flush()
    assert read_checkpoint(saved.best) == {"epoch": 1}
    (tmp_path / f"{files.TEMPORARY}abc").write_bytes(b"half")
    saved.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"best.weights", "step-000000002.ckpt"}


@pytest.mark.parametrize("at", ["fsync", "write", "replace"])
def test_a_full_disk_leaves_what_is_there(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved = Checkpoints(tmp_path, keep=1)
    saved.save(1, {"step": 1}, best={"epoch": 1})
    saved.flush()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        where: Any = {"fsync": os, "write": files._Hashed, "replace": Path}[at]
        patch.setattr(where, at, full)
        saved.save(2, {"step": 2}, best={"epoch": 2})
        saved.flush()
    assert "No space left on device" in caplog.text
    assert {path.name for path in tmp_path.iterdir()} == {"best.weights", "step-000000001.ckpt"}
    assert read_checkpoint(saved.best) == {"epoch": 1}
    saved.save(3, {"step": 3})  # there is room again: the best weights that were not written are
    saved.flush()
    assert read_checkpoint(saved.best) == {"epoch": 2}
    assert [path.name for path in saved.paths()] == ["step-000000003.ckpt"]


def test_a_bug_of_the_writer_is_raised(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    saved.save(1, {"call": bits})
    with pytest.raises(InvalidArgument, match="found function"):
        saved.flush()


FULL = """
import resource, signal, sys
from pathlib import Path
from sciflow.models.runs import Config, train
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
config = Config.of(__import__("json").loads(sys.argv[1]))
from sciflow.models.runs.state import Run
advance = Run.advance
def limited(run, *given):
    most = 300 if 4 <= run.step < 10 else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    return advance(run, *given)
Run.advance = limited
train(config)
"""


def test_training_goes_on_where_files_cannot_grow(tmp_path: Path, repository: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    config = tiny_config(tmp_path, train={"epochs": 4})
    done = subprocess.run(
        [sys.executable, "-c", FULL, json.dumps(config.model_dump(mode="json"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=repository,
    )
    assert done.returncode == 0, done.stderr
    assert "checkpoint not written" in done.stderr
    loaded = Checkpoints(Path(config.out) / "checkpoints").load_latest()
    assert loaded is not None
    assert loaded.state["position"][0] == 16
    assert not loaded.skipped
    assert "steps.csv cannot be written" in done.stderr
    rows = (Path(config.out) / "steps.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 17))


def test_the_ways_of_the_bench_give_back_what_they_got() -> None:
    from bench.checkpoints.packers import PACKERS

    given = [weights("float32", 3000).reshape(30, 100), weights("bfloat16", 500)]
    for packer in PACKERS:
        packed = packer.encode(given)
        assert packer.size(packed) > 0
        found = packer.decode(packed, given)
        assert [bits(one) for one in found] == [bits(other) for other in given], packer.name
