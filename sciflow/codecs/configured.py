"""What makes a codec class of a configuration: both adapters, and every codec in them, are built on it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self

__all__ = ["CodecConfig", "configured_by"]

_P = ParamSpec("_P")


class CodecConfig(Protocol):
    """A value that says how to encode, and that metadata can hold."""

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote, or a user; InvalidArgument if a key or a value is not allowed."""

    def to_json(self) -> dict[str, Any]:
        """Every field, as strict JSON."""

    def arguments(self) -> str:
        """Spell the arguments that make this configuration, defaults left out."""


def configured_by(
    config_type: Callable[_P, CodecConfig],
) -> Callable[[Callable[[Any], None]], Callable[Concatenate[Any, _P], None]]:
    """Make an ``__init__`` take what a configuration takes, and keep that as ``self.config``.

    Parameters
    ----------
    config_type : callable
        The class of the configuration.

    Examples
    --------
    >>> from sciflow.codecs.sz import SZConfig
    >>> class Some:
    ...     @configured_by(SZConfig)
    ...     def __init__(self) -> None:
    ...         "Keep the configuration."
    >>> Some(0.5, level="fast").config
    SZConfig(Bound.abs(0.5), level='fast')
    """

    def made(method: Callable[[Any], None]) -> Callable[Concatenate[Any, _P], None]:
        @wraps(method)
        def init(self: Any, /, *arguments: _P.args, **named: _P.kwargs) -> None:
            method(self)
            object.__setattr__(self, "config", config_type(*arguments, **named))

        wanted = inspect.signature(config_type)
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        init.__signature__ = wanted.replace(  # type: ignore[attr-defined]
            parameters=[itself, *wanted.parameters.values()], return_annotation=None
        )
        return init

    return made
