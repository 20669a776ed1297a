"""A CSV that grows row by row, is taken up again where it stopped, and tells what it was measured on."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PACKAGES = ("sciflow", "pysz", "zfpy", "pcodec", "hdf5plugin", "h5py", "numcodecs", "numpy")
FIXED = ("processor", "cores", "engine", "python", *PACKAGES)
"""What has to be the same for rows of one table."""


class Table:
    """The CSV ``path`` with ``columns``, open for more rows; its machine stands beside it in a JSON.

    Rows that are there already are kept if they have these columns and come from this machine and engine.
    Otherwise, and if ``fresh``, the table starts empty.

    Attributes
    ----------
    rows : list of dict
        Those that were kept, as text.
    note : str
        Why rows were not kept; empty if none were dropped.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        fresh: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        here = machine() | {key: str(value) for key, value in (settings or {}).items()}
        self.rows, self.note = _kept(path, columns, here, fresh=fresh)
        path.parent.mkdir(parents=True, exist_ok=True)
        described = path.with_suffix(".json")
        described.write_text(json.dumps(here, indent=2) + "\n")
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, columns)
        self._writer.writeheader()
        self._writer.writerows(self.rows)
        self._file.flush()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write ``row`` at once."""
        self._writer.writerow(row)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the CSV ``path``; a last line that was not finished is none."""
    text = path.read_text()
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def read_machine(path: Path) -> dict[str, str]:
    """Return what the CSV ``path`` was measured on; empty where nothing stands beside it."""
    described = path.with_suffix(".json")
    found: dict[str, str] = json.loads(described.read_text()) if described.is_file() else {}
    return found


def newest(folder: Path, study: str = "") -> Path | None:
    """Return the CSV of ``study`` (the comparison if empty) with the latest date in its name."""
    day = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]"
    found = sorted(folder.glob(f"{day}-{study}.csv" if study else f"{day}.csv"))
    return found[-1] if found else None


def machine() -> dict[str, str]:
    """Return what numbers depend on: processor, system, versions, engine, date, and how busy it is."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "engine": _engine(),
        **versions,
    }


def _kept(
    path: Path, columns: Sequence[str], here: Mapping[str, str], *, fresh: bool
) -> tuple[list[dict[str, str]], str]:
    """Return the rows of ``path`` that may stay, and why if none may."""
    if fresh or not path.is_file():
        return [], ""
    rows = read_rows(path)
    there = read_machine(path)
    changed = [key for key in FIXED if there.get(key) != here[key]]
    if rows and changed == ["engine"] and "codec" in rows[0]:
        others = [row for row in rows if not row["codec"].startswith("sciflow")]
        return others, f"{path.name} was measured with another engine: our own rows start over"
    if rows and changed:
        return [], f"{path.name} was measured with another {', '.join(changed)}: starting over"
    if rows and tuple(rows[0]) != tuple(columns):
        return [], f"{path.name} has other columns: starting over"
    return [row for row in rows if None not in row.values()], ""


def _engine() -> str:
    """Return the first digits of the SHA-256 of the engine's file."""
    spec = importlib.util.find_spec("sciflow._native")
    if spec is None or spec.origin is None:
        return "not built"
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:12]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
