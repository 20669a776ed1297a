"""What came out, in numbers that were measured on what is stored: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from sciflow.bounds import Bound

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["RegionRow", "Report", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """One region of a variable, judged by its own bound.

    Parameters
    ----------
    label : int
        As in the mask.
    bound : Bound or None
        What was asked; None keeps every bit.
    bound_abs : float
        The same in the unit of the data; 0 for every bit.
    cells : int
        Whose error counts; None where nothing was measured.
    max_error, over_bound : float
        Largest error, and that over the bound.
    """

    label: int
    bound: Bound | None
    bound_abs: float
    cells: int | None = None
    max_error: float | None = None
    over_bound: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field as strict JSON."""
        return {entry.name: _json(getattr(self, entry.name)) for entry in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One variable; a number that was not measured is None.

    Parameters
    ----------
    variable, codec : str
        Names; the codec is ``sciflow.sz`` or ``lossless``.
    dtype : str
        Of the stored values.
    shape, chunks : tuple of int
        Of the array and of one chunk.
    bound : Bound or None
        What was asked; None keeps every bit.
    reason : str
        Why every bit is kept.
    bound_abs : float
        The bound in the unit of the data; for ``pointwise_rel`` the ratio itself.
    max_error, over_bound : float
        Largest error, measured as the bound is (for ``pointwise_rel`` over |x|), and that over the bound.
    rmse, psnr : float
        In the unit of the data, and in dB; +inf where every value came back.
    bytes_in, bytes_out : int
        Of the values, and of the chunks in the store.
    compress_mb_s, decompress_mb_s : float
        Uncompressed megabytes (10**6) a second and thread, store included.
    problems : tuple of str
        Promises that do not hold.
    regions : tuple of RegionRow
        Parts with bounds of their own; `max_error` is then of all cells, `over_bound` the worst of all parts.
    """

    variable: str
    codec: str
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    bound: Bound | None = None
    reason: str = ""
    bound_abs: float | None = None
    max_error: float | None = None
    over_bound: float | None = None
    rmse: float | None = None
    psnr: float | None = None
    bytes_in: int = 0
    bytes_out: int | None = None
    compress_mb_s: float | None = None
    decompress_mb_s: float | None = None
    problems: tuple[str, ...] = ()
    regions: tuple[RegionRow, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Bytes before over bytes after."""
        return self.bytes_in / self.bytes_out if self.bytes_out else None

    @property
    def bits_per_value(self) -> float | None:
        """Stored bits a value."""
        values = math.prod(self.shape)
        return 8.0 * self.bytes_out / values if values and self.bytes_out is not None else None

    @property
    def target_met(self) -> bool | None:
        """Whether the bytes are within a ``ratio`` or ``nbytes`` target; None where there is none."""
        if self.bound is None or not self.bound.is_size or self.bytes_out is None:
            return None
        return self.bytes_out <= (
            self.bound.value if self.bound.kind == "nbytes" else self.bytes_in / self.bound.value
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; a number that was not finite is None."""
        names = {entry.name for entry in fields(cls)}
        known = {name: value for name, value in told.items() if name in names}
        known |= {name: tuple(told[name]) for name in ("shape", "chunks", "problems")}
        known["bound"] = Bound.from_json(told["bound"]) if told["bound"] else None
        known["regions"] = tuple(
            RegionRow(**dict(part) | {"bound": Bound.from_json(part["bound"]) if part["bound"] else None})
            for part in told["regions"]
        )
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """Every field as strict JSON: what is not a finite number is null."""
        out = {entry.name: _json(getattr(self, entry.name)) for entry in fields(self)}
        derived = {"ratio": self.ratio, "bits_per_value": self.bits_per_value, "target_met": self.target_met}
        return out | {name: _json(value) for name, value in derived.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done to, or found in, a store.

    Parameters
    ----------
    action : str
        "compress", "verify", "inspect" or "plan" (a dry run).
    source : str
        What was read; empty for "inspect".
    store : str
        The store.
    rows : tuple of Row
        One for each variable.
    store_bytes : int or None
        Of the whole store, metadata included.
    seconds : float or None
        Wall clock from start to end.

    Examples
    --------
    >>> size = {"shape": (4,), "chunks": (4,), "bytes_in": 8, "bytes_out": 4}
    >>> row = Row(variable="t", codec="lossless", dtype="int16", **size)
    >>> report = Report(action="inspect", source="", store="out.zarr", rows=(row,))
    >>> report["t"].ratio, report.ok
    (2.0, True)
    """

    action: str
    source: str
    store: str
    rows: tuple[Row, ...]
    store_bytes: int | None = None
    seconds: float | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, once parsed."""
        return cls(
            action=told["action"],
            source=told["source"],
            store=told["store"],
            rows=tuple(map(Row.from_json, told["variables"])),
            store_bytes=told["store_bytes"],
            seconds=told["seconds"],
        )

    @property
    def ok(self) -> bool:
        """Whether every promise that was looked at holds."""
        return not any(row.problems for row in self.rows)

    @property
    def bytes_in(self) -> int:
        """Of all values before compression."""
        return sum(row.bytes_in for row in self.rows)

    @property
    def ratio(self) -> float | None:
        """All bytes before over all bytes of the store."""
        return self.bytes_in / self.store_bytes if self.store_bytes else None

    def __getitem__(self, variable: str) -> Row:
        """The row of a variable.

        Raises
        ------
        KeyError
            If there is none.
        """
        for row in self.rows:
            if row.variable == variable:
                return row
        raise KeyError(f"no variable {variable!r}; there are {', '.join(row.variable for row in self.rows)}")

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        return json.dumps(
            {
                "action": self.action,
                "source": self.source,
                "store": self.store,
                "ok": self.ok,
                "bytes_in": self.bytes_in,
                "store_bytes": self.store_bytes,
                "ratio": _json(self.ratio),
                "seconds": self.seconds,
                "variables": [row.to_json() for row in self.rows],
            },
            indent=2,
            allow_nan=False,
        )

    def problems(self) -> list[str]:
        """Every promise that does not hold, with its variable."""
        return [f"{row.variable}: {problem}" for row in self.rows for problem in row.problems]

    def table(self) -> Table:
        """The report for people, for 80 columns; all numbers are in `to_json`."""
        from rich import box
        from rich.table import Table

        columns = [c for c in _COLUMNS if self.action in c.actions]
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, title=self._title(), title_justify="left", show_edge=False
        )
        for column in columns:
            table.add_column(column.title, justify=column.justify, no_wrap=not column.wraps, overflow="fold")
        for row in sorted(self.rows, key=lambda row: row.bound is None):
            style = "bold red" if row.problems else "dim" if row.bound is None else None
            table.add_row(*(column.cell(row) for column in columns), style=style)
            for region in row.regions:
                table.add_row(*(column.cell_of_region(region) for column in columns), style=style)
        table.caption, table.caption_justify = self._summary(), "left"
        return table

    def __rich__(self) -> Table:
        return self.table()

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=160, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def _title(self) -> str:
        return f"{self.source} → {self.store}" if self.source else self.store

    def _summary(self) -> str:
        if self.store_bytes is None:
            return f"{_bytes(self.bytes_in)} in {len(self.rows)} variables; nothing was written"
        text = f"{_bytes(self.bytes_in)} → {_bytes(self.store_bytes)} with metadata"
        if self.ratio is not None:
            text += f", {self.ratio:.1f} times smaller"
        return text if self.seconds is None else f"{text}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    attribute: str
    actions: tuple[str, ...]
    form: str = "{}"
    wraps: bool = False

    @property
    def justify(self) -> Any:
        return "left" if self.form == "{}" else "right"

    def cell(self, row: Row) -> str:
        value = getattr(row, self.attribute)
        if self.attribute == "bound" and value is None:
            return "lossless"
        if self.attribute.endswith("_mb_s") and row.bytes_in < _TIMED_BYTES:
            return ""
        if value is None or value == () or (isinstance(value, float) and math.isnan(value)):
            return ""
        if self.form == "bytes":
            return _bytes(value)
        if isinstance(value, tuple):
            return "x".join(map(str, value))
        if isinstance(value, Bound):
            return f"{value.kind} {value.value:g}"
        return self.form.format(value)

    def cell_of_region(self, region: RegionRow) -> str:
        if self.attribute == "variable":
            return f"  region {region.label}"
        if self.attribute == "bound":
            return "lossless" if region.bound is None else f"{region.bound.kind} {region.bound.value:g}"
        value = getattr(region, self.attribute, None)
        return "" if value is None else self.form.format(value)


_TIMED_BYTES = 1_000_000
"""The time of a smaller variable is that of opening its files: the table leaves it out."""

_ALL = ("compress", "verify", "inspect", "plan")
_COLUMNS = (
    _Column("variable", "variable", _ALL, wraps=True),
    _Column("codec", "codec", ("inspect",)),
    _Column("chunks", "chunks", ("inspect", "plan"), wraps=True),
    _Column("bound\nasked", "bound", _ALL),
    _Column("bound\nresolved", "bound_abs", _ALL, "{:.4g}"),
    _Column("error\nreached", "max_error", ("compress", "verify", "inspect"), "{:.4g}"),
    _Column("PSNR\ndB", "psnr", ("compress", "verify"), "{:.1f}"),
    _Column("bytes", "bytes_in", ("plan",), "bytes"),
    _Column("bytes\nwritten", "bytes_out", ("compress",), "bytes"),
    _Column("ratio", "ratio", ("compress", "verify", "inspect"), "{:.1f}"),
    _Column("write\nMB/s", "compress_mb_s", ("compress",), "{:.0f}"),
    _Column("read\nMB/s", "decompress_mb_s", ("verify",), "{:.0f}"),
    _Column("lossless:\nwhy", "reason", ("plan",), wraps=True),
)


def _bytes(count: int) -> str:
    value, units = float(count), ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000.0, power + 1
    return f"{value:.3g} {units[power]}"


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Bound | RegionRow):
        return value.to_json()
    return [_json(item) for item in value] if isinstance(value, tuple) else value


def megabytes_a_second(nbytes: int, seconds: Iterable[float]) -> float | None:
    """Uncompressed megabytes over the time that their threads took; None where nothing was timed."""
    total = sum(seconds)
    return nbytes / total / 1e6 if total > 0.0 else None
