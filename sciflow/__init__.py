"""Error-bounded compression of scientific arrays: a field goes in, a promise comes out.

``import sciflow`` itself loads nothing; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.bounds import Bound, Resolved, ValueRange, resolve
    from sciflow.codecs.numcodecs import AESZ, GWLZ, SZ
    from sciflow.errors import (
        AuxMismatch,
        BoundViolated,
        Corrupt,
        Diverged,
        InvalidArgument,
        ModelMismatch,
        SciflowError,
        SourceChanged,
        StalePlan,
        StoreError,
        Truncated,
        Unsupported,
        UnsupportedDtype,
    )
    from sciflow.metrics import compare
    from sciflow.store import (
        Report,
        compress,
        decompress,
        encoding,
        inspect,
        open,  # noqa: A004 - sciflow.open reads well
        verify,
    )
    from sciflow.store.curve import tune

__all__ = [
    "AESZ",
    "GWLZ",
    "SZ",
    "AuxMismatch",
    "Bound",
    "BoundViolated",
    "Corrupt",
    "Diverged",
    "InvalidArgument",
    "ModelMismatch",
    "Report",
    "Resolved",
    "SciflowError",
    "SourceChanged",
    "StalePlan",
    "StoreError",
    "Truncated",
    "Unsupported",
    "UnsupportedDtype",
    "ValueRange",
    "compare",
    "compress",
    "decompress",
    "encoding",
    "inspect",
    "open",
    "resolve",
    "tune",
    "verify",
]

_HOME = {
    **dict.fromkeys(["AESZ", "GWLZ", "SZ"], "sciflow.codecs.numcodecs"),
    **dict.fromkeys(["Bound", "Resolved", "ValueRange", "resolve"], "sciflow.bounds"),
    "compare": "sciflow.metrics",
    "tune": "sciflow.store.curve",
    **dict.fromkeys(
        ["Report", "compress", "decompress", "encoding", "inspect", "open", "verify"], "sciflow.store"
    ),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        value: Any = metadata.version("sciflow")
    elif name in __all__:
        home = _HOME.get(name, "sciflow.errors")
        value = getattr(import_module(home), name)
        if home.startswith("sciflow.store"):
            import_module("sciflow.accessor")  # Dataset.sciflow comes with whatever reads or writes datasets
    else:
        raise AttributeError(f"module 'sciflow' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
