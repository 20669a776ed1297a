"""Reading a part of a chunk: the same values, from fewer bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore

from sciflow.bounds import Bound
from sciflow.codecs.partial import covers, runs_of, touched_blocks
from sciflow.codecs.sz import SZConfig, decode, encode, info
from sciflow.codecs.zarr import SZ
from sciflow.errors import Corrupt, Truncated
from sciflow.testing import assert_same_bits

BOUND = Bound.abs(1e-4)
SHAPE = (12, 20, 30)


@dataclass
class Tally:
    """What was read of chunks."""

    requests: int = 0
    nbytes: int = 0


class CountingStore(MemoryStore):
    """A store that counts what is read of chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        buffer = await super().get(key, prototype, byte_range)
        if buffer is not None and key.startswith("c/"):
            self.tally.requests += 1
            self.tally.nbytes += len(buffer)
        return buffer


def noisy(shape: tuple[int, ...], dtype: str = "f4") -> NDArray[Any]:
    return np.asarray(np.random.default_rng(0).normal(size=shape)).astype(dtype)


def make(
    shape: tuple[int, ...] = SHAPE, *, block_values: int | None = 600, dtype: str = "<f4", **options: Any
) -> tuple[CountingStore, zarr.Array[Any]]:
    store = CountingStore()
    serializer = SZ(BOUND, block_values=block_values)
    layout = {"chunks": shape} | options
    array = zarr.create_array(
        store, shape=shape, dtype=dtype, serializer=serializer, compressors=None, **layout
    )
    array[...] = noisy(shape, dtype)
    store.tally = Tally()
    return store, array


@cache
def cut(block_values: int, dtype: str) -> tuple[zarr.Array[Any], NDArray[Any]]:
    _, array = make(block_values=block_values, dtype=dtype)
    return array, np.asarray(array[...])


def test_two_slabs_of_many_read_little_of_a_chunk() -> None:
    store, array = make((64, 50, 60), block_values=3000)
    everything = np.asarray(array[...])
    assert store.tally.requests == 1
    whole = store.tally.nbytes
    store.tally = Tally()
    part = np.asarray(array[30:32])
    assert store.tally.requests == 2
    assert store.tally.nbytes < whole / 12
    assert_same_bits(part, everything[30:32])


def test_a_chunk_of_one_block_is_read_at_once() -> None:
    store, array = make(block_values=None)
    array[3, 4]
    assert store.tally.requests == 1


def test_inside_a_shard_only_the_touched_inner_chunks_are_read() -> None:
    store, array = make((8, 40, 60), block_values=600, chunks=(4, 40, 60), shards=(8, 40, 60))
    everything = np.asarray(array[...])
    whole, store.tally = store.tally.nbytes, Tally()
    assert_same_bits(np.asarray(array[1, 3:5]), everything[1, 3:5])
    assert store.tally.nbytes < 0.6 * whole


def test_a_header_longer_than_the_first_read_is_read_on() -> None:
    _, array = make((5000, 4), block_values=4)
    assert_same_bits(np.asarray(array[4990:4995, 1]), np.asarray(array[...])[4990:4995, 1])


def indices(length: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.integers(-length, length - 1),
        st.builds(slice, st.integers(0, length), st.integers(0, length), st.integers(1, 4)),
        st.just(slice(None)),
    )


basic = st.integers(0, 3).flatmap(lambda n: st.tuples(*(indices(length) for length in SHAPE[:n])))
lists = st.tuples(
    *(st.lists(st.integers(0, n - 1), min_size=1, max_size=5, unique=True).map(sorted) for n in SHAPE)
)
points = st.lists(st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(
    selection=basic,
    picks=lists,
    cells=points,
    block_values=st.sampled_from([7, 30, 100, 600, 3000]),
    data=st.data(),
)
def test_any_selection_is_the_same_part(
    selection: Any, picks: Any, cells: Any, block_values: int, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["<f4", ">f8"]))
    array, everything = cut(block_values, dtype)
    np.testing.assert_array_equal(array[selection], everything[selection])
    np.testing.assert_array_equal(array.oindex[picks], everything[np.ix_(*picks)])
    where = tuple(np.array(axis) for axis in zip(*cells, strict=True))
    np.testing.assert_array_equal(array.vindex[where], everything[where])
    mask = np.zeros(SHAPE, bool)
    mask[where] = True
    np.testing.assert_array_equal(array.vindex[mask], everything[mask])


@settings(max_examples=100)
@given(
    selection=basic,
    block_values=st.sampled_from([1, 7, 30, 100, 600, 3000]),
    order=st.sampled_from(["C", "F"]),
)
def test_blocks_that_are_left_out_hold_nothing_that_is_selected(
    selection: Any, block_values: int, order: Any
) -> None:
    header = info(encode(np.asarray(noisy(SHAPE), order=order), SZConfig(BOUND, block_values=block_values)))
    touched = touched_blocks(header, selection)
    stored = np.arange(header.size).reshape(header.stored_shape)
    logical = stored if order == "C" else stored.T
    rows = -(-header.stored_shape[header.block_axis] // header.block_rows)
    inner = int(np.prod(header.stored_shape[header.block_axis + 1 :]))
    walk, row = np.divmod(np.unique(logical[selection]) // inner, header.stored_shape[header.block_axis])
    holding = set((walk * rows + row // header.block_rows).tolist())
    assert not holding or touched.tolist() == sorted(holding)


@pytest.mark.parametrize(
    ("selection", "whole"),
    [
        ((), True),
        (slice(None), True),
        ((slice(0, 12), slice(None), slice(0, 30, 1)), True),
        ((slice(0, 11),), False),
        ((slice(None, None, -1),), False),
        ((0,), False),
        (np.zeros(SHAPE, bool), False),
    ],
    ids=str,
)
def test_plainly_everything(selection: Any, whole: bool) -> None:
    assert covers(selection, SHAPE) is whole


def test_neighbouring_blocks_are_one_read() -> None:
    header = info(encode(noisy(SHAPE), SZConfig(BOUND, block_values=600)))
    offsets = header.block_offsets
    runs = runs_of(header, np.array([1, 2, 3, 7, 9, 10]))
    assert [(run.first, run.last, run.start, run.end) for run in runs] == [
        (1, 4, offsets[1], offsets[4]),
        (7, 8, offsets[7], offsets[8]),
        (9, 11, offsets[9], offsets[11]),
    ]


def put(store: MemoryStore, stream: bytes) -> None:
    store._store_dict["c/0/0/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(stream)


def test_damage_in_a_block_is_seen_by_whoever_reads_it_and_by_nobody_else() -> None:
    store, array = make(block_values=600)
    stream = bytearray(store._store_dict["c/0/0/0"].to_bytes())
    before = decode(bytes(stream))
    stream[info(bytes(stream)).block_offsets[5] + 3] ^= 4
    put(store, bytes(stream))
    assert_same_bits(np.asarray(array[:5]), before[:5])
    with pytest.raises(Corrupt):
        array[5]


@pytest.mark.parametrize("keep", [0, 3, 20, 4000, -1])
def test_a_chunk_that_ends_early_is_named(keep: int) -> None:
    store, array = make(block_values=600)
    stream = store._store_dict["c/0/0/0"].to_bytes()
    put(store, stream[:keep])
    with pytest.raises(Truncated):
        array[11]


def test_a_chunk_that_is_not_there_is_the_fill_value() -> None:
    store, array = make(block_values=600)
    del store._store_dict["c/0/0/0"]
    assert array[3, 4, 5] == 0.0
