"""Deployments of sciflow's flows: in a work pool of this machine's processes, or of a Slurm site.

Flows are deployed by the name of their module, so that what runs is the package as installed: no folder to
set, on any node that sees the same environment. Runs work in the folder in which they were deployed: relative
paths in their parameters are of that folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from sciflow.flows.slurm.site import Site

__all__ = ["FLOWS", "Deployed", "deploy", "dry_run"]

FLOWS: Mapping[str, str] = {
    "compress": "sciflow.flows.compressing",
    "evaluate": "sciflow.flows.evaluating",
    "train": "sciflow.flows.train",
    "pipeline": "sciflow.flows.pipeline",
}
"""Modules of the flows, by the names of their functions."""

SLURM_POOL, LOCAL_POOL = "sciflow-slurm", "process"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment made.

    Parameters
    ----------
    pool : str
        The work pool.
    type : str
        Its type: what workers of it run.
    deployments : tuple of str
        ``flow/name``, as ``prefect deployment run`` takes them.
    """

    pool: str
    type: str
    deployments: tuple[str, ...]


def dry_run(site: Site) -> str:
    """Return the sbatch script that a flow run's job would have.

    Parameters
    ----------
    site : Site
        As `sciflow.flows.slurm.site.load_site` reads it.
    """
    import sys

    from sciflow.flows.slurm.script import for_flow, sbatch_script

    python = "python" if site.container else sys.executable
    return sbatch_script(
        for_flow(site),
        f"{python} -m prefect flow-run execute",
        name="flow-run",
        comment="sciflow:POOL:RUN",
        dask=site.mode == "alloc",
        python=python,
    )


def deploy(pool: str, *, site: Site | None = None, flows: Iterable[str] = FLOWS) -> Deployed:
    """Make a work pool, or bring it up to date, and deploy flows to it.

    Parameters
    ----------
    pool : str
        Its name; deployments have it too.
    site : Site, optional
        Of a Slurm pool. Without, flows run as processes beside a worker.
    flows : iterable of str
        Some of `FLOWS`, by name.

    Raises
    ------
    InvalidArgument
        If there is no such flow, or the pool exists with another type.
    Unsupported
        If Prefect is not installed, or no server answers.
    """
    for name in flows:
        if name not in FLOWS:
            raise InvalidArgument(f"flow: found {name!r}, expected some of {', '.join(FLOWS)}")
    try:
        import httpx
        from prefect.client.orchestration import get_client
    except ImportError:
        raise Unsupported("flows need Prefect: pip install 'sciflow[flows]'") from None
    with get_client(sync_client=True) as client:
        try:
            client.raise_for_api_version_mismatch()
        except (httpx.TransportError, RuntimeError) as error:
            raise Unsupported(
                f"found no Prefect server at {client.api_url}: {error}; start one (prefect server start) and "
                "set PREFECT_API_URL"
            ) from None
        kind = _make_pool(client, pool, site)
        made = tuple(_deploy_one(name, pool, site) for name in flows)
    return Deployed(pool, kind, made)


def _make_pool(client: Any, pool: str, site: Site | None) -> str:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    kind, template = LOCAL_POOL, None
    if site is not None:
        from sciflow.flows.slurm.worker import base_job_template

        kind, template = SLURM_POOL, base_job_template(site)
    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        made = (
            WorkPoolCreate(name=pool, type=kind)
            if template is None
            else WorkPoolCreate(name=pool, type=kind, base_job_template=template)
        )
        client.create_work_pool(made)
        return kind
    if found.type != kind:
        raise InvalidArgument(
            f"pool {pool!r}: found one of type {found.type!r}, expected {kind!r}; name another with --pool"
        )
    if template is not None:
        client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))
    return kind


def _deploy_one(name: str, pool: str, site: Site | None) -> str:
    from prefect.runner.storage import LocalStorage

    flow = getattr(import_module(FLOWS[name]), name)
    deployment = flow.to_deployment(name=pool, work_pool_name=pool)
    # Q: why a storage, for a module? A: without one every run begins by copying all of its working directory.
    deployment.storage = LocalStorage(path=str(Path.cwd()))
    deployment.entrypoint = f"{FLOWS[name]}.{name}"
    if site is not None and "cluster" in flow.parameters.properties:
        deployment.parameters = {"cluster": {"kind": "slurm"}}
    deployment.apply()
    return f"{name}/{pool}"
