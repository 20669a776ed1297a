"""What a model is to a codec: a file of integers with a digest, and a prediction in fractions of a step.

```
file ── safetensors: arrays + text ──▶ Model ──▶ KLT | Linear | Autoencoder ── decode(latents) ──▶ int64
SHA-256 of the file = its name                                                 in 1/256 of a quantisation step
```
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument, Unsupported
from sciflow.models.tensors import read_tensors, write_tensors

__all__ = ["FRACTION", "KINDS", "Kind", "Model", "array_of"]

Kind = Literal["autoencoder", "klt", "linear"]
KINDS: tuple[Kind, ...] = ("autoencoder", "klt", "linear")

FRACTION = 256
"""Predictions count in 1/256 of a quantisation step, which is twice the bound."""

_FORMAT = "1"
_MAX_SIDE = 64
_OWN = ("format", "kind", "block")


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model as it is stored.

    Parameters
    ----------
    kind : str
        ``"autoencoder"``, ``"klt"`` or ``"linear"``.
    block : tuple of int
        Shape of the blocks that it predicts: 1 to 3 axes, each of 2 to 64 cells.
    arrays : mapping of str to ndarray
        What `kind` says; see the module of that name.
    card : mapping of str to str
        Where it comes from: ``title``, ``data``, ``licence``, settings, measured quality. Part of the digest.

    Raises
    ------
    InvalidArgument
        If kind or block are not of these, or the card uses a name that the file uses itself.
    """

    kind: Kind
    block: tuple[int, ...]
    arrays: Mapping[str, NDArray[Any]]
    card: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidArgument(f"kind of model: found {self.kind!r}, expected one of {', '.join(KINDS)}")
        if not (1 <= len(self.block) <= 3 and all(2 <= n <= _MAX_SIDE for n in self.block)):
            raise InvalidArgument(f"block: found {self.block}, expected 1 to 3 sides of 2 to {_MAX_SIDE}")
        if taken := set(self.card) & set(_OWN):
            raise InvalidArgument(f"card: found {', '.join(sorted(taken))}, which the file itself uses")

    @property
    def digest(self) -> str:
        """SHA-256 of the file, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the file; the same bytes for the same model."""
        own = {"format": _FORMAT, "kind": self.kind, "block": ",".join(map(str, self.block))}
        return write_tensors(self.arrays, {**self.card, **own})

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """Read a file.

        Raises
        ------
        Truncated, Corrupt
            If bytes are missing or no `to_bytes` wrote them.
        Unsupported
            If it is of a newer format.
        """
        arrays, card = read_tensors(data)
        version, kind, block = (card.pop(name, "") for name in _OWN)
        if version != _FORMAT:
            raise Unsupported(
                f"a model of format {version!r}: this release reads {_FORMAT!r}; upgrade sciflow"
            )
        sides = block.split(",")
        if kind not in KINDS or not all(side.isdecimal() and len(side) < 4 for side in sides):
            raise Corrupt(
                f"a model of kind {kind!r} and block {block!r}: expected {', '.join(KINDS)} and sides"
            )
        try:
            return cls(kind, tuple(map(int, sides)), arrays, card)
        except InvalidArgument as error:
            raise Corrupt(f"a model that cannot be: {error}") from error


def array_of(model: Model, name: str, dtype: str, ndim: int) -> NDArray[Any]:
    """Return an array of a model.

    Raises
    ------
    Corrupt
        If it is absent, or of another dtype or number of axes.
    """
    array = model.arrays.get(name)
    if array is None or array.dtype != np.dtype(dtype) or array.ndim != ndim:
        found = "nothing" if array is None else f"{array.dtype} with {array.ndim} axes"
        raise Corrupt(
            f"array {name!r} of a model of kind {model.kind}: found {found}, expected {dtype}, {ndim}"
        )
    return array
