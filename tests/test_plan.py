"""Which variables are compressed, in what chunks, with which sentinels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sciflow.bounds import Bound, Resolved
from sciflow.errors import InvalidArgument
from sciflow.store.chunking import TARGET_CHUNK_BYTES, chunk_shape, parse_chunks
from sciflow.store.conventions import bound_attrs, protected_variables, recorded_bound, without_provenance
from sciflow.store.plan import as_bound, make_plan, make_request, sentinels_of
from sciflow.store.source import open_source

shapes = st.lists(st.integers(1, 3000), min_size=1, max_size=4)


@given(shape=shapes, data=st.data(), itemsize=st.sampled_from([4, 8]))
def test_chunks_fit_the_array_the_target_and_the_source(
    shape: list[int], data: st.DataObject, itemsize: int
) -> None:
    source = [data.draw(st.integers(1, n)) for n in shape] if data.draw(st.booleans()) else None
    chunks = chunk_shape(shape, itemsize=itemsize, source=source)
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    unit = source if source and math.prod(source) * itemsize <= 4 * TARGET_CHUNK_BYTES else [1] * len(shape)
    assert math.prod(chunks) * itemsize <= max(TARGET_CHUNK_BYTES, math.prod(unit) * itemsize)
    assert all(c % u == 0 or c == n for c, u, n in zip(chunks, unit, shape, strict=True))


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((), ()),
        ((0, 10), (1, 10)),
        ((100,), (100,)),
        ((365, 721, 1440), (2, 721, 1440)),
        ((1000, 37, 721, 1440), (1, 2, 721, 1440)),
        ((10, 512, 512), (5, 512, 512)),
        ((40_000, 40_000), (52, 40_000)),
    ],
)
def test_slabs_of_whole_trailing_dimensions_evenly_split(
    shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    assert chunk_shape(shape, itemsize=4) == chunks


def test_chunks_are_read_from_text() -> None:
    assert parse_chunks("lat=64,lon=-1") == {"lat": 64, "lon": -1}


@pytest.mark.parametrize(
    "text", ["", "lat", "lat=", "=3", "lat=a", "lat=0", "lat=-2", "lat=1.5", "lat=1,,lon=2"]
)
def test_what_is_no_chunks_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="chunks"):
        parse_chunks(text)


def variable(dims: str, **attrs: Any) -> xr.Variable:
    names = dims.split()
    return xr.Variable(names, np.zeros([2] * len(names)), attrs)


def test_cf_roles_are_protected() -> None:
    variables = {
        "t": variable(
            "time z y x",
            coordinates="lat2d lon2d",
            cell_measures="area: area_t volume: vol",
            grid_mapping="crs: x y",
            ancillary_variables="t_error",
        ),
        "t_error": variable("time z y x"),
        "x": variable("x"),
        "z": variable("z", formula_terms="a: hyam b: hybm ps: ps", bounds="z_bnds"),
        "climate": variable("time", climatology="climate_bounds"),
        "u": variable("time x", geometry="shape", units="degrees"),
        "site_lat": variable("site", units="degrees_north"),
        "depth_of_site": variable("site", axis="Z"),
        "clock": variable("site", standard_name="time"),
        **{
            name: variable("y x")
            for name in ("lat2d", "lon2d", "area_t", "vol", "hyam", "hybm", "ps", "z_bnds")
        },
        **{name: variable("time") for name in ("crs", "climate_bounds", "shape")},
    }
    assert protected_variables(variables) == {
        **dict.fromkeys(["lat2d", "lon2d", "x", "z", "site_lat", "depth_of_site", "clock"], "a coordinate"),
        **dict.fromkeys(["area_t", "vol"], "a cell measure"),
        **dict.fromkeys(["hyam", "hybm", "ps"], "a formula term"),
        "crs": "a grid mapping",
        "z_bnds": "cell bounds",
        "climate_bounds": "climatology bounds",
        "shape": "a geometry",
    }


def plan_of(dataset: xr.Dataset, **asked: Any) -> dict[str, tuple[Bound | None, str]]:
    options: dict[str, Any] = {
        "per_variable": None,
        "level": "balanced",
        "chunks": None,
        "rewrite_safe": False,
    }
    with open_source(dataset) as source:
        plan = make_plan(source, make_request(**{"bound": "rel:1e-3"} | options | asked), version="1")
    return {p.name: (p.bound, p.reason) for p in plan.variables}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 3), "i2"), "integers"),
        (np.zeros((2, 3), "u8"), "integers"),
        (np.zeros((2, 3), "?"), "integers"),
        (np.zeros((2, 3), "f2"), "float16"),
        (np.zeros((2, 3), "c8"), "complex64"),
        (np.array([["a"] * 3] * 2), "text"),
        (np.array([[b"a"] * 3] * 2), "text"),
        (np.zeros((2, 3), "M8[ns]"), "integers"),
        (np.zeros((0, 3)), "shape (0, 3)"),
        (np.float64(3), "a single value"),
    ],
)
def test_what_is_no_float_field_keeps_every_bit(values: Any, reason: str) -> None:
    dims = ("y", "x")[: np.ndim(values)]
    dataset = xr.Dataset({"v": (dims, values), "field": (("a", "b"), np.ones((4, 4)))})
    assert plan_of(dataset)["v"] == (None, reason)
    with pytest.raises(InvalidArgument, match=r"'v' takes no bound") as refused:
        plan_of(dataset, per_variable={"v": Bound.abs(1)})
    assert reason in str(refused.value)


def test_packed_values_keep_every_bit() -> None:
    packed = xr.Dataset({"v": ("x", np.linspace(0, 1, 9))})
    packed.v.encoding = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -1}
    assert plan_of(packed)["v"] == (None, "integers")
    packed.v.encoding = {"dtype": "f4", "scale_factor": 0.01}
    assert plan_of(packed)["v"] == (None, "packed values")


def test_bounds_by_name_come_before_the_bound_of_all() -> None:
    dataset = xr.Dataset({name: ("x", np.ones(4)) for name in "abc"})
    found = plan_of(dataset, per_variable={"a": "abs:0.5", "b": "lossless"})
    assert found == {"a": (Bound.abs(0.5), ""), "b": (None, "as asked"), "c": (Bound.rel(1e-3), "")}
    assert plan_of(dataset, bound=None, per_variable={"a": Bound.psnr(60)})["c"] == (None, "as asked")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"per_variable": {"fielt": "rel:1"}}, "did you mean 'field'?"),
        ({"per_variable": {"zzz": "rel:1"}}, "there are field"),
        ({"chunks": {"xx": 3}}, "no dimension 'xx'"),
        ({"chunks": {"x": 0}}, "chunks: x=0"),
        ({"bound": 0.1}, "say which kind"),
        ({"bound": "rel:0"}, "above 0"),
        ({"bound": "rel:nan"}, "above 0"),
        ({"bound": "up:1"}, "not one of"),
        ({"bound": None}, "no bound"),
        ({"bound": None, "per_variable": {"field": "lossless"}}, "no bound"),
        ({"level": "best"}, "level='best'"),
        ({"bound": "psnr:60", "rewrite_safe": True}, "rewrite_safe"),
    ],
)
def test_mistakes_are_named_before_any_data_are_read(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        plan_of(xr.Dataset({"field": ("x", np.ones(4))}), **asked)
    assert message in str(refused.value)


def test_bounds_are_read_from_what_users_write() -> None:
    assert as_bound("lossless") is as_bound(" Lossless ") is as_bound(None) is None
    assert as_bound("0.5") == Bound.rel(0.5)


def test_sentinels_are_those_that_the_data_hold() -> None:
    attrs = {"_FillValue": 1e20, "missing_value": np.array([1e20, -9999.0, np.nan])}
    assert sentinels_of(attrs, np.dtype("f4")) == (float(np.float32(1e20)), -9999.0)
    assert sentinels_of({"_FillValue": np.nan}, np.dtype("f8")) == ()
    assert sentinels_of({"_FillValue": 1e300, "missing_value": "none"}, np.dtype("f4")) == ()
    assert sentinels_of({}, np.dtype("f4")) == ()


def test_provenance_is_read_back() -> None:
    attrs = {"units": "K"} | bound_attrs(Bound.rel(1e-3), Resolved("abs", 0.25))
    assert recorded_bound(attrs) == (Bound.rel(1e-3), 0.25)
    assert without_provenance(attrs) == {"units": "K"}
    assert recorded_bound({"units": "K"}) is None
    assert "lossy_error_bound_abs" not in bound_attrs(
        Bound.pointwise_rel(0.1), Resolved("pointwise_rel", 0.1)
    )
    with pytest.raises(InvalidArgument, match="make no bound"):
        recorded_bound(attrs | {"lossy_error_bound_mode": "up"})


def test_a_digest_is_that_of_the_request() -> None:
    dataset = xr.Dataset({"field": ("x", np.ones(4))})
    options: dict[str, Any] = {
        "per_variable": None,
        "level": "balanced",
        "chunks": None,
        "rewrite_safe": False,
    }

    def digest(version: str, data: xr.Dataset = dataset, **asked: Any) -> str:
        with open_source(data) as source:
            return make_plan(
                source, make_request(**{"bound": "abs:1"} | options | asked), version=version
            ).digest()

    assert digest("1") == digest("1")
    others = [
        digest("2"),
        digest("1", bound="abs:2"),
        digest("1", chunks={"x": 2}),
        digest("1", data=xr.Dataset({"field": ("x", np.ones(5))})),
    ]
    assert len({digest("1"), *others}) == 5
