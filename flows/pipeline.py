"""Entry point of the pipeline flow, for ``prefect deploy``; the flow is in the package, where workers find it."""

from sciflow.flows.pipeline import pipeline

__all__ = ["pipeline"]
