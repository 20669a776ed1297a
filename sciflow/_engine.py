"""The compiled engine, or an ImportError that says how to get it."""

from __future__ import annotations

from importlib.util import find_spec

try:
    from sciflow import _native as native
except ImportError as error:
    if find_spec("sciflow._native") is None:
        reason = "this is a source checkout without the built engine (sciflow._native)"
    else:
        reason = "the built engine (sciflow._native) is there but does not load: built for another Python?"
    raise ImportError(
        f"{reason}; build it with `pip install -e .` in the folder that holds pyproject.toml"
    ) from error

__all__ = ["native"]
