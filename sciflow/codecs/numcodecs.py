"""SZ, GWLZ and AESZ for numcodecs: Zarr v2 compressor or filter, kerchunk, any numcodecs pipeline.

Another codec is a `NumcodecsCodec` with an id, the class of its configuration, and its core's two functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy
from numpy.typing import NDArray

from sciflow.codecs import aesz, gwlz, sz
from sciflow.codecs.aesz_config import AESZConfig
from sciflow.codecs.configured import CodecConfig, configured_by
from sciflow.codecs.gwlz_config import GWLZConfig
from sciflow.codecs.sz import SZConfig

__all__ = ["AESZ", "GWLZ", "SZ", "NumcodecsCodec"]

_Config = TypeVar("_Config", bound=CodecConfig)


class NumcodecsCodec(Codec, Generic[_Config]):  # type: ignore[misc] # numcodecs ships no types
    """A configuration and its core, as numcodecs wants a codec."""

    codec_id: ClassVar[str]
    config_type: ClassVar[type[CodecConfig]]
    config: _Config

    def encode(self, buf: Any) -> bytes:
        """Return the stream of an array, float32 or float64."""
        return self._encode(buf if isinstance(buf, np.ndarray) else ensure_ndarray(buf))

    def decode(self, buf: Any, out: Any = None) -> NDArray[Any]:
        """Return the array of a stream, or `out`, filled."""
        return self._decode(buf, out)

    @abstractmethod
    def _encode(self, array: NDArray[Any]) -> bytes:
        """Return the stream of an array."""

    @abstractmethod
    def _decode(self, buf: Any, out: Any) -> NDArray[Any]:
        """Return the array of a stream, or `out`, filled."""

    def get_config(self) -> dict[str, Any]:
        """The codec's id and arguments, as strict JSON."""
        return {"id": self.codec_id, **self.config.to_json()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read what `get_config` wrote; ``id`` may be there or not.

        Raises
        ------
        InvalidArgument
            If a key is unknown, or a value is not allowed.
        """
        codec = cls.__new__(cls)
        named = {key: value for key, value in config.items() if key != "id"}
        object.__setattr__(codec, "config", cls.config_type.from_json(named))
        return codec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.config == other.config

    def __hash__(self) -> int:
        return hash((self.codec_id, self.config))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config.arguments()})"


class SZ(NumcodecsCodec[SZConfig]):
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
    >>> from sciflow import Bound
    >>> codec = SZ(Bound.abs(0.01))
    >>> field = np.linspace(0.0, 1.0, 10_000, dtype="f4").reshape(100, 100)
    >>> bool(np.abs(codec.decode(codec.encode(field)) - field).max() <= 0.01)
    True
    """

    codec_id = "sciflow.sz"
    config_type = SZConfig

    @configured_by(SZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    def _encode(self, array: NDArray[Any]) -> bytes:
        return sz.encode(array, self.config)

    def _decode(self, buf: Any, out: Any) -> NDArray[Any]:
        return sz.decode(buf, out, threads=self.config.threads)


class GWLZ(NumcodecsCodec[GWLZConfig]):
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
    enhancer : {"wiener", "cnn", "cnn-float"}
        Filters, or small networks (training needs torch; "cnn-float" is not reproducible on every machine).
    seed : int
        Of a network's training.
    time_budget : float
        Seconds that training a network may take, for each array that is encoded.
    progress : bool, optional
        Show a bar while training; None does so on a terminal.
    aux : iterable of str
        Names of other variables that the filters read; `sciflow.codecs.gwlz.encode` and ``decode`` take their
        values, this adapter cannot.

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
    >>> from sciflow import Bound
    >>> codec = GWLZ(SZ(Bound.abs(0.01)))
    >>> field = np.linspace(0.0, 1.0, 10_000, dtype="f4").reshape(100, 100)
    >>> bool(np.abs(codec.decode(codec.encode(field)) - field).max() <= 0.01)
    True
    """

    codec_id = "sciflow.gwlz"
    config_type = GWLZConfig

    @configured_by(GWLZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    def _encode(self, array: NDArray[Any]) -> bytes:
        return gwlz.encode(array, self.config)

    def _decode(self, buf: Any, out: Any) -> NDArray[Any]:
        array = gwlz.decode(buf, self.config)
        return array if out is None else ndarray_copy(array, out)


class AESZ(NumcodecsCodec[AESZConfig]):
    """A model predicts blocks, and SZ codes what is left; SZ alone where that is smaller.

    Every finite value comes back within `bound`; NaN, Inf, -0.0 and sentinels bit for bit. A stream names its
    model by digest; see `sciflow.models.find` for where that is looked for.

    Parameters
    ----------
    bound : Bound or float
        The promise, ``abs`` or ``rel``; a number means ``Bound.abs``.
    model : Model or str
        What predicts blocks: a model, its digest, a file, or a name in the catalogue.
    inline : str, optional
        The model's file in base64; by default small models are carried there.
    level : {"fast", "quick", "balanced", "max"}
        Of the SZ streams inside.
    preserve : iterable of number or str
        Sentinels that come back bit for bit.
    verify : bool
        Whether SZ checks its streams a second time.
    block_values : int, optional
        Cells in a block of SZ.
    threads : int
        Of SZ, within one call; leave it at 1 under Zarr and Dask.

    Raises
    ------
    InvalidArgument, ModelMismatch
        If an argument is not allowed, or there is no such model.

    See Also
    --------
    sciflow.codecs.aesz_config.AESZConfig : Every argument in full.
    sciflow.codecs.zarr.AESZ : The same codec as a Zarr v3 serializer.

    Examples
    --------
    >>> codec = AESZ(0.01, model="shallow-water-klt")
    >>> field = np.linspace(0.0, 1.0, 10_000, dtype="f4").reshape(100, 100)
    >>> bool(np.abs(codec.decode(codec.encode(field)) - field).max() <= 0.01)
    True
    """

    codec_id = "sciflow.aesz"
    config_type = AESZConfig

    @configured_by(AESZConfig)
    def __init__(self) -> None:
        """Take what the configuration takes."""

    def _encode(self, array: NDArray[Any]) -> bytes:
        return aesz.encode(array, self.config)

    def _decode(self, buf: Any, out: Any) -> NDArray[Any]:
        array = aesz.decode(buf, inline=self.config.inline, threads=self.config.threads)
        return array if out is None else ndarray_copy(array, out)
