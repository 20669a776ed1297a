"""``sciflow train``: train a surrogate from a TOML file, and go on with a run that was stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sciflow.errors import Diverged, InvalidArgument, Unsupported

if TYPE_CHECKING:
    from sciflow.models.runs import Config, Result

__all__ = ["train"]

_DIVERGED = 1
_SHOW = "Instead of training"


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="TOML file, or a recipe of the catalogue.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value: train.rate=1e-4. Repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1.")] = "auto",
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.")] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a config to begin with.", rich_help_panel=_SHOW)
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print CONFIG with all keys explained.", rich_help_panel=_SHOW),
    ] = False,
) -> None:
    """Train a surrogate on samples in a file; stopped anywhere, it goes on as if it had not been.

    OUT gets checkpoints, the best weights, steps.csv, epochs.csv and curves.png. Exit codes beside the usual
    ones: 1 the training diverged; 75 stopped by SIGTERM or SIGUSR1 with a checkpoint, start it again with
    --resume; 130 the same by Ctrl-C.

    **Examples**

    * `sciflow train --example > fno.toml`

    * `sciflow train fno.toml --set train.rate=1e-4 --set data.buffer=8GiB --out run1`

    * `sciflow train fno.toml --out run1 --resume`

    * `sciflow train fno-darcy --print-config`

    * `torchrun --nproc-per-node 4 -m sciflow.cli train fno.toml`
    """
    try:
        from sciflow.models.runs import to_toml
        from sciflow.models.runs import train as run
    except ImportError as error:
        raise Unsupported(f"{error}: surrogates need pip install 'sciflow[surrogates]'") from error
    made = _config(config, set_ or [], out, example=example)
    if example or print_config:
        sys.stdout.write(to_toml(made))
        return
    try:
        found = run(made, resume=resume, device=device, progress=True)
    except Diverged as error:
        _say(str(error))
        raise typer.Exit(_DIVERGED) from error
    _tell(found, config or "", speaks=os.environ.get("RANK", "0") == "0")


def _config(name: str | None, changes: list[str], out: Path | None, *, example: bool) -> Config:
    from sciflow.models.runs.recipes import example as example_of
    from sciflow.models.runs.recipes import find_config

    changes = changes if out is None else [*changes, f"out={str(out)!r}"]
    if example:
        return example_of()
    if name is None:
        raise InvalidArgument("train: found no CONFIG, expected TOML; sciflow train --example prints one")
    return find_config(name, set=changes)


def _tell(found: Result, config: str, *, speaks: bool) -> None:
    from sciflow.models.runs.stopping import REQUEUE

    if not found.finished:
        if speaks:
            _say(f"{found.stopped}: saved at step {found.steps}; go on with: sciflow train {config} --resume")
        raise typer.Exit(REQUEUE)
    if not speaks:
        return
    why = "patience" if found.stopped == "patience" else f"epoch {found.history[-1]['epoch']:.0f}"
    sys.stdout.write(
        f"best validation loss {found.validation:.6g} in epoch {found.epoch}; {found.steps} steps, "
        f"{found.seconds:.0f} s, ended by {why}\n{found.folder / 'checkpoints' / 'best.weights'}\n"
    )


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"sciflow: {text}", markup=False, highlight=False)
