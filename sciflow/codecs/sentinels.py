"""Sentinels: cells that are marks, not data, and come back bit for bit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from sciflow.errors import InvalidArgument

__all__ = ["Sentinel", "parse_sentinels", "sentinel_bits"]

Sentinel = float | str
"""A number, "NaN", "Infinity", "-Infinity", or a bit pattern such as "0x7fc00001"."""

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_PATTERN = re.compile(r"0x(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{16})")


def parse_sentinels(items: Iterable[Sentinel]) -> tuple[Sentinel, ...]:
    """Return each sentinel once, in a form that is strict JSON and compares equal to itself.

    Raises
    ------
    InvalidArgument
        If an item is neither a number nor one of the texts that `Sentinel` lists.

    Examples
    --------
    >>> parse_sentinels([-9999, float("nan"), "0x7FC00001", -9999.0])
    (-9999.0, 'NaN', '0x7fc00001')
    """
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise InvalidArgument(f"preserve={items!r}: expected a list, for example preserve=[-9999.0]")
    return tuple(dict.fromkeys(_parse(item) for item in items))


def sentinel_bits(sentinels: Iterable[Sentinel], dtype: np.dtype[Any]) -> list[int]:
    """Return the bit patterns to look for in data of a dtype.

    Parameters
    ----------
    sentinels : iterable of Sentinel
        As `parse_sentinels` returns them. Numbers are rounded to the dtype; NaN, Inf and numbers beyond its
        range need no pattern, since the first two are always kept and the last cannot occur.
    dtype : numpy.dtype, float32|float64
        Of the data.

    Raises
    ------
    InvalidArgument
        If a bit pattern has the width of another dtype.
    """
    bits = (_bits(item, dtype) for item in sentinels)
    return list(dict.fromkeys(pattern for pattern in bits if pattern is not None))


def _parse(item: object) -> Sentinel:
    if isinstance(item, str):
        if item in _NAMES:
            return item
        if _PATTERN.fullmatch(item):
            return item.lower()
    elif isinstance(item, int | float | np.integer | np.floating) and not isinstance(item, bool):
        number = float(item)
        if math.isfinite(number):
            return number + 0.0  # -0.0 is kept in any case
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    raise InvalidArgument(
        f'preserve: {item!r} is neither a number nor "NaN", "Infinity", "-Infinity" or a bit pattern of 8 or '
        '16 hexadecimal digits such as "0x7fc00001"'
    )


def _bits(item: Sentinel, dtype: np.dtype[Any]) -> int | None:
    if isinstance(item, str):
        if item in _NAMES:
            return None
        if len(item) != 2 + 2 * dtype.itemsize:
            raise InvalidArgument(
                f"preserve: bit pattern {item} has {len(item) - 2} digits; {dtype} takes {2 * dtype.itemsize}"
            )
        return int(item, 16)
    with np.errstate(over="ignore"):
        value = np.asarray(item, dtype=np.float64).astype(f"=f{dtype.itemsize}")
    return int(value.view(f"=u{dtype.itemsize}")) if np.isfinite(value) else None
