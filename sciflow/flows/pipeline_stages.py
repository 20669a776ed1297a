"""What the pipeline flow does, without Prefect: one plain function a stage.

```
simulate ─▶ data.nc ─ compress ─▶ data.zarr ─┬─ train ─▶ run ─ evaluate ─▶ ladder
                                             └─ report ─▶ report.html
```
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sciflow.errors import InvalidArgument
from sciflow.flows.stages import key_of, run_command, run_stage, sciflow_command
from sciflow.flows.training import Say, TrainSettings, run_training
from sciflow.models.files import write_whole

__all__ = ["PipelineSettings", "compress_data", "evaluate_model", "report_store", "simulate", "train_model"]

DATA, STORE, RUN, LADDER, PAGE = "data.nc", "data.zarr", "run", "ladder", "report.html"


class PipelineSettings(BaseModel):
    """From a simulation to the answer whether its compression hurts a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: str = Field(description="Folder of it all, seen by all nodes.")
    dataset: str = Field(default="darcy", description="Recipe of the catalogue of data sets.")
    parameters: dict[str, str | int | float] = Field(
        default_factory=dict, description="Of the recipe, where they differ: samples: 64."
    )
    bound: str = Field(default="rel:1e-3", description="Of every field.")
    level: Literal["fast", "quick", "balanced", "max"] = Field(
        default="balanced", description="Bytes against seconds."
    )
    training: dict[str, Any] = Field(
        description="Tables of a training's TOML; data.path and out are the pipeline's."
    )
    ladder: list[str] = Field(
        default_factory=list, description="Bounds to compare; by default that of the store. A training each."
    )
    seeds: int = Field(default=1, ge=1, description="Trainings of each bound.")
    train_site: str | None = Field(default=None, description="slurm.toml: train in a job of its own.")


def simulate(settings: PipelineSettings) -> dict[str, Any]:
    """Make the data set; it gets its name when it is whole."""
    out = Path(settings.out)

    def do() -> Mapping[str, Any]:
        part = out / f"part-{DATA}"
        part.unlink(missing_ok=True)
        words = [sys.executable, "-m", "sciflow.datasets", "make", settings.dataset, str(part)]
        for name, value in settings.parameters.items():
            words += ["--set", f"{name}={value}"]
        out.mkdir(parents=True, exist_ok=True)
        run_command(words, out / "logs" / "simulate.log")
        part.replace(out / DATA)
        return {"bytes": (out / DATA).stat().st_size}

    key = key_of(settings.dataset, settings.parameters)
    return run_stage(out, "simulate", key, do, files=[DATA])


def compress_data(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Compress the data set on the Dask workers of the site; a store that is half written is finished."""
    out = Path(settings.out)

    def do() -> Mapping[str, Any]:
        from sciflow import store
        from sciflow.flows.slurm.cluster import dask_client

        with dask_client() as client:
            report = store.compress(
                out / DATA,
                out / STORE,
                bound=settings.bound,
                level=settings.level,
                overwrite=True,
                progress=False,
            )
            nodes = {worker["host"] for worker in client.scheduler_info()["workers"].values()}
        return {"bytes_in": report.bytes_in, "bytes": report.store_bytes, "hosts": len(nodes)}

    key = key_of(_told(before), settings.bound, settings.level)
    return run_stage(out, "compress", key, do, files=[STORE])


def train_model(settings: PipelineSettings, before: Mapping[str, Any], *, say: Say) -> dict[str, Any]:
    """Train on what the store decodes to; a training that was stopped goes on."""
    out = Path(settings.out)
    config = _config(settings, STORE)
    asked = TrainSettings(config=str(config), out=str(out / RUN), site=settings.train_site)
    key = key_of(_told(before), settings.training)
    return run_stage(out, "train", key, lambda: run_training(asked, say=say)[0], files=[RUN])


def evaluate_model(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Train at each bound, and test on samples that were never compressed; rungs that are done stay done."""
    out = Path(settings.out)
    bounds = settings.ladder or [settings.bound]

    def do() -> Mapping[str, Any]:
        config = _config(settings, DATA)
        words = ["evaluate", str(config), "--bounds", ",".join(bounds), "--seeds", str(settings.seeds)]
        run_command(sciflow_command(*words, "--out", str(out / LADDER)), out / "logs" / "evaluate.log")
        return {"report": str(out / LADDER / "report.md")}

    key = key_of(_told(before), bounds, settings.seeds)
    return run_stage(out, "evaluate", key, do, files=[f"{LADDER}/report.json"])


def report_store(settings: PipelineSettings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Check every promise of the store against its source, and draw it into a page."""
    out = Path(settings.out)

    def do() -> Mapping[str, Any]:
        words = ["report", str(out / DATA), str(out / STORE), str(out / PAGE), "--overwrite"]
        run_command(sciflow_command(*words), out / "logs" / "report.log")
        return {"page": str(out / PAGE)}

    return run_stage(out, "report", key_of(_told(before)), do, files=[PAGE])


def _config(settings: PipelineSettings, data: str) -> Path:
    """The training's TOML, with the data of this pipeline."""
    from sciflow.models.runs.config import Config, to_toml

    out = Path(settings.out)
    tables = json.loads(json.dumps(settings.training))
    for table, name in ((tables, "out"), (tables.get("data", {}), "path")):
        if name in table:
            raise InvalidArgument(f"training: found {name!r}, which the pipeline sets; leave it out")
    tables["out"] = str(out / RUN)
    tables["data"] = {**tables.get("data", {}), "path": str(out / data)}
    made = Config.of(tables, origin="training")
    return write_whole(out / f"train-{Path(data).suffix[1:]}.toml", to_toml(made).encode())


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the next stage depends on: not how long this one took."""
    return {name: value for name, value in result.items() if name not in ("seconds", "repeated")}
