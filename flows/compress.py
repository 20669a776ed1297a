"""Entry point of deployments: ``flows/compress.py:compress``. The flow itself is in the package."""

from __future__ import annotations

from sciflow.flows.compressing import compress

__all__ = ["compress"]
