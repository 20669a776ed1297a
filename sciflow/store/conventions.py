"""What CF says of variables that are not fields, and how we record a lossy compression in its shape.

CF 8.4 forbids quantising coordinates, bounds, cell measures and formula terms: a grid that has moved cannot
be matched with another. There is no CF vocabulary for error-bounded codecs, so the names below are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from sciflow.bounds import Bound, Resolved
from sciflow.errors import InvalidArgument
from sciflow.store.regions import REGION_ATTRS

__all__ = [
    "CONTAINER",
    "MAX_ERROR",
    "RATIO",
    "bound_attrs",
    "container",
    "protected_variables",
    "recorded_bound",
    "without_provenance",
]

CONTAINER = "sciflow_compression"
"""Scalar variable whose attributes say what compressed the others."""

_LINK, _MODE, _VALUE, _ABS = (
    "lossy_compression",
    "lossy_error_bound_mode",
    "lossy_error_bound_value",
    "lossy_error_bound_abs",
)
MAX_ERROR = "lossy_max_abs_error"
RATIO = "lossy_compression_ratio"
_PROVENANCE = frozenset({_LINK, _MODE, _VALUE, _ABS, MAX_ERROR, RATIO}) | REGION_ATTRS

_REFERENCES = {
    "coordinates": "a coordinate",
    "node_coordinates": "a coordinate",
    "face_coordinates": "a coordinate",
    "edge_coordinates": "a coordinate",
    "bounds": "cell bounds",
    "climatology": "climatology bounds",
    "cell_measures": "a cell measure",
    "formula_terms": "a formula term",
    "grid_mapping": "a grid mapping",
    "geometry": "a geometry",
}
_COORDINATE_NAMES = frozenset(
    {
        "grid_latitude",
        "grid_longitude",
        "latitude",
        "longitude",
        "projection_x_coordinate",
        "projection_y_coordinate",
        "time",
    }
)
_COORDINATE_UNITS = frozenset(
    f"degree{plural}{separator}{direction}"
    for plural in ("", "s")
    for separator, directions in (("_", ("north", "east", "N", "E")), ("", ("N", "E")))
    for direction in directions
)


def protected_variables(
    variables: Mapping[str, xr.Variable], *, coords: Iterable[str] = ()
) -> dict[str, str]:
    """Name the variables that must keep every bit, each with the reason in words.

    Parameters
    ----------
    variables : mapping of str to Variable
        Raw, with the references still in their attributes.
    coords : iterable of str
        Known to be coordinates.
    """
    found = dict.fromkeys((name for name in coords if name in variables), "a coordinate")
    for name, variable in variables.items():
        if _looks_like_a_coordinate(name, variable):
            found[name] = "a coordinate"
        for attribute, reason in _REFERENCES.items():
            for target in _names_in(variable.attrs.get(attribute), known=variables):
                found.setdefault(target, reason)
    found.update(dict.fromkeys({CONTAINER} & set(variables), "our record"))
    return found


def container(version: str) -> xr.Variable:
    """Make the variable that `CONTAINER` names."""
    attrs = {
        "algorithm": "sciflow.sz",
        "implementation": f"sciflow version {version}",
        "comment": "Error-bounded lossy compression: every value is within the bound in its variable's "
        "attributes. To read, pip install sciflow; no import is needed.",
    }
    return xr.Variable((), 0, attrs).astype("int32")


def bound_attrs(bound: Bound, resolved: Resolved) -> dict[str, Any]:
    """Attributes of a variable that say which bound holds."""
    attrs: dict[str, Any] = {_LINK: CONTAINER, _MODE: bound.kind, _VALUE: bound.value}
    return attrs | ({_ABS: resolved.value} if resolved.kind == "abs" else {})


def recorded_bound(attrs: Mapping[str, Any]) -> tuple[Bound, float | None] | None:
    """Read what `bound_attrs` wrote: the bound that was asked and its value in the unit of the data.

    Raises
    ------
    InvalidArgument
        If the attributes are there, but make no bound.
    """
    if _MODE not in attrs:
        return None
    try:
        bound = Bound(attrs[_MODE], attrs[_VALUE])
        return bound, (float(attrs[_ABS]) if _ABS in attrs else None)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(f"attributes {_MODE}, {_VALUE}, {_ABS} make no bound: {error}") from error


def without_provenance(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes less what this module adds."""
    return {key: value for key, value in attrs.items() if key not in _PROVENANCE}


def _looks_like_a_coordinate(name: str, variable: xr.Variable) -> bool:
    attrs = variable.attrs
    return (
        variable.dims == (name,)
        or attrs.get("axis") in ("X", "Y", "Z", "T")
        or attrs.get("standard_name") in _COORDINATE_NAMES
        or str(attrs.get("units")) in _COORDINATE_UNITS
        or "_CoordinateAxisType" in attrs
    )


def _names_in(text: Any, *, known: Mapping[str, Any]) -> list[str]:
    """Names of variables in "lat lon", "area: areacella" or "crs: x y"."""
    words = text.split() if isinstance(text, str) else []
    return [word.rstrip(":") for word in words if word.rstrip(":") in known]
