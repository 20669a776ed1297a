"""Error-bounded codecs: one core pair each, and thin adapters for numcodecs and Zarr v3.

```
sciflow.codecs.sz          encode(array, config) -> bytes      decode(bytes) -> array
sciflow.codecs.gwlz        the same of another codec's stream and an enhancer
sciflow.codecs.aesz        the same of a model of blocks and what it leaves
sciflow.codecs.numcodecs   SZ, GWLZ and AESZ, for Zarr v2, kerchunk and any numcodecs pipeline
sciflow.codecs.zarr        the same as Zarr v3 serializers
sciflow.codecs.stream      what the engine says, as typed values and named errors
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciflow.codecs import aesz, gwlz, numcodecs, stream, sz, zarr

__all__ = ["aesz", "gwlz", "numcodecs", "stream", "sz", "zarr"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in __all__:
        return import_module(f"sciflow.codecs.{name}")
    raise AttributeError(f"module 'sciflow.codecs' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
