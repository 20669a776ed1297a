"""From files to a model on disk: read blocks, fit or train, write ``model.safetensors`` and its card.

```
sources ─ read_blocks ─▶ Blocks ─▶ fit_klt | fit_linear | train, export ─▶ Model ─▶ model.safetensors, CARD.md
```
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument, Unsupported
from sciflow.models.blocks import Blocks, read_blocks
from sciflow.models.files import write_whole
from sciflow.models.klt import KLT, fit_klt
from sciflow.models.linear import fit_linear
from sciflow.models.model import Kind, Model

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.models.training import Settings, Watch

__all__ = ["MODEL_FILE", "Recipe", "produce", "write_model"]

MODEL_FILE = "model.safetensors"
_MOST_CELLS = 1 << 25
"""Of all blocks together."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What kind of model.

    Parameters
    ----------
    kind : str
        ``"klt"``, ``"linear"`` or ``"autoencoder"``.
    block : tuple of int
        Shape of a block; of a linear model, of the patches that it is fitted to: sides of 32 and more serve.
    latents : int
        Of a block; 0: as many as it has cells (klt), 16 (autoencoder). Not of a linear model.
    taps : int
        Cells that a linear model predicts one from.
    size : str
        ``"small"`` or ``"paper"``: of an autoencoder.
    linear_path : bool
        Whether an autoencoder's network corrects a KLT.
    limit : int
        Blocks that are looked at, at most.
    seed : int
        Of the choice of blocks.

    Raises
    ------
    InvalidArgument
        If the kind is none.
    """

    kind: Kind
    block: tuple[int, ...]
    latents: int = 0
    taps: int = 24
    size: Literal["small", "paper"] = "small"
    linear_path: bool = True
    limit: int = 20000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("autoencoder", "klt", "linear"):
            raise InvalidArgument(f"kind of model: found {self.kind!r}, expected autoencoder, klt or linear")


def produce(
    sources: Sequence[str | os.PathLike[str] | xr.Dataset],
    variable: str,
    recipe: Recipe,
    *,
    training: Settings | None = None,
    folder: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
    card: Mapping[str, str] | None = None,
) -> Model:
    """Return a model of a variable, fitted or trained on snapshots of it.

    Parameters
    ----------
    sources : sequence of path, URL or Dataset
        Snapshots: siblings of what will be compressed, not the same.
    variable : str
        Its name.
    recipe : Recipe
        What kind.
    training : Settings, optional
        Of an autoencoder.
    folder : path, optional
        Where a training keeps its checkpoint and curves; the same call with the same folder goes on there.
    watch : callable, optional
        For a progress bar; see `sciflow.models.training.train`.
    card : mapping of str to str, optional
        Lines to add to the card: ``title``, ``licence``.

    Raises
    ------
    FileNotFoundError, InvalidArgument
        If sources or variable cannot be read, or hold nothing to learn from.
    Unsupported
        If an autoencoder is asked for and torch is not installed.
    """
    limit = max(1, min(recipe.limit, _MOST_CELLS // math.prod(recipe.block)))
    blocks = read_blocks(sources, variable, recipe.block, limit=limit, seed=recipe.seed)
    about = {
        "title": f"{recipe.kind} of {variable}",
        "variable": variable,
        "data": blocks.source,
        "blocks": str(len(blocks.train)),
        **(card or {}),
    }
    if recipe.kind == "klt":
        return fit_klt(blocks.train, latents=recipe.latents or None, card=about)
    if recipe.kind == "linear":
        return fit_linear(blocks.train, taps=recipe.taps, card=about)
    return _trained(blocks, recipe, training, folder, watch, about)


def write_model(model: Model, folder: str | os.PathLike[str]) -> Path:
    """Write ``model.safetensors`` and ``CARD.md`` into a folder, each whole or not; return the model's path.

    Raises
    ------
    StoreError
        If they cannot be written.
    """
    path = write_whole(Path(folder) / MODEL_FILE, model.to_bytes())
    write_whole(path.with_name("CARD.md"), _card(model).encode())
    return path


def _trained(
    blocks: Blocks,
    recipe: Recipe,
    training: Settings | None,
    folder: str | os.PathLike[str] | None,
    watch: Watch | None,
    about: dict[str, str],
) -> Model:
    try:
        from sciflow.models import export
        from sciflow.models import training as loop
        from sciflow.models.autoencoder import Architecture
    except ImportError as error:
        raise Unsupported("an autoencoder is trained with torch: pip install 'sciflow[torch]'") from error
    from dataclasses import replace

    latents = recipe.latents or 16
    architecture = Architecture.default(recipe.block, size=recipe.size, latent=latents)
    architecture = replace(architecture, linear_path=recipe.linear_path and recipe.size == "small")
    settings = training or loop.Settings(seed=recipe.seed)
    trained = loop.train(blocks, architecture, settings, folder=folder, watch=watch)
    values = blocks.normalised(blocks.train)
    model = export.export(trained.network, values, card={**about, **loop.describe(settings, architecture)})
    quality = _quality(model, blocks)
    best = max(trained.history, key=lambda entry: entry["psnr"])
    measured = {
        "held_out.psnr": f"{best['psnr']:.3f} dB, as trained",
        "held_out.psnr_integers": f"{quality:.3f} dB, 8-bit weights",
        "held_out.psnr_klt": f"{_klt_quality(blocks, latents):.3f} dB, KLT of as many latents",
        "epochs": str(len(trained.history)),
        "macs": f"{trained.network.macs():.0f} a value, decoding",
    }
    return Model(model.kind, model.block, model.arrays, {**model.card, **measured})


def _quality(model: Model, blocks: Blocks) -> float:
    """PSNR of held-out blocks that come back through latents so fine that they lose nothing, in dB."""
    from sciflow.models.decoder import Learned

    learned = Learned.of(model)
    values = blocks.normalised(blocks.held_out).astype(np.float64)
    step = 2.0**-10
    latents = learned.encode(values, step=step, half_range=1.0)
    found = learned.decode(latents, ratio=step / 256) * (step / 256)
    return _decibels(found - values)


def _klt_quality(blocks: Blocks, latents: int) -> float:
    values = blocks.normalised(blocks.held_out).astype(np.float64)
    klt = KLT.of(fit_klt(blocks.normalised(blocks.train), latents=latents))
    step = 2.0**-10
    return _decibels(klt.decode(klt.encode(values, step=step)) * (step / 256) - values)


def _decibels(off: NDArray[np.float64]) -> float:
    return float(10 * np.log10(4 / max(float((off**2).mean()), 1e-30)))


def _card(model: Model) -> str:
    lines = [f"# {model.card.get('title', model.kind)}", "", "| | |", "| --- | --- |"]
    lines.append(f"| kind | {model.kind} |")
    lines.append(f"| block | {' x '.join(map(str, model.block))} |")
    lines += [f"| {name} | {value} |" for name, value in sorted(model.card.items()) if name != "title"]
    lines.append(f"| bytes | {len(model.to_bytes())} |")
    lines.append(f"| SHA-256 | `{model.digest}` |")
    return "\n".join(lines) + "\n"
