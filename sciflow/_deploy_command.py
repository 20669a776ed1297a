"""``sciflow deploy``: from a site file to a work pool and its deployments, or to the sbatch script."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sciflow.errors import InvalidArgument

__all__ = ["deploy"]

_NEXT = """\
work pool {pool} (type {type}) and deployments: {deployments}

next, where {where}, and keep it running:
  prefect worker start --pool {pool} --type {type}
then, from anywhere:
  prefect deployment run {first} --param ...{variables}
"""


def deploy(
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", metavar="SLURM.TOML", help="The Slurm site; this machine without."),
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="NAME", help="Of the work pool and the deployments.")
    ] = None,
    flow: Annotated[
        list[str] | None, typer.Option("--flow", metavar="NAME", help="One flow of them all. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the sbatch script of a flow's job; ask no server.")
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a slurm.toml with comments to start from.")
    ] = False,
) -> None:
    """Deploy the flows to this machine or to a Slurm cluster, so that Prefect can run them there.

    Three steps lead to a cluster: write a site file (`--example`), look at the job that it gives
    (`--dry-run`), deploy. A Prefect server must answer at PREFECT_API_URL, from here and from the nodes of
    the cluster. Deploying again brings pool and deployments up to date.

    **Examples**

    * `sciflow deploy --example > slurm.toml`

    * `sciflow deploy --cluster slurm.toml --dry-run`

    * `sciflow deploy --cluster slurm.toml --pool hpc`

    * `sciflow deploy --pool laptop --flow compress`
    """
    if example:
        from sciflow.flows.slurm.site import EXAMPLE

        sys.stdout.write(EXAMPLE)
        return
    from sciflow.flows import deployment

    site = None
    if cluster is not None:
        from sciflow.flows.slurm.site import load_site

        site = load_site(cluster)
    if dry_run:
        if site is None:
            raise InvalidArgument(
                "--dry-run: found no --cluster, expected a site file (sciflow deploy --example)"
            )
        sys.stdout.write(deployment.dry_run(site))
        return
    made = deployment.deploy(
        pool or ("local" if site is None else "slurm"), site=site, flows=tuple(flow or deployment.FLOWS)
    )
    sys.stdout.write(
        _NEXT.format(
            pool=made.pool,
            type=made.type,
            deployments=", ".join(made.deployments),
            where="flows shall run" if site is None else "sbatch works",
            first=made.deployments[0],
            variables="" if site is None else " --job-variable walltime=02:00:00",
        )
    )
