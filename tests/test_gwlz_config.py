"""GWLZ's configuration is a value, and the schema says what is allowed."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciflow.bounds import Bound
from sciflow.codecs import numcodecs as for_numcodecs
from sciflow.codecs import zarr as for_zarr
from sciflow.codecs.gwlz_config import Enhancer, Groups, GWLZConfig, Target
from sciflow.codecs.sz import SZConfig
from sciflow.errors import InvalidArgument
from tests.json_schema import allowed, schema_of

SCHEMA = schema_of("gwlz")
SZ_JSON = {"id": "sciflow.sz", "bound": {"kind": "rel", "value": 0.01}}


@st.composite
def configs(draw: st.DrawFn) -> GWLZConfig:
    target = draw(st.sampled_from(get_args(Target)))
    return GWLZConfig(
        SZConfig(draw(st.sampled_from([Bound.abs(0.5), Bound.rel(1e-3), Bound.psnr(60.0)]))),
        target=target,
        psnr=draw(st.floats(1, 200)) if target == "psnr" else None,
        groups=draw(st.sampled_from(get_args(Groups))),
        n_groups=draw(st.none() | st.integers(1, 64)),
        aux=draw(st.lists(st.sampled_from(["u", "v", "w", "\u00f8"]), max_size=3, unique=True)),
        seed=draw(st.integers(0, (1 << 63) - 1)),
        time_budget=draw(st.floats(0.1, 86400)),
    )


@given(configs())
def test_round_trips_and_is_allowed(config: GWLZConfig) -> None:
    data = json.loads(json.dumps(config.to_json(), allow_nan=False))
    assert allowed(data, SCHEMA)
    assert GWLZConfig.from_json(data) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert eval(repr(config), {"GWLZConfig": GWLZConfig}) == config


@pytest.mark.parametrize(
    "data",
    [
        {"base": SZ_JSON, "shared": "AAEC", "n_groups": 3},
        {"base": [{"id": "zlib", "level": 1}], "bound": 0.5},
        {"base": {"id": "zlib", "level": 1}, "bound": {"kind": "rel", "value": 0.1}},
        {"base": SZ_JSON, "enhancer": "cnn", "seed": 3},
        {"base": SZ_JSON, "aux": ["u"]},
    ],
)
def test_code_and_schema_allow_the_same(data: dict[str, Any]) -> None:
    assert allowed(data, SCHEMA)
    GWLZConfig.from_json(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"base": "sciflow.sz"},
        {"base": []},
        {"base": {"level": 1}},
        {"base": SZ_JSON, "target": "ssim"},
        {"base": SZ_JSON, "groups": 3},
        {"base": SZ_JSON, "n_groups": 0},
        {"base": SZ_JSON, "n_groups": 65},
        {"base": SZ_JSON, "n_groups": 1.5},
        {"base": SZ_JSON, "psnr": -1.0, "target": "psnr"},
        {"base": {"id": "zlib"}, "bound": {"kind": "psnr", "value": 60.0}},
        {"base": {"id": "zlib"}, "bound": -1},
        {"base": SZ_JSON, "shared": "***"},
        {"base": SZ_JSON, "enhancer": "gan"},
        {"base": SZ_JSON, "seed": -1},
        {"base": SZ_JSON, "time_budget": 0},
        {"base": SZ_JSON, "aux": ["u", "u"]},
        {"base": SZ_JSON, "aux": ["a", "b", "c", "d"]},
        {"base": SZ_JSON, "aux": ["../u"]},
        {"base": SZ_JSON, "aux": [""]},
        {"base": SZ_JSON, "aux": [1]},
        {"base": SZ_JSON, "aux": "u"},
        {"base": SZ_JSON, "tolerance": 1},
    ],
)
def test_code_and_schema_refuse_the_same(data: dict[str, Any]) -> None:
    assert not allowed(data, SCHEMA)
    with pytest.raises(InvalidArgument):
        GWLZConfig.from_json(data)


def test_the_schema_has_the_fields_of_the_code() -> None:
    properties = SCHEMA["properties"]
    assert set(properties) == {field.name for field in fields(GWLZConfig)} - {"progress"}
    for name, choices in (("target", Target), ("groups", Groups), ("enhancer", Enhancer)):
        assert tuple(properties[name]["enum"]) == get_args(choices)
    written = GWLZConfig(SZConfig(0.5)).to_json()
    for name, value in written.items():
        assert name == "base" or properties[name]["default"] == value


@pytest.mark.parametrize("module", [for_numcodecs, for_zarr])
def test_adapters_take_what_the_configuration_takes(module: Any) -> None:
    codec = module.GWLZ(SZConfig(0.5), groups="value", n_groups=3)
    assert codec.config == GWLZConfig(SZConfig(0.5), groups="value", n_groups=3)
    assert repr(codec) == f"GWLZ({codec.config.arguments()})"
    with pytest.raises(TypeError, match="grups"):
        module.GWLZ(SZConfig(0.5), grups="value")
