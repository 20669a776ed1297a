"""``python -m sciflow.models list | make [NAME ...]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from sciflow.errors import InvalidArgument, SciflowError
from sciflow.models.catalog import entry, make, names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line that says what was wrong."""
    command, *chosen = [*(sys.argv[1:] if arguments is None else arguments), ""][:-1] or [""]
    console = Console()
    try:
        if command == "list":
            for name in names():
                about = entry(name)
                console.print(f"[bold]{name}[/bold]  {about.title}\n    {about.digest}", highlight=False)
        elif command == "make":
            for name in chosen or names():
                model = make(name)
                size = len(model.to_bytes())
                console.print(f"{name}: {size} bytes, {model.digest[:12]}", highlight=False)
        else:
            raise InvalidArgument(f"found {command!r}, expected list or make [NAME ...]")
    except SciflowError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
