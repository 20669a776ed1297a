"""What a scientist asks of a reconstruction: how far is it from the original, and where.

Two layers, because a store is checked chunk by chunk and a dataset is studied dimension by dimension:

```
chunk, chunk' ── ErrorStats.measure ─▶ ErrorStats ┐
chunk, chunk' ── ErrorStats.measure ─▶ ErrorStats ┴─ combine ─▶ ErrorStats of the variable
original, reconstructed (xarray, lazy) ── compare(dim=..., weights=...) ─▶ xarray.Dataset (lazy)
```
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Resolved, ValueRange
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ErrorStats", "compare", "count_changed_bits", "psnr"]

_PIECE = 1 << 14
"""Cells measured at a time: the float64 copies of a piece stay in the cache and bound the memory."""

_MSE_ROUNDING = 1e-12
"""Relative; a mean over 2**40 cells that was summed in pairs is off by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStats:
    """Errors of a reconstruction over its ordinary cells, and whether the other cells came back bit for bit.

    Ordinary cells are finite, not a sentinel and not -0.0. `max_abs_error` is never too small: it is the
    smallest float64 that is not below the exact |x - x'|, so it can be held against a bound without slack.

    Parameters
    ----------
    cells : int
        All cells.
    ordinary : int
        Cells whose error counts.
    changed_specials : int
        NaN (with payload), infinite, -0.0 and sentinel cells that did not come back bit for bit.
    value_range : ValueRange
        Of the original's ordinary cells, and its zeros of either sign.
    max_abs_error : float
        In the unit of the data; +inf where an ordinary cell came back as NaN or infinite.
    max_pointwise_error : float
        Largest |x - x'| / |x|; NaN where it was not asked for.
    exponent : int
        The sums below are in units of 2**exponent and its square, so that they neither overflow nor vanish.
    sum_error, sum_abs_error, sum_square_error : float
        Of x' - x, |x' - x| and (x' - x)**2.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, np.nan, 4.0])
    >>> stats = ErrorStats.measure(x, x + [0.5, 0.0, 0.0, -0.25])
    >>> stats.max_abs_error, stats.mean_abs_error, stats.ordinary, stats.changed_specials
    (0.5, 0.25, 3, 0)
    """

    cells: int = 0
    ordinary: int = 0
    changed_specials: int = 0
    value_range: ValueRange = field(default_factory=ValueRange)
    max_abs_error: float = 0.0
    max_pointwise_error: float = math.nan
    exponent: int = 0
    sum_error: float = 0.0
    sum_abs_error: float = 0.0
    sum_square_error: float = 0.0

    @classmethod
    def measure(
        cls,
        original: NDArray[Any],
        reconstructed: NDArray[Any],
        *,
        preserve: Iterable[float] = (),
        pointwise: bool = False,
    ) -> Self:
        """Compare two arrays.

        Parameters
        ----------
        original, reconstructed : ndarray, float32|float64, same dtype and shape
            Any layout and byte order.
        preserve : iterable of float
            Sentinels that must come back bit for bit.
        pointwise : bool
            Also measure |x - x'| / |x|, which costs a division a cell.

        Raises
        ------
        InvalidArgument
            If dtype or shape differ, or the dtype is another.
        """
        kind = np.dtype(original.dtype).newbyteorder("=")
        if kind not in (np.float32, np.float64) or reconstructed.dtype.newbyteorder("=") != kind:
            raise InvalidArgument(f"dtypes {original.dtype}, {reconstructed.dtype}: expected float32|float64")
        _check_shapes(original, reconstructed)
        sentinels = np.asarray([p for p in preserve if math.isfinite(p)], dtype=np.float64).astype(kind)
        x = np.ascontiguousarray(original, dtype=kind).reshape(-1)
        y = np.ascontiguousarray(reconstructed, dtype=kind).reshape(-1)
        total = cls(max_pointwise_error=0.0 if pointwise else math.nan)
        for start in range(0, x.size, _PIECE):
            piece = slice(start, start + _PIECE)
            total = total.combine(_measure_piece(cls, x[piece], y[piece], sentinels, pointwise=pointwise))
        return total

    @classmethod
    def combine_all(cls, parts: Iterable[ErrorStats]) -> ErrorStats:
        """Statistics of a whole from those of its parts; the same floats for the same order of parts."""
        return reduce(lambda a, b: a.combine(b), parts) if (parts := list(parts)) else cls()

    def combine(self, other: ErrorStats) -> Self:
        """Statistics of two parts together; maxima, counts and the range are exact."""
        first, second = self._in_units_of(other), other._in_units_of(self)
        return type(self)(
            cells=self.cells + other.cells,
            ordinary=self.ordinary + other.ordinary,
            changed_specials=self.changed_specials + other.changed_specials,
            value_range=self.value_range.merge(other.value_range),
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            max_pointwise_error=_max_where_cells(self, other),
            exponent=first[0],
            sum_error=first[1] + second[1],
            sum_abs_error=first[2] + second[2],
            sum_square_error=first[3] + second[3],
        )

    def _in_units_of(self, other: ErrorStats) -> tuple[int, float, float, float]:
        """The common exponent (a part without error has none), and the sums of this part in its units."""
        known = [part.exponent for part in (self, other) if part.max_abs_error > 0.0]
        exponent = max(known, default=0)
        shift = self.exponent - exponent if self.max_abs_error > 0.0 else 0
        return (
            exponent,
            math.ldexp(self.sum_error, shift),
            math.ldexp(self.sum_abs_error, shift),
            math.ldexp(self.sum_square_error, 2 * shift),
        )

    def _mean(self, total: float) -> float:
        if not self.ordinary:
            return 0.0
        return _ldexp(total / self.ordinary, self.exponent)

    @property
    def mean_error(self) -> float:
        """Mean of x' - x: the bias."""
        return self._mean(self.sum_error)

    @property
    def mean_abs_error(self) -> float:
        """Mean of |x' - x|."""
        return self._mean(self.sum_abs_error)

    @property
    def rmse(self) -> float:
        """Root of the mean of (x' - x)**2."""
        if not self.ordinary:
            return 0.0
        return _ldexp(math.sqrt(self.sum_square_error / self.ordinary), self.exponent)

    @property
    def nrmse(self) -> float:
        """RMSE over the range of the original; 0 without any error, +inf with one in a constant."""
        return _ratio(self.rmse, self.value_range.scaled(1.0))

    @property
    def psnr(self) -> float:
        """20 log10(max - min) - 20 log10(RMSE), in dB; +inf without any error."""
        return psnr(self.value_range.scaled(1.0), self.rmse)

    def over_bound(self, resolved: Resolved) -> float:
        """Largest error over the bound: 1 or less where the promise is kept, +inf where it cannot be told.

        Parameters
        ----------
        resolved : Resolved
            What was promised; a bound of 0 means every bit.
        """
        error = self._error(resolved)
        if error <= resolved.value:
            return _ratio(error, resolved.value)
        return math.inf if math.isnan(error) else max(_ratio(error, resolved.value), math.nextafter(1.0, 2.0))

    def _error(self, resolved: Resolved) -> float:
        return self.max_abs_error if resolved.kind == "abs" else self.max_pointwise_error

    def broken_promises(self, resolved: Resolved) -> list[str]:
        """Say in words which promise does not hold; empty where all do.

        Parameters
        ----------
        resolved : Resolved
            What was promised.
        """
        found: list[str] = []
        error, rmse = self._error(resolved), self.rmse
        if not error <= resolved.value:
            found.append(f"error {error:.9g} is above the {resolved.kind} bound {resolved.value:.9g}")
        if resolved.mse is not None and rmse > (limit := math.sqrt(resolved.mse)) * (1 + _MSE_ROUNDING):
            found.append(f"RMSE {rmse:.9g} is above the {limit:.9g} that the PSNR asks for")
        if self.changed_specials:
            found.append(
                f"{self.changed_specials} NaN, infinite, -0.0 or fill cells did not come back bit for bit"
            )
        return found


def psnr(value_range: float, rmse: float) -> float:
    """Peak signal-to-noise ratio in dB, ``20 log10(value_range / rmse)``; +inf where rmse is 0.

    Parameters
    ----------
    value_range, rmse : float
        Both in the unit of the data.

    Examples
    --------
    >>> psnr(100.0, 0.1)
    60.0
    """
    if rmse == 0.0:
        return math.inf
    if value_range == 0.0 or math.isinf(rmse):
        return -math.inf
    return 20.0 * (math.log10(value_range) - math.log10(rmse))


def count_changed_bits(original: NDArray[Any], reconstructed: NDArray[Any]) -> int:
    """Count the cells that did not come back bit for bit; strings and objects are compared by value.

    Parameters
    ----------
    original, reconstructed : ndarray, any dtype, same shape
        Byte order is not part of the value.

    Raises
    ------
    InvalidArgument
        If dtype or shape differ.
    """
    _check_shapes(original, reconstructed)
    if original.dtype.kind in "OTU" or reconstructed.dtype.kind in "OTU":
        return int(np.count_nonzero(original.astype(object) != reconstructed.astype(object)))
    dtype = original.dtype.newbyteorder("=")
    if reconstructed.dtype.newbyteorder("=") != dtype:
        raise InvalidArgument(f"dtypes {original.dtype}, {reconstructed.dtype}: expected the same twice")
    if not original.size or not dtype.itemsize:
        return 0
    x, y = _cell_bytes(original, dtype), _cell_bytes(reconstructed, dtype)
    return int(np.count_nonzero((x != y).any(axis=1)))


def compare(
    original: xr.Dataset | xr.DataArray,
    reconstructed: xr.Dataset | xr.DataArray,
    *,
    dim: Hashable | Sequence[Hashable] | None = None,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Error metrics along any dimensions over the cells that are finite in the original, as lazy as the data.

    Parameters
    ----------
    original, reconstructed : Dataset or DataArray, float
        Decoded (fill values are NaN). Of two datasets, the float variables that both have are compared.
    dim : hashable or sequence of hashable, optional
        What to reduce over; all dimensions by default. ``("lat", "lon")`` gives one number a time and level.
    weights : DataArray, optional
        Cell areas or the like, no missing values, for the means, the RMSE and the correlation.

    Returns
    -------
    Dataset
        ``max_abs_error``, ``mean_abs_error``, ``mean_error``, ``rmse`` (in the unit of the data), ``nrmse``
        (over the range), ``psnr`` (dB) and ``pearson_r``, float64; with a dimension ``variable`` where
        datasets were compared.

    Raises
    ------
    InvalidArgument
        If there is nothing to compare, or a DataArray meets a Dataset.

    Examples
    --------
    >>> import xarray as xr
    >>> x = xr.DataArray(np.linspace(0.0, 10.0, 11), dims="x")
    >>> float(compare(x, x + 0.25).max_abs_error)
    0.25
    """
    import xarray as xr

    if isinstance(original, xr.DataArray) and isinstance(reconstructed, xr.DataArray):
        return _compare_arrays(original, reconstructed, dim, weights)
    if not (isinstance(original, xr.Dataset) and isinstance(reconstructed, xr.Dataset)):
        found = f"{type(original).__name__}, {type(reconstructed).__name__}"
        raise InvalidArgument(f"compare({found}): expected two datasets or two arrays")
    names = [n for n, v in original.items() if v.dtype.kind == "f" and n in reconstructed]
    if not names:
        raise InvalidArgument("nothing to compare: the datasets have no float variable in common")
    parts = [_compare_arrays(original[n], reconstructed[n], dim, weights) for n in names]
    return xr.concat(parts, dim=xr.Variable("variable", [str(n) for n in names]))


def _compare_arrays(
    original: xr.DataArray,
    reconstructed: xr.DataArray,
    dim: Hashable | Sequence[Hashable] | None,
    weights: xr.DataArray | None,
) -> xr.Dataset:
    import xarray as xr

    if original.sizes != reconstructed.sizes:
        found = f"{dict(original.sizes)}, {dict(reconstructed.sizes)}"
        raise InvalidArgument(f"sizes {found}: expected the same twice")
    over = _dimensions(original, dim)
    original = original.drop_vars(original.coords)
    reconstructed = reconstructed.drop_vars(reconstructed.coords)
    finite = xr.DataArray(np.isfinite(original.variable))
    x = original.where(finite).astype(np.float64)
    y = reconstructed.where(finite).astype(np.float64)
    error = y - x
    size = abs(error)
    mean = _Mean(over, weights)
    width = x.max(over) - x.min(over)
    rmse = mean(error**2) ** 0.5
    dx, dy = x - mean(x), y - mean(y)
    ratio = (rmse / width).where(rmse > 0, 0.0)
    decibels = xr.DataArray(np.log10(ratio.where(ratio > 0).variable)) * -20.0
    values = {
        "max_abs_error": size.max(over),
        "mean_abs_error": mean(size),
        "mean_error": mean(error),
        "rmse": rmse,
        "nrmse": ratio,
        "psnr": decibels.where(rmse > 0, np.inf),
        "pearson_r": mean(dx * dy) / (mean(dx**2) * mean(dy**2)) ** 0.5,
    }
    return xr.Dataset(values)


def _dimensions(array: xr.DataArray, dim: Hashable | Sequence[Hashable] | None) -> list[Hashable]:
    if dim is None:
        return list(array.dims)
    return list(dim) if isinstance(dim, Sequence) and not isinstance(dim, str) else [dim]


@dataclass(frozen=True, slots=True)
class _Mean:
    """Mean over dimensions, weighted where there are weights."""

    over: list[Hashable]
    weights: xr.DataArray | None

    def __call__(self, array: xr.DataArray) -> xr.DataArray:
        if self.weights is None:
            return array.mean(self.over)
        return array.weighted(self.weights.drop_vars(self.weights.coords)).mean(self.over)


def _measure_piece(
    kind: type[ErrorStats], x: NDArray[Any], y: NDArray[Any], sentinels: NDArray[Any], *, pointwise: bool
) -> ErrorStats:
    value_range = ValueRange.of(x, preserve=[float(s) for s in sentinels])
    special = _special_cells(x, sentinels, all_finite=value_range.count == x.size)
    with np.errstate(invalid="ignore", over="ignore"):
        wide_x, wide_y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
        error = wide_y - wide_x
    specials = changed = 0
    if special is not None:
        specials = int(np.count_nonzero(special))
        changed = int(np.count_nonzero(special & (_bits(x) != _bits(y))))
        np.putmask(error, special, 0.0)
    size = np.abs(error)
    worst = _round_up(wide_x, wide_y, size)
    exponent = math.frexp(worst)[1] if math.isfinite(worst) else 0
    error, size = _scale(error, -exponent), _scale(size, -exponent)
    with np.errstate(invalid="ignore", over="ignore"):
        return kind(
            cells=x.size,
            ordinary=x.size - specials,
            changed_specials=changed,
            value_range=value_range,
            max_abs_error=worst,
            max_pointwise_error=_pointwise(wide_x, wide_y, special) if pointwise else math.nan,
            exponent=exponent,
            sum_error=float(error.sum()),
            sum_abs_error=float(size.sum()),
            # Q: why not np.dot? A: BLAS wakes threads of its own, which wait for each other on busy cores.
            sum_square_error=float(np.square(size).sum()),
        )


def _special_cells(x: NDArray[Any], sentinels: NDArray[Any], *, all_finite: bool) -> NDArray[np.bool_] | None:
    """Mark what must come back bit for bit; None where there is none."""
    special: NDArray[np.bool_] = _bits(x) == _bits(np.array(-0.0, dtype=x.dtype))
    if not all_finite:
        special |= ~np.isfinite(x)
        for sentinel in sentinels:
            special |= x == sentinel
    return special if special.any() else None


def _bits(x: NDArray[Any]) -> NDArray[Any]:
    return x.view(f"u{x.itemsize}")


def _scale(values: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    """Multiply by 2**exponent, in two steps where that power alone is no float64."""
    half = exponent // 2
    if -1000 < exponent < 1000:
        return values * math.ldexp(1.0, exponent)
    return values * math.ldexp(1.0, half) * math.ldexp(1.0, exponent - half)


def _round_up(x: NDArray[np.float64], y: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Largest |x - y|, exact or rounded away from zero.

    Q: why look only where `size` is largest? A: rounding is monotone, so a cell whose rounded difference is
    smaller is smaller. There, Knuth's two-sum gives what the subtraction rounded off.
    """
    worst = float(size.max())
    if not 0.0 < worst < math.inf:
        return math.inf if math.isnan(worst) else worst
    at = size == worst
    a, b = y[at], x[at]
    difference = a - b
    virtual = difference - a
    rounded_off = (a - (difference - virtual)) - (b + virtual)
    return math.nextafter(worst, math.inf) if np.any(rounded_off * np.sign(difference) > 0.0) else worst


def _pointwise(x: NDArray[np.float64], y: NDArray[np.float64], special: NDArray[np.bool_] | None) -> float:
    """Largest |x - y| / |x|, exact or rounded away from zero; +inf where a zero did not stay one."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.abs((x - y) / x)
    ratio[x == y] = 0.0
    if special is not None:
        ratio[special] = 0.0
    worst = float(ratio.max())
    if not 0.0 < worst < math.inf:
        return math.inf if math.isnan(worst) else worst
    at = ratio == worst
    limit = Fraction(worst)
    pairs = {(float(a), float(b)) for a, b in zip(x[at], y[at], strict=True)}
    above = any(abs(Fraction(a) - Fraction(b)) > limit * abs(Fraction(a)) for a, b in pairs)
    return math.nextafter(worst, math.inf) if above else worst


def _max_where_cells(a: ErrorStats, b: ErrorStats) -> float:
    """NaN ("not asked for") stays NaN, but a part without cells has no say."""
    known = [part.max_pointwise_error for part in (a, b) if part.cells]
    return math.nan if any(map(math.isnan, known)) else max(known, default=a.max_pointwise_error)


def _check_shapes(original: NDArray[Any], reconstructed: NDArray[Any]) -> None:
    if original.shape != reconstructed.shape:
        raise InvalidArgument(f"shapes {original.shape}, {reconstructed.shape}: expected the same twice")


def _cell_bytes(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.uint8]:
    """Its cells as rows of bytes, shape (n, itemsize)."""
    cells: NDArray[Any] = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    return cells.view(np.uint8).reshape(-1, dtype.itemsize)


def _ratio(part: float, whole: float) -> float:
    if part == 0.0:
        return 0.0
    return part / whole if whole else math.inf


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)
