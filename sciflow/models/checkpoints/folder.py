"""The checkpoints of a run: a folder that always holds one that can be gone on from."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciflow.errors import Corrupt, InvalidArgument, SciflowError
from sciflow.models.checkpoints.files import TEMPORARY, read_checkpoint, write_checkpoint
from sciflow.models.checkpoints.tree import copied

__all__ = ["Checkpoints", "Loaded"]

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9,})\.ckpt")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint that was read.

    Parameters
    ----------
    path : Path
        Its file.
    state : dict
        What was saved.
    skipped : tuple of str
        Newer files that did not verify, and why.
    """

    path: Path
    state: dict[str, Any]
    skipped: tuple[str, ...]


class Checkpoints:
    """Saves states in a thread; the newest that verifies is what `load_latest` gives.

    Parameters
    ----------
    folder : path
        Where files lie; made where it is not.
    keep : int
        Newest checkpoints that stay. The best weights have a file of their own.

    Raises
    ------
    InvalidArgument
        If none would be kept.
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 2) -> None:
        if keep < 1:
            raise InvalidArgument(f"keep={keep}: expected at least 1 checkpoint")
        self.folder, self.keep = Path(folder), keep
        self._writer: threading.Thread | None = None
        self._failure: Exception | None = None
        self._best: Any = None  # weights that are not on the disk yet

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._join()

    @property
    def best(self) -> Path:
        """The file of the best weights."""
        return self.folder / "best.weights"

    def paths(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        found = [path for path in self.folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
        return sorted(found, key=_step, reverse=True)

    def save(self, step: int, state: Mapping[str, Any], *, best: Mapping[str, Any] | None = None) -> None:
        """Copy a state and write it in a thread; wait first if the one before is not written yet.

        Parameters
        ----------
        step : int
            Its number.
        state : mapping
            As `write_checkpoint` takes it; may change as soon as this returns.
        best : mapping, optional
            Best weights, if these are; written before the state, so that a state never knows of better
            weights than are there.

        Raises
        ------
        Exception
            What made an earlier one fail, unless it was the system: a full disk is a warning, the
            checkpoints that are there stay, and the next is tried.
        """
        self.flush()
        path, snapshot = self.folder / f"step-{step:09d}.ckpt", copied(state)
        if best is not None:
            self._best = copied(best)
        self._writer = threading.Thread(target=self._write, args=(path, snapshot), name="checkpoint")
        self._writer.start()

    def flush(self) -> None:
        """Wait until all that was saved is on the disk.

        Raises
        ------
        Exception
            As `save`.
        """
        self._join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def load_latest(self) -> Loaded | None:
        """Return the newest checkpoint that verifies, or None where there are none at all.

        Raises
        ------
        Corrupt
            If there are some and none verifies; the message says why.
        """
        self.flush()
        skipped: list[str] = []
        for path in self.paths():
            try:
                state = read_checkpoint(path)
            except (SciflowError, OSError) as error:
                skipped.append(str(error))
                _LOG.warning("skipped a checkpoint: %s", error)
                continue
            return Loaded(path, state, tuple(skipped))
        if skipped:
            raise Corrupt(f"{self.folder}: no checkpoint verifies: {'; '.join(skipped)}; remove the folder")
        return None

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                path.unlink()

    def _join(self) -> None:
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def _write(self, path: Path, state: Any) -> None:
        try:
            if self._best is not None:
                write_checkpoint(self.best, self._best, dense=True)
                self._best = None
            write_checkpoint(path, state)
            for old in self._too_many():
                old.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning(
                "checkpoint not written (%s); the older ones are intact, the next is tried as planned", error
            )
        except Exception as error:  # noqa: BLE001 - raised by the next call of the thread that trains
            self._failure = error

    def _too_many(self) -> Iterator[Path]:
        yield from self.paths()[self.keep :]


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])
