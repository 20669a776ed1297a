"""What an AESZ codec is asked for: a value, checked when it is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sciflow.bounds import Bound
from sciflow.codecs.sentinels import Sentinel
from sciflow.codecs.sz import Level, SZConfig
from sciflow.errors import InvalidArgument, ModelMismatch

if TYPE_CHECKING:
    from sciflow.models.model import Model

__all__ = ["AESZConfig"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("bound", "model", "inline", "level", "preserve", "verify", "block_values")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AESZConfig:
    """How to encode; to decode, the model is needed.

    Parameters
    ----------
    bound : Bound or float
        The promise, ``abs`` or ``rel``; a number means ``Bound.abs``. ``rel`` refers to the range of what
        is encoded.
    model : Model or str
        What predicts blocks: a model, or its digest, file or name in the catalogue, as
        `sciflow.models.resolve` reads it. Kept as digest.
    inline : str, optional
        The model's file in base64. By default a model that is given, or named by file or name, is carried
        here where it is small enough; larger ones lie where `sciflow.models.find` looks.
    level : {"fast", "quick", "balanced", "max"}
        Of the SZ streams inside; see `SZConfig`.
    preserve : iterable of number or str
        Sentinels that come back bit for bit; see `SZConfig`.
    verify : bool
        Whether SZ checks its streams a second time. What the model adds is checked in any case.
    block_values : int, optional
        Cells in a block of SZ; see `SZConfig`.
    threads : int
        Of SZ, within one call. A choice of the running program: no part of equality or of the JSON form.

    Raises
    ------
    InvalidArgument
        If a value is not allowed, or there is no such model.
    ModelMismatch
        If `inline` is another model.

    Examples
    --------
    >>> config = AESZConfig(0.01, model="shallow-water-klt")
    >>> AESZConfig.from_json(config.to_json()) == config
    True
    """

    sz: SZConfig
    model: str
    inline: str | None
    threads: int = field(compare=False)

    def __init__(
        self,
        bound: Bound | float,
        *,
        model: Model | str,
        inline: str | None = None,
        level: Level = "balanced",
        preserve: Iterable[Sentinel] = (),
        verify: bool = True,
        block_values: int | None = None,
        threads: int = 1,
    ) -> None:
        assign = object.__setattr__
        base = SZConfig(
            bound, level=level, preserve=preserve, verify=verify, block_values=block_values, threads=threads
        )
        if base.bound.kind not in ("abs", "rel") or base.bound.mse is not None:
            raise InvalidArgument(
                f"bound={base.bound!r}: a model's residual has one bound for all values; give Bound.abs(...) "
                "or Bound.rel(...)"
            )
        digest, carried = _named(model, inline)
        assign(self, "sz", base)
        assign(self, "model", digest)
        assign(self, "inline", carried)
        assign(self, "threads", base.threads)

    @property
    def bound(self) -> Bound:
        """The promise."""
        return self.sz.bound

    def with_sz(self, sz: SZConfig) -> Self:
        """Return the same with another configuration of SZ."""
        return type(self)(
            sz.bound,
            model=self.model,
            inline=self.inline,
            level=sz.level,
            preserve=sz.preserve,
            verify=sz.verify,
            block_values=sz.block_values,
            threads=sz.threads,
        )

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` wrote, or a user: missing keys take their defaults.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        if not isinstance(data, Mapping) or "bound" not in data or "model" not in data:
            raise InvalidArgument(f'configuration {data!r}: expected an object with "bound" and "model"')
        unknown = sorted(set(data) - {*_FIELDS, "threads"})
        if unknown:
            raise InvalidArgument(
                f"configuration: unknown {', '.join(map(repr, unknown))}; known are {', '.join(_FIELDS)}"
            )
        bound = data["bound"]
        rest = {name: value for name, value in data.items() if name != "bound"}
        return cls(Bound.from_json(bound) if isinstance(bound, Mapping) else bound, **rest)

    def to_json(self) -> dict[str, Any]:
        """Every field that another program can use, as strict JSON (schema: codecs/schema/aesz.json)."""
        base = self.sz.to_json()
        return {
            "bound": base["bound"],
            "model": self.model,
            "inline": self.inline,
            **{name: base[name] for name in ("level", "preserve", "verify", "block_values")},
        }

    def arguments(self) -> str:
        """Spell the arguments that make this configuration, defaults left out."""
        bound = repr(self.sz.bound)
        rest = self.sz.arguments().removeprefix(bound)
        carried = "" if self.inline is None else f", inline={self.inline!r}"
        return f"{bound}, model={self.model!r}{carried}{rest}"

    def __repr__(self) -> str:
        return f"AESZConfig({self.arguments()})"


def _named(model: Model | str, inline: str | None) -> tuple[str, str | None]:
    """The digest of a model, and its file in base64 where that is to be carried."""
    from sciflow.codecs.aesz_model import remember
    from sciflow.models.store import inlined, resolve

    if inline is not None and not isinstance(inline, str):
        raise InvalidArgument(f"inline={inline!r}: expected a model's file in base64")
    if isinstance(model, str) and _DIGEST.fullmatch(model):
        if inline is not None:
            _check_inline(model, inline)
        return model, inline
    if isinstance(model, str):
        model = resolve(model)
    elif not hasattr(model, "digest"):
        raise InvalidArgument(f"model={model!r}: expected a model, its digest, file or name")
    remember(model)
    return model.digest, inlined(model) if inline is None else inline


def _check_inline(digest: str, inline: str) -> None:
    import base64
    import binascii
    import hashlib

    try:
        found = hashlib.sha256(base64.b64decode(inline, validate=True)).hexdigest()
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("inline: expected a model's file in base64") from error
    if found != digest:
        raise ModelMismatch(f"inline: found model {found}, expected {digest}")
