"""``Dataset.sciflow``: what the package does with a dataset, as methods of it.

It is there once `sciflow.accessor` is imported, which the first use of `sciflow.compress`, `open`, `verify`
or `encoding` does too.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr
import zarr

from sciflow.bounds import Bound
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.errors import InvalidArgument
from sciflow.metrics import compare
from sciflow.store.conventions import recorded_bound
from sciflow.store.regions import recorded_regions

if TYPE_CHECKING:
    from sciflow.codecs.sz import Level
    from sciflow.physics import Comparison
    from sciflow.physics.spectra import Window
    from sciflow.store.plan import BoundLike, RegionsLike
    from sciflow.store.results import Report

__all__ = ["SciflowAccessor", "check_region"]


@xr.register_dataset_accessor("sciflow")  # type: ignore[no-untyped-call]
class SciflowAccessor:
    """Compress, check and compare a dataset.

    Examples
    --------
    >>> import numpy as np
    >>> ds = xr.Dataset({"t": ("x", np.linspace(0.0, 10.0, 100, dtype="f4"))})
    >>> ds.sciflow.encoding(bound=Bound.abs(0.5))["t"]["serializer"]
    SZ(Bound.abs(0.5))
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def bounds(self) -> dict[str, Bound]:
        """Bound that was asked for each variable of an opened store; lossless ones are left out."""
        found = {str(name): recorded_bound(v.attrs) for name, v in self._dataset.variables.items()}
        return {name: recorded[0] for name, recorded in found.items() if recorded}

    def compress(
        self,
        store: str | os.PathLike[str],
        *,
        bound: BoundLike = None,
        per_variable: Mapping[str, BoundLike] | None = None,
        regions: Mapping[str, RegionsLike] | None = None,
        enhance: bool = False,
        aux: Mapping[str, Sequence[str]] | None = None,
        level: Level = "balanced",
        chunks: Mapping[str, int] | str | None = None,
        rewrite_safe: bool = False,
        workers: int | None = None,
        overwrite: bool = False,
        resume: bool = True,
        progress: bool | None = None,
        dry_run: bool = False,
    ) -> Report:
        """Write the dataset to a store in which every value is within its bound; see `sciflow.compress`."""
        from sciflow.store import compress

        return compress(
            self._dataset,
            store,
            bound=bound,
            per_variable=per_variable,
            regions=regions,
            enhance=enhance,
            aux=aux,
            level=level,
            chunks=chunks,
            rewrite_safe=rewrite_safe,
            workers=workers,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
            dry_run=dry_run,
        )

    def encoding(
        self,
        *,
        bound: BoundLike = None,
        per_variable: Mapping[str, BoundLike] | None = None,
        level: Level = "balanced",
        chunks: Mapping[str, int] | str | None = None,
        rewrite_safe: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Give ``to_zarr`` the encoding that `compress` would use; see `sciflow.encoding`."""
        from sciflow.store import encoding

        return encoding(
            self._dataset,
            bound=bound,
            per_variable=per_variable,
            level=level,
            chunks=chunks,
            rewrite_safe=rewrite_safe,
        )

    def verify(
        self, store: str | os.PathLike[str], *, workers: int | None = None, progress: bool | None = None
    ) -> Report:
        """Compare every value of a store with this dataset, its original; see `sciflow.verify`."""
        from sciflow.store import verify

        return verify(self._dataset, store, workers=workers, progress=progress)

    def compare(
        self,
        reconstructed: xr.Dataset,
        *,
        dim: Hashable | Sequence[Hashable] | None = None,
        weights: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Error metrics of a reconstruction of this dataset, lazily; see `sciflow.metrics.compare`."""
        return compare(self._dataset, reconstructed, dim=dim, weights=weights)

    def physics(
        self,
        candidate: xr.Dataset,
        *,
        variables: Sequence[str] | None = None,
        vectors: Sequence[Sequence[str]] = (),
        which: Sequence[str] | None = None,
        space: int | None = None,
        window: Window = "hann",
    ) -> dict[str, Comparison]:
        """Spectra, distributions, extremes, structure of a candidate; see `physics.compare_datasets`."""
        from sciflow.physics import compare_datasets

        return compare_datasets(
            self._dataset,
            candidate,
            variables=variables,
            vectors=vectors,
            which=which,
            space=space,
            window=window,
        )

    def write_region(self, store: str | os.PathLike[str], *, region: Mapping[str, slice]) -> None:
        """Write the dataset into a part of a store, if no error can grow by it.

        Parameters
        ----------
        store : path or URL
            Has the variables of this dataset.
        region : mapping of str to slice
            Where, by dimension, as for ``to_zarr(region=...)``. Variables without these dimensions are left
            alone.

        Raises
        ------
        InvalidArgument
            If a part of a chunk would be written of a variable that is compressed without
            ``rewrite_safe=True``: Zarr would decode the chunk and encode it again, and the error of what was
            there would grow.
        """
        check_region(store, region, list(map(str, self._dataset.data_vars)))
        outside = [name for name, v in self._dataset.variables.items() if not set(region) & set(v.dims)]
        self._dataset.drop_vars(outside).to_zarr(store, region=dict(region), consolidated=False)


def check_region(
    store: str | os.PathLike[str], region: Mapping[str, slice], variables: Sequence[str]
) -> None:
    """Refuse to write parts of chunks where the error would grow.

    Parameters
    ----------
    store : path or URL
        A Zarr store.
    region : mapping of str to slice
        What will be written, by dimension.
    variables : sequence of str
        Of which variables.

    Raises
    ------
    InvalidArgument
        If a variable is compressed without ``rewrite_safe=True`` and the region begins or ends within a
        chunk.
    """
    group = zarr.open_group(os.fspath(store), mode="r")
    for name in variables:
        array = group.get(name)
        if not isinstance(array, zarr.Array) or array.metadata.zarr_format == 2:
            continue
        codec = next((codec for codec in array.metadata.codecs if isinstance(codec, SZ | GWLZ | AESZ)), None)
        if codec is None or (isinstance(codec, SZ) and codec.config.rewrite_safe):
            continue
        if recorded_regions(array.attrs.asdict()) is not None:
            raise InvalidArgument(
                f"variable {name!r} has regions with bounds of their own, which this would not "
                "keep; make the store anew with sciflow.compress"
            )
        grid = zip(array.metadata.dimension_names or (), array.shape, array.chunks, strict=True)
        for dim, length, chunk in grid:
            start, stop, _ = region.get(str(dim), slice(None)).indices(length)
            if start % chunk or (stop % chunk and stop != length):
                raise InvalidArgument(
                    f"variable {name!r}: {dim}={start}:{stop} cuts chunks of {chunk}; write whole chunks "
                    f"({dim}={start - start % chunk}:{min(length, -(-stop // chunk) * chunk)}), or make the "
                    "store with rewrite_safe=True: else what is in them loses accuracy with every write"
                )
