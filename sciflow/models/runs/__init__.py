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
    from sciflow.models.runs.data import Data, Splits, open_data
    from sciflow.models.runs.loop import Result, train
    from sciflow.models.runs.predicting import Predictor, predict
    from sciflow.models.runs.recipes import find_config, recipe_names

__all__ = [
    "Config",
    "Data",
    "Predictor",
    "Result",
    "Splits",
    "find_config",
    "load_config",
    "open_data",
    "predict",
    "recipe_names",
    "to_toml",
    "train",
]

_HOME = {
    **dict.fromkeys(["Config", "load_config", "to_toml"], "config"),
    **dict.fromkeys(["Data", "Splits", "open_data"], "data"),
    **dict.fromkeys(["Result", "train"], "loop"),
    **dict.fromkeys(["Predictor", "predict"], "predicting"),
    **dict.fromkeys(["find_config", "recipe_names"], "recipes"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
