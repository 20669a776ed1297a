"""Slurm: one site file, the sbatch script it gives, a Prefect worker, Dask clusters and job arrays.

```
slurm.toml ─▶ Site ─▶ sbatch_script(site, command) ─▶ Slurm.submit ─▶ job
                │                                        ▲
                └─▶ job variables of a work pool ─▶ SlurmWorker (one job a flow run)
```

`sciflow.flows.slurm.worker` is what `prefect worker start --type sciflow-slurm` runs. Only it loads Prefect.
"""

from __future__ import annotations

from sciflow.flows.slurm.progress import made_progress

__all__ = ["made_progress"]
