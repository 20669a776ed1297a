"""Plans, requests and outcomes as JSON that other processes read: every number comes back bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from sciflow.bounds import Bound, Resolved, ValueRange
from sciflow.codecs.zarr import AESZ, GWLZ, SZ
from sciflow.metrics import ErrorStats
from sciflow.store.plan import Plan, Request, VariablePlan
from sciflow.store.regions import RegionPlan
from sciflow.store.write import ChunkOutcome

__all__ = [
    "outcome_from_json",
    "outcome_to_json",
    "plan_from_json",
    "plan_to_json",
    "request_to_json",
]

_CODECS: dict[str, type[SZ] | type[GWLZ] | type[AESZ]] = {c.codec_name: c for c in (SZ, GWLZ, AESZ)}


def request_to_json(request: Request) -> dict[str, Any]:
    """Everything that was asked for; masks of regions by name."""
    return {
        "bound": _bound(request.bound),
        "per_variable": {name: _bound(bound) for name, bound in request.per_variable.items()},
        "level": request.level,
        "chunks": dict(request.chunks),
        "shards": dict(request.shards),
        "rewrite_safe": request.rewrite_safe,
        "regions": {
            name: [str(asked.mask), {str(label): _bound(bound) for label, bound in asked.bounds.items()}]
            for name, asked in request.regions.items()
        },
        "enhance": request.enhance,
        "aux": {name: list(others) for name, others in request.aux.items()},
        "model": request.model,
    }


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A resolved plan."""
    return {
        "identity": dict(plan.identity),
        "version": plan.version,
        "variables": [
            p.to_json()
            | {
                "reason": p.reason,
                "preserve": list(p.preserve),
                "resolved": asdict(p.resolved) if p.resolved else None,
                "aux": list(p.aux),
            }
            for p in plan.variables
        ],
    }


def plan_from_json(told: Mapping[str, Any]) -> Plan:
    """Read what `plan_to_json` wrote."""
    return Plan(tuple(map(_variable, told["variables"])), told["identity"], told["version"])


def outcome_to_json(outcome: ChunkOutcome) -> dict[str, Any]:
    """What a piece came to."""
    return {
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "stats": _stats(outcome.stats),
        "problems": list(outcome.problems),
        "write_seconds": outcome.write_seconds,
        "read_seconds": outcome.read_seconds,
        **({"elsewhere": _stats(outcome.elsewhere)} if outcome.elsewhere else {}),
        "regions": [[label, _stats(part)] for label, part in outcome.regions],
    }


def outcome_from_json(told: Mapping[str, Any]) -> ChunkOutcome:
    """Read what `outcome_to_json` wrote."""
    return ChunkOutcome(
        bytes_in=told["bytes_in"],
        bytes_out=told["bytes_out"],
        stats=_stats_back(told["stats"]),
        problems=tuple(told["problems"]),
        write_seconds=told["write_seconds"],
        read_seconds=told["read_seconds"],
        elsewhere=_stats_back(told.get("elsewhere")),
        regions=tuple((label, _stats_back(part) or ErrorStats()) for label, part in told["regions"]),
    )


def _variable(told: Mapping[str, Any]) -> VariablePlan:
    codec, regions, resolved = told["codec"], told.get("regions"), told["resolved"]
    return VariablePlan(
        name=told["name"],
        dims=tuple(told["dims"]),
        shape=tuple(told["shape"]),
        chunks=tuple(told["chunks"]),
        dtype=np.dtype(told["dtype"]),
        bound=Bound.from_json(told["bound"]) if told["bound"] else None,
        reason=told["reason"],
        preserve=tuple(told["preserve"]),
        resolved=Resolved(**resolved) if resolved else None,
        codec=_CODECS[codec["name"]].from_dict(codec) if codec else None,
        regions=_regions(regions) if regions else None,
        aux=tuple(told["aux"]),
        shards=tuple(told["shards"]) if told.get("shards") else None,
    )


def _regions(told: Mapping[str, Any]) -> RegionPlan:
    asked = tuple((label, Bound.from_json(bound) if bound else None) for label, bound in told["asked"])
    return RegionPlan(told["mask"], asked, tuple(told["values"]))


def _bound(bound: Bound | None) -> dict[str, str | float] | None:
    return None if bound is None else bound.to_json()


def _stats(stats: ErrorStats | None) -> dict[str, Any] | None:
    if stats is None:
        return None
    told = asdict(stats)
    told["value_range"] = {name: _number(value) for name, value in told["value_range"].items()}
    return {name: _number(value) for name, value in told.items()}


def _stats_back(told: Mapping[str, Any] | None) -> ErrorStats | None:
    if told is None:
        return None
    numbers = {name: _number_back(value) for name, value in told.items() if name != "value_range"}
    seen = {name: _number_back(value) for name, value in told["value_range"].items()}
    return ErrorStats(**numbers, value_range=ValueRange(**seen))


def _number(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are told in words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number_back(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
