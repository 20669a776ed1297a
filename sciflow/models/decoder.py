"""An autoencoder that is ready for use: latents to predictions in integers, without torch.

```
latents ─ x gain ─┬─ int16 basis ──────────────────────────────────▶ (+) ─▶ prediction, 1/256 of a step
 (int32)          └─ x units x ratio, rint, int16 ─ decoder ─ x out / ratio, rint ─▲
```
Two numbers come from the stream: ``gain``, the worth of a latent of 1 in 1/256 of a step, and ``ratio``, a
step's worth in the network's [-1, 1] over 256: ``2 bound / (half the field's range) / 256``, a float64 that
is given bit for bit. The two products of floats are single IEEE operations, rounded to integers at once: they
are the same on every machine that does not contract them. Arrays of the model:

| name | dtype | shape | meaning |
| --- | --- | --- | --- |
| `decoder` | uint8 | (bytes,) | network of the engine's format; its input is one cell of the latents |
| `encoder` | uint8 | (bytes,) | the same for blocks, or absent: then `basis` encodes |
| `basis` | int16 | (latents, cells) | orthonormal rows times 2^14, or absent: then the network does all |
| `units` | f32 | (latents,) | int16 input of the decoder for a latent worth 1 in [-1, 1] |
| `out` | f32 | (1,) | what 1 in the decoder's output is worth in [-1, 1] |
| `latent` | f32 | (1,) | int16 input of the decoder for 1 in the encoder's output |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Corrupt, InvalidArgument
from sciflow.models.engine import run
from sciflow.models.integer import MOST, read_network
from sciflow.models.klt import KLT
from sciflow.models.model import FRACTION, Model, array_of

__all__ = ["Learned"]

_LARGEST = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """An autoencoder's integers; parameters as in the table above."""

    block: tuple[int, ...]
    decoder: bytes
    encoder: bytes | None
    basis: KLT | None
    units: NDArray[np.float32]
    out: float
    latent: float

    @classmethod
    def of(cls, model: Model) -> Learned:
        """Return the autoencoder of a model.

        Raises
        ------
        Corrupt
            If its arrays are not those of an autoencoder, or its network makes other blocks.
        """
        decoder = array_of(model, "decoder", "uint8", 1).tobytes()
        units, out = array_of(model, "units", "float32", 1), array_of(model, "out", "float32", 1)
        numbers = [units, out]
        encoder, basis, latent = None, None, 1.0
        if "basis" in model.arrays:
            basis = KLT.of(model)
        else:
            encoder = array_of(model, "encoder", "uint8", 1).tobytes()
            read_network(encoder)
            numbers.append(array_of(model, "latent", "float32", 1))
            latent = float(numbers[-1][0]) if numbers[-1].size == 1 else math.nan
        good = all(np.isfinite(each).all() and (each > 0).all() for each in numbers) and math.isfinite(latent)
        takes = read_network(decoder)
        if not good or out.size != 1 or takes.channels != len(units) or takes.axes != len(model.block):
            raise Corrupt("an autoencoder whose scales are not finite and above 0, or are not one a latent")
        if basis is not None and basis.latents != len(units):
            raise Corrupt(f"an autoencoder of {len(units)} latents with a basis of {basis.latents}")
        return cls(model.block, decoder, encoder, basis, units, float(out[0]), latent)

    @property
    def latents(self) -> int:
        """Latents of a block."""
        return len(self.units)

    def encode(
        self, blocks: NDArray[np.floating], *, step: float, half_range: float, gain: int = FRACTION
    ) -> NDArray[np.int32]:
        """Return the latents of blocks; a decoder never does this.

        Parameters
        ----------
        blocks : ndarray, float, shape (n, *block)
            Values less their offset, the middle of the field's range; finite.
        step : float
            Quantisation step of the residual, twice the bound.
        half_range : float
            Half the field's range.
        gain : int
            A latent of 1 moves a block by ``gain / 256`` steps, by its Euclidean length.

        Returns
        -------
        ndarray, int32, shape (n, latents)
        """
        if self.basis is not None:
            return self.basis.encode(blocks, step=step, gain=gain)
        assert self.encoder is not None
        scaled = np.clip(np.rint(blocks / half_range * (MOST / 1.25)), -MOST, MOST).astype(np.int16)
        found = run(self.encoder, scaled[..., None]).reshape(len(blocks), -1)
        worth = self.units.astype(np.float64) * (step / half_range / FRACTION) * gain
        latents: NDArray[np.int32] = np.rint(found * self.latent / worth).astype(np.int32)
        return latents

    def decode(self, latents: NDArray[np.int32], *, ratio: float, gain: int = FRACTION) -> NDArray[np.int64]:
        """Return predictions, in 1/256 of a step, the same on every machine.

        Parameters
        ----------
        latents : ndarray, int32, shape (n, latents)
            As `encode` returns them.
        ratio : float
            ``step / half_range / 256``.
        gain : int
            1 to 2^20.

        Returns
        -------
        ndarray, int64, shape (n, *block)

        Raises
        ------
        InvalidArgument
            If a number or the latents are out of their domain.
        """
        if not (math.isfinite(ratio) and ratio > 0 and 1 <= gain < 1 << 20):
            raise InvalidArgument(
                f"ratio {ratio!r} and gain {gain}: expected above 0, finite, and below 2^20"
            )
        if latents.ndim != 2 or latents.shape[1] != self.latents:
            raise InvalidArgument(f"latents of shape {latents.shape}: expected {self.latents} a block")
        worth = self.units.astype(np.float64) * ratio
        inputs = np.rint((latents.astype(np.int64) * gain).astype(np.float64) * worth)
        values = np.clip(inputs, -MOST, MOST).astype(np.int16)
        made = run(self.decoder, values.reshape(len(values), *(1,) * len(self.block), -1))
        if made.shape[1:] != (*self.block, 1):
            raise InvalidArgument(f"a model for blocks of {self.block} makes {made.shape[1:]}")
        scaled = np.rint(made[..., 0].astype(np.float64) * (self.out / ratio))
        found = np.clip(scaled, -_LARGEST, _LARGEST).astype(np.int64)
        return found if self.basis is None else found + self.basis.decode(latents, gain=gain)
