"""From files to batches: a data set for torch's DataLoader, and a loader that plans its reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.datasets.loading.batch_sampler import PlannedBatchSampler
    from sciflow.datasets.loading.dataset import FieldDataset
    from sciflow.datasets.loading.emulation import EmulatedStorage
    from sciflow.datasets.loading.exchange import Exchange, LocalExchange
    from sciflow.datasets.loading.loader import SolarLoader
    from sciflow.datasets.loading.stats import LoaderStats, Timeline
    from sciflow.datasets.loading.torch_exchange import TorchExchange

_HOME = {
    "EmulatedStorage": "emulation",
    "Exchange": "exchange",
    "FieldDataset": "dataset",
    "LoaderStats": "stats",
    "LocalExchange": "exchange",
    "PlannedBatchSampler": "batch_sampler",
    "SolarLoader": "loader",
    "Timeline": "stats",
    "TorchExchange": "torch_exchange",
}

__all__ = [
    "EmulatedStorage",
    "Exchange",
    "FieldDataset",
    "LoaderStats",
    "LocalExchange",
    "PlannedBatchSampler",
    "SolarLoader",
    "Timeline",
    "TorchExchange",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
