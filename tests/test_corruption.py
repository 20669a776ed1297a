"""Hostile bytes: a named error or an array, never a crash, a hang or a large allocation.

Checksums stop every accident; what lies behind them is reached only by damage with checksums that fit, which
`resealed` computes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciflow._engine import native
from sciflow.codecs.stream import StreamInfo
from sciflow.codecs.sz import decode, info
from sciflow.errors import Corrupt, SciflowError, Truncated, Unsupported
from tests.golden.store import FOLDER, read_manifest

GOLDENS = {name: (FOLDER / name).read_bytes() for name in read_manifest()}
MEMORY_FOR_A_SMALL_STREAM = 64 << 20
CHECKSUM_BYTES = 4


def damaged(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Every bit flipped by itself, every byte 0x00 and 0xFF; with where."""
    for at, old in enumerate(stream):
        for new in {*(old ^ 1 << bit for bit in range(8)), 0x00, 0xFF} - {old}:
            yield at, stream[:at] + bytes([new]) + stream[at + 1 :]


def resealed(stream: bytes, header: StreamInfo) -> bytes:
    """The stream with the checksums that its header and blocks, damaged or not, ought to have."""
    ends = [header.header_bytes, *header.block_offsets[1:]]
    pieces, start = [], 0
    for end in ends:
        body = stream[start : end - CHECKSUM_BYTES]
        pieces.append(body + native.crc32c(body).to_bytes(CHECKSUM_BYTES, "little"))
        start = end
    return b"".join(pieces)


def outcome(stream: bytes) -> str:
    """Decode: "array", or the name of the error; anything else is raised."""
    try:
        decode(stream)
    except SciflowError as error:
        return type(error).__name__
    return "array"


@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_is_resealed_to_itself(name: str) -> None:
    assert resealed(GOLDENS[name], info(GOLDENS[name])) == GOLDENS[name]


@pytest.mark.parametrize("name", GOLDENS)
def test_every_prefix_is_truncated(name: str) -> None:
    stream = GOLDENS[name]
    assert {outcome(stream[:length]) for length in range(len(stream))} == {"Truncated"}


@pytest.mark.parametrize("name", GOLDENS)
def test_every_extension_is_corrupt(name: str) -> None:
    for tail in (b"\0", b"\xff", GOLDENS[name]):
        with pytest.raises(Corrupt, match="at byte"):
            decode(GOLDENS[name] + tail)


@pytest.mark.parametrize("name", GOLDENS)
def test_no_damage_passes_the_checksums(name: str) -> None:
    seen = {outcome(broken) for _, broken in damaged(GOLDENS[name])}
    assert seen <= {"Corrupt", "Truncated", "Unsupported"}


@pytest.mark.parametrize("name", GOLDENS)
def test_damage_behind_the_checksums_is_an_error_or_an_array(name: str) -> None:
    stream, header = GOLDENS[name], info(GOLDENS[name])
    seen = {outcome(resealed(broken, header)) for _, broken in damaged(stream)}
    assert seen <= {"array", "Corrupt", "Truncated", "Unsupported"}


@given(name=st.sampled_from(sorted(GOLDENS)), data=st.data())
def test_any_damage_behind_the_checksums(name: str, data: st.DataObject) -> None:
    stream = bytearray(GOLDENS[name])
    for _ in range(data.draw(st.integers(1, 8))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    outcome(resealed(bytes(stream), info(GOLDENS[name])))


@given(st.binary(max_size=200))
def test_any_bytes_at_all(noise: bytes) -> None:
    assert outcome(noise) != "array"
    assert outcome(GOLDENS["v0_1_plane.scf"][:2] + noise) != "array"


def test_the_errors_say_where() -> None:
    stream = GOLDENS["v0_1_blocks.scf"]
    header = info(stream)
    with pytest.raises(Truncated, match=f"at byte {len(stream) - 9}"):
        decode(stream[:-9])
    broken = bytearray(stream)
    broken[header.block_offsets[2] + 1] ^= 1
    with pytest.raises(Corrupt, match=f"at byte {header.block_offsets[2]}"):
        decode(bytes(broken))


def test_a_newer_release_is_named() -> None:
    stream = bytearray(GOLDENS["v0_1_plane.scf"])
    stream[2] += 1
    with pytest.raises(Unsupported, match="upgrade"):
        decode(bytes(stream))


def test_something_else_is_no_stream() -> None:
    with pytest.raises(Corrupt, match="not a sciflow stream"):
        decode(b"\x89HDF\r\n\x1a\n" + bytes(100))


def test_damage_leaves_memory_next_to_out_alone() -> None:
    stream = GOLDENS["v0_1_blocks.scf"]
    header = info(stream)
    room = np.full(header.size + 64, 7.0, header.dtype)
    out = room[32:-32].reshape(header.shape)
    for at, broken in damaged(stream):
        if at < header.header_bytes:
            continue
        with suppress(SciflowError):
            decode(resealed(broken, header), out)
        assert (room[:32] == 7.0).all()
        assert (room[-32:] == 7.0).all()


LIMITED = """
import resource, sys
from pathlib import Path
from tests.test_corruption import GOLDENS, damaged, decode, info, outcome, resealed

for stream in GOLDENS.values():
    decode(stream)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    sys.exit(f"the limit does not hold: {bytearray(2 * int(sys.argv[1]))[:1]}")
except MemoryError:
    pass
for name, stream in GOLDENS.items():
    header = info(stream)
    starts = {0, *header.block_offsets}
    for at, broken in damaged(stream):
        if at % 5 and not any(start <= at < start + 40 for start in starts):
            continue
        try:
            outcome(resealed(broken, header))
        except MemoryError:
            sys.exit(f"{name}: byte {at} made {broken[at]:#x} takes too much memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_small_stream_takes_little_memory() -> None:
    command = [sys.executable, "-c", LIMITED, str(MEMORY_FOR_A_SMALL_STREAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
