"""``sciflow compress --flow``: the compress flow in this process, on the server that is set or its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sciflow.errors import Unsupported

if TYPE_CHECKING:
    from sciflow.store.results import Report

__all__ = ["compress_in_flow"]

_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLIENT_MAX_RETRIES": "10",
}
"""Where the environment says nothing else; Prefect reads them when it is imported."""


def compress_in_flow(
    source: str,
    store: str,
    *,
    bound: str | None,
    settings: Mapping[str, Any],
    workers: int | None,
    overwrite: bool,
    resume: bool,
) -> Report:
    """Run the compress flow here and return the report of the store.

    Parameters
    ----------
    source, store : path or URL
        As for `sciflow.compress`.
    bound : str, optional
        For every field.
    settings : mapping
        Fields of `CompressSettings`.
    workers : int, optional
        Processes; by default one a core.
    overwrite, resume : bool
        As for `sciflow.compress`.

    Raises
    ------
    Unsupported
        If Prefect is not installed.
    """
    if importlib.util.find_spec("prefect") is None:
        raise Unsupported("--flow needs Prefect: pip install 'sciflow[flows]'")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from sciflow.flows.compressing import compress
    from sciflow.flows.one_store import report_of
    from sciflow.flows.parameters import ClusterChoice, CompressSettings, RunSettings

    compress(
        source,
        store,
        bound=bound,
        settings=CompressSettings(**settings),
        cluster=ClusterChoice(kind="local", workers=workers),
        run=RunSettings(overwrite=overwrite, resume=resume),
    )
    return report_of(store)
