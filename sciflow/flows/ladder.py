"""The ladder of bounds as a stage of the evaluate flow: what compression does to a surrogate's science."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sciflow.flows.parameters import Strict

__all__ = ["LadderSettings", "climb"]


class LadderSettings(Strict):
    """A surrogate is trained on data compressed to each bound and tested on the original."""

    config: str = Field(description="Training run: a TOML file, or the name of a recipe.")
    out: str = Field(description="Folder for everything; a run that was stopped goes on there.")
    bounds: list[str] = Field(
        default=["rel:1e-1", "rel:1e-2", "rel:1e-3"], min_length=1, description="As in rel:1e-2."
    )
    seeds: int = Field(default=2, ge=1, description="Trainings of each bound.")
    tolerance: float = Field(default=0.01, gt=0, description="Growth of the test loss that is accepted.")


def climb(settings: LadderSettings) -> tuple[dict[str, Any], str]:
    """Evaluate every bound.

    Parameters
    ----------
    settings : LadderSettings
        What to train, and on which bounds.

    Returns
    -------
    dict
        Where it is, and how many rungs there are.
    str
        The report as Markdown.
    """
    from sciflow.models.evaluation import evaluate

    report = evaluate(
        settings.config,
        bounds=settings.bounds,
        seeds=settings.seeds,
        out=settings.out,
        tolerance=settings.tolerance,
    )
    page = (Path(settings.out) / "report.md").read_text(encoding="utf-8")
    return {"out": settings.out, "rungs": len(report.rungs)}, page
