"""A progress bar that can be switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(title: str, total: int, done: int, *, on: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr while the context lasts; gives a function that moves it one on."""
    if not on:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total, completed=done)
        yield lambda: shown.advance(task)
