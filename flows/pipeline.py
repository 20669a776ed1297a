"""Entry point of the pipeline flow for ``prefect deploy``; workers find it in the package."""

from sciflow.flows.pipeline import pipeline

__all__ = ["pipeline"]
