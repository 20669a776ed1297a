"""Files and datasets in, verified stores out, and back.

```
compress(file or Dataset) ─▶ store.partial ─▶ store        every chunk read back and compared
open(store) ─▶ Dataset        verify(original, store) ─▶ Report        decompress(store, file.nc)
encoding(Dataset) ─▶ what Dataset.to_zarr takes
```
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import xarray as xr

from sciflow.codecs.sz import Level
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.errors import InvalidArgument, StoreError
from sciflow.store.beside import read_models
from sciflow.store.conventions import CONTAINER
from sciflow.store.jobs import begin, complete, plan_source
from sciflow.store.plan import BoundLike, Plan, RegionsLike, make_plan, make_request, resolve_plan
from sciflow.store.results import RegionRow, Report, Row
from sciflow.store.running import Runner, open_runner, progress_bar
from sciflow.store.source import Source, is_consolidated, open_source
from sciflow.store.staging import Staging, check_target, open_staging, room_for
from sciflow.store.verification import check_store, describe_store, planned_row
from sciflow.store.write import VariableOutcome, chunk_tasks, gather

__all__ = ["RegionRow", "Report", "Row", "compress", "decompress", "encoding", "inspect", "open", "verify"]

_CF_ENCODING = (
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "dtype",
    "_Unsigned",
    "units",
    "calendar",
    "coordinates",
    "grid_mapping",
)
"""``to_zarr(encoding=...)`` replaces a variable's encoding, so these are handed on with ours."""


def compress(
    data: xr.Dataset | str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    bound: BoundLike = None,
    per_variable: Mapping[str, BoundLike] | None = None,
    regions: Mapping[str, RegionsLike] | None = None,
    enhance: bool = False,
    aux: Mapping[str, Sequence[str]] | None = None,
    model: str | None = None,
    level: Level = "balanced",
    chunks: Mapping[str, int] | str | None = None,
    shards: Mapping[str, int] | str | None = None,
    rewrite_safe: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: bool | None = None,
    dry_run: bool = False,
) -> Report:
    """Write a Zarr v3 store in which every value is within its bound, and say what was reached.

    Floating-point fields are compressed; coordinates, cell bounds and measures, formula terms, integers
    (packed ones too), text and times keep every bit. Fill values stay fill values. The store gets its name
    when every chunk has been read back and compared; until then it is ``<store>.partial``, and the same call
    goes on from there. A store that exists is left alone.

    Parameters
    ----------
    data : Dataset or path or URL
        What to compress: anything that xarray opens. It may be larger than memory.
    store : path or URL
        The Zarr store to make. A URL (``s3://...``) is written in place and marked as unfinished until it is
        whole.
    bound : Bound or str, optional
        For every field: ``Bound.rel(1e-3)`` or ``"rel:1e-3"``. Relative bounds refer to the range of the
        whole variable; a target (``"ratio:20"``, ``"nbytes:1e6"``, ``"psnr:70"``) becomes one absolute bound
        a variable, found on up to 8 of its chunks. Without it only the variables in `per_variable` are
        compressed.
    per_variable : mapping of str to Bound or str or None, optional
        Bounds by name; None or ``"lossless"`` keeps every bit.
    regions : mapping of str to (mask, mapping of int to Bound or str or None), optional
        Variables of which parts have bounds of their own: a mask (a DataArray of labels or booleans with some
        of the variable's dimensions, or the name of a variable of `data`) and a bound for each of its
        labels, 1 for True. The other cells keep the variable's own bound. The mask is stored too.
    model : str, optional
        Predict blocks with a model, by digest, file or name in the catalogue, where that is smaller (AESZ).
        It is carried in the metadata where it is small, else under ``models/<digest>`` of the store.
        Variables with a relative bound for each value or with regions stay with SZ.
    level : {"fast", "quick", "balanced", "max"}
        Bytes against seconds. The bound never changes with it.
    chunks : mapping of str to int, or str, optional
        Chunk sizes by dimension (``{"lat": 64}`` or ``"lat=64,lon=64"``, -1 for all of it). By default whole
        slabs of about 8 MB in step with the chunks of the source; set it to the way in which you read.
    shards : mapping of str to int, or str, optional
        Sizes of the files of the store by dimension, in cells: each holds so many whole chunks, which are
        still read one by one. For stores of more chunks than a file system likes to have files.
    rewrite_safe : bool
        Make it safe to write parts of chunks later. Costs ratio on smooth fields; leave it off for archives.
    enhance : bool
        Wrap SZ in GWLZ: the same bounds, a smaller mean square error where that is worth its bytes. One
        enhancer is fitted for each variable on some of its chunks and kept in the metadata; chunks may have
        their own.
        Variables with a relative bound for each value or with regions stay with SZ.
    aux : mapping of str to sequence of str, optional
        Variables that are enhanced with the help of up to 3 others, by name: ``{"t": ["u", "v"]}``. Those
        have the same dimensions and no others themselves; they are written first, and what they decode to is
        read whenever the variable is, by any program that reads the store. A chunk names what it needs by
        checksum: others that were changed later are an error.
    workers : int, optional
        Processes of a Dask cluster on this machine. By default Dask's threads, or the client that is active.
    overwrite : bool
        Replace a Zarr store, or drop a half-written one of another request. The old one goes when the new is
        whole.
    resume : bool
        Go on from a half-written store of the same request; False begins anew.
    progress : bool, optional
        Show a bar on standard error; by default if that is a terminal.
    dry_run : bool
        Only plan: resolves the bounds and writes nothing.

    Returns
    -------
    Report
        A row for each variable, measured on what was written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidArgument
        If it is no field file, no bound was given, or one was given for a variable that takes none.
    StoreError
        If the store exists, cannot be written, or there is no room; what was written is kept for the next
        call.
    BoundViolated
        If what was read back breaks a promise: a bug.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> field = xr.DataArray(np.sin(np.linspace(0, 9, 4000)).reshape(40, 100), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = compress(field.to_dataset(name="t"), folder + "/t.zarr", bound="abs:1e-3")
    >>> report["t"].max_error <= 1e-3
    True
    """
    started = time.perf_counter()
    target = os.fspath(store)
    request = make_request(
        bound=bound,
        per_variable=per_variable,
        level=level,
        chunks=chunks,
        rewrite_safe=rewrite_safe,
        regions=regions,
        enhance=enhance,
        aux=aux,
        model=model,
        shards=shards,
    )
    check_target(target, overwrite=overwrite or dry_run, source=data)
    with open_source(data) as source, open_runner(workers) as run:
        source, plan = plan_source(source, request, run=run, progress=progress)
        if dry_run:
            rows = tuple(planned_row(p) for p in plan.variables if p.name != CONTAINER)
            return Report(action="plan", source=source.name, store=target, rows=rows)
        with (
            room_for(target),
            open_staging(target, digest=plan.digest(), overwrite=overwrite, resume=resume) as staging,
        ):
            rows, nbytes = _write(source, plan, staging, run=run, progress=progress)
    seconds = time.perf_counter() - started
    return Report(
        action="compress", source=source.name, store=target, rows=rows, store_bytes=nbytes, seconds=seconds
    )


def open(store: str | os.PathLike[str]) -> xr.Dataset:  # noqa: A001 - sciflow.open reads well
    """Open a whole store lazily, decoded as xarray decodes it.

    Variables forget the codec they were read with, so that saving them again loses nothing more. One that was
    compressed with the help of others (`aux`) reads their chunks beside its own; AuxMismatch if they changed.

    Parameters
    ----------
    store : path or URL
        What `compress` made, or another Zarr store.

    Raises
    ------
    StoreError
        If the store is half-written.
    FileNotFoundError, InvalidArgument
        If there is none.
    """
    path = os.fspath(store)
    dataset: xr.Dataset = xr.open_zarr(path, consolidated=is_consolidated(path))
    sharded = [v.encoding.get("serializer") for v in dataset.variables.values() if v.encoding.get("shards")]
    read_models(path, [codec.config.model for codec in sharded if isinstance(codec, AESZ)])
    for variable in dataset.variables.values():
        if isinstance(variable.encoding.get("serializer"), SZ | GWLZ | AESZ):
            for key in ("serializer", "compressors", "filters"):
                variable.encoding.pop(key, None)
    return dataset


def verify(
    original: xr.Dataset | str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> Report:
    """Compare every value, attribute and dimension of a store with its original.

    Bounds are resolved anew from the original, errors are measured anew from the store; a relative bound must
    also agree with what the store recorded.

    Parameters
    ----------
    original : Dataset or path or URL
        What was compressed.
    store : path or URL
        What it was compressed to.
    workers, progress
        As for `compress`.

    Returns
    -------
    Report
        ``report.ok`` is False, and ``problems`` of a row say why, where a promise does not hold.

    Raises
    ------
    StoreError, FileNotFoundError, InvalidArgument
        If one of the two cannot be opened, or the store is half-written.
    """
    started = time.perf_counter()
    with open_source(original) as source, open_runner(workers) as run:
        report = check_store(source, os.fspath(store), run=run, progress=progress)
    return replace(report, seconds=time.perf_counter() - started)


def inspect(store: str | os.PathLike[str]) -> Report:
    """Say what a store holds: codec, bound, chunks, ratio, recorded error of each variable; reads no value.

    Parameters
    ----------
    store : path or URL
        A Zarr store.

    Raises
    ------
    StoreError, FileNotFoundError, InvalidArgument
        If there is none, or it is half-written.
    """
    return describe_store(os.fspath(store))


def encoding(
    dataset: xr.Dataset,
    *,
    bound: BoundLike = None,
    per_variable: Mapping[str, BoundLike] | None = None,
    level: Level = "balanced",
    chunks: Mapping[str, int] | str | None = None,
    rewrite_safe: bool = False,
) -> dict[str, dict[str, Any]]:
    """Give ``Dataset.to_zarr`` the encoding that `compress` would use, bounds resolved over whole variables.

    One pass over the data for ``rel`` and ``psnr``. Write whole chunks only (``region=`` and ``append_dim=``
    on chunk borders), or set `rewrite_safe`: Zarr encodes a chunk again when a part of it is written, and the
    error then grows. ``ds.sciflow.write_region`` checks that. Variables with `aux` need `compress`, which
    writes the others first. What `compress` does besides (reading back,
    provenance, resuming, renaming at the end) ``to_zarr`` does not.

    Parameters
    ----------
    dataset : Dataset
        What will be written. A variable that is chunked by Dask keeps these chunks, unless `chunks` says
        otherwise.
    bound, per_variable, level, chunks, rewrite_safe
        As for `compress`.

    Returns
    -------
    dict
        For ``ds.to_zarr(path, zarr_format=3, encoding=...)``.

    Raises
    ------
    InvalidArgument
        As for `compress`.

    Examples
    --------
    >>> import numpy as np
    >>> ds = xr.Dataset({"t": ("x", np.linspace(0.0, 10.0, 100, dtype="f4"))})
    >>> encoding(ds, bound="rel:1e-3")["t"]["serializer"]
    SZ(Bound.abs(0.01))
    """
    request = make_request(
        bound=bound, per_variable=per_variable, level=level, chunks=chunks, rewrite_safe=rewrite_safe
    )
    with open_source(dataset) as source, open_runner(None) as run:
        plan = resolve_plan(
            make_plan(source, request, version=_version()), source.variables, request, run=run
        )
    found: dict[str, dict[str, Any]] = {}
    for p in plan.variables:
        variable = dataset.variables[p.name]
        ours = p.encoding()
        if variable.chunks is not None and not set(p.dims) & set(request.chunks):
            ours["chunks"] = tuple(sizes[0] for sizes in variable.chunks)
        found[p.name] = {k: variable.encoding[k] for k in _CF_ENCODING if k in variable.encoding} | ours
    return found


def decompress(
    store: str | os.PathLike[str],
    netcdf: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a store back to a NetCDF-4 file with the attributes, fill values and packing of the source.

    Values are those of the store: within the bound, which the attributes still name. It may be larger than
    memory.

    Parameters
    ----------
    store : path or URL
        What `compress` made.
    netcdf : path
        The file to make; it gets its name when it is whole.
    overwrite : bool
        Whether to replace a file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        If the store is half-written, or the file exists or cannot be written.
    FileNotFoundError, InvalidArgument
        If there is no such store, or a variable is of a type that NetCDF has not.
    """
    target = Path(netcdf)
    if target.exists() and not overwrite:
        raise StoreError(
            f"{target}: exists already; choose another name, or pass overwrite=True (--overwrite)"
        )
    if not target.parent.is_dir():
        raise StoreError(f"{target}: there is no folder {target.parent.resolve()}; make it first")
    with open_source(os.fspath(store)) as source, room_for(os.fspath(target)):
        variables = {name: _for_netcdf(name, v) for name, v in source.variables.items()}
        dataset = xr.Dataset(
            coords=xr.Coordinates(variables, indexes={}), attrs=dict(source.attrs)
        ).reset_coords()
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            unfinished = Path(folder, "unfinished.nc")
            dataset.to_netcdf(unfinished, engine="netcdf4", format="NETCDF4")
            unfinished.replace(target)
    return target


def _write(
    source: Source, plan: Plan, staging: Staging, *, run: Runner, progress: bool | None
) -> tuple[tuple[Row, ...], int]:
    begin(source, plan, staging)
    with progress_bar("compress", sum(p.nbytes for p in plan.variables), show=progress) as advance:
        outcomes = dict[str, VariableOutcome]()
        for needs_others in (False, True):  # whose decoded chunks have to be there
            part = [p for p in plan.variables if bool(p.aux) is needs_others]
            tasks, owners = chunk_tasks(
                part, source.variables, staging.url, write=True, look_first=staging.resumed
            )
            outcomes |= gather(run(tasks, lambda outcome: advance(outcome.bytes_in)), owners)
    rows, nbytes = complete(plan, staging, outcomes)
    staging.commit()
    return rows, nbytes


def _for_netcdf(name: str, variable: xr.Variable) -> xr.Variable:
    if variable.dtype.kind == "c" or variable.dtype == "float16":
        raise InvalidArgument(
            f"variable {name!r} is {variable.dtype}, which NetCDF has not; read the store instead"
        )
    lazy = (
        variable
        if variable.dtype.kind == "O"
        else variable.chunk(variable.encoding.get("preferred_chunks", {}))
    )
    keep = {} if "_FillValue" in variable.attrs else {"_FillValue": None}
    return xr.Variable(lazy.dims, lazy.data, variable.attrs, encoding=keep)


def _version() -> str:
    return metadata.version("sciflow")
