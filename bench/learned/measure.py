"""One row: a field, a base and a bound; GWLZ at the base's PSNR, and within the base's bound."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from bench.learned.bases import SZ3, filters
from bench.protocol import Array
from sciflow import Bound
from sciflow.codecs import gwlz
from sciflow.codecs.base import BaseCodec, parse_base
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig

__all__ = ["BASES", "Row", "measure", "psnr_of"]

BASES = ("SZ3", "SZ")
_CURVE = (0.9, 0.8, 0.65, 0.5, 0.35, 0.25)
"""Bounds, in those of the row, at which the base's own bytes and PSNR are taken."""


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes are of whole streams; PSNR in dB over the field's range.

    `psnr_bytes`: the stream that has the PSNR of the base. `strict_bytes`: the one within its bound;
    `strict_net`: over the base's own bytes at the PSNR that this one has, less one. `side_bytes`: of the
    enhancement in the first.
    """

    field: str
    shape: str
    raw_bytes: int
    base: str
    rel: float
    base_bytes: int
    base_psnr: float
    psnr_bytes: int
    psnr_reached: float
    psnr_enhancer: str
    side_bytes: int
    gain_db: float
    max_over_bound: float
    strict_bytes: int
    strict_psnr: float
    strict_over_bound: float
    strict_net: float
    fit_ms: float
    apply_mbs: float


def measure(name: str, field: Array, base_name: str, rel: float) -> Row | None:
    """Return the row, or None where the base keeps every bit."""
    bound = rel * float(np.ptp(field.astype(np.float64)))
    base = _base(base_name, bound)
    tune = "eb" if base_name == "SZ3" else None
    stream = base.encode(field)
    decoded = base.decode(memoryview(stream), field.dtype, field.shape)
    decibels = psnr_of(field, decoded)
    if not math.isfinite(decibels):
        return None
    wanted = decibels - 1e-9
    config = GWLZConfig(base, target="psnr", psnr=wanted, tune=tune)
    enhanced = gwlz.encode(field, config)
    values = gwlz.decode(enhanced, config)
    strict = GWLZConfig(base, target="bound", bound=bound if base_name == "SZ3" else None)
    held = gwlz.encode(field, strict)
    within = gwlz.decode(held, strict)
    reached = psnr_of(field, within)
    alone = _bytes_at(field, base, len(stream), decibels, bound, reached)
    fit_ms, apply_mbs, gain = _timed(field, decoded, len(stream))
    return Row(
        field=name,
        shape="x".join(map(str, field.shape)),
        raw_bytes=field.nbytes,
        base=base_name,
        rel=rel,
        base_bytes=len(stream),
        base_psnr=decibels,
        psnr_bytes=len(enhanced),
        psnr_reached=psnr_of(field, values),
        psnr_enhancer=gwlz.info(enhanced).enhancer,
        side_bytes=gwlz.info(enhanced).added_bytes,
        gain_db=gain,
        max_over_bound=_most(field, values) / bound,
        strict_bytes=len(held),
        strict_psnr=reached,
        strict_over_bound=_most(field, within) / bound,
        strict_net=len(held) / alone - 1,
        fit_ms=fit_ms,
        apply_mbs=apply_mbs,
    )


def psnr_of(x: Array, y: Array) -> float:
    """20 log10(range) - 10 log10(MSE)."""
    error = float(np.mean(np.square(x.astype(np.float64) - y)))
    width = float(np.ptp(x.astype(np.float64)))
    return 20 * math.log10(width) - 10 * math.log10(error) if error > 0 and width > 0 else math.inf


def _base(name: str, bound: float) -> BaseCodec:
    if name == "SZ3":
        return parse_base(SZ3(bound), tune="eb")
    return parse_base(SZConfig(Bound.abs(bound), verify=False))


def _most(x: Array, y: Array) -> float:
    return float(np.max(np.abs(x.astype(np.longdouble) - y)))


def _bytes_at(
    field: Array, base: BaseCodec, size: int, decibels: float, bound: float, wanted: float
) -> float:
    """Bytes that the base alone takes for a PSNR: between the two streams of its own that enclose it."""
    before = (decibels, math.log(size))
    for factor in _CURVE:
        if wanted <= before[0]:
            break
        moved = base.with_bound(factor * bound)
        stream = moved.encode(field)
        here = psnr_of(field, moved.decode(memoryview(stream), field.dtype, field.shape))
        after = (here, math.log(len(stream)))
        if here >= wanted and here > before[0]:
            share = (wanted - before[0]) / (here - before[0])
            return math.exp(before[1] + share * (after[1] - before[1]))
        before = max(before, after)
    return math.exp(before[1])


def _timed(field: Array, decoded: Array, size: int) -> tuple[float, float, float]:
    """CPU milliseconds to fit and apply, MB/s to apply, dB at the same base stream."""
    from sciflow._engine import native

    values = np.empty_like(field)
    flat, seen, out = field.reshape(-1), decoded.reshape(-1), values.reshape(-1)
    start = time.thread_time()
    _status, body, outcome = native.enhance_encode(flat, seen, field.shape, filters(size), out)
    middle = time.thread_time()
    native.enhance_decode(body, b"", seen, field.shape, out)
    end = time.thread_time()
    ratio = outcome["base_squares"] / max(outcome["squares"], 1e-300)
    speed = field.nbytes / max(end - middle, 1e-9) / 1e6 if outcome["kind"] else math.nan
    return 1e3 * (middle - start), speed, 10 * math.log10(ratio) if ratio > 0 else 0.0
