"""The workloads of the SOLAR paper, counted: what each policy loads at equal memory, priced.

Sizes are those in the released code. Every policy gets perfect overlap; peers' memory is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.loader.policies import nopfs, solar_as_released
from sciflow.datasets.planning import Counters, DescribedSource, Layout, StorageModel, make_plan
from sciflow.datasets.planning.order import FeistelOrder

__all__ = ["WORKLOADS", "PolicyRow", "Workload", "counted"]

EPOCHS, RUN = 5, 100
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Workload:
    """A data set and the buffers of all nodes together."""

    name: str
    samples: int
    sample_bytes: int
    nodes: int
    held: int


WORKLOADS = (
    Workload("PtychoNN 17 GB", 87_632, 196_608, 8, 21_904),
    Workload("PtychoNN 17 GB", 87_632, 196_608, 8, 43_816),
    Workload("PtychoNN 17 GB", 87_632, 196_608, 8, 87_632),
    Workload("AutoPhaseNN", 50_000, 3_000_000, 8, 21_140),
    Workload("AutoPhaseNN", 50_000, 3_000_000, 8, 42_282),
    Workload("CosmoFlow", 47_616, 16_600_000, 32, 30_840),
    Workload("CosmoFlow", 47_616, 16_600_000, 16, 38_550),
    Workload("64 KiB samples", 99_840, 65_536, 8, 24_960),
    Workload("64 KiB samples", 99_840, 65_536, 8, 49_920),
)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """Seconds of reading of one node.

    Parameters
    ----------
    workload, c, alpha_ms, beta_gbs, policy : str and float
        What, and on which storage.
    loads : float
        Samples loaded an epoch over N, mean of all epochs but the first.
    steady_s : float
        Seconds an epoch, the same.
    run_s : float
        Seconds of a hundred epochs, the first one included.
    """

    workload: str
    c: float
    alpha_ms: float
    beta_gbs: float
    policy: str
    loads: float
    steady_s: float
    run_s: float


def counted(workload: Workload, storage: StorageModel) -> list[PolicyRow]:
    """Every policy on one workload."""
    width = workload.nodes * _BATCH
    slots = workload.held // workload.nodes
    whole = workload.samples // width * width
    order = FeistelOrder(workload.samples, 0)
    epochs = [order.permutation(epoch)[:whole].astype(np.int64) for epoch in range(EPOCHS)]
    sizes = {"nodes": workload.nodes, "batch": _BATCH, "slots": slots}
    loads = {
        "DataLoader": np.full(EPOCHS, whole),
        "NoPFS": np.array(nopfs(epochs, **sizes).loads),
        "SOLAR as released": np.array(solar_as_released(epochs, **sizes).loads),
    }
    alone = storage.alpha + workload.sample_bytes / storage.beta
    found = [_row(workload, storage, name, each, each * alone) for name, each in loads.items()]
    plan = make_plan(
        DescribedSource(layout=Layout(samples=workload.samples), sample_bytes=workload.sample_bytes),
        global_batch_size=width,
        num_nodes=workload.nodes,
        buffer_bytes=slots * workload.sample_bytes,
        order="feistel",
        storage=storage,
    )
    counters = plan.simulate(EPOCHS).epochs
    ours = np.array([_seconds(each, storage) for each in counters])
    name = f"sciflow ({plan.header.strategy})"
    return [*found, _row(workload, storage, name, np.array([each.loads for each in counters]), ours)]


def _seconds(found: Counters, storage: StorageModel) -> float:
    return found.ops * storage.alpha + found.bytes / storage.beta


def _row(
    workload: Workload, storage: StorageModel, policy: str, loads: np.ndarray, seconds: np.ndarray
) -> PolicyRow:
    steady = float(seconds[1:].mean()) / workload.nodes
    return PolicyRow(
        workload.name,
        round(workload.held / workload.samples, 3),
        storage.alpha * 1e3,
        storage.beta / 1e9,
        policy,
        float(loads[1:].mean()) / workload.samples,
        steady,
        float(seconds[0]) / workload.nodes + (RUN - 1) * steady,
    )
