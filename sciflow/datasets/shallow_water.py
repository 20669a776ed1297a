"""Eddies among islands: rotating shallow water with topography and coasts on a beta plane.

One active layer of thickness h over the floor b, with reduced gravity g, on the Arakawa C grid; periodic
along longitude, closed in the north and in the south:

    dh/dt = -div(h u)
    du/dt = -(f + ζ) k x u - grad(g (h + b) + |u|²/2) + visc (grad div u + k x grad ζ)

Space: Sadourny's energy-conserving scheme in flux form, so that mass is conserved to round-off; free slip at
coasts. Time: third-order Adams-Bashforth. Start: random eddies in geostrophic balance. [j, i] is a cell, u is
on its west face, v on its south face, ζ on its south-west corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.cf import FLOAT32_FILL, GLOBAL_ATTRIBUTES, axis, describe, times
from sciflow.datasets.validate import require

if TYPE_CHECKING:
    import xarray as xr

    from sciflow.datasets.catalog import Progress

__all__ = ["Basin", "Parameters", "State", "simulate", "snapshots"]

Real = NDArray[np.float64]
Mask = NDArray[np.bool_]

DAY = 86400.0
EARTH_RADIUS = 6.371e6
ROTATION = 7.2921e-5
SOUTHERN_EDGE = 35.0
"""Degrees north."""

DEPTH = 500.0
"""Thickness at rest over flat ground, m."""

GRAVITY = 0.05
"""Reduced, m s-2."""

WAVE_SPEED = float(np.sqrt(GRAVITY * DEPTH))

COURANT = 0.2
"""Cells that a wave on the fastest flow crosses in a step; Adams-Bashforth 3 is stable up to 0.25 here."""

ISLANDS = 1.2
"""Land is where smooth noise of unit variance exceeds this."""

ISLAND_CELLS, EDDY_CELLS = 140.0, 56.0
"""Wavelengths of that noise and of the eddies, in cells."""

VORTEX = 0.15
"""A cell is in a vortex where |ζ| exceeds this share of f."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a run depends on; every value is checked when the object is made.

    Attributes
    ----------
    columns, rows : int
        Cells along longitude and latitude, at least 16 each.
    spacing : float
        Side of a cell, m.
    snapshots : int
        Instants that are kept, evenly spaced, the first at the start; at least 2.
    days : float
        From the first to the last.
    speed : float
        Root mean square speed of the eddies at the start, m s-1.
    viscosity : float
        m2 s-1.
    seed : int
        Of islands and eddies.

    Raises
    ------
    InvalidArgument
        A value is out of its domain.
    """

    columns: int
    rows: int
    spacing: float
    snapshots: int
    days: float
    speed: float
    viscosity: float
    seed: int

    def __post_init__(self) -> None:
        require(self.columns >= 16, "columns", self.columns, "at least 16")
        require(self.rows >= 16, "rows", self.rows, "at least 16")
        require(1e3 <= self.spacing <= 1e4, "spacing", self.spacing, "1000 to 10000 m")
        require(self.rows * self.spacing <= 4e6, "rows", self.rows, "at most 4e6 m over spacing")
        require(self.snapshots >= 2, "snapshots", self.snapshots, "at least 2")
        require(0 < self.days < np.inf, "days", self.days, "a finite number above 0")
        require(0 < self.speed <= 1.5, "speed", self.speed, "above 0 and at most 1.5 m s-1")
        require(0 <= self.viscosity <= 200, "viscosity", self.viscosity, "0 to 200 m2 s-1")
        require(self.seed >= 0, "seed", self.seed, "an integer, at least 0")


@dataclass(frozen=True, slots=True)
class State:
    """An instant, or its rate of change: ``h`` in cells, ``u``, ``v`` on faces; float64, (rows, columns)."""

    h: Real
    u: Real
    v: Real


class Basin:
    """The grid, its coasts and its floor; what a `State` on it does next, weighs and holds.

    Attributes
    ----------
    wet : ndarray of bool, shape (rows, columns)
        False on land and in the first and the last row.
    floor, rest : ndarray, float64, shape (rows, columns)
        Height of the ground, and the thickness of a layer at rest, m.
    coriolis : ndarray, float64, shape (rows, 1)
        f at the middle of the rows, s-1.
    """

    def __init__(self, parameters: Parameters) -> None:
        rng = np.random.default_rng(parameters.seed)
        shape = (parameters.rows, parameters.columns)
        self.spacing, self.viscosity = parameters.spacing, parameters.viscosity
        self._relief = _smooth_noise(rng, shape, ISLAND_CELLS)
        self._eddies = _smooth_noise(rng, shape, EDDY_CELLS)
        self.wet: Mask = self._relief < ISLANDS
        self.wet[[0, -1]] = False
        self.floor: Real = 0.5 * DEPTH / (1 + np.exp(4 * (ISLANDS - 0.6 - self._relief)))
        self.rest: Real = DEPTH - self.floor
        self.open_u: Mask = self.wet & _west(self.wet)
        self.open_v: Mask = self.wet & _south(self.wet)
        self.open_corner: Mask = self.open_u & _south(self.open_u)
        self.coriolis = self._coriolis(np.arange(parameters.rows)[:, None] + 0.5)
        self._corner_coriolis = self._coriolis(np.arange(parameters.rows)[:, None])

    def start(self, speed: float) -> State:
        """Return eddies in geostrophic balance, of root mean square ``speed``, still along the coasts."""
        slope_x, slope_y = self._eddies - _west(self._eddies), self._eddies - _south(self._eddies)
        scale = speed * self.spacing / np.sqrt(np.mean(slope_x**2 + slope_y**2))
        psi = self._calm() * scale * self._eddies
        corner = 0.25 * (psi + _west(psi) + _south(psi + _west(psi)))
        h = np.where(self.wet, self.rest + psi * self.coriolis / GRAVITY, self.rest)
        u = -(_north(corner) - corner) / self.spacing * self.open_u
        v = (_east(corner) - corner) / self.spacing * self.open_v
        require(h.min() > 0.1 * DEPTH, "speed", speed, "less: the layer would nearly fall dry")
        return State(h, u, v)

    def tendency(self, state: State) -> State:
        """Return the rates of change of ``state``."""
        h, u, v = state.h, state.u, state.v
        flux_u, flux_v = 0.5 * (h + _west(h)) * u, 0.5 * (h + _south(h)) * v
        vorticity = self.vorticity(state)
        turning = (self._corner_coriolis + vorticity) / self._corner_thickness(h)
        square_u, square_v = u * u, v * v
        head = GRAVITY * (h + self.floor)
        head += 0.25 * (square_u + _east(square_u) + square_v + _north(square_v))
        head -= self.viscosity / self.spacing * (_east(u) - u + _north(v) - v)
        curl = self.viscosity * vorticity
        turned_u, turned_v = turning * (flux_v + _west(flux_v)), turning * (flux_u + _south(flux_u))
        slope_u = (head - _west(head) + _north(curl) - curl) / self.spacing
        slope_v = (head - _south(head) - _east(curl) + curl) / self.spacing
        rate_u = (0.25 * (turned_u + _north(turned_u)) - slope_u) * self.open_u
        rate_v = (-0.25 * (turned_v + _east(turned_v)) - slope_v) * self.open_v
        rate_h = (flux_u - _east(flux_u) + flux_v - _north(flux_v)) / self.spacing
        return State(rate_h, rate_u, rate_v)

    def vorticity(self, state: State) -> Real:
        """Return ζ at the corners in s-1, 0 along the coasts."""
        across: Real = state.v - _west(state.v) - state.u + _south(state.u)
        return across / self.spacing * self.open_corner

    def potential_vorticity(self, state: State) -> Real:
        """Return (f + ζ) / h at the corners, in m-1 s-1."""
        return (self._corner_coriolis + self.vorticity(state)) / self._corner_thickness(state.h)

    def volume(self, state: State) -> float:
        """Return the volume of the layer over the wet cells, m3."""
        return float(state.h[self.wet].sum()) * self.spacing**2

    def energy(self, state: State) -> float:
        """Return kinetic and available potential energy over density, m5 s-2."""
        kinetic = (state.h + _west(state.h)) * state.u**2 + (state.h + _south(state.h)) * state.v**2
        raised = np.where(self.wet, state.h - self.rest, 0.0)
        return (float(kinetic.sum()) / 4 + GRAVITY / 2 * float((raised**2).sum())) * self.spacing**2

    def _calm(self) -> Real:
        """Return a taper: 1 at sea, falling to 0 towards coasts and walls."""
        rows = np.arange(len(self.wet))[:, None]
        walls = np.clip((np.minimum(rows, len(self.wet) - 1 - rows) - 1) / (EDDY_CELLS / 4), 0, 1)
        coasts = np.clip((ISLANDS - self._relief) / 1.2, 0, 1)
        taper: Real = (walls * coasts) ** 2 * (3 - 2 * walls * coasts)
        return taper

    def _coriolis(self, row: NDArray[Any]) -> Real:
        latitude = np.deg2rad(SOUTHERN_EDGE)
        beta = 2 * ROTATION * np.cos(latitude) / EARTH_RADIUS
        f: Real = 2 * ROTATION * np.sin(latitude) + beta * row * self.spacing
        return f

    @staticmethod
    def _corner_thickness(h: Real) -> Real:
        pairs = h + _west(h)
        mean: Real = 0.25 * (pairs + _south(pairs))
        return mean


def snapshots(parameters: Parameters, basin: Basin) -> Iterator[tuple[float, State | None]]:
    """Run on ``basin``, and yield the fraction done after every step, with a `State` where one is due."""
    state = basin.start(parameters.speed)
    yield 0.0, state
    interval = parameters.days * DAY / (parameters.snapshots - 1)
    fastest = WAVE_SPEED + 1.3 * float(np.hypot(state.u, state.v).max())
    limit = COURANT * parameters.spacing / fastest
    steps = int(np.ceil(interval / limit))
    past: list[State] = []
    for step in range(1, steps * (parameters.snapshots - 1) + 1):
        past = [basin.tendency(state), *past[:2]]
        state = _advance(state, past, interval / steps)
        yield step / steps / (parameters.snapshots - 1), state if step % steps == 0 else None


def _advance(state: State, past: list[State], dt: float) -> State:
    """Return ``state`` after ``dt``, from its last one to three rates of change, the newest first."""
    weights = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12))[len(past) - 1]
    h, u, v = state.h, state.u, state.v
    for weight, rate in zip(weights, past, strict=True):
        h = h + weight * dt * rate.h
        u = u + weight * dt * rate.u
        v = v + weight * dt * rate.v
    return State(h, u, v)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Real:
    """Return periodic random structures about ``cells`` long, shape ``shape``, mean 0, variance 1."""
    wave = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]) * cells
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * wave * np.exp(-2 * (wave - 1) ** 2)
    noise: Real = np.fft.irfft2(spectrum, s=shape)
    noise /= noise.std()
    return noise


def _west(field: NDArray[Any]) -> NDArray[Any]:
    return np.roll(field, 1, axis=1)


def _east(field: NDArray[Any]) -> NDArray[Any]:
    return np.roll(field, -1, axis=1)


def _south(field: NDArray[Any]) -> NDArray[Any]:
    return np.roll(field, 1, axis=0)


def _north(field: NDArray[Any]) -> NDArray[Any]:
    return np.roll(field, -1, axis=0)


def simulate(parameters: Parameters, *, progress: Progress) -> xr.Dataset:
    """Return the run as a CF data set on (time, lat, lon), NaN on land (``_FillValue`` 1e20 in a file).

    Parameters
    ----------
    parameters : Parameters
    progress : callable
        Called with the fraction done after every step.

    Returns
    -------
    xarray.Dataset
        eta, uo, vo, vorticity, potential_vorticity, float32, and vortex, int8 (time, lat, lon); land, int8,
        floor, float32, and cell_area, float64 (lat, lon); energy, float64 (time,).

    Raises
    ------
    InvalidArgument
        The eddies would fall dry.
    """
    import xarray as xr

    basin = Basin(parameters)
    kept: list[dict[str, Any]] = []
    for fraction, state in snapshots(parameters, basin):
        progress(fraction)
        if state is not None:
            kept.append(_columns(basin, state))
    data = {name: (_MOVING, np.stack([each[name] for each in kept]), _FIELDS[name]) for name in _FIELDS}
    dataset = xr.Dataset(
        {**data, **_fixed(basin), "energy": ("time", np.array([each["energy"] for each in kept]), _ENERGY)},
        times(np.linspace(0, parameters.days * DAY, parameters.snapshots)) | _grid(parameters),
        {**GLOBAL_ATTRIBUTES, "source": _SOURCE, "comment": _COMMENT},
    )
    for variable in dataset.data_vars.values():
        if variable.dtype == np.float32:
            variable.encoding["_FillValue"] = FLOAT32_FILL
    return dataset


def _columns(basin: Basin, state: State) -> dict[str, Any]:
    """Return the fields of one instant at the cells, float32, NaN on land."""
    zeta = _to_cells(basin.vorticity(state))
    fields = {
        "eta": state.h + basin.floor - DEPTH,
        "uo": 0.5 * (state.u + _east(state.u)),
        "vo": 0.5 * (state.v + _north(state.v)),
        "vorticity": zeta,
        "potential_vorticity": _to_cells(basin.potential_vorticity(state)),
    }
    columns: dict[str, Any] = {name: _masked(field, basin.wet) for name, field in fields.items()}
    vortex = (zeta > VORTEX * basin.coriolis) + 2 * (zeta < -VORTEX * basin.coriolis)
    columns["vortex"] = np.where(basin.wet, vortex, 3).astype(np.int8)
    columns["energy"] = basin.energy(state)
    return columns


def _to_cells(corners: Real) -> Real:
    pairs = corners + _east(corners)
    mean: Real = 0.25 * (pairs + _north(pairs))
    return mean


def _masked(field: Real, wet: Mask) -> NDArray[np.float32]:
    return np.where(wet, field, np.nan).astype(np.float32)


def _fixed(basin: Basin) -> dict[str, Any]:
    """Return the variables that do not change."""
    area = np.full(basin.wet.shape, basin.spacing**2)
    return {
        "land": (_STILL, (~basin.wet).astype(np.int8), _LAND),
        "floor": (_STILL, _masked(basin.floor, basin.wet), _FLOOR),
        "cell_area": (_STILL, area, describe("m2", "area of the cell", standard_name="cell_area")),
    }


def _grid(parameters: Parameters) -> dict[str, Any]:
    """Return latitude and longitude of the cells, true to scale along the southern edge."""
    degrees = np.rad2deg(parameters.spacing / EARTH_RADIUS)
    south = SOUTHERN_EDGE + np.arange(parameters.rows + 1) * degrees
    west = -60 + np.arange(parameters.columns + 1) * degrees / np.cos(np.deg2rad(SOUTHERN_EDGE))
    latitude = describe("degrees_north", "latitude", standard_name="latitude")
    longitude = describe("degrees_east", "longitude", standard_name="longitude")
    return axis("lat", south, {**latitude, "axis": "Y"}) | axis("lon", west, {**longitude, "axis": "X"})


_SOURCE = "sciflow.datasets.shallow_water: energy-conserving C grid on a beta plane, Adams-Bashforth 3"
_COMMENT = "Idealised: one active layer of reduced gravity 0.05 m s-2 among random islands."
_MOVING, _STILL = ("time", "lat", "lon"), ("lat", "lon")
_POINT, _AREA = "time: point area: mean", "area: cell_area"
_EAST, _NORTH = "eastward_sea_water_velocity", "northward_sea_water_velocity"
_ZETA = "ocean_relative_vorticity"
_FIELDS: dict[str, dict[str, Any]] = {
    "eta": describe("m", "elevation of the layer's top", methods=_POINT, measures=_AREA),
    "uo": describe("m s-1", "eastward velocity", standard_name=_EAST, methods=_POINT, measures=_AREA),
    "vo": describe("m s-1", "northward velocity", standard_name=_NORTH, methods=_POINT, measures=_AREA),
    "vorticity": describe("s-1", "relative vorticity", standard_name=_ZETA, methods=_POINT, measures=_AREA),
    "potential_vorticity": describe("m-1 s-1", "potential vorticity", methods=_POINT, measures=_AREA),
    "vortex": {
        **describe("", f"sense of the vortex where |vorticity| exceeds {VORTEX:g} f", measures=_AREA),
        "flag_values": np.array([0, 1, 2, 3], np.int8),
        "flag_meanings": "none cyclonic anticyclonic land",
    },
}
_ENERGY = describe("m5 s-2", "kinetic and available potential energy over density", methods="area: sum")
_LAND = {
    **describe("1", "land", standard_name="land_binary_mask"),
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "sea land",
}
_FLOOR = describe("m", "height of the ground above the deepest", measures=_AREA)
