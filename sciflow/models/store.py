"""Where models are kept: under the SHA-256 of their bytes, so that a place is either right or refused.

```
inlined in the codec's config ▶ <store>/models/<digest> ▶ local cache ▶ SCIFLOW_MODEL_PATH ▶ catalogue ▶ URL
```
The first that holds the digest wins. What came from the catalogue or a URL is put into the cache.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from sciflow.errors import Corrupt, InvalidArgument, ModelMismatch, StoreError
from sciflow.models.files import write_whole
from sciflow.models.model import Model

__all__ = ["INLINE_LIMIT", "Readable", "cache_folder", "find", "inlined", "put", "resolve"]

INLINE_LIMIT = 16 * 1024
"""Models up to so many bytes are worth carrying inside a codec's config."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 256 << 20
_SUFFIX = ".safetensors"


class Readable(Protocol):
    """The part of a mapping that a store beside arrays needs: keys as in ``models/<digest>``."""

    def __getitem__(self, key: str, /) -> bytes:
        """Return the bytes under a key, or raise KeyError."""
        ...


Place = tuple[str, Callable[[], bytes | None]]


def find(
    digest: str,
    *,
    inline: str | None = None,
    beside: str | os.PathLike[str] | Readable | None = None,
    url: str | None = None,
) -> bytes:
    """Return the file with this digest, byte for byte, from the first place that has it.

    Parameters
    ----------
    digest : str
        SHA-256, 64 hexadecimal digits in lower case.
    inline : str, optional
        The file in base64, as `inlined` returns it.
    beside : path, URL or mapping of str to bytes, optional
        The store that holds the arrays; the model lies in it under ``models/<digest>``.
    url : str, optional
        Anything that fsspec opens; ``{digest}`` in it is replaced.

    Raises
    ------
    InvalidArgument
        If the digest is none.
    ModelMismatch
        If no place has it, or what lies there is another file; the message names digest and places.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"digest of a model: found {digest!r}, expected 64 hexadecimal digits")
    looked: list[str] = []
    for place, read in _places(digest, inline, beside, url):
        data = read()
        if data is None:
            looked.append(f"{place}: absent")
        elif (found := hashlib.sha256(data).hexdigest()) != digest:
            looked.append(f"{place}: another file, {found[:12]}")
        else:
            if not place.startswith(("inline", "store", "cache")):
                _keep(digest, data)
            return data
    raise ModelMismatch(
        f"model {digest}: not found; looked in {'; '.join(looked)}. "
        "Copy its file there, or name its folder in SCIFLOW_MODEL_PATH"
    )


def resolve(
    name: str,
    *,
    inline: str | None = None,
    beside: str | os.PathLike[str] | Readable | None = None,
    url: str | None = None,
) -> Model:
    """Return the model that a digest, a file or a name in the catalogue names.

    Parameters
    ----------
    name : str
        A digest; a path that ends in ``.safetensors``; or a folder of the catalogue, as
        ``"shallow-water-klt"``.
    inline, beside, url
        As for `find`; they serve digests.

    Raises
    ------
    InvalidArgument
        If it is neither.
    ModelMismatch
        As `find`.
    Truncated, Corrupt, Unsupported
        If a file is no model of ours.

    Examples
    --------
    >>> resolve("shallow-water-klt").kind
    'klt'
    """
    if _DIGEST.fullmatch(name):
        return _parsed(find(name, inline=inline, beside=beside, url=url))
    if name.endswith(_SUFFIX):
        try:
            return _parsed(Path(name).read_bytes())
        except OSError as error:
            raise InvalidArgument(f"model {name}: cannot be read ({error.strerror})") from error
    from sciflow.models.catalog import load

    return load(name)


def inlined(model: Model) -> str | None:
    """Return a model in base64 for a codec's config, or None where it has more than `INLINE_LIMIT` bytes."""
    data = model.to_bytes()
    return base64.b64encode(data).decode("ascii") if len(data) <= INLINE_LIMIT else None


def put(model: Model, folder: str | os.PathLike[str]) -> Path:
    """Write a model to ``<folder>/<digest>``, whole or not at all, and return the path.

    Parameters
    ----------
    folder : path
        ``models`` in a Zarr store, the cache, or a folder of SCIFLOW_MODEL_PATH; made where it is not.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    return write_whole(Path(folder) / model.digest, model.to_bytes())


def cache_folder() -> Path:
    """Return the local cache: SCIFLOW_MODEL_CACHE, else ``sciflow/models`` in the user's cache folder."""
    if asked := os.environ.get("SCIFLOW_MODEL_CACHE"):
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sciflow" / "models"


@lru_cache(maxsize=16)
def _parsed(data: bytes) -> Model:
    return Model.from_bytes(data)


def _places(
    digest: str,
    inline: str | None,
    beside: str | os.PathLike[str] | Readable | None,
    url: str | None,
) -> Iterator[Place]:
    if inline is not None:
        yield "inline", lambda: _from_base64(inline)
    if beside is not None:
        if isinstance(beside, str | os.PathLike):
            path = f"{os.fspath(beside).rstrip('/')}/models/{digest}"
            yield f"store {path}", lambda: _from_url(path)
        else:
            yield f"store models/{digest}", lambda: _from_mapping(beside, f"models/{digest}")
    cache = cache_folder()
    yield f"cache {cache}", lambda: _from_folder(cache, digest)
    for text in filter(None, os.environ.get("SCIFLOW_MODEL_PATH", "").split(os.pathsep)):
        folder = Path(text)
        yield f"SCIFLOW_MODEL_PATH {folder}", lambda folder=folder: _from_folder(folder, digest)  # type: ignore[misc]
    yield "catalogue", lambda: _from_catalogue(digest)
    if url is not None:
        address = url.replace("{digest}", digest)
        yield f"URL {address}", lambda: _from_url(address)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Corrupt(f"a model inlined in a config is not base64: {error}") from error


def _from_mapping(mapping: Readable | Mapping[str, bytes], key: str) -> bytes | None:
    try:
        return bytes(mapping[key])
    except KeyError:
        return None


def _from_folder(folder: Path, digest: str) -> bytes | None:
    for name in (digest, digest + _SUFFIX):
        if (data := _from_file(folder / name)) is not None:
            return data
    return None


def _from_file(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _from_catalogue(digest: str) -> bytes | None:
    from sciflow.models.catalog import file_of

    path = file_of(digest)
    return None if path is None else _from_file(path)


def _from_url(address: str) -> bytes | None:
    if "://" not in address:
        return _from_file(Path(address))
    try:
        import fsspec
    except ImportError:
        return None
    try:
        with fsspec.open(address, "rb") as file:
            data: Any = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError, ImportError):
        return None
    return bytes(data) if len(data) <= _MAX_BYTES else None


def _keep(digest: str, data: bytes) -> None:
    try:
        write_whole(cache_folder() / digest, data)
    except StoreError:
        return  # a cache that cannot be written to costs time, not the result
