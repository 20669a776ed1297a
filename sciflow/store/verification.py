"""Checking a store against its original, and saying what is in one: all is read again, nothing is believed.

```
original ─ blocks ─┐
                   ├─ compare ─▶ error reached ─▶ within the bound asked? within the bound recorded?
store ─── chunks ──┘
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ShardingCodec

from sciflow.bounds import Resolved, ValueRange, promise
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.metrics import ErrorStats
from sciflow.store.conventions import CONTAINER, MAX_ERROR, recorded_bound, without_provenance
from sciflow.store.plan import VariablePlan, native_dtype, sentinels_of
from sciflow.store.regions import recorded_regions
from sciflow.store.results import RegionRow, Report, Row, megabytes_a_second
from sciflow.store.running import Runner, progress_bar
from sciflow.store.source import Source, open_variables
from sciflow.store.write import VariableOutcome, broken_regions, chunk_tasks, gather, store_bytes

__all__ = ["check_store", "codec_of", "describe_store", "planned_row", "row"]


def check_store(source: Source, store: str, *, run: Runner, progress: bool | None) -> Report:
    """Compare every value of a store with its original.

    Parameters
    ----------
    source : Source
        The original.
    store : str
        Path or URL.
    run : Runner
        What computes.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Raises
    ------
    StoreError, InvalidArgument, FileNotFoundError
        If the store is half-written, or none.
    """
    with open_variables(store) as dataset:
        stored = {str(name): v for name, v in dataset.variables.items()}
    group = zarr.open_group(store, mode="r")
    plans = [
        _promised(name, v, stored.get(name), group)
        for name, v in source.variables.items()
        if name != CONTAINER
    ]
    faults = {p.name: _mismatch(source.variables[p.name], stored.get(p.name), p) for p in plans}
    for p in plans:
        if p.regions is not None and p.regions.mask not in {**stored, **source.variables}:
            faults[p.name].append(f"the mask of its regions, {p.regions.mask!r}, is not in the store")
    readable = [p for p in plans if not faults[p.name]]
    with progress_bar("verify", sum(p.nbytes for p in readable), show=progress) as advance:
        originals = stored | dict(source.variables)  # the store's own masks where the original has none
        tasks, owners = chunk_tasks(readable, originals, store, write=False, look_first=True)
        outcomes = gather(run(tasks, lambda outcome: advance(outcome.bytes_in)), owners)
    for name, found in faults.items():
        found += _lost_attributes(source.variables[name], stored.get(name))
    rows = [_verified(p, outcomes.get(p.name), faults[p.name]) for p in plans]
    return Report(
        action="verify", source=source.name, store=store, rows=tuple(rows), store_bytes=store_bytes(store)
    )


def describe_store(store: str) -> Report:
    """Say what is in a store from its metadata and the sizes of its chunks; reads no value.

    Parameters
    ----------
    store : str
        Path or URL.

    Raises
    ------
    StoreError, InvalidArgument, FileNotFoundError
        If the store is half-written, or none.
    """
    with open_variables(store) as dataset:
        stored = {str(name): v for name, v in dataset.variables.items()}
    group = zarr.open_group(store, mode="r")
    rows = [
        _described(_promised(name, v, v, group), v, group) for name, v in stored.items() if name != CONTAINER
    ]
    return Report(action="inspect", source="", store=store, rows=tuple(rows), store_bytes=store_bytes(store))


def planned_row(plan: VariablePlan) -> Row:
    """The row of a variable of which nothing is measured yet."""
    return Row(
        variable=plan.name,
        codec=plan.codec_name,
        dtype=str(plan.dtype),
        shape=plan.shape,
        chunks=plan.chunks,
        bound=plan.bound,
        reason=plan.reason,
        bound_abs=plan.resolved.value if plan.resolved else None,
        bytes_in=plan.nbytes,
        regions=_region_rows(plan),
    )


def row(plan: VariablePlan, outcome: VariableOutcome | None) -> Row:
    """The row of a variable whose chunks were read back and compared."""
    known = planned_row(plan)
    if outcome is None:
        return replace(known, bytes_out=0)
    known = replace(
        known,
        bytes_in=outcome.bytes_in,
        bytes_out=outcome.bytes_out,
        compress_mb_s=megabytes_a_second(outcome.written_bytes, [outcome.write_seconds]),
        decompress_mb_s=megabytes_a_second(outcome.bytes_in, [outcome.read_seconds]),
        problems=outcome.problems,
    )
    if plan.resolved is None or outcome.stats is None:
        return known
    known = replace(known, **_errors(plan.resolved, outcome.stats))
    if plan.regions is None:
        return known
    known = replace(known, regions=_region_rows(plan, dict(outcome.regions)))
    return replace(known, over_bound=_worst(plan, outcome))


def _region_rows(plan: VariablePlan, stats: Mapping[int, ErrorStats] | None = None) -> tuple[RegionRow, ...]:
    if plan.regions is None or not plan.regions.values:
        return ()
    rows = []
    for (label, bound), held in zip(plan.regions.asked, plan.regions.promises().values(), strict=True):
        region = RegionRow(label=label, bound=bound, bound_abs=held.value)
        if stats is not None:
            found = stats.get(label, ErrorStats())
            region = replace(
                region, cells=found.ordinary, max_error=found.max_abs_error, over_bound=found.over_bound(held)
            )
        rows.append(region)
    return tuple(rows)


def _worst(plan: VariablePlan, outcome: VariableOutcome) -> float:
    assert plan.regions is not None
    assert plan.resolved is not None
    promises = plan.regions.promises()
    parts = [(stats, promises[label]) for label, stats in outcome.regions]
    if outcome.elsewhere is not None:
        parts.append((outcome.elsewhere, plan.resolved))
    return max(stats.over_bound(held) for stats, held in parts)


def _errors(resolved: Resolved, stats: ErrorStats) -> dict[str, Any]:
    return {
        "max_error": stats.max_abs_error if resolved.kind == "abs" else stats.max_pointwise_error,
        "over_bound": stats.over_bound(resolved),
        "rmse": stats.rmse,
        "psnr": stats.psnr,
    }


def _promised(
    name: str, variable: xr.Variable, stored: xr.Variable | None, group: zarr.Group
) -> VariablePlan:
    """What a store says of a variable: the bound in its attributes, or else in its codec."""
    dtype = native_dtype(variable)
    array = group.get(name)
    codec = codec_of(array)
    plan = VariablePlan(
        name=name,
        dims=tuple(str(d) for d in variable.dims),
        shape=variable.shape,
        chunks=array.chunks if isinstance(array, zarr.Array) else (),
        shards=array.shards if isinstance(array, zarr.Array) else None,
        dtype=dtype,
        codec=codec,
    )
    recorded = recorded_bound(stored.attrs) if stored is not None else None
    bound = recorded[0] if recorded else codec.promise if codec else None
    if bound is None:
        return plan
    exact = recorded[1] if recorded else None
    known = promise(bound, ValueRange())
    if bound.kind not in ("abs", "pointwise_rel"):
        # Q: and if nothing is recorded? A: a codec with a rel bound of its own promised it of each chunk.
        known = Resolved("abs", exact if exact is not None else math.inf)
    return replace(
        plan,
        bound=bound,
        resolved=known,
        preserve=sentinels_of(variable.attrs, dtype),
        regions=recorded_regions(stored.attrs) if stored is not None else None,
    )


def codec_of(array: Any) -> SZ | GWLZ | AESZ | None:
    """Our codec of an array, in its shards where it has some."""
    codecs = (
        array.metadata.codecs if isinstance(array, zarr.Array) and array.metadata.zarr_format == 3 else ()
    )
    codecs = next((codec.codecs for codec in codecs if isinstance(codec, ShardingCodec)), codecs)
    return next((codec for codec in codecs if isinstance(codec, SZ | GWLZ | AESZ)), None)


def _mismatch(original: xr.Variable, stored: xr.Variable | None, plan: VariablePlan) -> list[str]:
    """Why the values cannot be compared; empty where they can."""
    if stored is None:
        return ["is not in the store"]
    if stored.shape != original.shape or stored.dims != original.dims:
        return [f"has {_sizes(stored)} in the store, {_sizes(original)} in the original"]
    if native_dtype(stored) != plan.dtype:
        return [f"is {stored.dtype} in the store, {plan.dtype} in the original"]
    return []


def _lost_attributes(original: xr.Variable, stored: xr.Variable | None) -> list[str]:
    if stored is None:
        return []
    kept, wanted = without_provenance(stored.attrs), without_provenance(original.attrs)
    lost = [key for key in wanted if key not in kept or not _same(kept[key], wanted[key])]
    return [f"attribute {key!r} was not kept" for key in lost]


def _verified(plan: VariablePlan, outcome: VariableOutcome | None, faults: list[str]) -> Row:
    known = row(plan, outcome)
    problems = [*faults, *known.problems]
    if plan.bound is not None and outcome is not None and outcome.stats is not None:
        asked = promise(plan.bound, outcome.stats.value_range)
        problems += [p for p in _broken(plan, outcome, asked) if p not in problems]
        if plan.resolved is not None and plan.resolved.kind == "abs" and math.isinf(plan.resolved.value):
            known = replace(known, bound_abs=asked.value, **_errors(asked, outcome.stats))
    return replace(known, problems=tuple(problems))


def _broken(plan: VariablePlan, outcome: VariableOutcome, asked: Resolved) -> list[str]:
    """Promises that do not hold once they are resolved anew."""
    assert outcome.stats is not None
    if plan.regions is None or outcome.elsewhere is None:
        return outcome.stats.broken_promises(asked)
    regions = plan.regions.resolved(outcome.stats.value_range)
    return broken_regions(outcome.stats, outcome.elsewhere, outcome.regions, asked, regions)


def _described(plan: VariablePlan, stored: xr.Variable, group: zarr.Group) -> Row:
    array = group[plan.name]
    assert isinstance(array, zarr.Array)
    metadata = sum(len(buffer) for buffer in array.metadata.to_buffer_dict(_prototype()).values())
    reached = stored.attrs.get(MAX_ERROR)
    known = replace(planned_row(plan), bytes_out=max(0, array.nbytes_stored() - metadata))
    if reached is None or plan.resolved is None or plan.resolved.kind != "abs":
        return known
    over = reached / plan.resolved.value if plan.resolved.value else None
    return replace(known, max_error=reached, over_bound=over)


def _prototype() -> Any:
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype()


def _sizes(variable: xr.Variable) -> Mapping[str, int]:
    return {str(dim): size for dim, size in variable.sizes.items()}


def _same(a: Any, b: Any) -> bool:
    """Whether two attributes say the same; JSON has one kind of list and float only."""
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype.kind in "fiub" and y.dtype.kind in "fiub":
        x, y = x.reshape(-1), y.reshape(-1)
        return x.shape == y.shape and bool(np.array_equal(x, y, equal_nan=True))
    return bool(np.array_equal(x.reshape(-1).astype(str), y.reshape(-1).astype(str)))
