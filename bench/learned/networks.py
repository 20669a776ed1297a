"""Filters against networks on the same base stream: dB, bytes and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.learned import neurlz
from bench.learned.bases import filters
from bench.learned.measure import psnr_of
from bench.protocol import Array
from sciflow import Bound
from sciflow._engine import native
from sciflow.codecs import integer_network, network, sz
from sciflow.codecs.network import write_marks
from sciflow.codecs.sz import SZConfig

__all__ = ["FIELDS", "NetworkRow", "compare"]

FIELDS = ("turb_vorticity_3d", "atm_t_3d")
_GROUPS = 4
_REL = 1e-2


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One enhancer of one field: its own bytes, dB that it gains, wall seconds to make and to apply it.

    `strict_db`, `strict_bytes`: with corrections taken back that break the bound, and the marks of those.
    """

    field: str
    base_bytes: int
    enhancer: str
    enhancer_bytes: int
    gain_db: float
    strict_db: float
    strict_bytes: int
    make_seconds: float
    apply_seconds: float


class _Scene:
    """A field and its base stream."""

    def __init__(self, name: str, field: Array) -> None:
        self.name, self.field = name, field
        stream = sz.encode(field, SZConfig(Bound.rel(_REL)))
        self.size, self.decoded = len(stream), sz.decode(stream)
        self.bound = sz.info(stream).bound.value  # type: ignore[union-attr] # a relative bound is a bound
        self.scale = float(np.abs(field.astype(np.float64) - self.decoded).max())

    def row(
        self, title: str, make: Callable[[], tuple[int, Callable[[], Array]]], *, listed: bool = False
    ) -> NetworkRow:
        """`make` returns the bytes of an enhancer, and what applies it."""
        start = time.perf_counter()
        size, apply = make()
        middle = time.perf_counter()
        values = apply()
        end = time.perf_counter()
        before = psnr_of(self.field, self.decoded)
        broken = np.abs(self.field.astype(np.longdouble) - values) > self.bound
        kept = np.where(broken, self.decoded, values)
        marks = neurlz.list_bytes(broken) if listed else len(write_marks(broken))
        gain, strict = (psnr_of(self.field, each) - before for each in (values, kept))
        return NetworkRow(
            field=self.name,
            base_bytes=self.size,
            enhancer=title,
            enhancer_bytes=size,
            gain_db=gain,
            strict_db=strict,
            strict_bytes=size + marks,
            make_seconds=middle - start,
            apply_seconds=end - middle,
        )


def compare(name: str, field: Array, budgets: tuple[float, ...]) -> list[NetworkRow]:
    """Return a row for the filters, and for each budget rows for networks and for the recipe of NeurLZ."""
    scene = _Scene(name, field)
    rows = [scene.row("Wiener filters", lambda: _filters(scene))]
    for budget in budgets:
        for label, edges in _groupings(field).items():
            for kind, title in ((integer_network, "integers"), (network, "floats")):
                made = f"{_GROUPS} networks of {title}, groups={label!r}, {budget:g} s"
                rows.append(scene.row(made, partial(_networks, scene, kind, edges, budget)))
        title = f"NeurLZ's recipe, {budget:g} s"
        rows.append(scene.row(title, partial(_neural, scene, budget), listed=True))
    return rows


def _groupings(field: Array) -> dict[str, Array]:
    ends = np.linspace(float(field.min()), float(field.max()), _GROUPS + 1)[1:-1]
    found = {"quantile": np.quantile(field, np.arange(1, _GROUPS) / _GROUPS), "value": ends}
    return {label: np.unique(edges.astype(np.float32)) for label, edges in found.items()}


def _networks(scene: _Scene, kind: object, edges: Array, budget: float) -> tuple[int, Callable[[], Array]]:
    field, decoded = scene.field, scene.decoded
    if kind is network:
        floats = network.train(
            field, decoded, scale=scene.scale, edges=edges, seed=0, budget=budget, progress=None
        )
        return len(network.write_network(floats)), lambda: network.apply(floats, decoded)
    whole = integer_network.train(
        field, decoded, scale=scene.scale, edges=edges, seed=0, budget=budget, progress=None
    )
    return len(integer_network.write(whole)), lambda: integer_network.apply(whole, decoded)


def _neural(scene: _Scene, budget: float) -> tuple[int, Callable[[], Array]]:
    trained = neurlz.train(scene.field, scene.decoded, bound=scene.bound, seed=0, budget=budget)
    return trained.nbytes, lambda: trained.apply(scene.decoded)


def _filters(scene: _Scene) -> tuple[int, Callable[[], Array]]:
    values = np.empty_like(scene.field)
    seen, out = scene.decoded.reshape(-1), values.reshape(-1)
    shape = scene.field.shape
    _status, body, _outcome = native.enhance_encode(
        scene.field.reshape(-1), seen, shape, filters(scene.size), out
    )

    def apply() -> Array:
        native.enhance_decode(body, b"", seen, shape, out)
        return values

    return len(body), apply
