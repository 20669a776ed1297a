"""Learned predictors of blocks: fitting, training, files, where a codec finds them. Loads nothing heavy.

For a codec, all that it needs and nothing of torch:

```
resolve(name, inline=..., beside=..., url=...) ─▶ Model ── .digest goes into the stream's header
predictor(model) ─▶ KLT | Learned | Linear

KLT.encode(blocks, step=, gain=) ─▶ latents       KLT.decode(latents, gain=) ─▶ P
Learned.encode(blocks, step=, half_range=, gain=)  Learned.decode(latents, ratio=, gain=) ─▶ P
Linear.weights, Linear.nearest(bound / range) ─▶ for the engine, inside SZ

x' = offset + step * (P + 256 q) / 256             step = 2 bound; q: the residual's codes
```

``P`` is int64 in 1/256 of a step, the same on every machine. ``offset`` is one float64 a chunk (the mean, for
an autoencoder without basis the middle of the range) that the stream carries with ``gain`` and, for an
autoencoder, ``ratio``. ``KLT`` is both ends of one thing: few latents with a large gain predict, all latents
with a gain of 256 to 384 transform, and then most codes are zero. A codec copies a model into the store it
writes with ``put(model, "<store>/models")``, or puts `inlined` into its config where that is not None. The
arrays' tables are in `sciflow.models.klt`, `.linear` and `.decoder`; ``decoder`` and ``encoder`` of an
autoencoder are networks in the bytes that the engine runs (`codecs/network/`), and `sciflow.models.integer`
is the same arithmetic in NumPy.

A stream that names a digest that no place has is a `ModelMismatch`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.models.blocks import Blocks, read_blocks
    from sciflow.models.catalog import names
    from sciflow.models.decoder import Learned
    from sciflow.models.fitting import Recipe, produce, write_model
    from sciflow.models.kinds import predictor
    from sciflow.models.klt import KLT, fit_klt
    from sciflow.models.linear import Linear, fit_linear
    from sciflow.models.model import Model
    from sciflow.models.runs import predict, train
    from sciflow.models.store import find, inlined, put, resolve

__all__ = [
    "KLT",
    "Blocks",
    "Learned",
    "Linear",
    "Model",
    "Recipe",
    "find",
    "fit_klt",
    "fit_linear",
    "inlined",
    "names",
    "predict",
    "predictor",
    "produce",
    "put",
    "read_blocks",
    "resolve",
    "train",
    "write_model",
]

_HOME = {
    **dict.fromkeys(["Blocks", "read_blocks"], "blocks"),
    "names": "catalog",
    "Learned": "decoder",
    "predictor": "kinds",
    **dict.fromkeys(["KLT", "fit_klt"], "klt"),
    **dict.fromkeys(["Linear", "fit_linear"], "linear"),
    "Model": "model",
    **dict.fromkeys(["predict", "train"], "runs"),
    **dict.fromkeys(["Recipe", "produce", "write_model"], "fitting"),
    **dict.fromkeys(["find", "inlined", "put", "resolve"], "store"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"sciflow.models.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
