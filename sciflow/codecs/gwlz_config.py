"""What a GWLZ codec is asked for: a value, checked when it is made."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from sciflow.bounds import Bound
from sciflow.codecs.base import BaseCodec, BaseLike, SZBase, parse_base
from sciflow.errors import InvalidArgument

__all__ = ["MAX_AUX", "Enhancer", "GWLZConfig", "Groups", "Target"]

Target = Literal["bound", "psnr"]
Groups = Literal["auto", "value", "quantile", "activity"]
Enhancer = Literal["wiener", "cnn", "cnn-float"]
_TARGETS: tuple[Target, ...] = get_args(Target)
_GROUPS: tuple[Groups, ...] = get_args(Groups)
_MAX_GROUPS = 64
_ENHANCERS: tuple[Enhancer, ...] = get_args(Enhancer)
_MAX_SECONDS = 86400.0
MAX_AUX = 3
"""Other variables that an enhancer reads (MAX_AUX in codecs/enhance/rows_seam.hpp)."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class GWLZConfig:
    """How to encode; to decode, the base codec and the shared enhancer are needed.

    Parameters
    ----------
    base : BaseLike
        The codec whose output is enhanced: an SZ, any registered numcodecs codec or its configuration, or a
        sequence of those, applied one behind the other.
    target : {"bound", "psnr"}
        ``"bound"``: every value stays within the base's bound; the enhancer lowers the mean square error.
        ``"psnr"``: the smallest stream whose enhanced PSNR reaches `psnr`; the largest error is measured and
        stored.
    groups : {"auto", "value", "quantile", "activity"}
        What tells cells apart that get filters of their own: equal widths of value (as in the paper),
        quantiles of value, quantiles of activity around a cell, or what serves best of activity by value and
        activity by position on the even and odd grid.
    n_groups : int, optional
        Filters at most, 1 to 64; classes that gain too little of their own are merged. By default 16.
    psnr : float, optional
        In dB, over the range of the array that is encoded. By default that of the base's ``Bound.psnr``.
    bound : Bound or float, optional
        For a base that is not SZ, with target "bound": what every value is held to. By default the largest
        error that the base itself makes.
    shared : bytes or str, optional
        An enhancer that encoder and decoder both have (see `sciflow.codecs.enhancer.fit_shared`), as bytes or
        in base64. A chunk takes it where that is smaller than one of its own.
    tune : str, optional
        For a base that is not SZ, with target "psnr": its parameter that holds the error bound.
    enhancer : {"wiener", "cnn", "cnn-float"}
        Filters, or small networks that are trained while encoding (needs torch; by default 4 groups, by
        quantiles of value). A network is slow to make. Networks of integers ("cnn") decode to the same bits
        on every machine, without torch; values of "cnn-float" may differ in the last bits on another machine,
        where decoding then fails: for experiments, not for archives.
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal. A choice of the running program: no part of
        equality or of the JSON form.
    aux : iterable of str
        Names of up to 3 other variables of the same shape, in the same group of the store, whose decoded
        values the filters read too. Encoding and decoding take them as arrays; a store is written with
        `sciflow.compress`, which sees to it that they are there.

    Raises
    ------
    InvalidArgument
        If a value is not allowed, or two contradict each other.

    Examples
    --------
    >>> from sciflow.codecs.sz import SZConfig
    >>> config = GWLZConfig(SZConfig(Bound.rel(1e-2)))
    >>> GWLZConfig.from_json(config.to_json()) == config
    True
    """

    base: BaseCodec
    target: Target
    groups: Groups
    n_groups: int | None
    psnr: float | None
    bound: Bound | None
    shared: bytes
    tune: str | None
    enhancer: Enhancer
    seed: int
    time_budget: float
    progress: bool | None
    aux: tuple[str, ...]

    def __init__(
        self,
        base: BaseLike,
        *,
        target: Target = "bound",
        groups: Groups = "auto",
        n_groups: int | None = None,
        psnr: float | None = None,
        bound: Bound | float | None = None,
        shared: bytes | str | None = None,
        tune: str | None = None,
        enhancer: Enhancer = "wiener",
        seed: int = 0,
        time_budget: float = 20.0,
        progress: bool | None = False,
        aux: Iterable[str] = (),
    ) -> None:
        assign = object.__setattr__
        assign(self, "base", parse_base(base, tune=tune))
        assign(self, "target", target)
        assign(self, "groups", groups)
        assign(self, "n_groups", n_groups)
        assign(self, "psnr", None if psnr is None else Bound.psnr(psnr).value)
        assign(self, "bound", bound if isinstance(bound, Bound) or bound is None else Bound.abs(bound))
        assign(self, "shared", _model_bytes(shared))
        assign(self, "tune", tune)
        assign(self, "enhancer", enhancer)
        assign(self, "seed", seed)
        assign(self, "time_budget", time_budget)
        assign(self, "progress", progress)
        assign(self, "aux", _names(aux))
        self._check()

    def _check(self) -> None:
        if self.target not in _TARGETS:
            raise InvalidArgument(f"target={self.target!r}: expected one of {', '.join(_TARGETS)}")
        if self.groups not in _GROUPS:
            raise InvalidArgument(f"groups={self.groups!r}: expected one of {', '.join(_GROUPS)}")
        if self.enhancer not in _ENHANCERS:
            raise InvalidArgument(f"enhancer={self.enhancer!r}: expected one of {', '.join(_ENHANCERS)}")
        if self.enhancer != "wiener" and (self.groups == "activity" or self.shared):
            raise InvalidArgument(
                f'enhancer="{self.enhancer}": goes with groups by value or quantile, and without shared='
            )
        if self.aux and (self.enhancer != "wiener" or self.shared):
            raise InvalidArgument(
                f'aux={list(self.aux)!r}: goes with enhancer="wiener" alone, and without shared='
            )
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 63:
            raise InvalidArgument(f"seed={self.seed!r}: expected a whole number of 0 or more")
        if not 0 < self.time_budget <= _MAX_SECONDS:
            raise InvalidArgument(
                f"time_budget={self.time_budget!r}: expected seconds, up to {_MAX_SECONDS:g}"
            )
        count = self.n_groups
        if count is not None and (type(count) is not int or not 1 <= count <= _MAX_GROUPS):
            raise InvalidArgument(f"n_groups={count!r}: expected a whole number from 1 to {_MAX_GROUPS}")
        if self.bound is not None and (
            isinstance(self.base, SZBase) or self.bound.kind not in ("abs", "rel")
        ):
            raise InvalidArgument(
                f"bound={self.bound!r}: goes with a base that is not SZ, as Bound.abs or Bound.rel; "
                "SZ has a bound of its own"
            )
        if self.target == "bound":
            if self.psnr is not None:
                raise InvalidArgument(f'psnr={self.psnr!r} goes with target="psnr"')
        elif self.decibels is None:
            raise InvalidArgument('target="psnr": say how much, with psnr=60.0 or base=SZ(Bound.psnr(60.0))')
        elif not self.base.tunable:
            raise InvalidArgument(
                'target="psnr": the base\'s bound must be moved to reach it; name its parameter, '
                'for example tune="tolerance"'
            )

    def with_base(self, base: BaseCodec) -> Self:
        """Return the same with another base codec."""
        return type(self)(
            base,
            target=self.target,
            groups=self.groups,
            n_groups=self.n_groups,
            psnr=self.psnr,
            bound=self.bound,
            shared=self.shared,
            tune=self.tune,
            enhancer=self.enhancer,
            seed=self.seed,
            time_budget=self.time_budget,
            progress=self.progress,
            aux=self.aux,
        )

    @property
    def groups_number(self) -> int:
        """What the engine calls `groups`."""
        return _GROUPS.index(self.groups)

    @property
    def decibels(self) -> float | None:
        """The PSNR that is asked for."""
        if self.psnr is None and isinstance(self.base, SZBase) and self.base.config.bound.kind == "psnr":
            return self.base.config.bound.value
        return self.psnr

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote, or a user: missing keys take their defaults.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        names = [entry.name for entry in fields(cls) if entry.name != "progress"]
        if not isinstance(data, Mapping) or "base" not in data:
            raise InvalidArgument(f'configuration {data!r}: expected an object with "base" at least')
        unknown = sorted(set(data) - set(names))
        if unknown:
            raise InvalidArgument(
                f"configuration: unknown {', '.join(map(repr, unknown))}; known are {', '.join(names)}"
            )
        rest = {name: value for name, value in data.items() if name not in ("base", "bound")}
        bound = data.get("bound")
        return cls(
            data["base"], bound=Bound.from_json(bound) if isinstance(bound, Mapping) else bound, **rest
        )

    def to_json(self) -> dict[str, Any]:
        """Every field, as strict JSON."""
        return {
            "base": self.base.to_json(),
            "target": self.target,
            "groups": self.groups,
            "n_groups": self.n_groups,
            "psnr": self.psnr,
            "bound": None if self.bound is None else self.bound.to_json(),
            "shared": base64.b64encode(self.shared).decode("ascii") or None,
            "tune": self.tune,
            "enhancer": self.enhancer,
            "seed": self.seed,
            "time_budget": self.time_budget,
            **({"aux": list(self.aux)} if self.aux else {}),
        }

    def arguments(self) -> str:
        """Spell the arguments that make this configuration, defaults left out."""
        shown = {key: value for key, value in self.to_json().items() if value is not None}
        defaults = {"target": "bound", "groups": "auto", "enhancer": "wiener", "seed": 0, "time_budget": 20.0}
        parts = [f"{key}={value!r}" for key, value in shown.items() if defaults.get(key) != value]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"GWLZConfig({self.arguments()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GWLZConfig) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(repr(self.to_json()))


def _model_bytes(shared: bytes | str | None) -> bytes:
    if shared is None or isinstance(shared, bytes):
        return shared or b""
    try:
        return base64.b64decode(shared, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidArgument(f"shared={shared!r}: expected an enhancer as bytes, or in base64") from error


def _names(aux: Iterable[str]) -> tuple[str, ...]:
    names = tuple(aux)
    good = all(
        isinstance(name, str) and name not in ("", ".", "..") and "/" not in name for name in list[Any](names)
    )
    if isinstance(aux, str) or not good or len(names) > MAX_AUX or len(set(names)) != len(names):
        raise InvalidArgument(
            f"aux={aux!r}: expected a list of up to {MAX_AUX} different names of variables in the same group"
        )
    return names
