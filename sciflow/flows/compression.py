"""The work of the compress flow, without Prefect: sources in, stores out, a summary of small numbers."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sciflow.errors import InvalidArgument, StoreError
from sciflow.flows.clusters import open_engine
from sciflow.flows.engine import Engine
from sciflow.flows.many_files import ManyResult, compress_many
from sciflow.flows.one_store import (
    Advance,
    Result,
    begin_store,
    compress_store,
    finish_store,
    write_part,
)
from sciflow.flows.parameters import ClusterChoice, CompressSettings, RunSettings

__all__ = ["Summary", "compress_sources", "is_one_store", "sources_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to.

    Parameters
    ----------
    stores : tuple of (str, str)
        Source and store of each that is whole.
    rows : tuple of mapping
        ``Row.to_json`` of every variable, with ``source`` and ``store``.
    failed : mapping of str to str
        Why, by source.
    pieces, written : int
        Pieces of one store or stores of many sources; and those that this run wrote.
    bytes_in, bytes_out : int
        Before and after, over all stores.
    seconds : float
        Wall clock.
    """

    stores: tuple[tuple[str, str], ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    pieces: int = 0
    written: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0

    @property
    def ratio(self) -> float | None:
        """All bytes before over all after."""
        return self.bytes_in / self.bytes_out if self.bytes_out else None

    def check(self, allowed: int) -> None:
        """Fail where more sources failed than is allowed.

        Raises
        ------
        StoreError
            Naming the first of them.
        """
        if len(self.failed) > allowed:
            first, why = next(iter(self.failed.items()))
            raise StoreError(
                f"{len(self.failed)} of {self.pieces} files failed ({allowed} may), the others are done; "
                f"first {first}: {why}"
            )

    def to_json(self) -> dict[str, Any]:
        """Small numbers for what comes after; rows and names are in artifacts."""
        return {
            "stores": len(self.stores),
            "failed": len(self.failed),
            "pieces": self.pieces,
            "written": self.written,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "ratio": self.ratio,
            "seconds": self.seconds,
        }


def compress_sources(
    source: str | Sequence[str],
    store: str,
    *,
    bound: str | None,
    settings: CompressSettings,
    cluster: ClusterChoice,
    run: RunSettings,
    advance: Advance | None = None,
) -> Summary:
    """Compress one source into a store, or many into a folder of stores, where the choice of cluster says.

    Parameters
    ----------
    source : str or sequence of str
        One path or URL makes one store; a sequence, or a pattern with ``*``, a folder of them.
    store : str
        The store, or the folder.
    bound : str, optional
        For every field, as in ``rel:1e-3``.
    settings : CompressSettings
        How.
    cluster : ClusterChoice
        Where.
    run : RunSettings
        What happens when something fails; which part of a job array this is.
    advance : callable, optional
        Told of progress.

    Raises
    ------
    InvalidArgument, StoreError, FileNotFoundError
        As `compress_store` and `compress_many`.
    """
    settings.request(bound)  # refuses early, before a cluster is started
    one = is_one_store(source)
    if not one and run.stage in ("begin", "finish"):
        raise InvalidArgument(f"stage {run.stage!r} is for one store; many files need part alone, or nothing")
    with open_engine(cluster, run.policy()) as engine:
        if one:
            assert isinstance(source, str)
            return _of_one(source, _one(source, store, bound, settings, run, engine, advance))
        sources = sources_of(source)
        options = settings.arguments(bound)
        found = compress_many(
            sources,
            store,
            options,
            engine=engine,
            overwrite=run.overwrite,
            part=run.part,
            advance=advance,
        )
    return _of_many(found)


def is_one_store(source: str | Sequence[str]) -> bool:
    """Whether a source makes one store: a string that is no pattern, or is there as it stands."""
    return isinstance(source, str) and (
        "://" in source or not glob.has_magic(source) or os.path.exists(source)  # noqa: PTH110 - text
    )


def sources_of(source: str | Sequence[str]) -> list[str]:
    """Paths that a pattern matches, or those that were given.

    Raises
    ------
    FileNotFoundError
        If a pattern matches nothing.
    """
    if not isinstance(source, str):
        return list(source)
    found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - patterns may be absolute
    if not found:
        raise FileNotFoundError(f"{source}: no file matches")
    return found


def _one(
    source: str,
    store: str,
    bound: str | None,
    settings: CompressSettings,
    run: RunSettings,
    engine: Engine,
    advance: Advance | None,
) -> Result:
    request = settings.request(bound)
    if run.stage == "begin":
        return begin_store(source, store, request, engine=engine, overwrite=run.overwrite, resume=run.resume)
    if run.stage == "finish":
        return finish_store(source, store, request, engine=engine)
    if run.part is not None:
        return write_part(store, run.part, engine=engine, advance=advance)
    return compress_store(
        source,
        store,
        request,
        engine=engine,
        notes=run.notes,
        overwrite=run.overwrite,
        resume=run.resume,
        advance=advance,
    )


def _of_one(source: str, result: Result) -> Summary:
    if not result.report:
        return Summary(pieces=result.pieces, written=result.written, seconds=result.seconds)
    rows = tuple({"source": source, "store": result.store} | row for row in result.report["variables"])
    return Summary(
        stores=((source, result.store),),
        rows=rows,
        pieces=result.pieces,
        written=result.written,
        bytes_in=result.report["bytes_in"],
        bytes_out=result.report["store_bytes"],
        seconds=result.seconds,
    )


def _of_many(result: ManyResult) -> Summary:
    entries = result.entries.values()
    return Summary(
        stores=tuple((entry["id"], entry["store"]) for entry in entries if Path(entry["store"]).exists()),
        rows=tuple(
            {"source": entry["id"], "store": entry["store"]} | row
            for entry in entries
            for row in entry["variables"]
        ),
        failed=result.failed,
        pieces=len(result.entries) + len(result.failed),
        written=result.written,
        bytes_in=sum(entry["bytes_in"] for entry in entries),
        bytes_out=sum(entry["bytes_out"] for entry in entries),
        seconds=result.seconds,
    )
