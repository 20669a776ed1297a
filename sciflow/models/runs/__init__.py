"""Training a surrogate: a config, a loop that can be stopped anywhere, and a folder with what came out.

```
Config ─▶ train ─▶ Result ── folder: checkpoints/, best.weights, steps.csv, epochs.csv, curves.png
                              └─▶ predict(folder, array)
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.models.runs.config import Config, load_config, to_toml

__all__ = ["Config", "load_config", "to_toml"]

_HOME = dict.fromkeys(["Config", "load_config", "to_toml"], "config")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
