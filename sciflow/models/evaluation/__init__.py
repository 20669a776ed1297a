"""Does compression hurt the science? A surrogate is trained on compressed data and tested on the original.

```
evaluate(config, bounds=[1e-3, 1e-2]) ─▶ Report: rungs, knee, table
        ├─ out/uncompressed/seed-0/result.json   out/rel-0.001/{data.zarr, seed-0/...}
        └─ out/report.{json,csv,md,png}
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.models.evaluation.ladder import BOUNDS, evaluate
    from sciflow.models.evaluation.results import Report, Rung, Score

__all__ = ["BOUNDS", "Report", "Rung", "Score", "evaluate"]

_HOME = {
    **dict.fromkeys(["BOUNDS", "evaluate"], "ladder"),
    **dict.fromkeys(["Report", "Rung", "Score"], "results"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
