"""One large source into one store, by any number of processes; resumed by its manifest.

```
all        open_job ─ pieces without a line ─▶ engine ─▶ manifest ─▶ complete ─▶ store + store.manifest.jsonl
job array  begin ─▶ part 0 .. n-1, a manifest each, at once ─▶ finish
```
The bytes of the store are those of ``sciflow.compress``, whoever writes them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sciflow.errors import InvalidArgument, StoreError
from sciflow.flows.engine import Engine, Trouble
from sciflow.flows.manifest import Entry, Manifest, open_manifest, read_manifest, read_report, write_manifest
from sciflow.store.jobs import (
    Handle,
    Job,
    Piece,
    complete,
    gathered,
    join_job,
    open_job,
    release,
    settings_key,
    write_piece,
)
from sciflow.store.plan import Request
from sciflow.store.records import outcome_from_json, outcome_to_json
from sciflow.store.results import Report
from sciflow.store.source import open_source
from sciflow.store.staging import room_for

__all__ = [
    "Advance",
    "Result",
    "begin_store",
    "compress_store",
    "finish_store",
    "manifest_of",
    "report_of",
    "write_entry",
    "write_part",
]

Advance = Callable[[int, int, int], None]
"""Told how many pieces are done, how many there are, and the bytes that the latest ones held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to.

    Parameters
    ----------
    store : str
        The store.
    report : mapping
        ``Report.to_json``; empty where the store is not whole.
    pieces, written : int
        In the store, and by this run.
    seconds : float
        Wall clock.
    """

    store: str
    report: Mapping[str, Any]
    pieces: int
    written: int
    seconds: float


def compress_store(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    request: Request,
    *,
    engine: Engine,
    notes: str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    advance: Advance | None = None,
) -> Result:
    """Write a store piece by piece; a store that the same request has finished is left as it is.

    Parameters
    ----------
    source, store : path or URL
        As for `sciflow.compress`; workers see both under these names.
    request : Request
        What is asked for, see `CompressSettings.request`.
    engine : Engine
        Who writes.
    notes : str, optional
        Folder that all workers see; only for a store at a URL.
    overwrite, resume : bool
        As for `sciflow.compress`.
    advance : callable, optional
        Told of progress.

    Raises
    ------
    StoreError
        If a piece could not be written; what was written is kept for the same request.
    FileNotFoundError, InvalidArgument, SourceChanged, BoundViolated
        As `sciflow.compress`.
    """
    started = time.perf_counter()
    done = _finished(source, store, request, notes) if resume else None
    if done is not None:
        pieces = len(done["pieces"])
        return Result(
            store=os.fspath(store),
            report=done["report"],
            pieces=pieces,
            written=0,
            seconds=time.perf_counter() - started,
        )
    with (
        room_for(os.fspath(store)),
        engine.runner() as run,
        open_job(
            source,
            store,
            request,
            run=run,
            notes=Path(notes) if notes else None,
            overwrite=overwrite,
            resume=resume,
        ) as job,
        open_manifest(_manifests(job), key=job.key) as manifest,
    ):
        try:
            written = _write_missing(job, job.stages(), manifest, engine, advance)
            return _finish(job, manifest.entries, written, started, notes)
        finally:
            release()


def begin_store(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    request: Request,
    *,
    engine: Engine,
    overwrite: bool = False,
    resume: bool = True,
) -> Result:
    """Plan a store and make its arrays, for `write_part` in other processes.

    Parameters
    ----------
    source, store, request, engine, overwrite, resume
        As for `compress_store`; the engine reads what bounds refer to.

    Raises
    ------
    InvalidArgument
        If variables are written with the help of others, which have to be there first.
    """
    started = time.perf_counter()
    with (
        engine.runner() as run,
        open_job(source, store, request, run=run, overwrite=overwrite, resume=resume) as job,
    ):
        if len(job.stages()) > 1:
            raise InvalidArgument(
                "aux in a job array: others must be written first; use Dask, or leave it out"
            )
        return Result(
            store=job.target,
            report={},
            pieces=sum(map(len, job.stages())),
            written=0,
            seconds=time.perf_counter() - started,
        )


def write_part(
    store: str | os.PathLike[str],
    part: tuple[int, int],
    *,
    engine: Engine,
    advance: Advance | None = None,
) -> Result:
    """Write every n-th piece of a store, beside the other elements of a job array; no two write one file.

    Parameters
    ----------
    store : path
        What `begin_store` began.
    part : tuple of int
        Which element, from 0, of how many.
    engine : Engine
        Who writes.
    advance : callable, optional
        Told of progress.

    Raises
    ------
    StoreError
        If it was not begun, or a piece could not be written.
    """
    started = time.perf_counter()
    element, elements = part
    if not 0 <= element < elements:
        raise InvalidArgument(f"part {part}: expected (element, elements) with 0 <= element < elements")
    with room_for(os.fspath(store)), join_job(store) as job:
        mine = [stage[element::elements] for stage in job.stages()]
        writer = f"part-{element:05}-of-{elements:05}"
        with open_manifest(_manifests(job), key=job.key, writer=writer) as manifest:
            try:
                written = _write_missing(job, mine, manifest, engine, advance)
            finally:
                release()
    pieces = sum(map(len, mine))
    seconds = time.perf_counter() - started
    return Result(store=job.target, report={}, pieces=pieces, written=written, seconds=seconds)


def finish_store(
    source: str | os.PathLike[str], store: str | os.PathLike[str], request: Request, *, engine: Engine
) -> Result:
    """Merge the manifests of a job array's elements, record what was reached and give the store its name.

    Parameters
    ----------
    source, store, request, engine
        As for `begin_store`.

    Raises
    ------
    StoreError
        If pieces are missing, or an element still runs.
    """
    started = time.perf_counter()
    done = _finished(source, store, request, None)
    if done is not None:
        return compress_store(source, store, request, engine=engine)
    with (
        engine.runner() as run,
        open_job(source, store, request, run=run) as job,
        open_manifest(_manifests(job), key=job.key) as manifest,
    ):
        try:
            missing = _missing(job, [p for stage in job.stages() for p in stage], manifest)
            if missing:
                raise StoreError(
                    f"{store}: {len(missing)} pieces are not written, first {missing[0].name}; run the array "
                    "again, every element goes on from where it stopped"
                )
            return _finish(job, manifest.entries, 0, started, None)
        finally:
            release()


def report_of(store: str | os.PathLike[str], notes: str | None = None) -> Report:
    """Return the report of the run that finished a store.

    Raises
    ------
    StoreError
        If it has no manifest.
    """
    report = read_report(manifest_of(store, notes))
    if report is None:
        raise StoreError(f"{store}: has no manifest with a report; sciflow inspect says what is in it")
    return Report.from_json(report)


def manifest_of(store: str | os.PathLike[str], notes: str | None = None) -> Path:
    """Where the manifest of a whole store is: beside it, or among the notes of one at a URL."""
    if "://" in os.fspath(store):
        if notes is None:
            raise InvalidArgument(f"{store}: a store at a URL needs a folder for notes that all workers see")
        return Path(notes) / "finished.jsonl"
    path = Path(store).resolve()
    return path.with_name(path.name + ".manifest.jsonl")


def write_entry(handle: Handle, piece: Piece) -> Entry:
    """Write a piece and return its line of the manifest."""
    outcome, digest = write_piece(handle, piece)
    return {"id": piece.name, "sha256": digest} | outcome_to_json(outcome)


def _write_missing(
    job: Job, stages: list[list[Piece]], manifest: Manifest, engine: Engine, advance: Advance | None
) -> int:
    total, written = sum(map(len, stages)), 0
    for stage in stages:
        missing = _missing(job, stage, manifest)
        done = total - sum(map(len, stages)) + len(stage) - len(missing)
        for batch in engine.run(partial(write_entry, job.handle), missing):
            entries: list[Entry] = [entry for _, entry in batch if not isinstance(entry, Trouble)]
            manifest.append(entries)
            written, done = written + len(entries), done + len(entries)
            _note_progress(entries)
            if advance is not None:
                advance(done, total, sum(entry["bytes_in"] for entry in entries))
            for piece, entry in batch:
                if isinstance(entry, Trouble):
                    raise StoreError(
                        f"{job.target}: {piece.name} could not be written: {entry}; what is written is kept: "
                        "repeat the same request to go on"
                    )
    return written


def _missing(job: Job, pieces: list[Piece], manifest: Manifest) -> list[Piece]:
    """Those without a line, or whose file has another size than its line says."""
    found = []
    for piece in pieces:
        entry = manifest.entries.get(piece.name)
        size = job.stored_bytes(piece) if entry is not None and entry["sha256"] else None
        if entry is None or (entry["sha256"] and size != entry["bytes_out"]):
            found.append(piece)
    return found


def _finish(
    job: Job, entries: Mapping[str, Entry], written: int, started: float, notes: str | None
) -> Result:
    assert job.staging is not None
    pieces = [piece for stage in job.stages() for piece in stage]
    outcomes = {piece: outcome_from_json(entries[piece.name]) for piece in pieces}
    rows, nbytes = complete(job.plan, job.staging, gathered(job, outcomes))
    report = Report(
        action="compress",
        source=job.source,
        store=job.target,
        rows=rows,
        store_bytes=nbytes,
        seconds=time.perf_counter() - started,
    )
    told = json.loads(report.to_json())
    kept = {piece.name: entries[piece.name] for piece in pieces}
    write_manifest(manifest_of(job.target, notes), key=job.key, entries=kept, report=told)
    job.staging.commit()
    seconds = time.perf_counter() - started
    return Result(store=job.target, report=told, pieces=len(pieces), written=written, seconds=seconds)


def _finished(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    request: Request,
    notes: str | None,
) -> dict[str, Any] | None:
    """Report and pieces of a run of the same settings that has finished this store."""
    path = Path(store).resolve()
    remote = "://" in os.fspath(store)
    if not remote and (not path.exists() or path.with_name(path.name + ".partial").exists()):
        return None
    with open_source(source) as opened:
        key = settings_key(opened.identity, request)
    manifest = manifest_of(store, notes)
    report = read_report(manifest, key=key)
    return None if report is None else {"report": report, "pieces": read_manifest(manifest, key=key)}


def _manifests(job: Job) -> Path:
    return Path(job.handle.notes) / "manifest"


def _note_progress(entries: list[Entry]) -> None:
    """Tell the Slurm job, where there is one, that it need not begin from there again."""
    if entries and os.environ.get("SCIFLOW_PROGRESS"):
        from sciflow.flows.slurm.progress import made_progress

        made_progress(entries[-1]["id"])
