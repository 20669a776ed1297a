"""Memory of Dask workers: freed pieces are kept for the next call.

Dask's nannies tell malloc to give memory back as soon as 64 KiB of it are free, and so every piece of a
field, some MB each, is asked of the system and cleared again: that took as long as compressing it. Here
malloc behaves as it comes to by itself in a process that frees such pieces: up to 32 MiB a request and 64 MiB
at the end of the heap are kept (glibc's mallopt(3), dynamic threshold).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import LocalCluster

__all__ = ["ALLOCATION", "exported", "local_cluster"]

ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""Variables that a worker's process must have when it starts; what the environment says already, stays."""

_NANNY = "distributed.nanny.pre-spawn-environ"


def exported() -> str:
    """Return the same as a line of a shell script, for workers that it starts.

    Examples
    --------
    >>> exported()[:57]
    'export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-3'
    """
    return "export " + " ".join(f"{name}=${{{name}:-{value}}}" for name, value in ALLOCATION.items())


def local_cluster(**options: Any) -> LocalCluster:
    """Start a LocalCluster whose workers keep memory; options as for it."""
    import dask
    from distributed import LocalCluster

    with dask.config.set({_NANNY: {**dask.config.get(_NANNY), **ALLOCATION}}):
        return LocalCluster(**options)  # type: ignore[no-untyped-call]
