"""docs/format.md suffices: a decoder written from it alone gives the bits that the engine gives."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sciflow import _native as native
from sciflow.bounds import Bound
from sciflow.codecs.sz import Level, SZConfig, decode, encode, info
from sciflow.errors import SciflowError
from sciflow.testing import SENTINELS, assert_same_bits, bounds, fields
from tests import reference_decoder
from tests.golden.examples import hills
from tests.test_corruption import GOLDENS, resealed

Decoder = Callable[[bytes], NDArray[Any]]
MAX_LINES = 420
CUBE = 41  # more than 65,536 codes: 32 lanes


def assert_same_array(stream: bytes) -> None:
    """Fail unless both decoders give the same bits in the same memory layout."""
    ours, theirs = decode(stream), reference_decoder.decode(stream)
    assert_same_bits(ours, theirs)
    assert (ours.flags.c_contiguous, ours.flags.f_contiguous) == (
        theirs.flags.c_contiguous,
        theirs.flags.f_contiguous,
    )


@pytest.mark.parametrize("every", [2, 3, 4, 64])
@pytest.mark.parametrize("name", ["v0_2_thinned_series.scf", "v0_2_thinned_tall.scf"])
def test_fits_to_fewer_values(name: str, every: int) -> None:
    """What only large blocks are written with; small ones then decode to other values."""
    stream, at = bytearray(GOLDENS[name]), info(GOLDENS[name]).block_offsets[0]
    assert (stream[at], stream[at + 1] & 1, stream[at + 2]) == (8, 0, 1)
    stream[at + 2] = every
    assert_same_array(resealed(bytes(stream), info(GOLDENS[name])))


def outcome(decoder: Decoder, stream: bytes) -> str:
    """What comes of a stream: "array", or the name of the error."""
    try:
        decoder(stream)
    except (SciflowError, reference_decoder.Corrupt, reference_decoder.Unsupported) as error:
        return type(error).__name__
    return "array"


@st.composite
def configs(draw: st.DrawFn) -> SZConfig:
    """Every way to encode; unverified, since it is the decoders that are compared."""
    bound = draw(bounds())
    levels: list[Level] = ["fast", "quick", "balanced", "max"]
    return SZConfig(
        bound,
        level=draw(st.sampled_from(levels)),
        preserve=draw(st.sampled_from([(), SENTINELS])),
        rewrite_safe=bound.kind in ("abs", "pointwise_rel") and draw(st.booleans()),
        verify=False,
        block_values=draw(st.sampled_from([None, None, 1, 7, 64, 300])),
    )


@pytest.mark.parametrize(
    "file", sorted(Path(__file__).parent.glob("reference_*.py")), ids=lambda file: file.stem
)
def test_it_is_short_and_knows_only_numpy(file: Path) -> None:
    source = file.read_text()
    assert source.count("\n") <= MAX_LINES
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {
        "__future__",
        "collections",
        "collections.abc",
        "dataclasses",
        "hashlib",
        "itertools",
        "json",
        "math",
        "struct",
        "zlib",
    }
    ours |= {"numpy", "numpy.typing", "typing"}
    assert {name for name in imported if not name.startswith("tests")} <= ours


@pytest.mark.parametrize("name", GOLDENS)
def test_goldens(name: str) -> None:
    assert_same_array(GOLDENS[name])


@settings(max_examples=300)
@given(field=fields(), config=configs())
def test_small_arrays(field: NDArray[Any], config: SZConfig) -> None:
    assert_same_array(encode(field, config))


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize(
    "config",
    [SZConfig(Bound.rel(1e-2)), SZConfig(Bound.rel(1e-6)), SZConfig(Bound.abs(0.1), rewrite_safe=True)],
    ids=repr,
)
def test_a_cube(config: SZConfig, dtype: str) -> None:
    assert_same_array(encode(hills((CUBE, CUBE, CUBE), dtype), config))


@pytest.mark.parametrize("shape", [(5000,), (2, 3000), (700, 5), (3, 4, 400), (9, 9, 9, 9)])
def test_shapes_that_fold(shape: tuple[int, ...]) -> None:
    for bound in (Bound.abs(3.0), Bound.abs(0.01)):
        assert_same_array(encode(hills(shape), SZConfig(bound)))


def test_every_prefix_is_truncated_for_both() -> None:
    stream = GOLDENS["v0_1_blocks.scf"]
    for length in range(len(stream)):
        assert outcome(decode, stream[:length]) == "Truncated"
        assert outcome(reference_decoder.decode, stream[:length]) == "Truncated"


@pytest.mark.parametrize("name", ["v0_1_blocks.scf", "v0_1_empty.scf"])
def test_bytes_behind_the_stream_are_corrupt_for_both(name: str) -> None:
    for decoder in (decode, reference_decoder.decode):
        assert outcome(decoder, GOLDENS[name] + b"\0") == "Corrupt"


@given(name=st.sampled_from(sorted(GOLDENS)), data=st.data())
def test_no_flipped_bit_passes_the_checksums_of_either(name: str, data: st.DataObject) -> None:
    stream = bytearray(GOLDENS[name])
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for decoder in (decode, reference_decoder.decode):
        assert outcome(decoder, bytes(stream)) in ("Corrupt", "Truncated", "Unsupported")


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(GOLDENS)), data=st.data())
def test_both_refuse_the_same_damage_behind_the_checksums(name: str, data: st.DataObject) -> None:
    stream = bytearray(GOLDENS[name])
    # The front of the stream holds most of what can be refused.
    last = data.draw(st.sampled_from([min(len(stream), 120), len(stream)])) - 1
    stream[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    broken = resealed(bytes(stream), info(GOLDENS[name]))
    taken = [outcome(decoder, broken) == "array" for decoder in (decode, reference_decoder.decode)]
    assert taken[0] == taken[1]


def test_a_newer_version_is_unsupported_for_both() -> None:
    stream = bytearray(GOLDENS["v0_1_plane.scf"])
    stream[3] = native.STREAM_MINOR + 1
    assert outcome(decode, bytes(stream)) == outcome(reference_decoder.decode, bytes(stream)) == "Unsupported"
