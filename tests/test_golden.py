"""Old streams decode forever, to the same bits."""

from __future__ import annotations

import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from sciflow.codecs.sz import SZConfig, decode, info
from sciflow.testing import assert_bounded
from tests.golden.examples import EXAMPLES, Example
from tests.golden.store import FOLDER, Golden, add_missing, memory_sha256, read_manifest

MANIFEST = read_manifest()
MODES = {
    0: "raw",
    1: "constant",
    2: "multilevel",
    3: "lattice",
    4: "lorenzo",
    5: "raster",
    6: "packed",
    7: "described",
    8: "thinned",
}


def test_files_and_manifest_name_the_same() -> None:
    assert {file.name for file in FOLDER.glob("*.scf")} == set(MANIFEST)


def test_every_example_has_a_golden() -> None:
    assert set(EXAMPLES) == {golden.example for golden in MANIFEST.values()}


@pytest.mark.parametrize(("name", "golden"), MANIFEST.items(), ids=MANIFEST)
def test_decodes_to_the_same_bits(name: str, golden: Golden) -> None:
    stream = (FOLDER / name).read_bytes()
    assert sha256(stream).hexdigest() == golden.stream_sha256
    header = info(stream)
    assert (header.dtype.str, list(header.shape), header.order) == (golden.dtype, golden.shape, golden.order)
    decoded = decode(stream)
    assert memory_sha256(decoded) == golden.decoded_sha256
    config = SZConfig.from_json(golden.config)
    assert_bounded(EXAMPLES[golden.example].make(), decoded, config.bound, preserve=config.preserve)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_the_same_each_time(name: str) -> None:
    example = EXAMPLES[name]
    assert example.make().tobytes() == example.make().tobytes()


def test_the_goldens_hold_every_kind_of_block() -> None:
    kinds: Counter[str] = Counter()
    for name in MANIFEST:
        stream = (FOLDER / name).read_bytes()
        kinds.update(MODES[stream[offset]] for offset in info(stream).block_offsets[:-1])
    assert set(kinds) == set(MODES.values())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(FOLDER, tmp_path / "golden")
    return tmp_path / "golden"


def test_nothing_is_made_twice(copy: Path) -> None:
    before = {file.name: file.read_bytes() for file in copy.iterdir() if file.is_file()}
    assert add_missing(copy) == []
    assert {file.name: file.read_bytes() for file in copy.iterdir() if file.is_file()} == before


def test_a_new_example_is_added_and_nothing_else_changes(copy: Path) -> None:
    more: dict[str, Example] = EXAMPLES | {"another": EXAMPLES["plane"]}
    (written,) = add_missing(copy, more)
    assert written.endswith("_another.scf")
    assert read_manifest(copy) == read_manifest() | {written: read_manifest(copy)[written]}


def test_a_lost_golden_is_not_made_again(copy: Path) -> None:
    next(copy.glob("*.scf")).unlink()
    with pytest.raises(FileNotFoundError, match="restore"):
        add_missing(copy)


def test_a_file_without_an_entry_is_not_overwritten(copy: Path) -> None:
    more: dict[str, Example] = EXAMPLES | {"another": EXAMPLES["plane"]}
    (written,) = add_missing(copy, more)
    shutil.copy(FOLDER / "manifest.json", copy / "manifest.json")
    (copy / written).write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        add_missing(copy, more)
    assert (copy / written).read_bytes() == b"precious"
