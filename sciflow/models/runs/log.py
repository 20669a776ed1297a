"""What a run writes down: a row a step, a row an epoch, curves, TensorBoard where it is installed.

``steps.csv`` is cut back to the checkpoint when a run goes on: it is that of a run that never stopped.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sciflow.models.files import write_whole

__all__ = ["EPOCH_COLUMNS", "RunLog", "progress_bar"]

_LOG = logging.getLogger(__name__)
STEP_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "rate", "verdict")
EPOCH_COLUMNS = ("epoch", "step", "loss", "validation", "rate", "seconds")


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: int, about: str) -> None:
        """Show so many steps as done."""


class RunLog:
    """Files of a run, written by its first process.

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
        _cut(self._path, step)
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._board = _board(folder / "tensorboard", step)

    def step(self, row: Sequence[Any]) -> None:
        """Write a row of `STEP_COLUMNS`."""
        self._rows.writerow([repr(value) if isinstance(value, float) else value for value in row])
        if self._board is not None:
            number, _, loss, norm, rate, _ = row
            for name, value in (("loss", loss), ("gradient norm", norm), ("rate", rate)):
                self._board.add_scalar(f"train/{name}", value, number)

    def warn(self, text: str) -> None:
        """Say something that a user should know."""
        _LOG.warning("%s: %s", self.folder, text)

    def sync(self) -> None:
        """Bring all rows to the disk, before a checkpoint that counts on them."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the table of epochs anew, and the newest to TensorBoard."""
        text = io.StringIO()
        writer = csv.DictWriter(text, EPOCH_COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: repr(value) for name, value in entry.items()} for entry in history)
        write_whole(self.folder / "epochs.csv", text.getvalue().encode())
        if self._board is not None and history:
            self._board.add_scalar("validation/loss", history[-1]["validation"], int(history[-1]["step"]))

    def figure(self, history: Sequence[Mapping[str, float]]) -> None:
        """Draw the curves into ``curves.png``, where matplotlib is installed."""
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
        write_whole(self.folder / "curves.png", image.getvalue())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


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


def _cut(path: Path, step: int) -> None:
    """Leave the header and the rows up to a step."""
    kept: list[Sequence[Any]] = [STEP_COLUMNS]
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            next(rows, None)
            kept += [row for row in rows if len(row) == len(STEP_COLUMNS) and int(row[0]) <= step]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(kept)
    write_whole(path, text.getvalue().encode())


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
