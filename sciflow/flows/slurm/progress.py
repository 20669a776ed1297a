"""How a command tells its job that something was done: one that leads nowhere is not restarted for ever."""

from __future__ import annotations

import os

__all__ = ["made_progress"]


def made_progress(what: str) -> None:
    """Note that something was done which a restart need not do again; outside of a job, nothing.

    Parameters
    ----------
    what : str
        One line: ``shard 3``, ``epoch 12``.
    """
    path = os.environ.get("SCIFLOW_PROGRESS")
    if path:
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123, one append is one write
            file.write(what + "\n")
