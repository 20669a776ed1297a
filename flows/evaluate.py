"""Entry point of deployments: ``flows/evaluate.py:evaluate``. The flow itself is in the package."""

from __future__ import annotations

from sciflow.flows.evaluating import evaluate

__all__ = ["evaluate"]
