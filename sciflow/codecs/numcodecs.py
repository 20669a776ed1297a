"""SZ and GWLZ for numcodecs: Zarr v2 compressor or filter, kerchunk, any numcodecs pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import gwlz, sz
from sciflow.codecs.base import BaseLike
from sciflow.codecs.gwlz import Enhancer, Groups, GWLZConfig, Target
from sciflow.codecs.sentinels import Sentinel
from sciflow.codecs.sz import Level, SZConfig

__all__ = ["GWLZ", "SZ"]


class SZ(Codec):  # type: ignore[misc] # numcodecs ships no types
    """Every finite value comes back within `bound`; NaN, Inf, -0.0 and sentinels bit for bit.

    Dtype, shape, memory layout and byte order travel in the stream. Alone on a chunk, ``rel`` and ``psnr``
    refer to the range of that chunk, padding included: Zarr v2 tells a codec neither the fill value nor where
    the array ends. Resolve such a bound over the whole variable first (`sciflow.resolve`, or let
    `sciflow.compress` do it), and name a fill value in `preserve`.

    Parameters
    ----------
    bound : Bound or float
        The promise; a number means ``Bound.abs``.
    level : {"fast", "quick", "balanced", "max"}
        Bytes against seconds; the bound never changes with it.
    preserve : iterable of number or str
        Sentinels that come back bit for bit.
    rewrite_safe : bool
        For chunks that are written in parts: errors do not add up.
    verify : bool
        Decode the finished stream and compare once more.
    block_values : int, optional
        Cells in a block that decodes on its own.
    threads : int
        Threads within one call; leave it at 1 under Zarr and Dask.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.

    See Also
    --------
    sciflow.codecs.sz.SZConfig : Every argument in full.
    sciflow.codecs.zarr.SZ : The same codec as a Zarr v3 serializer.

    Examples
    --------
    >>> codec = SZ(Bound.abs(0.01))
    >>> field = np.linspace(0.0, 1.0, 10_000, dtype="f4").reshape(100, 100)
    >>> bool(np.abs(codec.decode(codec.encode(field)) - field).max() <= 0.01)
    True
    """

    codec_id: ClassVar[str] = "sciflow.sz"

    def __init__(
        self,
        bound: Bound | float,
        *,
        level: Level = "balanced",
        preserve: Iterable[Sentinel] = (),
        rewrite_safe: bool = False,
        verify: bool = True,
        block_values: int | None = None,
        threads: int = 1,
    ) -> None:
        self._config = SZConfig(
            bound,
            level=level,
            preserve=preserve,
            rewrite_safe=rewrite_safe,
            verify=verify,
            block_values=block_values,
            threads=threads,
        )

    @property
    def config(self) -> SZConfig:
        """The arguments, checked."""
        return self._config

    def encode(self, buf: Any) -> bytes:
        """Return the stream of an array (float32 or float64; see `sciflow.codecs.sz.encode`)."""
        array = buf if isinstance(buf, np.ndarray) else ensure_ndarray(buf)
        return sz.encode(array, self._config)

    def decode(self, buf: Any, out: Any = None) -> NDArray[Any]:
        """Return the array of a stream, or `out`, filled (see `sciflow.codecs.sz.decode`)."""
        return sz.decode(buf, out, threads=self._config.threads)

    def get_config(self) -> dict[str, Any]:
        """The codec's id and arguments, as strict JSON."""
        return {"id": self.codec_id, **self._config.to_json()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read what `get_config` wrote; ``id`` may be there or not.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        codec = cls.__new__(cls)
        codec._config = SZConfig.from_json({key: value for key, value in config.items() if key != "id"})
        return codec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SZ) and self._config == other._config

    def __hash__(self) -> int:
        return hash((self.codec_id, self._config))

    def __repr__(self) -> str:
        return f"SZ({self._config.arguments()})"


class GWLZ(Codec):  # type: ignore[misc] # numcodecs ships no types
    """Another codec's stream, and an enhancer of what it decodes to where that is worth its bytes.

    With target "bound" every finite value comes back within the base's bound and the mean square error is
    lower; with target "psnr" the stream is the smallest found that has the PSNR.

    Parameters
    ----------
    base : BaseLike
        The codec whose output is enhanced: an SZ, a numcodecs codec, the configuration of one, or a sequence.
    target : {"bound", "psnr"}
        What is promised.
    groups : {"auto", "value", "quantile", "activity"}
        What tells cells apart that get filters of their own.
    n_groups : int, optional
        Filters at most.
    psnr : float, optional
        In dB; by default that of the base's ``Bound.psnr``.
    bound : Bound or float, optional
        For a base that is not SZ, with target "bound".
    shared : bytes or str, optional
        An enhancer that is fitted once for many chunks.
    tune : str, optional
        For a base that is not SZ, with target "psnr": its parameter that holds the error bound.
    enhancer : {"wiener", "cnn"}
        Filters, or small networks (needs torch; not reproducible on every machine).
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.

    See Also
    --------
    sciflow.codecs.gwlz.GWLZConfig : Every argument in full.
    sciflow.codecs.zarr.GWLZ : The same codec as a Zarr v3 serializer.

    Examples
    --------
    >>> codec = GWLZ(SZ(Bound.abs(0.01)))
    >>> field = np.linspace(0.0, 1.0, 10_000, dtype="f4").reshape(100, 100)
    >>> bool(np.abs(codec.decode(codec.encode(field)) - field).max() <= 0.01)
    True
    """

    codec_id: ClassVar[str] = "sciflow.gwlz"

    def __init__(
        self,
        base: BaseLike,
        *,
        target: Target = "bound",
        groups: Groups = "auto",
        n_groups: int | None = None,
        psnr: float | None = None,
        bound: Bound | float | None = None,
        shared: bytes | str | None = None,
        tune: str | None = None,
        enhancer: Enhancer = "wiener",
        seed: int = 0,
        time_budget: float = 20.0,
        progress: bool | None = False,
    ) -> None:
        self._config = GWLZConfig(
            base,
            target=target,
            groups=groups,
            n_groups=n_groups,
            psnr=psnr,
            bound=bound,
            shared=shared,
            tune=tune,
            enhancer=enhancer,
            seed=seed,
            time_budget=time_budget,
            progress=progress,
        )

    @property
    def config(self) -> GWLZConfig:
        """The arguments, checked."""
        return self._config

    def encode(self, buf: Any) -> bytes:
        """Return the stream of an array (float32 or float64; see `sciflow.codecs.gwlz.encode`)."""
        array = buf if isinstance(buf, np.ndarray) else ensure_ndarray(buf)
        return gwlz.encode(array, self._config)

    def decode(self, buf: Any, out: Any = None) -> NDArray[Any]:
        """Return the array of a stream, or `out`, filled (see `sciflow.codecs.gwlz.decode`)."""
        array = gwlz.decode(buf, self._config)
        return array if out is None else ndarray_copy(array, out)

    def get_config(self) -> dict[str, Any]:
        """The codec's id and arguments, as strict JSON."""
        return {"id": self.codec_id, **self._config.to_json()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read what `get_config` wrote; ``id`` may be there or not.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        codec = cls.__new__(cls)
        codec._config = GWLZConfig.from_json({key: value for key, value in config.items() if key != "id"})
        return codec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GWLZ) and self._config == other._config

    def __hash__(self) -> int:
        return hash((self.codec_id, self._config))

    def __repr__(self) -> str:
        return f"GWLZ({self._config.arguments()})"
