"""What is done, a line of JSON each: appended, on disk before it counts, never changed.

```
{"manifest": 1, "key": "9f3c..."}                                  of the settings; another key is refused
{"id": "sst/3.0.0", "bytes_out": 81234, "sha256": "...", ...}      written, read back, compared
{"id": "sst/4.0.                                                   torn by a crash: not done
```
A file has one writer, which holds a lock on it. Writers of one run have a file each in one folder, which the
process that finishes reads together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sciflow.errors import Corrupt, StoreError
from sciflow.flows.slurm.progress import made_progress

__all__ = [
    "Entry",
    "Manifest",
    "open_manifest",
    "read_folder",
    "read_manifest",
    "read_report",
    "write_manifest",
]

Entry = dict[str, Any]
"""A line; ``id`` names what was done."""

_VERSION = 1


class Manifest:
    """A manifest that is being written; `open_manifest` makes one.

    Parameters
    ----------
    file : file
        Open for appending.
    entries : dict of str to Entry
        What was done before, by anyone.
    """

    def __init__(self, file: IO[bytes], entries: dict[str, Entry]) -> None:
        self._file, self.entries = file, entries

    def append(self, entries: Iterable[Entry]) -> None:
        """Note what was done; it is on disk when this returns.

        Parameters
        ----------
        entries : iterable of Entry
            Each with an ``id``.
        """
        new = list(entries)
        for entry in new:
            self._file.write(_line(entry))
            self.entries[entry["id"]] = entry
        self._file.flush()
        os.fsync(self._file.fileno())
        made_progress(f"{len(new)} lines")


@contextmanager
def open_manifest(folder: Path, *, key: str, writer: str = "main") -> Iterator[Manifest]:
    """Go on with a writer's manifest, or begin it, and hold it alone.

    Parameters
    ----------
    folder : Path
        Of the manifests of one run; made if it is not there.
    key : str
        Of the settings.
    writer : str
        Name of the file, without ``.jsonl``.

    Raises
    ------
    StoreError
        If it was made with other settings, or another process writes it.
    Corrupt
        If a line other than the last is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{writer}.jsonl"
    with path.open("ab+") as file:
        _lock(file, path)
        known = read_folder(folder, key=key)
        whole = _whole_bytes(path)
        file.truncate(whole)
        manifest = Manifest(file, known)
        if not whole:
            file.write(_line({"manifest": _VERSION, "key": key}))
            file.flush()
        yield manifest


def read_folder(folder: Path, *, key: str) -> dict[str, Entry]:
    """Read the manifests of all writers; where two did the same, one of them counts.

    Raises
    ------
    StoreError, Corrupt
        As `open_manifest`.
    """
    found: dict[str, Entry] = {}
    for path in sorted(folder.glob("*.jsonl")):
        found |= read_manifest(path, key=key)
    return found


def read_manifest(path: Path, *, key: str | None = None) -> dict[str, Entry]:
    """Read a manifest by id; a torn last line is left out.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        Of the settings that it must have been made with.

    Raises
    ------
    StoreError, Corrupt
        As `open_manifest`.
    """
    lines = list(_lines(path))
    if not lines:
        return {}
    head = lines[0]
    if head.get("manifest") != _VERSION:
        raise Corrupt(
            f"{path}: line 1 has manifest={head.get('manifest')!r}, expected {_VERSION}; move it away"
        )
    if key is not None and head.get("key") != key:
        raise StoreError(
            f"{path}: belongs to a run with other settings, source or release; repeat that one, choose "
            "another place, or begin anew with overwrite"
        )
    return {entry["id"]: entry for entry in lines[1:] if "id" in entry}


def read_report(path: Path, *, key: str | None = None) -> dict[str, Any] | None:
    """Return the report of a finished run, or None where there is none (of these settings)."""
    try:
        lines = list(_lines(path))
    except FileNotFoundError:
        return None
    if not lines or key not in (None, lines[0].get("key")):
        return None
    report: dict[str, Any] | None = lines[-1].get("report")
    return report


def write_manifest(
    path: Path, *, key: str, entries: Mapping[str, Entry], report: Mapping[str, Any] | None = None
) -> None:
    """Write all entries in the order of their names, and a report, to one file that is there at once.

    Parameters
    ----------
    path : Path
        The file; replaced.
    key : str
        Of the settings.
    entries : mapping of str to Entry
        What was done, by id.
    report : mapping, optional
        JSON.
    """
    draft = path.with_name(path.name + ".draft")
    with draft.open("wb") as file:
        file.write(_line({"manifest": _VERSION, "key": key}))
        for name in sorted(entries):
            file.write(_line(entries[name]))
        if report is not None:
            file.write(_line({"report": dict(report)}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise Corrupt(f"{path}: line {number} is no JSON ({error}); move the file away") from error
            yield entry


def _whole_bytes(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        return
    with suppress(OSError):  # a file system without locks: two writers are then the caller's to avoid
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{path}: another process writes it; wait for that one") from None
