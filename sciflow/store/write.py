"""Writing a store chunk by chunk: encode, write, read back, compare. What the report says was measured here.

```
metadata of all arrays ─▶ each chunk: [there and good?] ─ write ─ read back ─ compare ─▶ attributes
```
A chunk is one file (or object) that Zarr puts in place at once, so a run that stops leaves whole chunks only;
the next run checks those that are there against the source and writes the others.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from sciflow.bounds import Resolved
from sciflow.codecs import sz
from sciflow.codecs.regions import as_labels
from sciflow.codecs.siblings import padded, region_of
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.errors import BoundViolated, InvalidArgument, SciflowError
from sciflow.metrics import ErrorStats, count_changed_bits
from sciflow.store.conventions import CONTAINER, MAX_ERROR, RATIO, bound_attrs, container, without_provenance
from sciflow.store.plan import Plan, VariablePlan
from sciflow.store.regions import RegionPlan, mask_of, region_attrs
from sciflow.store.running import as_blocks
from sciflow.store.source import INCOMPLETE, Source

__all__ = [
    "ChunkOutcome",
    "ChunkTask",
    "VariableOutcome",
    "chunk_task",
    "chunk_tasks",
    "finish",
    "gather",
    "write_metadata",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOutcome:
    """What one chunk came to.

    Parameters
    ----------
    bytes_in, bytes_out : int
        Of its values, and of the stored chunk.
    stats : ErrorStats or None
        Of a lossy variable.
    problems : tuple of str
        What is wrong with the stored chunk.
    write_seconds, read_seconds : float
        Encoding with storing, reading with decoding; 0 where it was not done.
    elsewhere, regions : ErrorStats, tuple of (int, ErrorStats)
        Of the cells in no region, and by label of those with a bound of their own; `stats` is of all cells.
    """

    bytes_in: int
    bytes_out: int = 0
    stats: ErrorStats | None = None
    problems: tuple[str, ...] = ()
    write_seconds: float = 0.0
    read_seconds: float = 0.0
    elsewhere: ErrorStats | None = None
    regions: tuple[tuple[int, ErrorStats], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTask:
    """Writes and checks, or only checks, chunks (or whole shards) of one array. Picklable; safe in threads.

    Parameters
    ----------
    array : zarr.Array
        Where the chunks are.
    resolved : Resolved or None
        The promise; None wants every bit.
    preserve : tuple of float
        Sentinels.
    write : bool
        Whether to write chunks that are missing or wrong.
    look_first : bool
        Whether some may be there.
    codec : SZ, GWLZ, AESZ or None
        What encodes the chunks of a variable with regions; Zarr's own pipeline knows no labels.
    regions : RegionPlan or None
        Of the variable.
    aux : tuple of zarr.Array
        Other variables that `codec` reads; whole.
    """

    array: zarr.Array[Any]
    resolved: Resolved | None
    preserve: tuple[float, ...] = ()
    write: bool = False
    look_first: bool = True
    codec: SZ | GWLZ | AESZ | None = None
    regions: RegionPlan | None = None
    aux: tuple[zarr.Array[Any], ...] = ()

    def __call__(
        self, block: NDArray[Any], index: tuple[int, ...], mask: NDArray[Any] | None = None
    ) -> ChunkOutcome:
        """Handle the chunk at `index` of the grid, whose values are `block` and whose labels are `mask`.

        Raises
        ------
        InvalidArgument
            If its cells are arrays of their own (NetCDF-4's variable-length types).
        BoundViolated
            If a chunk that was just written breaks the promise.
        OSError
            If it cannot be written.
        """
        values = np.asarray(block)
        if (values.dtype.kind in "OV") != (self.array.dtype.kind in "OTV"):
            raise InvalidArgument(f"variable {self.array.path!r} holds arrays of any length; leave it out")
        labels = None if mask is None else as_labels(np.asarray(mask))
        size = self._stored_bytes(index) if self.look_first else 0
        if size or not self.write:
            found = self._check(values, index, size, labels)
            if not size and found.problems:  # without: the values are those that a missing chunk stands for
                found = replace(found, problems=(f"chunk {self._key(index)} is missing",))
            if not (self.write and found.problems):
                return found
        seconds = self._write(values, index, labels)
        outcome = self._check(values, index, self._stored_bytes(index), labels)
        if outcome.problems:
            raise BoundViolated(
                f"{self.array.path}, chunk {self._key(index)}: {'; '.join(outcome.problems)}; "
                "this is a bug in sciflow, please report it"
            )
        return replace(outcome, write_seconds=seconds)

    def _write(self, values: NDArray[Any], index: tuple[int, ...], labels: NDArray[np.int64] | None) -> float:
        if self.look_first:
            # Q: why delete? A: Zarr would read what is there to fill up a chunk at the edge.
            sync(self._place(index).delete())
        start = time.perf_counter()
        if labels is None and not self.aux:
            self.array[self._region(index)] = values
        else:
            stream = self._encode_beside(values, index) if labels is None else self._encode(values, labels)
            sync(self._place(index).set(default_buffer_prototype().buffer.from_bytes(stream)))
        return time.perf_counter() - start

    def _encode(self, values: NDArray[Any], labels: NDArray[np.int64]) -> bytes:
        """The chunk as Zarr would encode it, padded with its fill value, but for the regions."""
        assert isinstance(self.codec, SZ)
        assert self.regions is not None
        inside = tuple(slice(n) for n in values.shape)
        whole = np.full(self.array.chunks, math.nan, self.array.dtype)
        spread = np.full(self.array.chunks, np.iinfo(np.int64).min)
        whole[inside], spread[inside] = values, labels
        bounds = {
            label: promise.bound() if promise.value else None
            for label, promise in self.regions.promises().items()
        }
        return sz.encode(whole, self.codec.config, regions=sz.Regions(spread, bounds))

    def _encode_beside(self, values: NDArray[Any], index: tuple[int, ...]) -> bytes:
        """The chunk, padded, with what other variables decode to there."""
        assert isinstance(self.codec, GWLZ)
        chunk = self.array.chunks
        aux = [padded(np.asarray(other[self._region(index)]), chunk) for other in self.aux]
        whole = padded(values.astype(self.array.dtype, copy=False), chunk)
        return self.codec.encode_beside(whole, aux, fill_value=self.array.fill_value)

    def _check(
        self, values: NDArray[Any], index: tuple[int, ...], size: int, labels: NDArray[np.int64] | None
    ) -> ChunkOutcome:
        outcome = ChunkOutcome(bytes_in=_nbytes(values), bytes_out=size)
        start = time.perf_counter()
        try:
            stored = np.asarray(self.array[self._region(index)])
        except (SciflowError, ValueError, RuntimeError) as error:
            return replace(outcome, problems=(f"chunk {self._key(index)} cannot be read: {error}",))
        outcome = replace(outcome, read_seconds=time.perf_counter() - start)
        if self.resolved is None:
            changed = count_changed_bits(values, stored)
            problem = f"{changed} values are not bit for bit those of the original"
            return replace(outcome, problems=(problem,) if changed else ())
        if labels is not None:
            return self._check_regions(outcome, values, stored, labels)
        pointwise = self.resolved.kind == "pointwise_rel"
        stats = ErrorStats.measure(values, stored, preserve=self.preserve, pointwise=pointwise)
        return replace(outcome, stats=stats, problems=tuple(stats.broken_promises(self.resolved)))

    def _check_regions(
        self, outcome: ChunkOutcome, values: NDArray[Any], stored: NDArray[Any], labels: NDArray[np.int64]
    ) -> ChunkOutcome:
        assert self.resolved is not None
        assert self.regions is not None
        rest, regions = np.ones(labels.shape, np.bool_), list[tuple[int, ErrorStats]]()
        for label in self.regions.promises():
            here = labels == label
            rest &= ~here
            regions.append((label, ErrorStats.measure(values[here], stored[here], preserve=self.preserve)))
        elsewhere = ErrorStats.measure(values[rest], stored[rest], preserve=self.preserve)
        stats = ErrorStats.combine_all([elsewhere, *(part for _, part in regions)])
        problems = broken_regions(stats, elsewhere, regions, self.resolved, self.regions)
        return replace(
            outcome, stats=stats, elsewhere=elsewhere, regions=tuple(regions), problems=tuple(problems)
        )

    def _region(self, index: tuple[int, ...]) -> tuple[slice, ...]:
        return region_of(index, self.array.shards or self.array.chunks, self.array.shape)

    def _key(self, index: tuple[int, ...]) -> str:
        return self.array.metadata.encode_chunk_key(index)

    def _place(self, index: tuple[int, ...]) -> Any:
        return self.array.store_path / self._key(index)

    def _stored_bytes(self, index: tuple[int, ...]) -> int:
        place = self._place(index)
        try:
            return int(sync(place.store.getsize(place.path)))
        except FileNotFoundError:
            return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableOutcome:
    """What all chunks of a variable came to, summed in the order of the chunks so that it repeats exactly."""

    bytes_in: int
    bytes_out: int
    stats: ErrorStats | None
    problems: tuple[str, ...]
    written_bytes: int
    write_seconds: float
    read_seconds: float
    elsewhere: ErrorStats | None = None
    regions: tuple[tuple[int, ErrorStats], ...] = ()


def write_metadata(source: Source, plan: Plan, url: str) -> None:
    """Make every array of the store, with its attributes and codecs, and no chunk but those of text.

    Parameters
    ----------
    source : Source
        Whose attributes are copied.
    plan : Plan
        Codecs and chunks; resolved.
    url : str
        An empty Zarr v3 group.
    """
    mark = zarr.open_group(url, mode="r").attrs[INCOMPLETE]
    variables = {p.name: _template(source.variables[p.name], p) for p in plan.variables}
    dataset = xr.Dataset(
        {n: v for n, v in variables.items() if (n,) != v.dims},
        coords=xr.Coordinates({n: v for n, v in variables.items() if (n,) == v.dims}, indexes={}),
        attrs=dict(source.attrs) | {INCOMPLETE: mark},
    )
    encoding = {p.name: p.encoding() for p in plan.variables}
    dataset.to_zarr(
        url,
        mode="a",
        zarr_format=3,
        consolidated=False,
        encoding=encoding,
        compute=False,
        write_empty_chunks=True,
    )


def with_container(source: Source, version: str) -> Source:
    """Add the variable that describes the compression."""
    return replace(source, variables=dict(source.variables) | {CONTAINER: container(version)})


def chunk_tasks(
    plan: Sequence[VariablePlan],
    variables: Mapping[str, xr.Variable],
    url: str,
    *,
    write: bool,
    look_first: bool,
) -> tuple[list[Delayed], list[str]]:
    """Make a task for every chunk of every variable, and name the variable of each.

    Parameters
    ----------
    plan : sequence of VariablePlan
        What to write or check.
    variables : mapping of str to Variable
        The original values.
    url : str
        Of the store, with metadata.
    write, look_first : bool
        As for `ChunkTask`.
    """
    group = zarr.open_group(url, mode="r+" if write else "r")
    tasks: list[Delayed] = []
    owners: list[str] = []
    for p in plan:
        task = chunk_task(p, group, write=write, look_first=look_first)
        call = delayed(task, pure=False, traverse=False)
        stored = task.array.shards or task.array.chunks
        blocks = as_blocks(variables[p.name], stored)
        if p.regions is None:
            tasks += [call(block, index) for index, block in blocks]
        else:
            spread = mask_of(variables[p.name], variables[p.regions.mask])
            masks = [block for _, block in as_blocks(spread, stored)]
            tasks += [call(block, index, mask) for (index, block), mask in zip(blocks, masks, strict=True)]
        owners += [p.name] * len(blocks)
    return tasks, owners


def chunk_task(p: VariablePlan, group: zarr.Group, *, write: bool, look_first: bool) -> ChunkTask:
    """Make the task that handles any chunk, or shard, of a variable.

    Parameters
    ----------
    p : VariablePlan
        Of the variable.
    group : zarr.Group
        The store, with metadata.
    write, look_first : bool
        As for `ChunkTask`.
    """
    return ChunkTask(
        array=_array_of(group, p.name).with_config({"write_empty_chunks": True}),
        resolved=p.resolved,
        preserve=p.preserve,
        write=write and not p.is_text,
        look_first=look_first or p.is_text,
        codec=p.codec,
        regions=p.regions,
        aux=tuple(_array_of(group, name) for name in p.aux) if write else (),
    )


def _array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    member = group[name]
    assert isinstance(member, zarr.Array)
    return member


def gather(outcomes: Sequence[ChunkOutcome], owners: Sequence[str]) -> dict[str, VariableOutcome]:
    """Put the outcomes of a variable's chunks together; a variable without chunks is not in it."""
    grouped: dict[str, list[ChunkOutcome]] = {}
    for outcome, owner in zip(outcomes, owners, strict=True):
        grouped.setdefault(owner, []).append(outcome)
    return {name: _gather_one(parts) for name, parts in grouped.items()}


def finish(url: str, plan: Plan, outcomes: Mapping[str, VariableOutcome]) -> None:
    """Record what was reached, say that the store is whole, and consolidate its metadata."""
    group = zarr.open_group(url, mode="r+")
    for p in plan.variables:
        outcome = outcomes.get(p.name)
        if p.codec is None or outcome is None or outcome.stats is None:
            continue
        reached: dict[str, Any] = {
            MAX_ERROR: outcome.stats.max_abs_error,
            RATIO: outcome.bytes_in / outcome.bytes_out,
        }
        group[p.name].update_attributes(reached)
    if INCOMPLETE in group.attrs:
        del group.attrs[INCOMPLETE]
    with warnings.catch_warnings():
        # xarray warns when it opens a store without consolidated metadata, zarr when it writes them for v3.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        # models/<digest> is no array; readers of consolidated metadata never look.
        warnings.filterwarnings("ignore", message="Object at models", category=UserWarning)
        zarr.consolidate_metadata(url, zarr_format=3)


def store_bytes(url: str) -> int:
    """Every byte of a store."""
    return int(sync(zarr.open_group(url, mode="r").store.getsize_prefix("")))


def _template(variable: xr.Variable, plan: VariablePlan) -> xr.Variable:
    """The variable without its values, for `to_zarr` to make an array of."""
    attrs = variable.attrs
    if plan.bound is not None and plan.resolved is not None:
        attrs = without_provenance(attrs) | bound_attrs(plan.bound, plan.resolved)
        attrs |= region_attrs(plan.regions) if plan.regions else {}
    if plan.is_text:
        return xr.Variable(variable.dims, variable.values, attrs)
    data = da.zeros(variable.shape, dtype=plan.dtype, chunks=-1)
    keep = {} if "_FillValue" in attrs else {"_FillValue": None}
    return xr.Variable(variable.dims, data, attrs, encoding=keep)


def broken_regions(
    stats: ErrorStats,
    elsewhere: ErrorStats,
    regions: Sequence[tuple[int, ErrorStats]],
    resolved: Resolved,
    plan: RegionPlan,
) -> list[str]:
    """Say which promise does not hold: of the regions, of what is in none, of all cells together."""
    found = elsewhere.broken_promises(replace(resolved, mse=None))
    for label, part in regions:
        found += [f"region {label}: {problem}" for problem in part.broken_promises(plan.promises()[label])]
    together = Resolved("abs", math.inf, resolved.mse)
    return list(
        dict.fromkeys([*found, *(stats.broken_promises(together) if resolved.mse is not None else [])])
    )


def _nbytes(values: NDArray[Any]) -> int:
    """Bytes of the values; of text, in UTF-8."""
    return values.nbytes if values.dtype.kind != "O" else sum(len(str(v).encode()) for v in values.flat)


def _gather_one(parts: Sequence[ChunkOutcome]) -> VariableOutcome:
    stats = [part.stats for part in parts if part.stats is not None]
    rest = [part.elsewhere for part in parts if part.elsewhere is not None]
    return VariableOutcome(
        bytes_in=sum(part.bytes_in for part in parts),
        bytes_out=sum(part.bytes_out for part in parts),
        stats=ErrorStats.combine_all(stats) if stats else None,
        problems=tuple(dict.fromkeys(problem for part in parts for problem in part.problems)),
        written_bytes=sum(part.bytes_in for part in parts if part.write_seconds),
        write_seconds=sum(part.write_seconds for part in parts),
        read_seconds=sum(part.read_seconds for part in parts),
        elsewhere=ErrorStats.combine_all(rest) if rest else None,
        regions=_gather_regions(parts),
    )


def _gather_regions(parts: Sequence[ChunkOutcome]) -> tuple[tuple[int, ErrorStats], ...]:
    found: dict[int, list[ErrorStats]] = {}
    for label, stats in (region for part in parts for region in part.regions):
        found.setdefault(label, []).append(stats)
    return tuple((label, ErrorStats.combine_all(stats)) for label, stats in found.items())
