"""GWLZ streams: goldens decode forever, the page suffices, and bad bytes get a named error."""

from __future__ import annotations

import json
import struct
import zlib
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sciflow import Bound
from sciflow.codecs import gwlz, sz
from sciflow.codecs.auxiliary import prepare
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.codecs.wrapper import read_enhanced, write_enhanced
from sciflow.errors import AuxMismatch, Corrupt, InvalidArgument, SciflowError, Truncated, Unsupported
from sciflow.testing import assert_same_bits
from tests import reference_gwlz
from tests.golden.gwlz import FOLDER, MANIFEST, SHARED, beside, digest, examples, waves
from tests.test_package import run_python

ENTRIES: dict[str, Any] = json.loads(MANIFEST.read_text())
CONFIG = GWLZConfig(SZConfig(Bound.abs(0.5)))
FIELD = waves((12, 24, 40))
STREAM = gwlz.encode(FIELD, CONFIG)


def resealed(stream: bytes, body: bytes, version: bytes = b"") -> bytes:
    """The stream with another body, or version, and checksums that fit, as a vandal would leave it."""
    parts = read_enhanced(memoryview(stream))
    front = len(stream) - len(parts.base) - 8 - len(parts.body) - len(varint(len(parts.body)))
    head = (
        stream[:2]
        + (version or stream[2:4])
        + stream[4:front]
        + varint(len(body))
        + body
        + struct.pack("<I", parts.output_crc)
    )
    return head + struct.pack("<I", zlib.crc32(head + bytes(parts.base))) + bytes(parts.base)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def outcome(decode: Any, stream: bytes) -> str | NDArray[Any]:
    try:
        found: NDArray[Any] = decode(stream)
    except (SciflowError, ValueError) as error:
        return type(error).__name__
    return found


def test_every_example_has_a_golden() -> None:
    assert {entry["example"] for entry in ENTRIES.values()} == set(examples())
    assert {file.name for file in FOLDER.glob("gwlz_0*.bin")} == set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_goldens_decode_to_the_same_bits(name: str) -> None:
    stream, entry = (FOLDER / name).read_bytes(), ENTRIES[name]
    assert sha256(stream).hexdigest() == entry["stream_sha256"]
    config = GWLZConfig.from_json(entry["config"])
    aux = examples()[entry["example"]].aux
    decoded = gwlz.decode(stream, config, aux=aux)
    assert digest(decoded) == entry["decoded_sha256"]
    stored = prepare(aux, transposed=decoded.flags.f_contiguous and not decoded.flags.c_contiguous)
    assert_same_bits(decoded, reference_gwlz.decode(stream, config.shared, stored))


def test_the_goldens_hold_every_kind() -> None:
    kinds = {gwlz.info((FOLDER / name).read_bytes()).enhancer for name in ENTRIES}
    assert kinds == {"off", "own", "shared", "network"}


@pytest.mark.parametrize("simd", ["v2", "v3"])
def test_every_instruction_set_gives_the_same_stream(simd: str) -> None:
    code = (
        f"import os; os.environ['SCIFLOW_SIMD'] = {simd!r}\n"
        "from tests.test_gwlz_stream import CONFIG, FIELD, gwlz\n"
        "from hashlib import sha256; print('STREAM', sha256(gwlz.encode(FIELD, CONFIG)).hexdigest())"
    )
    done = run_python(code, path=[FOLDER.parent.parent])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("STREAM", 1)[1].strip() == sha256(STREAM).hexdigest()


def test_every_prefix_is_truncated_or_corrupt() -> None:
    for size in [*range(200), *range(200, len(STREAM), 41)]:
        with pytest.raises(Corrupt):
            gwlz.decode(STREAM[:size], CONFIG)
    with pytest.raises(Truncated):
        gwlz.decode(STREAM[:30], CONFIG)


def test_every_flipped_bit_is_found() -> None:
    for at in range(0, 8 * len(STREAM), 5):
        bad = bytearray(STREAM)
        bad[at // 8] ^= 1 << at % 8
        with pytest.raises(SciflowError):
            gwlz.decode(bytes(bad), CONFIG)


def test_the_base_of_another_stream_is_refused() -> None:
    parts = read_enhanced(memoryview(STREAM))
    other = sz.encode(FIELD + 1, SZConfig(Bound.abs(0.5)))
    with pytest.raises(Corrupt, match="another base stream"):
        gwlz.decode(STREAM[: len(STREAM) - len(parts.base)] + other, CONFIG)


def test_a_newer_version_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"0\.3"):
        gwlz.decode(STREAM[:3] + b"\x03" + STREAM[4:], CONFIG)


def test_networks_of_integers_are_of_the_version_that_knows_them() -> None:
    stream = (FOLDER / "gwlz_0_2_network_3d.bin").read_bytes()
    assert stream[2:4] == b"\x00\x02"
    parts = read_enhanced(memoryview(stream))
    assert write_enhanced(parts) == stream
    older = resealed(stream, parts.body, version=b"\x00\x01")
    for outcome_of in (lambda s: gwlz.decode(s, CONFIG), reference_gwlz.decode):
        assert outcome(outcome_of, older) == "Corrupt"


def test_behind_a_network_there_are_exact_values_alone() -> None:
    stream = (FOLDER / "gwlz_0_2_network_3d.bin").read_bytes()
    body = read_enhanced(memoryview(stream)).body
    assert body[-2:] == b"\x00\x00"
    for rest in (b"\x01\x00", b"\x04\x00", b"\x05\x00"):
        bad = resealed(stream, body[:-2] + rest)
        for outcome_of in (lambda s: gwlz.decode(s, CONFIG), reference_gwlz.decode):
            assert outcome(outcome_of, bad) == "Corrupt"


def test_no_stream_of_ours_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="no GWLZ stream"):
        gwlz.decode(b"PK\x03\x04" + STREAM, CONFIG)


def test_bodies_of_a_vandal_end_alike_in_both_decoders() -> None:
    body = read_enhanced(memoryview(STREAM)).body
    seen = set()
    for at in range(len(body)):
        for value in {0, 0xFF, body[at] ^ 1}:
            bad = resealed(STREAM, body[:at] + bytes([value]) + body[at + 1 :])
            ours = outcome(lambda s: gwlz.decode(s, CONFIG), bad)
            theirs = outcome(reference_gwlz.decode, bad)
            if isinstance(ours, str):
                assert not isinstance(theirs, np.ndarray), (at, value)
                seen.add(ours)
            else:
                assert isinstance(theirs, np.ndarray)
                assert_same_bits(ours, theirs)
    assert seen <= {"Corrupt", "Truncated"}


def test_a_body_cut_short_is_truncated() -> None:
    body = read_enhanced(memoryview(STREAM)).body
    for size in range(len(body)):
        assert outcome(lambda s: gwlz.decode(s, CONFIG), resealed(STREAM, body[:size])) in (
            "Truncated",
            "Corrupt",
        )


def test_an_absurd_number_of_groups_is_corrupt() -> None:
    """A model that says it has 60 activity edges and 60 value edges."""
    unit = struct.pack("<ff", 1.0, 0.0)
    for model in (bytes([3 | 1 << 2]) + unit + b"\xff" * 40, bytes([3 | 5 << 2]) + unit + bytes(20)):
        body = b"\x01" + varint(len(model)) + model + b"\x10\x00\x00\x00"
        assert outcome(lambda s: gwlz.decode(s, CONFIG), resealed(STREAM, body)) == "Corrupt"


class TestOtherVariables:
    """A stream that needs another array."""

    CONFIG = GWLZConfig(SZConfig(Bound.abs(0.5)), aux=["u"])
    AUX = beside(FIELD.shape, "<f4")
    STREAM = gwlz.encode(FIELD, CONFIG, aux=[AUX])

    def test_it_is_of_the_version_that_knows_them(self) -> None:
        assert gwlz.info(self.STREAM).aux == 1
        assert self.STREAM[2:4] == b"\x00\x02"
        assert STREAM[2:4] == b"\x00\x01"
        with pytest.raises(Corrupt, match="flags"):
            gwlz.decode(self.STREAM[:3] + b"\x01" + self.STREAM[4:], self.CONFIG, aux=[self.AUX])

    def test_missing_or_changed_ones_are_named(self) -> None:
        changed = self.AUX.copy()
        changed[-1, -1, -1] += 1
        for aux, named in (
            ([], "met 0"),
            ([self.AUX, self.AUX], "met 2"),
            ([changed], "'u' holds other values"),
            ([self.AUX.astype("f8")], "'u' holds other values"),
            ([self.AUX[1:]], "'u' that the stream needs is of shape"),
        ):
            with pytest.raises(AuxMismatch, match=named):
                gwlz.decode(self.STREAM, self.CONFIG, aux=aux)

    def test_every_prefix_and_flipped_bit_is_found(self) -> None:
        for size in range(0, len(self.STREAM), 7):
            with pytest.raises(Corrupt):
                gwlz.decode(self.STREAM[:size], self.CONFIG, aux=[self.AUX])
        for at in range(0, 8 * len(self.STREAM), 29):
            bad = bytearray(self.STREAM)
            bad[at // 8] ^= 1 << at % 8
            with pytest.raises(SciflowError):
                gwlz.decode(bytes(bad), self.CONFIG, aux=[self.AUX])

    def test_the_engine_and_the_page_refuse_the_same_bodies(self) -> None:
        body = read_enhanced(memoryview(self.STREAM)).body
        for at in range(0, min(len(body), 160), 3):
            for value in {0, 0xFF, body[at] ^ 1}:
                bad = resealed(self.STREAM, body[:at] + bytes([value]) + body[at + 1 :])
                ours = outcome(lambda s: gwlz.decode(s, self.CONFIG, aux=[self.AUX]), bad)
                theirs = outcome(lambda s: reference_gwlz.decode(s, b"", [self.AUX]), bad)
                assert isinstance(ours, str) == isinstance(theirs, str), (at, value)

    def test_what_does_not_fit_is_refused_before_encoding(self) -> None:
        for aux, named in (
            ([], "0 arrays"),
            ([self.AUX[1:]], "'u' is of shape"),
            ([FIELD > 0], "'u' is bool"),
        ):
            with pytest.raises(InvalidArgument, match=named):
                gwlz.encode(FIELD, self.CONFIG, aux=aux)


@pytest.mark.parametrize("head", [3 | 1 << 6, 3 | 2 << 6, 3 | 3 << 2, 0])
def test_a_model_of_another_version_is_corrupt(head: int) -> None:
    """Bits that no version sets, and numbers that none has."""
    model = read_enhanced(memoryview(STREAM)).body[2:]
    size = read_enhanced(memoryview(STREAM)).body[1]
    assert size < 128
    body = bytes([1, size, head]) + model[1:]
    assert outcome(lambda s: gwlz.decode(s, CONFIG), resealed(STREAM, body)) == "Corrupt"


def test_a_model_that_reads_others_needs_a_stream_that_names_them() -> None:
    other = TestOtherVariables
    body = read_enhanced(memoryview(other.STREAM)).body
    with pytest.raises(Corrupt):
        gwlz.decode(resealed(STREAM, body), CONFIG)


def test_the_shared_golden_needs_its_model() -> None:
    name = next(name for name, entry in ENTRIES.items() if entry["example"] == "shared")
    with pytest.raises(reference_gwlz.OtherModel):
        reference_gwlz.decode((FOLDER / name).read_bytes(), SHARED + b"\x00")
