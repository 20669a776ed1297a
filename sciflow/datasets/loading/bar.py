"""A progress bar that can be switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(title: str, total: int, done: int, *, on: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr while the context lasts, on terminals and in notebooks; gives what moves it one on."""
    if not on:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    seen = console.is_terminal or console.is_jupyter
    with Progress(console=console, transient=True, disable=not seen) as shown:
        task = shown.add_task(title, total=total, completed=done)
        yield lambda: shown.advance(task)
