"""The codec that another one wraps: SZ, or any chain of registered numcodecs codecs.

```
array ─ encode ─▶ bytes ─ decode ─▶ cells, C order, native bytes     with_bound(value) ─▶ the same, moved
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs import sz
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Corrupt, InvalidArgument, SciflowError

__all__ = ["BaseCodec", "BaseLike", "ChainBase", "SZBase", "as_stored", "parse_base"]

BaseLike: TypeAlias = Any
"""An SZ of any adapter, a numcodecs codec, the configuration of either, or a sequence of numcodecs codecs."""

_SZ_ID = "sciflow.sz"


@dataclass(frozen=True, slots=True)
class SZBase:
    """SZ as a base: its streams tell dtype, shape and layout by themselves.

    Parameters
    ----------
    config : SZConfig
        How to encode.
    """

    config: SZConfig

    @property
    def tunable(self) -> bool:
        """Whether `with_bound` works."""
        return True

    @property
    def value(self) -> float | None:
        """The absolute bound that it has, where that is known before the data are."""
        return self.config.bound.value if self.config.bound.kind == "abs" else None

    def with_bound(self, value: float) -> SZBase:
        """Return the same codec with another absolute bound."""
        return SZBase(replace(self.config, bound=Bound.abs(value)))

    def encode(self, array: NDArray[Any]) -> bytes:
        """Return the stream of an array, as `sciflow.codecs.sz.encode` does."""
        return sz.encode(array, self.config)

    def decode_plain(self, stream: memoryview) -> NDArray[Any]:
        """Return the array of a stream that says itself what it holds."""
        return sz.decode(stream, threads=self.config.threads)

    def tells_all(self, stream: bytes, array: NDArray[Any]) -> bool:
        """Whether `decode_plain` gives back dtype, shape and layout."""
        return True

    def decode(self, stream: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the cells of a stream, C-contiguous and native, of the shape as stored.

        Raises
        ------
        Truncated, Corrupt, Unsupported
            As `sciflow.codecs.sz.decode`, and if the stream holds another array than was said.
        """
        header = sz.info(stream)
        if header.stored_shape != shape or header.native_dtype != dtype:
            raise Corrupt(
                f"the base stream holds {header.dtype} of shape {header.shape}: expected {dtype}, {shape}"
            )
        return as_stored(self.decode_plain(stream))[0]

    def to_json(self) -> Any:
        """As numcodecs writes it."""
        return {"id": _SZ_ID, **self.config.to_json()}


@dataclass(frozen=True, slots=True)
class ChainBase:
    """Codecs of numcodecs, applied one behind the other.

    Parameters
    ----------
    codecs : tuple of numcodecs.abc.Codec
        In the order in which they encode.
    tune : str, optional
        The parameter of the first one that holds its error bound, where it has one.
    tuned : float, optional
        What `with_bound` made of it.
    """

    codecs: tuple[Any, ...]
    tune: str | None = None
    tuned: float | None = None

    @property
    def tunable(self) -> bool:
        """Whether `with_bound` works."""
        return self.tune is not None

    @property
    def value(self) -> float | None:
        """What the parameter that is tuned is set to, where that is a number above 0."""
        found = self.codecs[0].get_config()[self.tune] if self.tune is not None else None
        return float(found) if isinstance(found, int | float) and found > 0 else None

    def with_bound(self, value: float) -> ChainBase:
        """Return the same codecs, the first with another bound.

        Raises
        ------
        InvalidArgument
            If it has no parameter that is known to hold one, or does not take the value.
        """
        import numcodecs

        if value == self.value:
            return self
        if self.tune is None:
            raise InvalidArgument(
                f"base {self.codecs!r}: name the parameter that holds its bound, with tune="
            )
        config = {**self.codecs[0].get_config(), self.tune: value}
        try:
            moved = numcodecs.get_codec(config)
        except (ValueError, TypeError) as error:
            raise InvalidArgument(
                f"base {self.codecs[0]!r} takes no {self.tune}={value!r}: {error}"
            ) from error
        return ChainBase((moved, *self.codecs[1:]), self.tune, value)

    def encode(self, array: NDArray[Any]) -> bytes:
        """Return the bytes that the last codec makes of the cells in C order.

        Raises
        ------
        InvalidArgument
            If a codec does not take the array.
        """
        stored, _ = as_stored(array)
        value: Any = stored
        for codec in self.codecs:
            try:
                value = codec.encode(value)
            except SciflowError:
                raise
            except Exception as error:
                raise InvalidArgument(
                    f"base codec {codec!r} refuses {stored.dtype} of shape {stored.shape}: {error}"
                ) from error
        return (
            bytes(value) if isinstance(value, bytes | bytearray | memoryview) else np.asarray(value).tobytes()
        )

    def decode_plain(self, stream: memoryview) -> Any:
        """Return whatever the codecs give back.

        Raises
        ------
        Corrupt
            If a codec refuses the bytes.
        """
        value: Any = bytes(stream)
        for codec in reversed(self.codecs):
            try:
                value = codec.decode(value)
            except Exception as error:
                raise Corrupt(f"base codec {codec!r} refuses its stream: {error}") from error
        return value

    def tells_all(self, stream: bytes, array: NDArray[Any]) -> bool:
        """Whether `decode_plain` gives back dtype, shape and layout."""
        found = self.decode_plain(memoryview(stream))
        return (
            isinstance(found, np.ndarray)
            and found.shape == array.shape
            and found.dtype == array.dtype
            and found.flags.c_contiguous == array.flags.c_contiguous
        )

    def decode(self, stream: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the cells that the codecs give back, C-contiguous, of the shape as stored.

        Raises
        ------
        Corrupt
            If a codec refuses the bytes, or gives back another number of them.
        """
        value = self.decode_plain(stream)
        found = np.ascontiguousarray(
            np.asarray(value if isinstance(value, np.ndarray) else memoryview(value))
        )
        if found.nbytes != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
            raise Corrupt(f"the base stream holds {found.nbytes} bytes: expected {dtype} of shape {shape}")
        return found.reshape(-1).view(dtype).reshape(shape)

    def to_json(self) -> Any:
        """As numcodecs writes them."""
        configs = [codec.get_config() for codec in self.codecs]
        return configs[0] if len(configs) == 1 else configs


BaseCodec: TypeAlias = SZBase | ChainBase


def as_stored(array: NDArray[Any]) -> tuple[NDArray[Any], Literal["C", "F"]]:
    """Return the cells C-contiguous and native, an array of layout F transposed, and the layout."""
    order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return sz.native_order(array.T if order == "F" else array), order


def parse_base(base: BaseLike, *, tune: str | None = None) -> BaseCodec:
    """Read a base codec from whatever says which.

    Parameters
    ----------
    base : BaseLike
        See there.
    tune : str, optional
        See `ChainBase`.

    Raises
    ------
    InvalidArgument
        If it is no codec, or not one that is registered.

    Examples
    --------
    >>> parse_base({"id": "sciflow.sz", "bound": {"kind": "abs", "value": 0.1}})
    SZBase(config=SZConfig(Bound.abs(0.1)))
    """
    if isinstance(base, SZBase | ChainBase):
        return base
    config = base if isinstance(base, SZConfig) else getattr(base, "config", None)
    if isinstance(config, SZConfig):
        return SZBase(_usable(config))
    if isinstance(base, Mapping) and base.get("id") == _SZ_ID:
        return SZBase(_usable(SZConfig.from_json({key: base[key] for key in base if key != "id"})))
    parts = list(base) if isinstance(base, Sequence) and not isinstance(base, str) else [base]
    codecs = tuple(_codec(part) for part in parts)
    if not codecs:
        raise InvalidArgument("base=[]: expected a codec, for example SZ(Bound.rel(1e-3))")
    if tune is not None and tune not in codecs[0].get_config():
        names = ", ".join(name for name in codecs[0].get_config() if name != "id")
        raise InvalidArgument(f"tune={tune!r}: {codecs[0]!r} has no such parameter; it has {names or 'none'}")
    return ChainBase(codecs, tune)


def _usable(config: SZConfig) -> SZConfig:
    if config.rewrite_safe:
        raise InvalidArgument(
            "base with rewrite_safe=True: an enhancer would move its values off their lattice"
        )
    if config.bound.kind not in ("abs", "rel", "psnr"):
        raise InvalidArgument(
            f"base with {config.bound!r}: an enhancer corrects all values alike; give abs, rel or psnr"
        )
    return config


def _codec(part: Any) -> Any:
    import numcodecs
    from numcodecs.abc import Codec

    if isinstance(part, Codec):
        return part
    if not isinstance(part, Mapping) or "id" not in part:
        raise InvalidArgument(
            f"base {part!r}: expected SZ(...), a numcodecs codec, or the configuration of one"
        )
    try:
        return numcodecs.get_codec(dict(part))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidArgument(f"base {dict(part)!r}: numcodecs knows no such codec: {error}") from error
