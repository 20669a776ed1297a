"""The model of a stream: found by its digest, made ready once a process, its predictions in parts.

```
digest ─▶ [kept?] ─ find ─▶ predictor ─ encode ─▶ latents ─ decode ─▶ P, int64, 1/256 of a step
```
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument

if TYPE_CHECKING:
    from sciflow.models.model import Model

__all__ = ["LATENT_FRACTION", "Predictor", "known", "predictor_of", "remember"]

LATENT_FRACTION = 16
"""Latents count in 1/16 of what one step of their SZ stream is worth."""
_KEPT = 8
_PART = 1024
"""Blocks at a time, so that memory does not grow with the array."""
_LARGEST = 1 << 26


class Predictor:
    """A model as a stream uses it.

    Parameters
    ----------
    model : Model
        Of any kind.

    Raises
    ------
    Corrupt
        If its arrays are not those of its kind.
    """

    def __init__(self, model: Model) -> None:
        from sciflow.models.decoder import Learned
        from sciflow.models.kinds import predictor
        from sciflow.models.linear import Linear

        self.model = model
        self.block = model.block
        self.digest = model.digest
        made = predictor(model)
        self._run: Any = made
        self.linear = made if isinstance(made, Linear) else None
        """What runs inside SZ, where the model is of that kind; it has no latents."""
        self.latents: int = getattr(made, "latents", 0)
        self.scaled = isinstance(made, Learned)
        """Whether it needs to know a step's worth of the field's range."""

    def encode(self, blocks: NDArray[np.float64], *, step: float, half_range: float) -> NDArray[np.float64]:
        """Return latents, shape (n, latents), in steps where they stand for an orthonormal basis.

        Parameters
        ----------
        blocks : ndarray, float64, shape (n, *block)
            Values less their offset.
        step : float
            Twice the bound.
        half_range : float
            Half the field's range.
        """
        # the finest gain: what is rounded here is far below what the latents are quantised with
        found = [self._encode(part, step, half_range) for part in _parts(blocks)]
        return np.concatenate(found) / _FINE

    def _encode(self, blocks: NDArray[np.float64], step: float, half_range: float) -> NDArray[np.int32]:
        from sciflow.models.model import FRACTION

        gain = FRACTION // _FINE
        if self.scaled:
            made: NDArray[np.int32] = self._run.encode(blocks, step=step, half_range=half_range, gain=gain)
        else:
            made = self._run.encode(blocks, step=step, gain=gain)
        return made

    def decode(self, latents: NDArray[np.int32], *, gain: int, ratio: float) -> NDArray[np.int64]:
        """Return predictions, shape (n, *block), in 1/256 of a step.

        Parameters
        ----------
        latents : ndarray, int32, shape (n, at most latents)
            In 1/16 of ``16 gain / 256`` steps; those that are missing are 0.
        gain : int
            1 to 2^20 - 1.
        ratio : float
            A step's worth of half the field's range, over 256; for an autoencoder.

        Raises
        ------
        Corrupt
            If the latents are out of their domain.
        """
        if np.abs(latents.astype(np.int64)).max(initial=0) >= _LARGEST:
            raise Corrupt(f"a latent of {_LARGEST} or more: no encoder writes that")
        try:
            if self.scaled:
                whole = np.zeros((len(latents), self.latents), np.int32)
                whole[:, : latents.shape[1]] = latents
                return np.concatenate([self._run.decode(p, ratio=ratio, gain=gain) for p in _parts(whole)])
            return np.concatenate([self._run.decode(p, gain=gain) for p in _parts(latents)])
        except InvalidArgument as error:
            raise Corrupt(f"latents that no encoder writes: {error}") from error


_FINE = 64
_recent: OrderedDict[str, Predictor] = OrderedDict()
_lock = Lock()


def remember(model: Model) -> Predictor:
    """Keep a model for streams of this process.

    Raises
    ------
    InvalidArgument, Corrupt
        As `Predictor`.
    """
    with _lock:
        found = _recent.get(model.digest)
    return found or _keep(Predictor(model))


def known(digest: str) -> bool:
    """Whether this process has the model ready."""
    with _lock:
        return digest in _recent


def predictor_of(digest: str, *, inline: str | None = None, file: bytes | None = None) -> Predictor:
    """Return the predictor of a digest.

    Parameters
    ----------
    digest : str
        64 hexadecimal digits.
    inline : str, optional
        The model's file in base64.
    file : bytes, optional
        What lies under ``models/<digest>`` beside the arrays.

    Raises
    ------
    ModelMismatch
        If no place has it.
    Truncated, Corrupt, Unsupported, InvalidArgument
        If it is no model that this release runs.
    """
    with _lock:
        if digest in _recent:
            _recent.move_to_end(digest)
            return _recent[digest]
    from sciflow.models.model import Model
    from sciflow.models.store import find

    beside = None if file is None else {f"models/{digest}": file}
    return _keep(Predictor(Model.from_bytes(find(digest, inline=inline, beside=beside))))


def _keep(made: Predictor) -> Predictor:
    with _lock:
        _recent[made.digest] = made
        while len(_recent) > _KEPT:
            _recent.popitem(last=False)
    return made


def _parts(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [rows[at : at + _PART] for at in range(0, max(len(rows), 1), _PART)]
