"""Where a store is while it is being written, and how it gets its name: all at once, when it is whole.

```
out.zarr.partial/            made first, removed last
├── lock                     held by the run that writes
├── request.json             digest of the request: only the same request goes on from here
├── notes/                   of a run of many processes: its plan, and who has written what
├── store/                   the Zarr store; its root group carries `sciflow_incomplete` until it is whole
└── replaced/                what out.zarr was before (--overwrite), for the moment between two renames
out.zarr                     store/, renamed
```

A URL has no rename: the store is written in place, and `sciflow_incomplete` alone tells a half from a whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import zarr

from sciflow.errors import StoreError
from sciflow.store.source import INCOMPLETE, is_zarr

__all__ = ["Staging", "check_target", "open_staging", "room_for", "staged"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STRAY = "*.partial"
"""What zarr's LocalStore calls a file until it is written; a killed run leaves some."""


class Staging(Protocol):
    """A place to write a store."""

    @property
    def url(self) -> str:
        """Where to write: a path or URL that zarr takes."""

    @property
    def resumed(self) -> bool:
        """Whether metadata of all arrays, and some of their chunks, are there from a run before."""

    @property
    def notes(self) -> Path | None:
        """A folder for notes of the run, gone when the store has its name; None at a URL."""

    def commit(self) -> None:
        """Give the whole store its name."""


def check_target(store: str, *, overwrite: bool, source: object) -> None:
    """Refuse a target that cannot be, before anything is read.

    Raises
    ------
    StoreError
        If it exists and may not be replaced or is no Zarr store, holds the source, or cannot be made.
    """
    if "://" in store:
        return
    target = Path(store).resolve()
    origin = Path(source).resolve() if isinstance(source, str | os.PathLike) else None
    if origin is not None and target in (origin, *origin.parents):
        raise StoreError(f"{store}: is where the source is; choose another name for the store")
    if not target.parent.is_dir():
        raise StoreError(f"{store}: there is no folder {target.parent}; make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise StoreError(f"{store}: the folder {target.parent} is not writable")
    if not target.exists() or _is_finished(_partial(target)):
        return
    if not overwrite:
        with suppress(OSError):
            _partial(target).rmdir()  # empty: all that a run leaves that was killed at its very end
        raise _exists(store)
    if not is_zarr(target):
        raise StoreError(f"{store}: exists and is no Zarr store; sciflow overwrites nothing else")


@contextmanager
def open_staging(store: str, *, digest: str, overwrite: bool, resume: bool) -> Iterator[Staging]:
    """Find the half-written store of the same request, or begin a new one.

    Parameters
    ----------
    store : str
        Path or URL of the store when it is whole.
    digest : str
        Of the request.
    overwrite : bool
        Whether a store, and a half-written store of another request, may be replaced.
    resume : bool
        Whether to go on from a half-written store of the same request; otherwise it is thrown away.

    Raises
    ------
    StoreError
        If the place is taken by another run or request, or cannot be written.
    """
    if "://" in store:
        yield _InPlace(store, digest=digest, overwrite=overwrite, resume=resume)
        return
    partial = _partial(Path(store).resolve())
    try:
        made = not partial.exists()
        partial.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"{store}: cannot be written ({error.strerror})") from error
    try:
        with _lock(partial, store):
            yield _Beside(Path(store).resolve(), digest=digest, overwrite=overwrite, resume=resume)
    except BaseException:
        if made and _stage(str(partial / "store")) in ("absent", "metadata"):
            shutil.rmtree(partial, ignore_errors=True)  # nothing in it that would save a later run any work
        raise


@contextmanager
def room_for(target: str) -> Iterator[None]:
    """Say what to do where there is no room for a store.

    Raises
    ------
    StoreError
        In place of the system's error, which stays its cause.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise StoreError(
            f"{target}: {os.strerror(error.errno or 0)}; make room and repeat the same request: it goes on "
            "from where this one stopped"
        ) from error


@contextmanager
def staged(store: str) -> Iterator[tuple[Path, Path]]:
    """Take part in a run that another process has begun and a third will finish, with others at once.

    Parameters
    ----------
    store : path
        The store when it is whole.

    Yields
    ------
    tuple of Path
        The half-written store, and its folder of notes.

    Raises
    ------
    StoreError
        If there is no such run, or a process has it for itself: the one that begins or finishes it.
    """
    partial = _partial(Path(store).resolve())
    if _stage(str(partial / "store")) in ("absent", "metadata", "whole"):
        raise StoreError(f"{store}: no run is under way in {partial}; begin one first")
    with _lock(partial, store, shared=True):
        yield partial / "store", partial / "notes"


class _Beside:
    """Next to the target, on a file system."""

    def __init__(self, target: Path, *, digest: str, overwrite: bool, resume: bool) -> None:
        self._target, self._partial, self._overwrite = target, _partial(target), overwrite
        self._store, self._digest = self._partial / "store", digest
        found = self._found()
        finished = _is_finished(self._partial) and target.exists()
        if finished and found != digest and not overwrite:
            raise _exists(str(target))
        if not finished and found not in (None, digest) and self._store.exists() and resume and not overwrite:
            raise StoreError(
                f"{self._partial}: holds an unfinished run of another request (other bounds, chunks, source "
                "or release); repeat that one to finish it, or pass overwrite=True (--overwrite) to drop it"
            )
        self._path = target if finished and found == digest and resume else self._store
        self.resumed = resume and found == digest and _stage(self.url) in (digest, "whole")
        self.notes = self._partial / "notes"
        if not self.resumed:
            shutil.rmtree(self.notes, ignore_errors=True)
            if self._store.exists():
                shutil.rmtree(self._store)
            self._note("writing")
            _begin(self.url, digest, overwrite=False)

    def _found(self) -> str | None:
        """Digest of the request that was begun here; None if this is the first."""
        digest = _request(self._partial).get("sha256")
        if digest is None and {p.name for p in self._partial.iterdir()} - {"lock", "request.draft"}:
            raise StoreError(
                f"{self._partial}: is in the way, and sciflow did not make it; move it elsewhere"
            )
        return digest

    def _note(self, stage: str) -> None:
        draft = self._partial / "request.draft"
        request = {"sha256": self._digest, "stage": stage, "target": str(self._target)}
        draft.write_text(json.dumps(request) + "\n")
        draft.replace(self._partial / "request.json")

    @property
    def url(self) -> str:
        """The store under way; the target where a run was killed between renaming it and cleaning up."""
        return str(self._path)

    def commit(self) -> None:
        """Rename the store; what it replaces is gone only after that."""
        if self._path == self._store:
            for stray in self._store.rglob(_STRAY):
                stray.unlink()
            self._note("renaming")
            if self._target.exists():
                if not self._overwrite:
                    raise _exists(str(self._target))
                self._target.rename(self._partial / "replaced")
            self._store.rename(self._target)
        shutil.rmtree(self._partial / "replaced", ignore_errors=True)
        shutil.rmtree(self.notes, ignore_errors=True)
        # The request goes last: it explains what a run leaves that is killed here.
        (self._partial / "lock").unlink(missing_ok=True)
        (self._partial / "request.json").unlink()
        self._partial.rmdir()


class _InPlace:
    """At a URL."""

    notes = None

    def __init__(self, url: str, *, digest: str, overwrite: bool, resume: bool) -> None:
        self.url = url
        found = _stage(url)
        self.resumed = resume and found == digest
        if self.resumed:
            return
        if found not in ("absent", "metadata") and not overwrite:
            raise _exists(url)
        _begin(url, digest, overwrite=found != "absent")

    def commit(self) -> None:
        """Nothing to do: the root group says that the store is whole."""


def mark_written_metadata(url: str, digest: str) -> None:
    """Say that the arrays are all made, so that a later run can go on with their chunks."""
    zarr.open_group(url, mode="r+").attrs[INCOMPLETE] = {"stage": "chunks", "sha256": digest}


def _begin(url: str, digest: str, *, overwrite: bool) -> None:
    mark = {INCOMPLETE: {"stage": "metadata", "sha256": digest}}
    zarr.create_group(url, overwrite=overwrite, zarr_format=3, attributes=mark)


def _stage(url: str) -> str:
    """One of "absent", "metadata", "whole", or the digest of the request whose chunks are being written."""
    try:
        mark: Any = zarr.open_group(url, mode="r").attrs.get(INCOMPLETE, {"stage": "whole"})
    except FileNotFoundError:
        return "absent"
    return str(mark["sha256"] if mark["stage"] == "chunks" else mark["stage"])


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _is_finished(partial: Path) -> bool:
    """Whether a run was killed after its store had got its name, before it had cleaned up."""
    return _request(partial).get("stage") == "renaming" and not (partial / "store").exists()


def _request(partial: Path) -> dict[str, str]:
    try:
        request: dict[str, str] = json.loads((partial / "request.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return request


def _exists(store: str) -> StoreError:
    return StoreError(f"{store}: exists already; choose another name, or pass overwrite=True (--overwrite)")


@contextmanager
def _lock(partial: Path, store: str, *, shared: bool = False) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # no such lock on this system: two runs at once are then the caller's to avoid
        yield
        return
    descriptor = os.open(partial / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{store}: another run is writing it; wait for that one") from None
        yield
    finally:
        os.close(descriptor)
