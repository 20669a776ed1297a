"""One check for all parameters."""

from __future__ import annotations

from sciflow.errors import InvalidArgument

__all__ = ["require"]


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise `InvalidArgument` that names ``name``, ``found`` and ``expected`` unless ``holds``."""
    if not holds:
        raise InvalidArgument(f"{name}: found {found!r}, expected {expected}")
