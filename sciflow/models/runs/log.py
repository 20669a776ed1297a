"""What a run writes down: a row a step, a row an epoch, curves, TensorBoard where it is installed.

``steps.csv`` is cut back to the checkpoint when a run goes on: it is that of a run that never stopped.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sciflow.errors import StoreError
from sciflow.models.files import write_whole

__all__ = ["EPOCH_COLUMNS", "RunLog", "progress_bar"]

_LOG = logging.getLogger(__name__)
STEP_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "rate", "verdict")
_SECONDS = 2.0
"""Between writes of rows; a checkpoint writes them at once."""
EPOCH_COLUMNS = ("epoch", "step", "loss", "validation", "rate", "seconds")


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: int, about: str) -> None:
        """Show so many steps as done."""


class RunLog:
    """Files of a run, written by its first process; what cannot be written is a warning, and tried again.

    Parameters
    ----------
    folder : Path
        Of the run.
    step : int
        The step that the run goes on from; rows behind it are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self._path = folder / "steps.csv"
        self._size = _cut(self._path, step)
        self._rows: list[Sequence[Any]] = []
        self._written = time.monotonic()
        self._board = _board(folder / "tensorboard", step)

    def step(self, row: Sequence[Any]) -> None:
        """Add a row of `STEP_COLUMNS`; it is in the file within seconds."""
        self._rows.append([repr(value) if isinstance(value, float) else value for value in row])
        number, _, loss, norm, rate, _ = row
        self._show({"train/loss": loss, "train/gradient norm": norm, "train/rate": rate}, number)
        if time.monotonic() - self._written > _SECONDS:
            self._append(durable=False)

    def warn(self, text: str) -> None:
        """Say something that a user should know."""
        _LOG.warning("%s: %s", self.folder, text)

    def sync(self) -> None:
        """Bring all rows to the disk, before a checkpoint that counts on them."""
        self._append(durable=True)

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the table of epochs anew, and the newest to TensorBoard."""
        text = io.StringIO()
        writer = csv.DictWriter(text, EPOCH_COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: repr(value) for name, value in entry.items()} for entry in history)
        self._whole("epochs.csv", text.getvalue().encode())
        self._show({"validation/loss": history[-1]["validation"]}, int(history[-1]["step"]))

    def close(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write what is left, and draw the curves."""
        self._append(durable=True)
        if history:
            self._draw(history)
        if self._board is not None:
            self._board.close()

    def _append(self, *, durable: bool) -> None:
        """Write the rows that are not in the file yet; all of them or none."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self._rows)
        data = text.getvalue().encode()
        self._written = time.monotonic()
        try:
            with self._path.open("r+b") as file:
                file.truncate(self._size)
                file.seek(self._size)
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:
            self.warn(f"steps.csv cannot be written ({error.strerror}); its rows are kept and tried again")
            return
        self._size += len(data)
        self._rows = []

    def _whole(self, name: str, data: bytes) -> None:
        try:
            write_whole(self.folder / name, data)
        except StoreError as error:
            self.warn(str(error))

    def _show(self, values: Mapping[str, float], step: int) -> None:
        """Write to TensorBoard, as long as it takes it."""
        if self._board is None:
            return
        try:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:  # of its own thread, at an earlier value
            self.warn(f"TensorBoard gets no more ({error.strerror})")
            self._board = None

    def _draw(self, history: Sequence[Mapping[str, float]]) -> None:
        """Draw ``curves.png``, where matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        made = Figure(figsize=(6, 3.5), layout="constrained")
        axes = made.add_subplot()
        epochs = [entry["epoch"] for entry in history]
        for name, label in (("loss", "training"), ("validation", "validation")):
            axes.plot(epochs, [entry[name] for entry in history], label=label)
        if all(entry[name] > 0 for entry in history for name in ("loss", "validation")):
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.legend()
        image = io.BytesIO()
        made.savefig(image, format="png", dpi=100)
        self._whole("curves.png", image.getvalue())


@contextmanager
def progress_bar(total: int, *, on: bool) -> Iterator[Advance]:
    """Show a bar on standard error while the context lasts, if that is a terminal and `on`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (on and console.is_terminal)) as bar:
        task = bar.add_task("train", total=total)

        def advance(done: int, about: str) -> None:
            bar.update(task, completed=done, description=about)

        yield advance


def _cut(path: Path, step: int) -> int:
    """Leave the header and the rows up to a step; return the bytes that are left."""
    kept: list[Sequence[Any]] = [STEP_COLUMNS]
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            next(rows, None)
            kept += [row for row in rows if len(row) == len(STEP_COLUMNS) and int(row[0]) <= step]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(kept)
    return write_whole(path, text.getvalue().encode()).stat().st_size


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
