"""Checkpoints: whole or not there, checked when read, packed without loss, written while training goes on.

```
state (nested, with tensors) ─ copy ─▶ writer thread ─ pack ─▶ temporary file ─ fsync ─ rename ─▶ step-N.ckpt
load_latest: newest first; what does not verify is skipped, and said
```
`docs/checkpoints.md` has the format and what it saves. Nothing in a file is executed: it is JSON and numbers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.models.checkpoints.files import read_checkpoint, write_checkpoint
    from sciflow.models.checkpoints.folder import Checkpoints, Loaded
    from sciflow.models.checkpoints.packing import Packed, pack, unpack

__all__ = ["Checkpoints", "Loaded", "Packed", "pack", "read_checkpoint", "unpack", "write_checkpoint"]

_HOME = {
    **dict.fromkeys(["read_checkpoint", "write_checkpoint"], "files"),
    **dict.fromkeys(["Checkpoints", "Loaded"], "folder"),
    **dict.fromkeys(["Packed", "pack", "unpack"], "packing"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
