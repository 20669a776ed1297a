"""Surrogate networks: a simulation's or an instrument's samples in, a prediction out; training is elsewhere.

```
build(name, SampleSpec(input, target), settings) ─▶ Surrogate
surrogate(x) ─▶ prediction        surrogate.loss(prediction, x, target) ─▶ scalar, mean over the batch

x: float32 (batch, channel, *space)     prediction: (batch, channel', *space) or (batch, parameter)
```

>>> from sciflow.models import surrogates
>>> surrogates.names()
('autophasenn', 'cosmoflow', 'fno', 'ptychonn', 'unet')

A class of your own goes by its place, ``"package.module:Class"``, wherever a name goes; what it must have is
in `sciflow.models.surrogates.base`. Names load nothing heavy; `build` and `describe` load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.models.surrogates.base import SampleSpec, Surrogate

__all__ = ["Description", "SampleSpec", "Surrogate", "build", "describe", "names"]

_PLACES = {
    "autophasenn": "sciflow.models.surrogates.autophasenn:AutoPhaseNN",
    "cosmoflow": "sciflow.models.surrogates.cosmoflow:CosmoFlow",
    "fno": "sciflow.models.surrogates.fno:FNO",
    "ptychonn": "sciflow.models.surrogates.ptychonn:PtychoNN",
    "unet": "sciflow.models.surrogates.unet:UNet",
}


@dataclass(frozen=True, slots=True)
class Description:
    """What a surrogate is.

    Parameters
    ----------
    name : str
        As `build` takes it.
    about, paper, takes : str
        A line each: what it is for, where it is from, the shapes that it takes.
    supervised : bool
        Whether its loss needs a target.
    settings : dict
        Each setting and its default.
    parameters : int or None
        Numbers that are trained, of the spec that was asked about.
    """

    name: str
    about: str
    paper: str
    takes: str
    supervised: bool
    settings: dict[str, Any]
    parameters: int | None


def names() -> tuple[str, ...]:
    """Return the names of our own networks, sorted."""
    return tuple(_PLACES)


def build(name: str, spec: SampleSpec, settings: Mapping[str, Any] | None = None) -> Surrogate:
    """Return a network for samples of these shapes, with fresh weights from torch's global generator.

    Parameters
    ----------
    name : str
        One of `names`, or ``"package.module:Class"``.
    spec : SampleSpec
        Shapes of a sample, without the batch.
    settings : mapping, optional
        As in the network's ``Settings``; what is left out keeps its default.

    Raises
    ------
    InvalidArgument
        If there is no such network, it has no such setting, a setting is out of its domain, or it cannot
        take samples of these shapes.
    """
    from sciflow.models.surrogates.base import settings_of

    kind = _kind(name)
    return kind(spec, settings_of(kind.settings_class, settings or {}, name))


def describe(
    name: str, spec: SampleSpec | None = None, settings: Mapping[str, Any] | None = None
) -> Description:
    """Return what a network is for, what it takes and its settings; with a `spec`, its parameter count too.

    Raises
    ------
    InvalidArgument
        As for `build`.
    """
    from sciflow.models.surrogates.base import settings_of

    kind = _kind(name)
    chosen = settings_of(kind.settings_class, settings or {}, name)
    return Description(
        name=name,
        about=kind.about,
        paper=kind.paper,
        takes=kind.takes,
        supervised=kind.supervised,
        settings={each.name: getattr(chosen, each.name) for each in fields(chosen)},
        parameters=None if spec is None else kind(spec, chosen).parameter_count(),
    )


def _kind(name: str) -> type[Surrogate]:
    place = _PLACES.get(name, name if ":" in name else None)
    if place is None:
        raise InvalidArgument(
            f"surrogate: found {name!r}, expected one of {', '.join(names())} or 'package.module:Class'"
        )
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(
            f"surrogate {name!r}: {error}; expected an importable 'package.module:Class', and torch installed"
        ) from error
    return _checked(name, found)


def _checked(name: str, found: Any) -> type[Surrogate]:
    from sciflow.models.surrogates.base import Surrogate

    if not (isinstance(found, type) and issubclass(found, Surrogate)):
        raise InvalidArgument(
            f"surrogate {name!r}: found {found!r}, expected a subclass of sciflow.models.surrogates.Surrogate"
        )
    return found


def __getattr__(name: str) -> Any:
    if name not in ("SampleSpec", "Surrogate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.base"), name)


def __dir__() -> list[str]:
    return list(__all__)
