"""What every surrogate is: a module that predicts, and a loss that is a mean over the batch.

To add one, derive from `Surrogate`, give it the five class attributes, check the spec in ``__init__`` and
write ``forward``; `build` takes it as ``"package.module:Class"``::

    @dataclass(frozen=True, slots=True)
    class Settings:
        width: int = 16

    class Mine(Surrogate):
        settings_class = Settings
        about, paper, takes = "two convolutions", "none", "input (C, y, x), target (C', y, x)"

        def __init__(self, spec: SampleSpec, settings: Settings) -> None:
            super().__init__(spec, settings)
            check_fields(spec, "mine", ranks=(2,))
            ...
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument

__all__ = [
    "LOSSES",
    "SampleSpec",
    "Surrogate",
    "absolute",
    "check_choice",
    "check_divisible",
    "check_fields",
    "relative",
    "settings_of",
    "squared",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """Shapes of one sample.

    Parameters
    ----------
    input : tuple of int
        (channel, *space), with 1 to 3 axes of space.
    target : tuple of int, optional
        (channel, *space), or (parameter,); None where there is none.

    Raises
    ------
    InvalidArgument
        If a shape has another number of axes, or a side is below 1.
    """

    input: tuple[int, ...]
    target: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", tuple(self.input))
        if self.target is not None:
            object.__setattr__(self, "target", tuple(self.target))
        if not 2 <= len(self.input) <= 4 or min(self.input) < 1:
            raise InvalidArgument(f"input: found shape {self.input}, expected (channel, *space)")
        if self.target is not None and (not 1 <= len(self.target) <= 4 or min(self.target) < 1):
            raise InvalidArgument(
                f"target: found shape {self.target}, expected (channel, *space) or (parameter,)"
            )

    @property
    def space(self) -> tuple[int, ...]:
        """Cells of the input along each axis."""
        return self.input[1:]


class Surrogate(nn.Module, ABC):
    """A network for samples of one spec.

    Parameters
    ----------
    spec : SampleSpec
        What it is for; a network checks that it can take it.
    settings : object
        Of its ``settings_class``, a frozen dataclass whose fields all have defaults.
    """

    settings_class: ClassVar[type[Any]]
    about: ClassVar[str]
    paper: ClassVar[str]
    takes: ClassVar[str]
    supervised: ClassVar[bool] = True

    def __init__(self, spec: SampleSpec, settings: Any) -> None:
        super().__init__()
        self.spec = spec
        self.settings = settings

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction for a batch, shape (batch, channel, *space)."""

    def loss(self, prediction: Tensor, x: Tensor, target: Tensor | None) -> Tensor:
        """Return the loss, a float32 (or float64) scalar and a mean over the batch.

        So losses, and gradients, of equal shares of a batch average to those of the whole.

        Parameters
        ----------
        prediction : Tensor
            From ``forward(x)``.
        x : Tensor, shape (batch, channel, *space)
            The input; only an unsupervised network looks at it.
        target : Tensor, shape of `prediction`, or None
            An unsupervised network takes None.

        Raises
        ------
        InvalidArgument
            If a target is needed and missing, or of another shape.
        """
        return LOSSES[getattr(self.settings, "loss", "squared")](*self.matched(prediction, target))

    def matched(self, prediction: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return both in float32 or wider; `InvalidArgument` if there is no target of this shape."""
        if target is None or target.shape != prediction.shape:
            found = None if target is None else tuple(target.shape)
            raise InvalidArgument(
                f"{type(self).__name__} loss: found target {found}, expected {tuple(prediction.shape)}"
            )
        wide = torch.promote_types(prediction.dtype, torch.float32)
        return prediction.to(wide), target.to(wide)

    def parameter_count(self) -> int:
        """Return how many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def squared(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean square of the difference."""
    return (prediction - target).square().mean()


def absolute(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean of the absolute difference."""
    return (prediction - target).abs().mean()


def relative(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over samples of ``|prediction - target| / |target|``, Euclidean norms of a sample."""
    difference = torch.linalg.vector_norm((prediction - target).flatten(1), dim=1)
    size = torch.linalg.vector_norm(target.flatten(1), dim=1)
    mean: Tensor = (difference / size.clamp_min(torch.finfo(size.dtype).tiny)).mean()
    return mean


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": squared,
    "absolute": absolute,
    "relative": relative,
}
"""Losses that settings name."""


def settings_of(kind: type[T], given: Mapping[str, Any], name: str) -> T:
    """Return settings from a mapping such as a table of TOML: lists become tuples, whole numbers floats.

    Parameters
    ----------
    kind : type
        A dataclass whose fields all have defaults; a value must be of the type of its field.
    given : mapping
        What differs from the defaults.
    name : str
        Of the network, for messages.

    Raises
    ------
    InvalidArgument
        If a setting is unknown, of another type, or out of its domain.
    """
    kinds = get_type_hints(kind)
    unknown = [key for key in given if key not in kinds]
    if unknown:
        raise InvalidArgument(
            f"{name}: unknown setting {', '.join(map(repr, unknown))}; known: {', '.join(kinds)}"
        )
    try:
        return kind(**{key: _value(key, value, kinds[key]) for key, value in given.items()})
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}: {error}") from error


def _value(key: str, value: Any, kind: Any) -> Any:
    allowed = [get_origin(one) or one for one in (get_args(kind) if isinstance(kind, UnionType) else [kind])]
    if isinstance(value, list):
        value = tuple(value)
    if type(value) is int and allowed == [float]:
        value = float(value)
    if type(value) not in allowed:
        expected = " or ".join(one.__name__ for one in allowed)
        raise InvalidArgument(f"setting {key}: found {value!r}, expected {expected}")
    return value


def check_choice(key: str, value: str, choices: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Raise `InvalidArgument` unless a setting is one of its choices."""
    if value not in choices:
        raise InvalidArgument(f"setting {key}: found {value!r}, expected one of {', '.join(choices)}")


def check_fields(spec: SampleSpec, name: str, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the target's shape; `InvalidArgument` unless it is a field on the space of the input.

    Parameters
    ----------
    spec : SampleSpec
        Of a network from fields to fields.
    name : str
        Of the network.
    ranks : tuple of int
        Numbers of axes of space that it takes.
    """
    if len(spec.space) not in ranks:
        axes = " or ".join(map(str, ranks))
        raise InvalidArgument(
            f"{name}: found an input of shape {spec.input}, expected (channel, *space) with {axes} axes"
        )
    if spec.target is None or spec.target[1:] != spec.space:
        raise InvalidArgument(
            f"{name}: found a target of shape {spec.target}, expected (channel, {_listed(spec.space)})"
        )
    return spec.target


def check_divisible(spec: SampleSpec, name: str, factor: int, why: str) -> None:
    """Raise `InvalidArgument`, with the nearest sides that fit, unless `factor` divides every side."""
    if any(side % factor for side in spec.space):
        fits = tuple(max(math.floor(side / factor), 1) * factor for side in spec.space)
        raise InvalidArgument(
            f"{name}: found sides {spec.space}, expected multiples of {factor}: {why}; {fits} would fit"
        )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
