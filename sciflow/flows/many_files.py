"""Many files, a store each: what one worker does with one file, and what becomes of all.

```
folder/
├── a.zarr, b.zarr, run2/a.zarr ...     one a source, named as it is
└── manifest/*.jsonl                    a line a store; torn or missing: that one is done again
```
A file that cannot be read, or a disk that is full, is the matter of its own store: that one is named in the
end, and is not there; the others are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask.config

from sciflow import store as stores
from sciflow.errors import InvalidArgument, StoreError
from sciflow.flows.engine import Engine, Trouble
from sciflow.flows.manifest import Entry, open_manifest
from sciflow.flows.one_store import Advance
from sciflow.store.plan import make_request
from sciflow.store.records import request_to_json
from sciflow.store.source import identity_of

__all__ = ["ManyResult", "compress_file", "compress_many", "stores_of"]

MANIFESTS = "manifest"
_DEFAULTS = {"bound": None, "per_variable": None, "level": "balanced", "chunks": None, "rewrite_safe": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyResult:
    """What became of many files.

    Parameters
    ----------
    folder : str
        Of the stores.
    entries : mapping of str to Entry
        Lines of the manifest by source: those of all stores that are whole.
    failed : mapping of str to str
        Why, by source.
    written : int
        Stores that this run made.
    seconds : float
        Wall clock.
    """

    folder: str
    entries: Mapping[str, Entry]
    failed: Mapping[str, str] = field(default_factory=dict)
    written: int = 0
    seconds: float = 0.0


def stores_of(sources: Sequence[str], folder: str | os.PathLike[str]) -> dict[str, str]:
    """Name the store of each source: its path below what all have in common, with ``.zarr``.

    Raises
    ------
    InvalidArgument
        If there is no source, or two would have one store.

    Examples
    --------
    >>> stores_of(["/in/a.nc", "/in/run2/a.nc"], "/out")
    {'/in/a.nc': '/out/a.zarr', '/in/run2/a.nc': '/out/run2/a.zarr'}
    """
    if not sources:
        raise InvalidArgument("no source: name files to compress")
    folders = [str(Path(source).absolute().parent) for source in sources]
    root = Path(os.path.commonpath(folders))
    found: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        store = os.fspath(Path(folder) / Path(source).absolute().relative_to(root).with_suffix(".zarr"))
        if store in found.values():
            raise InvalidArgument(f"{source}: another source would have the store {store} too; rename one")
        found[source] = store
    return found


def compress_many(
    sources: Sequence[str],
    folder: str | os.PathLike[str],
    options: Mapping[str, Any],
    *,
    engine: Engine,
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    advance: Advance | None = None,
) -> ManyResult:
    """Compress files, one a worker at a time; none that fails stops the others.

    Files that a run before has compressed with the same options, and that are the same still, are left alone.

    Parameters
    ----------
    sources : sequence of str
        Paths.
    folder : path
        Of the stores; made if it is not there.
    options : mapping
        Keyword arguments of `sciflow.compress` that say how values are compressed.
    engine : Engine
        Who does it.
    overwrite : bool
        Replace stores that exist.
    part : tuple of int, optional
        Only every n-th source: which element of a job array, from 0, of how many.
    advance : callable, optional
        Told of progress.

    Raises
    ------
    InvalidArgument
        If two sources would have one store, or an option is wrong.
    StoreError
        If the folder was made with other options.
    """
    started = time.perf_counter()
    targets = stores_of(sources, folder)
    element, elements = part or (0, 1)
    mine = list(targets.items())[element::elements]
    key = _options_key(options)
    for store in targets.values():
        Path(store).parent.mkdir(parents=True, exist_ok=True)
    writer = "main" if part is None else f"part-{element:05}-of-{elements:05}"
    with open_manifest(Path(folder) / MANIFESTS, key=key, writer=writer) as manifest:
        missing = [pair for pair in mine if not _is_done(pair, manifest.entries.get(pair[0]))]
        failed: dict[str, str] = {}
        done, written = len(mine) - len(missing), 0
        call = partial(compress_file, dict(options), overwrite)
        for batch in engine.run(call, missing):
            entries: list[Entry] = [entry for _, entry in batch if not isinstance(entry, Trouble)]
            manifest.append(entries)
            written += len(entries)
            done += len(batch)
            failed |= {source: str(told) for (source, _), told in batch if isinstance(told, Trouble)}
            if advance is not None:
                advance(done, len(mine), sum(entry["bytes_in"] for entry in entries))
        known = {s: manifest.entries[s] for s, _ in mine if s in manifest.entries and s not in failed}
    return ManyResult(
        folder=os.fspath(folder),
        entries=known,
        failed=dict(sorted(failed.items())),
        written=written,
        seconds=time.perf_counter() - started,
    )


def compress_file(options: Mapping[str, Any], overwrite: bool, pair: tuple[str, str]) -> Entry:
    """Compress one file in this process and return its line of the manifest.

    Parameters
    ----------
    options : mapping
        Keyword arguments of `sciflow.compress`.
    overwrite : bool
        Replace a store that exists.
    pair : tuple of str
        Source and store.
    """
    source, store = pair
    identity = identity_of(source) if Path(source).exists() else {}
    with dask.config.set(scheduler="synchronous"):  # a worker is one process of many
        if not overwrite and Path(store).exists() and _is_ours(source, store, options):
            report = stores.inspect(store)
        else:
            report = stores.compress(source, store, **options, overwrite=overwrite, progress=False)
    told = json.loads(report.to_json())
    return {
        "id": source,
        "store": store,
        "identity": identity,
        "sha256": _tree_sha256(Path(store)),
        "bytes_in": told["bytes_in"],
        "bytes_out": told["store_bytes"],
        "variables": told["variables"],
    }


def _is_ours(source: str, store: str, options: Mapping[str, Any]) -> bool:
    """Whether a store without a line is what these options make: a run was killed between the two."""
    try:
        found = stores.verify(source, store, progress=False)
    except (StoreError, InvalidArgument):
        return False
    planned = stores.compress(source, store, **options, dry_run=True, progress=False)
    bounds = {row.variable: row.bound for row in found.rows}
    return found.ok and bounds == {row.variable: row.bound for row in planned.rows}


def _is_done(pair: tuple[str, str], entry: Entry | None) -> bool:
    source, store = pair
    if entry is None or not Path(source).exists() or not Path(store).exists():
        return False
    return bool(entry["identity"] == identity_of(source))


def _options_key(options: Mapping[str, Any]) -> str:
    told = request_to_json(make_request(**(_DEFAULTS | dict(options)))) | {"version": version("sciflow")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _tree_sha256(root: Path) -> str:
    """Of the names and contents of all files, in order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()
