"""The Karhunen-Loeve basis of a field's blocks, in integers: the best linear code of so many latents.

```
block - offset ─ basis ─▶ coefficients ─ / (gain/256 step), rint ─▶ latents ─ int16 basis ─▶ prediction
```
All decoding is in int64 and exact. With few latents it is a predictor, whose residual a codec quantises; with
as many as a block has cells it is a transform, whose residual is mostly zero. Arrays of the model:

| name    | dtype | shape            | meaning                                                     |
| ------- | ----- | ---------------- | ----------------------------------------------------------- |
| `basis` | int16 | (latents, cells) | orthonormal rows times 2^14, by falling variance            |
| `spread`| f32   | (latents,)       | standard deviation of each coefficient over the mean of all |

A stretch of the block's values by a factor, or another unit, needs no other basis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument
from sciflow.models.model import FRACTION, Model, array_of

__all__ = ["KLT", "fit_klt"]

_SHIFT = 14
_MAX_CELLS = 4096
_MAX_LATENT = 1 << 31
_MAX_GAIN = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class KLT:
    """A basis that is ready for use.

    Parameters
    ----------
    block : tuple of int
        Shape of a block.
    basis : ndarray, int16, shape (latents, cells)
        Rows times 2^14.
    """

    block: tuple[int, ...]
    basis: NDArray[np.int16]

    @classmethod
    def of(cls, model: Model) -> KLT:
        """Return the basis of a model.

        Raises
        ------
        Corrupt
            If its arrays are not those of a basis.
        """
        basis = array_of(model, "basis", "int16", 2)
        latents, cells = basis.shape
        if cells != math.prod(model.block) or not 0 < latents <= cells <= _MAX_CELLS:
            raise Corrupt(f"a basis of shape {basis.shape} for blocks of {model.block}")
        return cls(model.block, basis)

    @property
    def latents(self) -> int:
        """Latents of a block."""
        return len(self.basis)

    def encode(self, blocks: NDArray[np.floating], *, step: float, gain: int = FRACTION) -> NDArray[np.int32]:
        """Return the latents of blocks; floats are fine here, as a decoder never does this.

        Parameters
        ----------
        blocks : ndarray, float, shape (n, *block)
            Values less their offset, finite.
        step : float
            Quantisation step of the residual, twice the bound.
        gain : int
            A latent of 1 is worth ``gain / 256`` steps: 256 for a transform, more for a predictor.

        Returns
        -------
        ndarray, int32, shape (n, latents)
        """
        flat = blocks.reshape(len(blocks), -1).astype(np.float64)
        coefficients = flat @ (self.basis.T.astype(np.float64) * 2.0**-_SHIFT)
        latents = np.rint(coefficients / (step * gain / FRACTION))
        return np.clip(latents, 1 - _MAX_LATENT, _MAX_LATENT - 1).astype(np.int32)

    def decode(self, latents: NDArray[np.int32], *, gain: int = FRACTION) -> NDArray[np.int64]:
        """Return predictions, in 1/256 of a step, the same on every machine.

        Parameters
        ----------
        latents : ndarray, int32, shape (n, at most latents)
            As `encode` returns them; those that are missing are 0.
        gain : int
            1 to 2^20.

        Returns
        -------
        ndarray, int64, shape (n, *block)
            ``(gain * sum_k basis[k] latent[k] + 2^13) >> 14``. No sum leaves 63 bits for latents whose
            magnitudes add up to less than 2^28 in a block, which a codec checks first.

        Raises
        ------
        InvalidArgument
            If gain or latents are out of their domain.
        """
        if not 1 <= gain <= _MAX_GAIN:
            raise InvalidArgument(f"gain: found {gain}, expected 1 to {_MAX_GAIN}")
        if latents.ndim != 2 or latents.shape[1] > self.latents:
            raise InvalidArgument(f"latents of shape {latents.shape}: expected up to {self.latents} a block")
        if np.abs(latents.astype(np.int64)).sum(axis=1).max(initial=0) >= 1 << 28:
            raise InvalidArgument("latents whose magnitudes add up to 2^28 or more in a block")
        # Q: why floats? A: sums below 2^43 are exact in float64 in any order, and a BLAS is far quicker.
        basis = self.basis[: latents.shape[1]].astype(np.float64)
        sums = (latents.astype(np.float64) @ basis).astype(np.int64)
        found = (sums * gain + (1 << (_SHIFT - 1))) >> _SHIFT
        return found.reshape(-1, *self.block)


def fit_klt(
    blocks: NDArray[np.floating], *, latents: int | None = None, card: Mapping[str, str] | None = None
) -> Model:
    """Return the basis of blocks, in closed form.

    Parameters
    ----------
    blocks : ndarray, float32|float64, shape (n, *block)
        Finite, as `read_blocks` gives them; at most 4096 cells a block.
    latents : int, optional
        How many rows to keep, those of greatest variance; by default all.
    card : mapping of str to str, optional
        For the model.

    Returns
    -------
    Model
        Rows have their sign chosen, so that the result does not depend on a LAPACK's.

    Raises
    ------
    InvalidArgument
        If there are no blocks, they are too large, or so many latents cannot be.
    """
    cells = math.prod(blocks.shape[1:])
    count = cells if latents is None else latents
    if len(blocks) == 0 or not 1 <= count <= cells <= _MAX_CELLS:
        raise InvalidArgument(
            f"{len(blocks)} blocks of {cells} cells, {count} latents: expected some blocks, "
            f"up to {_MAX_CELLS} cells and no more latents than these"
        )
    flat = blocks.reshape(len(blocks), -1).astype(np.float64)
    flat = flat - flat.mean()  # the offset of a chunk: one number, not one a cell
    covariance = flat.T @ flat / len(flat)
    variances, vectors = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:count]
    rows = vectors[:, order].T
    rows = rows * np.sign(rows[np.arange(count), np.abs(rows).argmax(axis=1)])[:, None]
    basis = np.clip(np.rint(rows * 2**_SHIFT), -(2**15) + 1, 2**15 - 1).astype(np.int16)
    deviations = np.sqrt(np.maximum(variances[order], 0.0))
    spread = (deviations / max(float(deviations.mean()), 1e-300)).astype(np.float32)
    return Model("klt", blocks.shape[1:], {"basis": basis, "spread": spread}, card or {})
