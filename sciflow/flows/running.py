"""What every flow does around its tasks: tags, one log for all processes, which failures are tried again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from uuid import UUID

import distributed  # noqa: F401 - sets the levels of its loggers when it is imported
from prefect import get_run_logger
from prefect import tags as prefect_tags
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from sciflow.errors import SciflowError, StoreError

__all__ = ["is_worth_another_try", "run_name", "surroundings"]


def tags_of_project() -> list[str]:
    """``sciflow`` and the release that runs."""
    return ["sciflow", f"sciflow-{version('sciflow')}"]


@contextmanager
def surroundings() -> Iterator[None]:
    """Tag the flow run and its tasks, and show what sciflow logs, here and on workers, in its log."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, tags={*run.tags, *tags_of_project()})
    handler = _ToRun(get_run_logger())
    logger = logging.getLogger("sciflow")
    logger.addHandler(handler)
    chatty = logging.getLogger("distributed")
    level = chatty.level
    chatty.setLevel(logging.ERROR)  # Prefect's root handler would show every connection
    try:
        with prefect_tags(*tags_of_project()):
            yield
    finally:
        logger.removeHandler(handler)
        chatty.setLevel(level)


def run_name() -> str:
    """Id of the flow run that this is part of."""
    context = FlowRunContext.get()
    identifier: UUID | None = context.flow_run.id if context is not None and context.flow_run else None
    return str(identifier or "")


def is_worth_another_try(task: Any, run: Any, state: Any) -> bool:
    """Whether a task that failed may end differently: not where the request itself is wrong."""
    del task, run
    try:
        state.result(raise_on_failure=True)
    except StoreError:
        return True
    except (SciflowError, FileNotFoundError):
        return False
    except Exception:  # noqa: BLE001 - whatever else went wrong
        return True
    return False


class _ToRun(logging.Handler):
    """Hands records on to the log of a flow run, from any thread."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, "%s", record.getMessage())
