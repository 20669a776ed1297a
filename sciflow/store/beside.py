"""Models beside the arrays that need them: ``models/<digest>`` in the store, read by the codec itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from sciflow.codecs.aesz_model import known, predictor_of, remember
from sciflow.codecs.zarr import AESZ
from sciflow.errors import StoreError
from sciflow.models import Model
from sciflow.models.store import cache_folder, put
from sciflow.store.plan import Plan

__all__ = ["read_models", "write_models"]


def write_models(url: str, plan: Plan) -> None:
    """Write each model that no configuration carries to ``models/<digest>`` of a store.

    Parameters
    ----------
    url : str
        A Zarr group.
    plan : Plan
        Resolved.

    Raises
    ------
    ModelMismatch
        If one is not found any more.
    """
    configs = [p.codec.config for p in plan.variables if isinstance(p.codec, AESZ)]
    store = zarr.open_group(url, mode="r+").store_path.store
    for digest in sorted({config.model for config in configs if config.inline is None}):
        model = predictor_of(digest).model
        data = default_buffer_prototype().buffer.from_bytes(model.to_bytes())
        with suppress(
            StoreError
        ):  # where processes of a Dask cluster find it; a cache that is full costs them that
            put(model, cache_folder())
        sync(store.set(f"models/{digest}", data))


def read_models(url: str, digests: Iterable[str]) -> None:
    """Keep models of a store ready in this process, and in the local cache for others.

    A codec inside a shard is not told which store its chunk is of, so that it cannot look there by itself.

    Parameters
    ----------
    url : str
        A Zarr group.
    digests : iterable of str
        Of the models; those that are ready, or not in the store, are passed over.
    """
    missing = sorted({digest for digest in digests if not known(digest)})
    if not missing:
        return
    store = zarr.open_group(url, mode="r").store_path.store
    for digest in missing:
        found = sync(store.get(f"models/{digest}", default_buffer_prototype()))
        data = b"" if found is None else found.to_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            continue
        model = Model.from_bytes(data)
        remember(model)
        with suppress(StoreError):
            put(model, cache_folder())
