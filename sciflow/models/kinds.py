"""The three kinds of models, and what runs each."""

from __future__ import annotations

from sciflow.models.decoder import Learned
from sciflow.models.klt import KLT
from sciflow.models.linear import Linear
from sciflow.models.model import Model

__all__ = ["predictor"]


def predictor(model: Model) -> KLT | Learned | Linear:
    """Return what runs a model, its arrays checked.

    Raises
    ------
    Corrupt
        If its arrays are not those of its kind.
    """
    if model.kind == "klt":
        return KLT.of(model)
    return Linear.of(model) if model.kind == "linear" else Learned.of(model)
