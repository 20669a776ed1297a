"""What the flows take: models that become forms in Prefect's UI and are checked before a run begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sciflow.flows.engine import Policy
from sciflow.store.plan import Request, make_request

__all__ = ["ClusterChoice", "CompressSettings", "RegionsOf", "RunSettings", "Strict"]

_Name = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Unknown keys are errors; defaults are those that are recommended."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterChoice(Strict):
    """Where the work runs."""

    kind: Literal["serial", "local", "scheduler", "slurm"] = Field(
        default="local",
        title="Where",
        description="serial: in the flow's own process; local: processes on its machine; scheduler: a Dask "
        "scheduler that runs already; slurm: as the site file says.",
    )
    workers: int | None = Field(
        default=None, ge=1, description="Processes of a local cluster; by default one a core."
    )
    threads: int = Field(default=1, ge=1, description="Threads of each; HDF5 reads one at a time anyway.")
    memory: str | None = Field(default=None, description="Of each process, as in 4GiB; by default a share.")
    address: str | None = Field(default=None, description="Of a scheduler, as in tcp://node:8786.")
    scheduler_file: str | None = Field(
        default=None, description="File that a scheduler wrote; by default $SCIFLOW_SCHEDULER_FILE."
    )
    site: str | None = Field(
        default=None, description="Site file for Slurm; by default that of the job the flow runs in."
    )

    @model_validator(mode="after")
    def _check(self) -> ClusterChoice:
        file = self.scheduler_file or os.environ.get("SCIFLOW_SCHEDULER_FILE")
        if self.kind == "scheduler" and not (self.address or file):
            raise ValueError("kind 'scheduler' needs address, scheduler_file or $SCIFLOW_SCHEDULER_FILE")
        if self.kind != "scheduler" and (self.address or self.scheduler_file):
            raise ValueError(f"address and scheduler_file go with kind 'scheduler', not with {self.kind!r}")
        return self


class RegionsOf(Strict):
    """Parts of a variable that have bounds of their own."""

    mask: _Name = Field(description="Variable of the source that holds the labels.")
    bounds: dict[int, str] = Field(description="Bound of each label, as in abs:0.01, or lossless.")


class CompressSettings(Strict):
    """How values are compressed; the arguments of ``sciflow.compress``."""

    per_variable: dict[str, str] = Field(
        default_factory=dict, description="Bounds by name, as in t: rel:1e-4; lossless keeps every bit."
    )
    level: Literal["fast", "quick", "balanced", "max"] = Field(
        default="balanced", description="Bytes against seconds; the bound stays."
    )
    chunks: dict[str, int] = Field(
        default_factory=dict, description="Chunk sizes by dimension; -1 is all of it. By default some 8 MB."
    )
    shards: dict[str, int] = Field(
        default_factory=dict, description="Sizes of the store's files by dimension, whole chunks each."
    )
    rewrite_safe: bool = Field(default=False, description="Parts of chunks may be written later.")
    enhance: bool = Field(default=False, description="Same bounds, less mean square error.")
    aux: dict[str, list[str]] = Field(
        default_factory=dict, description="Variables that are enhanced with the help of others."
    )
    model: str | None = Field(default=None, description="Model that predicts blocks: name, file or digest.")
    regions: dict[str, RegionsOf] = Field(default_factory=dict, description="Bounds of parts of a variable.")

    def arguments(self, bound: str | None) -> dict[str, Any]:
        """Keyword arguments of ``sciflow.compress``."""
        regions: Mapping[str, Any] = {
            name: (parts.mask, dict(parts.bounds)) for name, parts in self.regions.items()
        }
        return {
            "bound": bound,
            "per_variable": dict(self.per_variable),
            "level": self.level,
            "chunks": dict(self.chunks),
            "shards": dict(self.shards),
            "rewrite_safe": self.rewrite_safe,
            "enhance": self.enhance,
            "aux": dict(self.aux),
            "model": self.model,
            "regions": regions,
        }

    def request(self, bound: str | None) -> Request:
        """The same, checked.

        Raises
        ------
        InvalidArgument
            As `sciflow.compress`.
        """
        return make_request(**self.arguments(bound))


class RunSettings(Strict):
    """How the run goes on when something fails, and what it leaves besides the store."""

    overwrite: bool = Field(default=False, description="Replace stores that exist.")
    resume: bool = Field(default=True, description="Go on from an interrupted run of the same request.")
    retries: int = Field(default=2, ge=0, description="Further attempts at a piece or file.")
    backoff: float = Field(default=1.0, ge=0, description="Seconds before the second attempt; then doubled.")
    timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds a worker may take for a piece or file; none by default.",
    )
    stage_timeout: float | None = Field(
        default=None, gt=0, description="Seconds a whole stage of the flow may take; none by default."
    )
    patience: float = Field(default=900.0, gt=0, description="Seconds to wait without any worker.")
    allowed_failures: int = Field(default=0, ge=0, description="Of many files, how many may fail.")
    stage: Literal["all", "begin", "part", "finish"] = Field(
        default="all", description="Of a job array: begin once, part in every element, finish once."
    )
    part: tuple[int, int] | None = Field(
        default=None, description="Of a job array: which element, from 0, of how many."
    )
    notes: str | None = Field(
        default=None, description="Folder that all workers see, for a store at a URL; a path has its own."
    )
    pictures: bool = Field(default=True, description="Slices and error maps as artifacts.")
    metrics: str | None = Field(default=None, description="File that a JSON line a variable is added to.")
    prometheus: str | None = Field(
        default=None, description="File for the textfile collector of Prometheus' node exporter."
    )

    @model_validator(mode="after")
    def _check(self) -> RunSettings:
        if (self.stage == "part") != (self.part is not None):
            raise ValueError("part goes with stage 'part', as in stage: part, part: [0, 4]")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"part {self.part}: expected [element, elements] with 0 <= element < elements")
        return self

    def policy(self) -> Policy:
        """What the engines take of it."""
        return Policy(self.retries, self.backoff, self.timeout, self.patience)
