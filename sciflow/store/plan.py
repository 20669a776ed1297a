"""What is done with each variable: which are compressed, in what chunks, to which bound.

```
Source ─ roles (CF) ─▶ lossy? ─ chunks ─▶ one pass over all values (rel, psnr) ─▶ Plan: a codec each
                                        └▶ a search on some chunks (psnr, ratio, nbytes) ─┘
```
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from sciflow.bounds import Bound, Resolved, ValueRange, resolve
from sciflow.codecs.sz import SEARCHING, Level, check_regional
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.errors import InvalidArgument
from sciflow.store.chunking import check_chunks, chunk_shape, override_chunks, parse_chunks, shard_shape
from sciflow.store.conventions import protected_variables
from sciflow.store.enhancing import enhanced
from sciflow.store.regions import RegionPlan, RegionRequest, check_mask
from sciflow.store.running import Runner, as_blocks, progress_bar
from sciflow.store.source import Source
from sciflow.store.tuning import tuned

__all__ = ["LOSSLESS", "Plan", "VariablePlan", "as_bound", "make_plan", "sentinels_of"]

LOSSLESS = "lossless"
"""What `per_variable` and ``--var NAME=lossless`` call a variable that keeps every bit."""

BoundLike = Bound | str | float | None
RegionsLike = tuple[str | xr.DataArray, Mapping[int, BoundLike]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariablePlan:
    """What is done with one variable.

    Parameters
    ----------
    name : str
        Of the variable.
    dims, shape, chunks : tuple
        As stored.
    dtype : numpy.dtype
        As stored, in this machine's byte order.
    bound : Bound or None
        What was asked for it; None keeps every bit.
    reason : str
        Why every bit is kept; empty where a bound was asked.
    preserve : tuple of float
        Sentinels that are in the data.
    resolved : Resolved or None
        The bound in the unit of the data, once the values have been looked at.
    codec : SZ, GWLZ, AESZ or None
        What encodes its chunks; None for a lossless one.
    regions : RegionPlan or None
        Parts with bounds of their own.
    aux : tuple of str
        Other variables that its enhancer reads.
    shards : tuple of int or None
        Cells of one stored object of many chunks; None stores each chunk by itself.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    bound: Bound | None = None
    reason: str = ""
    preserve: tuple[float, ...] = ()
    resolved: Resolved | None = None
    codec: SZ | GWLZ | AESZ | None = None
    regions: RegionPlan | None = None
    aux: tuple[str, ...] = ()
    shards: tuple[int, ...] | None = None

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of what one file or object holds, which is written whole or not at all."""
        return self.shards or self.chunks

    @property
    def is_text(self) -> bool:
        """Whether it holds strings, which are written whole."""
        return self.dtype.kind == "O"

    @property
    def nbytes(self) -> int:
        """Bytes before compression; 0 of text, whose length is not known before it is read."""
        return 0 if self.is_text else math.prod(self.shape) * self.dtype.itemsize

    @property
    def codec_name(self) -> str:
        """For people."""
        return self.codec.codec_name if self.codec else LOSSLESS

    def encoding(self) -> dict[str, Any]:
        """What ``to_zarr(encoding={name: ...})`` takes; no chunks where there is no dimension."""
        codecs: dict[str, Any] = {}
        if self.codec is not None:
            codecs = {"serializer": self.codec, "compressors": None, "fill_value": math.nan}
        elif not self.is_text:
            codecs = {"compressors": BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")}
        shards = {"shards": self.shards} if self.shards else {}
        return ({"chunks": self.chunks} if self.shape else {}) | shards | codecs

    def to_json(self) -> dict[str, Any]:
        """Everything that decides the bytes that are written."""
        return {
            "name": self.name,
            "dims": list(self.dims),
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "dtype": self.dtype.str,
            "bound": self.bound.to_json() if self.bound else None,
            "codec": dict(self.codec.to_dict()) if self.codec else None,
            **({"regions": self.regions.to_json()} if self.regions else {}),
            **({"shards": list(self.shards)} if self.shards else {}),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with a source."""

    variables: tuple[VariablePlan, ...]
    identity: Mapping[str, Any]
    version: str

    def digest(self) -> str:
        """SHA-256 of what decides the bytes that are written: the same digest may go on where one stopped."""
        request = {
            "version": self.version,
            "source": dict(self.identity),
            "variables": [v.to_json() for v in self.variables],
        }
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller asked for, for all variables."""

    bound: Bound | None
    per_variable: Mapping[str, Bound | None]
    level: Level
    chunks: Mapping[str, int]
    rewrite_safe: bool
    regions: Mapping[str, RegionRequest] = field(default_factory=dict)
    enhance: bool = False
    aux: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model: str | None = None
    shards: Mapping[str, int] = field(default_factory=dict)


def make_request(
    *,
    bound: BoundLike,
    per_variable: Mapping[str, BoundLike] | None,
    level: Level,
    chunks: Mapping[str, int] | str | None,
    rewrite_safe: bool,
    regions: Mapping[str, RegionsLike] | None = None,
    enhance: bool = False,
    aux: Mapping[str, Sequence[str]] | None = None,
    model: str | None = None,
    shards: Mapping[str, int] | str | None = None,
) -> Request:
    """Check what can be checked without the data.

    Raises
    ------
    InvalidArgument
        If no bound was given at all, or one is not a bound.
    """
    if (enhance or aux) and rewrite_safe:
        raise InvalidArgument("enhance with rewrite_safe: an enhancer moves values off their lattice")
    if model is not None and (enhance or aux or rewrite_safe):
        raise InvalidArgument(
            "model with enhance, aux or rewrite_safe: a variable has one codec; leave one out"
        )
    default = as_bound(bound)
    named = {name: as_bound(value) for name, value in (per_variable or {}).items()}
    if default is None and not any(named.values()):
        raise InvalidArgument(
            "no bound: say how large the error may be, for example bound=Bound.rel(1e-3) or --rel 1e-3 "
            "(a thousandth of each variable's range)"
        )
    sizes = parse_chunks(chunks) if isinstance(chunks, str) else check_chunks(chunks or {})
    whole = parse_chunks(shards) if isinstance(shards, str) else check_chunks(shards or {})
    if whole and (regions or aux):
        raise InvalidArgument("shards with regions or aux: those chunks are written one by one; leave it out")
    return Request(
        bound=default,
        per_variable=named,
        level=level,
        chunks=sizes,
        rewrite_safe=rewrite_safe,
        regions={name: _region_request(name, asked) for name, asked in (regions or {}).items()},
        enhance=enhance,
        aux={name: tuple(others) for name, others in (aux or {}).items()},
        model=model,
        shards=whole,
    )


def as_bound(value: BoundLike) -> Bound | None:
    """Read a bound from what users write; None and "lossless" mean that every bit is kept.

    Raises
    ------
    InvalidArgument
        If it is none.

    Examples
    --------
    >>> as_bound("abs:0.5"), as_bound(Bound.rel(1e-3)), as_bound("lossless")
    (Bound.abs(0.5), Bound.rel(0.001), None)
    """
    if value is None or isinstance(value, Bound):
        return value
    if isinstance(value, str):
        return None if value.strip().lower() == LOSSLESS else Bound.parse(value)
    raise InvalidArgument(
        f"bound {value!r}: say which kind, for example Bound.rel({value!r}) or Bound.abs({value!r})"
    )


def make_plan(
    source: Source, request: Request, *, version: str, regions: Mapping[str, RegionPlan] | None = None
) -> Plan:
    """Decide for every variable; reads values only to tell chunk shapes, none of the data.

    Parameters
    ----------
    source : Source
        What is to be stored; the masks of `regions` among it.
    request : Request
        What the caller asked for.
    version : str
        Of sciflow.
    regions : mapping of str to RegionPlan, optional
        By variable.

    Raises
    ------
    InvalidArgument
        If a variable or dimension is named that is not there, or a bound is asked for one that takes none.
    """
    _check_names("variable", request.per_variable, source.variables)
    dims = {str(d) for v in source.variables.values() for d in v.dims}
    _check_names("dimension", request.chunks, dims)
    _check_names("dimension", request.shards, dims)
    protected = protected_variables(source.variables, coords=source.coords)
    regions = regions or {}
    _check_names("variable", regions, source.variables)
    protected |= {r.mask: "labels of regions" for r in regions.values()}
    plans = [
        _plan_variable(name, v, request, protected.get(name, "")) for name, v in source.variables.items()
    ]
    plans = [_with_regions(p, source.variables, request, regions.get(p.name)) for p in plans]
    _check_names("variable", {n for names in request.aux.values() for n in names}, source.variables)
    _check_names("variable", request.aux, source.variables)
    plans = [_with_aux(p, plans, request) for p in plans]
    return Plan(tuple(plans), source.identity, version)


def resolve_plan(
    plan: Plan,
    variables: Mapping[str, xr.Variable],
    request: Request,
    *,
    run: Runner,
    progress: bool | None = False,
) -> Plan:
    """Give every lossy variable its codec.

    rel and psnr are resolved in one pass over all of them; ratio, nbytes and psnr by encoding some chunks.
    """
    ranged = [p for p in plan.variables if _needs_range(p)]
    with progress_bar("resolve bounds", sum(p.nbytes for p in ranged), show=progress) as advance:
        seen = _value_ranges(ranged, variables, run, advance)
    resolved = []
    for p in plan.variables:
        if p.bound is None:
            resolved.append(p)
            continue
        value_range = seen.get(p.name, ValueRange())
        if _is_searched(p, request.level):
            known = tuned(
                p.name,
                variables[p.name],
                p.bound,
                chunks=p.chunks,
                level=request.level,
                preserve=p.preserve,
                value_range=value_range,
                run=run,
            )
        else:
            known = resolve(p.bound, value_range)
        base = SZ(known.bound(), level=request.level, preserve=p.preserve, rewrite_safe=request.rewrite_safe)
        codec: SZ | GWLZ | AESZ = base
        if request.model is not None and known.kind == "abs" and known.value and p.regions is None:
            config = base.config
            codec = AESZ(config.bound, model=request.model, level=config.level, preserve=config.preserve)
        elif p.aux:
            codec = GWLZ(base, aux=p.aux)
        elif request.enhance and known.kind == "abs" and p.regions is None:
            codec = enhanced(base, variables[p.name], chunks=p.chunks, run=run)
        regions = p.regions.resolved(value_range) if p.regions else None
        resolved.append(replace(p, resolved=known, codec=codec, regions=regions))
    return replace(plan, variables=tuple(resolved))


def sentinels_of(attrs: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Finite ``_FillValue`` and ``missing_value`` as the data hold them; NaN needs no mention.

    Parameters
    ----------
    attrs : mapping
        Of a raw variable.
    dtype : numpy.dtype
        float32 or float64.
    """
    found: list[float] = []
    for key in ("_FillValue", "missing_value"):
        values = np.asarray(attrs.get(key, ())).reshape(-1)
        if values.dtype.kind not in "fiu":
            continue
        with np.errstate(over="ignore"):
            found += [float(v) for v in values.astype(dtype) if np.isfinite(v)]
    return tuple(dict.fromkeys(found))


def native_dtype(variable: xr.Variable) -> np.dtype[Any]:
    """In this machine's byte order; object for text of any kind."""
    return np.dtype(object) if variable.dtype.kind in "SUTO" else variable.dtype.newbyteorder("=")


def _plan_variable(name: str, variable: xr.Variable, request: Request, role: str) -> VariablePlan:
    dtype = native_dtype(variable)
    chosen = chunk_shape(variable.shape, itemsize=dtype.itemsize, source=_source_chunks(variable))
    dims = tuple(str(d) for d in variable.dims)
    chunks = override_chunks(chosen, dims=dims, shape=variable.shape, asked=request.chunks)
    shards = shard_shape(name, chunks, dims=dims, shape=variable.shape, asked=request.shards)
    shards = None if dtype.kind == "O" else shards
    plan = VariablePlan(name=name, dims=dims, shape=variable.shape, chunks=chunks, dtype=dtype, shards=shards)
    reason = _why_lossless(variable, role)
    bound = request.per_variable.get(name, request.bound)
    if reason and request.per_variable.get(name) is not None:
        raise InvalidArgument(
            f"variable {name!r} takes no bound ({reason}): it keeps every bit, so leave it out"
        )
    if reason or bound is None:
        return replace(plan, reason=reason or "as asked")
    preserve = sentinels_of(variable.attrs, dtype)
    probe = bound if bound.is_size else resolve(bound, ValueRange(0.0, 1.0, 1)).bound()
    SZ(probe, level=request.level, preserve=preserve, rewrite_safe=request.rewrite_safe)  # refuses early
    return replace(plan, bound=bound, preserve=preserve)


def _with_regions(
    plan: VariablePlan, variables: Mapping[str, xr.Variable], request: Request, regions: RegionPlan | None
) -> VariablePlan:
    if regions is None:
        return plan
    if plan.bound is None:
        raise InvalidArgument(
            f"regions of {plan.name!r}: it keeps every bit ({plan.reason}); give it a bound for what is "
            "elsewhere, or leave the regions out"
        )
    check_regional(plan.bound, rewrite_safe=request.rewrite_safe)
    check_mask(plan.name, variables[plan.name], variables[regions.mask])
    return replace(plan, regions=regions)


def _with_aux(plan: VariablePlan, plans: Sequence[VariablePlan], request: Request) -> VariablePlan:
    names = request.aux.get(plan.name, ())
    if not names:
        return plan
    if plan.bound is None or plan.bound.kind == "pointwise_rel" or plan.regions is not None:
        raise InvalidArgument(
            f"aux of {plan.name!r}: it takes no enhancer, with {plan.bound or plan.reason!r}"
            f"{' and regions' if plan.regions else ''}; leave it out, or give it one bound for all its values"
        )
    for name in names:
        other = next(p for p in plans if p.name == name)
        if name in request.aux:
            raise InvalidArgument(f"aux of {plan.name!r}: {name!r} has others itself, and may not")
        if (other.dims, other.shape) != (plan.dims, plan.shape) or other.dtype.kind != "f":
            raise InvalidArgument(
                f"aux of {plan.name!r}: {name!r} is {other.dtype} with {other.dims} of {other.shape}, "
                f"expected float32 or float64 with {plan.dims} of {plan.shape}"
            )
    return replace(plan, aux=names)


def _region_request(name: str, asked: object) -> RegionRequest:
    if not (isinstance(asked, tuple | list) and len(asked) == 2 and isinstance(asked[1], Mapping)):
        raise InvalidArgument(
            f"regions of {name!r}: expected (mask, {{label: bound}}), as in (eye, {{1: Bound.abs(0.01)}})"
        )
    mask, bounds = asked
    return RegionRequest(mask, {label: as_bound(bound) for label, bound in bounds.items()})


def _needs_range(plan: VariablePlan) -> bool:
    if plan.bound is None:
        return False
    return plan.bound.kind in ("rel", "psnr") or (plan.regions is not None and plan.regions.needs_range)


def _is_searched(plan: VariablePlan, level: Level) -> bool:
    if plan.bound is None or plan.regions is not None:
        return False
    return plan.bound.is_size or (plan.bound.kind == "psnr" and level in SEARCHING)


def _why_lossless(variable: xr.Variable, role: str) -> str:
    """Why a variable keeps every bit; empty where a bound makes sense."""
    if role:
        return role
    if variable.dtype.kind != "f" or variable.dtype.itemsize not in (4, 8):
        return {"i": "integers", "u": "integers", "O": "text"}.get(variable.dtype.kind, str(variable.dtype))
    if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
        return "packed values"
    if not 1 <= variable.ndim <= 8 or variable.size == 0:
        return "a single value" if variable.size == 1 else f"shape {variable.shape}"
    return ""


def _source_chunks(variable: xr.Variable) -> tuple[int, ...] | None:
    if variable.chunks is not None:
        return tuple(max(sizes, default=1) for sizes in variable.chunks)
    preferred = variable.encoding.get("preferred_chunks") or {}
    sizes = [preferred.get(dim) for dim in variable.dims]
    return tuple(int(s) for s in sizes if s) if all(sizes) and sizes else None


def _check_names(what: str, asked: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(known)
    for name in asked:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}"
            raise InvalidArgument(f"no {what} {name!r}: {hint}")


def _value_ranges(
    plans: Sequence[VariablePlan],
    variables: Mapping[str, xr.Variable],
    run: Runner,
    advance: Callable[[int], None],
) -> dict[str, ValueRange]:
    tasks: list[Delayed] = []
    owners: list[str] = []
    for p in plans:
        look = delayed(_Look(p.preserve), pure=False, traverse=False)
        blocks = as_blocks(variables[p.name], p.chunks)
        tasks += [look(block) for _, block in blocks]
        owners += [p.name] * len(blocks)
    grouped: dict[str, list[ValueRange]] = {}
    for owner, (value_range, _) in zip(owners, run(tasks, lambda seen: advance(seen[1])), strict=True):
        grouped.setdefault(owner, []).append(value_range)
    return {name: reduce(ValueRange.merge, parts) for name, parts in grouped.items()}


@dataclass(frozen=True, slots=True)
class _Look:
    preserve: tuple[float, ...]

    def __call__(self, block: NDArray[Any]) -> tuple[ValueRange, int]:
        return ValueRange.of(np.asarray(block), preserve=self.preserve), block.nbytes
