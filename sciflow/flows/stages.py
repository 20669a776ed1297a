"""Stages that are done once: commands that end whole or are stopped in time, and records of what they made.

```
run_stage(folder, "simulate", key, do) ── folder/stages/simulate.json: key, result, seconds
```
A stage whose record has the same key, and whose files are there, is not done again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciflow.errors import StoreError
from sciflow.flows.slurm.progress import made_progress
from sciflow.models.files import write_whole

__all__ = ["key_of", "run_command", "run_stage", "sciflow_command"]

_GRACE = 100.0
_TAIL = 1500


def run_stage(
    folder: Path, name: str, key: str, do: Callable[[], Mapping[str, Any]], *, files: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a stage gives; do it unless its record says that it was done.

    Parameters
    ----------
    folder : Path
        Of the pipeline.
    name : str
        Of the stage.
    key : str
        Of all that it depends on: `key_of`.
    do : callable
        Does it; it may be stopped and called again. What it returns must be JSON.
    files : sequence of str
        In the folder, that it makes.

    Returns
    -------
    dict
        Its result, with ``seconds``, and ``repeated``: whether it was done now.
    """
    record = folder / "stages" / f"{name}.json"
    known = _read(record)
    if known is not None and known["key"] == key and all((folder / file).exists() for file in files):
        return {**known["result"], "seconds": known["seconds"], "repeated": False}
    started = time.monotonic()
    result = dict(do())
    seconds = round(time.monotonic() - started, 2)
    write_whole(record, json.dumps({"key": key, "result": result, "seconds": seconds}, indent=1).encode())
    made_progress(f"stage {name}")
    return {**result, "seconds": seconds, "repeated": True}


def key_of(*parts: Any) -> str:
    """Return a digest of JSON.

    Examples
    --------
    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def sciflow_command(*words: str) -> list[str]:
    """Return the words of a ``sciflow`` command that this interpreter runs."""
    return [sys.executable, "-m", "sciflow.cli", *words]


def run_command(words: Sequence[str], log: Path, *, grace: float = _GRACE) -> None:
    """Run a command to its end; when this process is told to stop, let it write what it has first.

    Parameters
    ----------
    words : sequence of str
        Of the command. SIGTERM must make it save and end.
    log : Path
        Gets what it prints, behind what is there.
    grace : float
        Seconds that it may take to end.

    Raises
    ------
    StoreError
        If it fails; the message has the end of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            status = process.wait()
        except BaseException:  # Prefect's TerminationSignal, Ctrl-C
            _end(process, grace)
            raise
    if status:
        tail = log.read_bytes()[-_TAIL:].decode(errors="replace").strip()
        raise StoreError(f"{' '.join(words[1:6])} ...: exit code {status}; its log {log} ends with:\n{tail}")


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(record: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(record.read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return found if {"key", "result", "seconds"} <= set(found) else None
