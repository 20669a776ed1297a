"""Filters against networks on the same base stream: dB, bytes and seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.bench_learned.measure import psnr_of
from bench.protocol import Array
from sciflow import Bound
from sciflow._engine import native
from sciflow.codecs import network, sz
from sciflow.codecs.sz import SZConfig

__all__ = ["FIELDS", "NetworkRow", "compare"]

FIELDS = ("turb_vorticity_3d", "atm_t_3d")
_GROUPS = 4
_REL = 1e-2


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One enhancer of one field: its own bytes, dB that it gains, wall seconds to make and to apply it."""

    field: str
    base_bytes: int
    enhancer: str
    enhancer_bytes: int
    gain_db: float
    make_seconds: float
    apply_seconds: float


def compare(name: str, field: Array, budgets: tuple[float, ...]) -> list[NetworkRow]:
    """Return a row for the filters, and for each budget and grouping one for networks."""
    stream = sz.encode(field, SZConfig(Bound.rel(_REL)))
    decoded = sz.decode(stream)
    before = psnr_of(field, decoded)
    rows = [_filters(name, field, decoded, len(stream))]
    scale = float(np.abs(field.astype(np.float64) - decoded).max())
    ends = np.linspace(float(field.min()), float(field.max()), _GROUPS + 1)[1:-1]
    groupings = {"quantile": np.quantile(field, np.arange(1, _GROUPS) / _GROUPS), "value": ends}
    for budget in budgets:
        for label, edges in groupings.items():
            start = time.perf_counter()
            trained = network.train(
                field,
                decoded,
                scale=scale,
                edges=np.unique(edges.astype(np.float32)),
                seed=0,
                budget=budget,
                progress=None,
            )
            middle = time.perf_counter()
            values = network.apply(trained, decoded)
            end = time.perf_counter()
            size = len(network.write_network(trained))
            gain = psnr_of(field, values) - before
            title = f"{_GROUPS} networks, groups={label!r}, {budget:g} s"
            rows.append(NetworkRow(name, len(stream), title, size, gain, middle - start, end - middle))
    return rows


def _filters(name: str, field: Array, decoded: Array, size: int) -> NetworkRow:
    options: Any = {
        "groups": 0,
        "n_groups": 16,
        "worth": 0.3 * size,
        "own": True,
        "shared": b"",
        "preserve": [],
        "bound": 0.0,
    }
    values = np.empty_like(field)
    flat, seen, out = field.reshape(-1), decoded.reshape(-1), values.reshape(-1)
    start = time.perf_counter()
    _status, body, _outcome = native.enhance_encode(flat, seen, field.shape, options, out)
    middle = time.perf_counter()
    native.enhance_decode(body, b"", seen, field.shape, out)
    end = time.perf_counter()
    gain = psnr_of(field, values) - psnr_of(field, decoded)
    return NetworkRow(name, size, "Wiener filters", len(body), gain, middle - start, end - middle)
