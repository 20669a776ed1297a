"""A store that many processes write: one plans, any number write pieces, one finishes.

```
open_job ─ plan, metadata, notes/plan.json ─▶ Job.pieces() ─▶ write_piece(job.handle, piece)  in any process
                                                  outcomes of all pieces ─▶ complete ─▶ commit
```
A piece is what one file (or object) of the store holds: a chunk, or a shard of many. No two pieces share a
file, so processes need no lock and lose no value. What is written depends neither on who writes it nor on the
order.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import LocalStore

from sciflow.codecs.siblings import region_of
from sciflow.errors import InvalidArgument, SourceChanged, StoreError
from sciflow.store.beside import write_models
from sciflow.store.conventions import CONTAINER
from sciflow.store.plan import Plan, Request, VariablePlan, make_plan, resolve_plan
from sciflow.store.records import plan_from_json, plan_to_json, request_to_json
from sciflow.store.regions import mask_of, with_masks
from sciflow.store.results import Row
from sciflow.store.running import Runner
from sciflow.store.source import Source, open_source
from sciflow.store.staging import Staging, check_target, mark_written_metadata, open_staging, staged
from sciflow.store.verification import row
from sciflow.store.write import (
    ChunkOutcome,
    ChunkTask,
    VariableOutcome,
    chunk_task,
    finish,
    gather,
    store_bytes,
    with_container,
    write_metadata,
)

__all__ = [
    "Handle",
    "Job",
    "Piece",
    "begin",
    "check_alignment",
    "complete",
    "gathered",
    "join_job",
    "open_job",
    "pieces_of",
    "plan_source",
    "release",
    "settings_key",
    "write_piece",
]

_PLAN = "plan.json"


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """What one file of a store holds.

    Parameters
    ----------
    variable : str
        Name of the array.
    index : tuple of int
        In its grid of chunks, or of shards where it has some.

    Examples
    --------
    >>> Piece.parse(Piece("sst", (3, 0, 1)).name)
    Piece(variable='sst', index=(3, 0, 1))
    """

    variable: str
    index: tuple[int, ...]

    @property
    def name(self) -> str:
        """For people and manifests."""
        return f"{self.variable}/{'.'.join(map(str, self.index))}"

    @classmethod
    def parse(cls, name: str) -> Piece:
        """Read what `name` says."""
        variable, _, index = name.rpartition("/")
        return cls(variable, tuple(int(part) for part in index.split(".") if part))


@dataclass(frozen=True, slots=True)
class Handle:
    """All that a process needs to write pieces: a few strings, which travel with every task.

    Parameters
    ----------
    url : str
        The half-written store.
    notes : str
        Folder with the plan; every process must see it.
    digest : str
        Of the plan.
    """

    url: str
    notes: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A store under way.

    Parameters
    ----------
    source, target : str
        What is read; the store when it is whole.
    key : str
        Of the settings, see `settings_key`.
    handle : Handle
        For the processes that write.
    plan : Plan
        Resolved.
    staging : Staging or None
        None in a process that only writes pieces.
    """

    source: str
    target: str
    key: str
    handle: Handle
    plan: Plan
    staging: Staging | None = None

    def stages(self) -> list[list[Piece]]:
        """Every piece, in the order of the store; those of a stage need all of the stages before."""
        first = [piece for p in self.plan.variables if not p.aux for piece in pieces_of(p)]
        then = [piece for p in self.plan.variables if p.aux for piece in pieces_of(p)]
        return [stage for stage in (first, then) if stage]

    def stored_bytes(self, piece: Piece) -> int | None:
        """Size of a piece's file; None where there is none, or at a URL."""
        path = _file_of(_open(self.handle).task(piece.variable), piece.index)
        return path.stat().st_size if path is not None and path.exists() else None


def settings_key(source: Mapping[str, Any], request: Request) -> str:
    """SHA-256 of what decides the bytes of a store and is known before any value is read.

    Parameters
    ----------
    source : mapping
        Identity of the source, see `Source`.
    request : Request
        What was asked for.
    """
    told = {"version": _version(), "source": dict(source), "request": request_to_json(request)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def plan_source(
    source: Source, request: Request, *, run: Runner, progress: bool | None = False
) -> tuple[Source, Plan]:
    """Plan every variable and resolve its bound over all of its values.

    Returns
    -------
    Source
        With the variables that the store has besides: masks, and the one that describes the compression.
    Plan
        Resolved.
    """
    version = _version()
    source, regions = with_masks(source, request.regions)
    plan = make_plan(source, request, version=version, regions=regions)
    if any(p.bound for p in plan.variables):
        source = with_container(source, version)
        plan = make_plan(source, request, version=version, regions=regions)
    return source, resolve_plan(plan, source.variables, request, run=run, progress=progress)


def begin(source: Source, plan: Plan, staging: Staging) -> None:
    """Make all arrays of a store, unless a run before has, and the models that its codecs need."""
    if not staging.resumed:
        write_metadata(source, plan, staging.url)
        mark_written_metadata(staging.url, plan.digest())
    write_models(staging.url, plan)


def complete(
    plan: Plan, staging: Staging, outcomes: Mapping[str, VariableOutcome]
) -> tuple[tuple[Row, ...], int]:
    """Record in the store what was reached; it is whole then, and only lacks its name (`Staging.commit`).

    Returns
    -------
    tuple of Row
        Of every variable.
    int
        Bytes of the store.

    Raises
    ------
    StoreError
        If text, which is not written chunk by chunk, is damaged.
    """
    damaged = [f"{name}: {problem}" for name, o in outcomes.items() for problem in o.problems]
    if damaged:
        raise StoreError(f"{staging.url}: {damaged[0]}; begin anew with resume=False (--no-resume)")
    finish(staging.url, plan, outcomes)
    rows = tuple(row(p, outcomes.get(p.name)) for p in plan.variables if p.name != CONTAINER)
    return rows, store_bytes(staging.url)


@contextmanager
def open_job(
    data: str | os.PathLike[str],
    store: str | os.PathLike[str],
    request: Request,
    *,
    run: Runner,
    notes: Path | None = None,
    overwrite: bool = False,
    resume: bool = True,
) -> Iterator[Job]:
    """Plan a store, or find the half-written one of the same request, and hold it for as long as needed.

    A plan that is found is not made again: bounds that refer to the range of the data cost one pass, once.

    Parameters
    ----------
    data, store : path or URL
        As for `sciflow.compress`.
    request : Request
        What is asked for; masks of regions by name.
    run : Runner
        What reads the values that the plan needs.
    notes : Path, optional
        Folder that all processes see, for a store at a URL; a path has its own.
    overwrite, resume : bool
        As for `sciflow.compress`.

    Raises
    ------
    FileNotFoundError, InvalidArgument, StoreError
        As `sciflow.compress`; InvalidArgument also for a URL without `notes`.
    """
    target = os.fspath(store)
    if "://" in target and notes is None:
        raise InvalidArgument(f"{target}: a store at a URL needs a folder for notes that all workers see")
    check_target(target, overwrite=overwrite, source=data)
    with open_source(data) as source:
        key = settings_key(source.identity, request)
        beside = Path(target).resolve()
        found = notes or beside.with_name(beside.name + ".partial") / "notes"
        plan = _recorded_plan(found, key) if resume else None
        if plan is None:
            source, plan = plan_source(source, request, run=run)
        elif any(p.name == CONTAINER for p in plan.variables):
            source = with_container(source, plan.version)
        digest = plan.digest()
        with open_staging(target, digest=digest, overwrite=overwrite, resume=resume) as staging:
            folder = staging.notes or found
            if not staging.resumed:
                shutil.rmtree(folder, ignore_errors=True)
            begin(source, plan, staging)
            _record_plan(folder, key, plan, data=os.fspath(data))
            handle = Handle(staging.url, str(folder), digest)
            yield Job(source=source.name, target=target, key=key, handle=handle, plan=plan, staging=staging)


@contextmanager
def join_job(store: str | os.PathLike[str]) -> Iterator[Job]:
    """Write pieces of a store that `open_job` of another process has begun, beside any number of others.

    Raises
    ------
    StoreError
        If there is none, or a process is beginning or finishing it.
    """
    with staged(os.fspath(store)) as (half, notes):
        told = _read_plan(notes)
        if told is None:
            raise StoreError(f"{notes / _PLAN}: no plan to take part in; begin the store again")
        plan = plan_from_json(told["plan"])
        handle = Handle(str(half), str(notes), plan.digest())
        yield Job(source=told["data"], target=os.fspath(store), key=told["key"], handle=handle, plan=plan)


def gathered(job: Job, outcomes: Mapping[Piece, ChunkOutcome]) -> dict[str, VariableOutcome]:
    """Put the outcomes of all pieces together in the order of the store, so that sums repeat exactly."""
    pieces = [piece for stage in job.stages() for piece in stage]
    return gather([outcomes[piece] for piece in pieces], [piece.variable for piece in pieces])


def pieces_of(p: VariablePlan) -> list[Piece]:
    """Every piece of a variable; none of an empty one.

    Raises
    ------
    StoreError
        If its shards are not whole chunks: two processes would write one file, and lose values.
    """
    check_alignment(p)
    if not math.prod(p.shape):
        return []
    grid = tuple(math.ceil(n / size) for n, size in zip(p.shape, p.stored, strict=True)) if p.shape else ()
    return [Piece(p.name, index) for index in np.ndindex(grid)]


def check_alignment(p: VariablePlan, array: zarr.Array[Any] | None = None) -> None:
    """Refuse pieces that are not whole files of the store.

    Parameters
    ----------
    p : VariablePlan
        Whose `stored` is the shape of a piece.
    array : zarr.Array, optional
        The array as it is in the store.

    Raises
    ------
    StoreError
        If a shard is not whole chunks, or the array has other files than the plan.
    """
    if any(size % chunk for size, chunk in zip(p.stored, p.chunks, strict=True)):
        raise StoreError(f"variable {p.name!r}: shards of {p.stored} are not whole chunks of {p.chunks}")
    there = None if array is None else array.shards or array.chunks
    if there is not None and there != p.stored:
        raise StoreError(
            f"variable {p.name!r}: its files hold {there} cells, pieces of {p.stored} would share them and "
            "lose values; begin the store again"
        )


def write_piece(handle: Handle, piece: Piece) -> tuple[ChunkOutcome, str]:
    """Write one piece, read it back and compare; where it is there and good it is only compared.

    Parameters
    ----------
    handle : Handle
        Of the store.
    piece : Piece
        Which.

    Returns
    -------
    ChunkOutcome
        What it came to.
    str
        SHA-256 of its file, which is on disk then; empty at a URL.

    Raises
    ------
    SourceChanged
        If the source is not the one that was planned.
    BoundViolated, OSError, InvalidArgument
        As `sciflow.compress`.
    """
    opened = _open(handle)
    task = opened.task(piece.variable)
    p = opened.plans[piece.variable]
    region = region_of(piece.index, p.stored, p.shape)
    values = opened.variables[p.name][region].values
    labels = None
    if p.regions is not None:
        spread = mask_of(opened.variables[p.name], opened.variables[p.regions.mask])
        labels = spread[region].values
    outcome = task(values, piece.index, labels)
    path = _file_of(task, piece.index)
    return outcome, "" if path is None or not path.exists() else _synced_sha256(path)


def release() -> None:
    """Close what `write_piece` keeps open in this process."""
    with _LOCK:
        for opened in _OPENED.values():
            opened.closing.close()
        _OPENED.clear()


@dataclass(slots=True)
class _Opened:
    """A source and a store, kept open between pieces of a run."""

    plans: Mapping[str, VariablePlan]
    variables: Mapping[str, xr.Variable]
    group: zarr.Group
    closing: ExitStack
    tasks: dict[str, ChunkTask]

    def task(self, name: str) -> ChunkTask:
        if name not in self.tasks:
            task = chunk_task(self.plans[name], self.group, write=True, look_first=True)
            check_alignment(self.plans[name], task.array)
            self.tasks[name] = task
        return self.tasks[name]


_OPENED: dict[Handle, _Opened] = {}
_LOCK = threading.RLock()


def _open(handle: Handle) -> _Opened:
    with _LOCK:
        if handle not in _OPENED:
            # Q: why not leave closing to the garbage collector? A: it may strike while HDF5's lock is held.
            release()
            _OPENED[handle] = _opened(handle)
        return _OPENED[handle]


def _opened(handle: Handle) -> _Opened:
    told = _read_plan(Path(handle.notes))
    plan = plan_from_json(told["plan"]) if told is not None else None
    if told is None or plan is None or plan.digest() != handle.digest:
        raise StoreError(f"{handle.notes}: holds no plan of this run; does every worker see this folder?")
    with ExitStack() as stack:
        source = stack.enter_context(open_source(told["data"]))
        if dict(source.identity) != dict(plan.identity):
            raise SourceChanged(f"{source.name}: is not the file that was planned; begin the store again")
        if any(p.name == CONTAINER for p in plan.variables):
            source = with_container(source, plan.version)
        group = zarr.open_group(handle.url, mode="r+")
        return _Opened({p.name: p for p in plan.variables}, source.variables, group, stack.pop_all(), {})


def _file_of(task: ChunkTask, index: tuple[int, ...]) -> Path | None:
    store = task.array.store
    if not isinstance(store, LocalStore):
        return None
    return Path(store.root) / task.array.path / task.array.metadata.encode_chunk_key(index)


def _synced_sha256(path: Path) -> str:
    # Q: why here? A: zarr renames a file into place without waiting for the disk.
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_plan(folder: Path, key: str, plan: Plan, *, data: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = data if "://" in data else str(Path(data).resolve())
    draft = folder / (_PLAN + ".draft")
    with draft.open("w") as file:
        json.dump({"key": key, "data": data, "plan": plan_to_json(plan)}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _PLAN)


def _read_plan(folder: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads((folder / _PLAN).read_text())
    except FileNotFoundError:
        return None
    return told


def _recorded_plan(folder: Path, key: str) -> Plan | None:
    told = _read_plan(folder)
    return plan_from_json(told["plan"]) if told is not None and told["key"] == key else None


def _version() -> str:
    return metadata.version("sciflow")
