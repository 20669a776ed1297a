"""Entry point of the train flow for ``prefect deploy``; the flow is in the package, where workers find it."""

from sciflow.flows.train import train

__all__ = ["train"]
