"""What ``sciflow train-codec`` does: produce a model with a progress bar, and write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sciflow.errors import InvalidArgument, Unsupported
from sciflow.models.fitting import Recipe, produce, write_model

if TYPE_CHECKING:
    from sciflow.models.training import Watch

__all__ = ["train"]


def train(
    sources: Sequence[str],
    variable: str,
    out: Path,
    recipe: Mapping[str, Any],
    training: Mapping[str, Any],
) -> str:
    """Make a model, write it into a folder and return its digest.

    Parameters
    ----------
    sources : sequence of str
        Paths or URLs.
    variable : str
        Its name.
    out : Path
        Folder; made where it is not.
    recipe : mapping
        Fields of `Recipe`, the block as text: ``"8,8,8"``.
    training : mapping
        Fields of `sciflow.models.training.Settings`.

    Raises
    ------
    FileNotFoundError, InvalidArgument, StoreError, Unsupported
        As `produce` and `write_model`.
    """
    sides = str(recipe["block"]).split(",")
    if not all(side.isdecimal() for side in sides):
        raise InvalidArgument(f"--block {recipe['block']}: expected numbers, as in 8,8,8")
    asked = Recipe(**{**recipe, "block": tuple(map(int, sides))})
    settings = _settings(training) if asked.kind == "autoencoder" else None
    with _bar() as watch:
        model = produce(sources, variable, asked, training=settings, folder=out, watch=watch)
    write_model(model, out)
    return model.digest


def _settings(training: Mapping[str, Any]) -> Any:
    try:
        from sciflow.models.training import Settings
    except ImportError as error:
        raise Unsupported("an autoencoder is trained with torch: pip install 'sciflow[torch]'") from error
    return Settings(**training)


@contextmanager
def _bar() -> Iterator[Watch]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("train")

        def watch(step: int, steps: int, entry: dict[str, float]) -> None:
            about = f"epoch {entry['epoch']:.0f}, held out {entry['psnr']:.2f} dB" if entry else "first epoch"
            progress.update(task, completed=step, total=steps, description=about)

        yield watch
