"""A configuration is a value: equal to its repr, its JSON and its pickle; the schema says what is allowed."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciflow.bounds import Bound, BoundKind
from sciflow.codecs import numcodecs as for_numcodecs
from sciflow.codecs import zarr as for_zarr
from sciflow.codecs.sz import Level, SZConfig
from sciflow.errors import InvalidArgument
from sciflow.testing import SENTINELS, bounds
from tests.json_schema import allowed, schema_of

SCHEMA = schema_of("sz")


sentinels: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [*SENTINELS, -9999, 0, -0.0, "NaN", "0x7fc00001", "0x7FF8000000000001", np.float32(1e20), np.nan]
    ),
    st.floats(),
)


@st.composite
def configs(draw: st.DrawFn) -> SZConfig:
    bound = draw(bounds())
    return SZConfig(
        bound,
        level=draw(st.sampled_from(get_args(Level))),
        preserve=draw(st.lists(sentinels, max_size=3)),
        rewrite_safe=bound.kind in ("abs", "pointwise_rel") and draw(st.booleans()),
        verify=draw(st.booleans()),
        block_values=draw(st.none() | st.integers(1, 1 << 40)),
        threads=draw(st.integers(1, 64)),
    )


@given(configs())
def test_round_trips(config: SZConfig) -> None:
    assert eval(repr(config), {"Bound": Bound, "SZConfig": SZConfig}) == config
    assert SZConfig.from_json(json.loads(json.dumps(config.to_json(), allow_nan=False))) == config
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert hash(again) == hash(config)
    assert again.threads == config.threads


@given(configs())
def test_the_schema_allows_what_is_written(config: SZConfig) -> None:
    assert allowed(config.to_json(), SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"bound": -1},
        {"bound": True},
        {"bound": "abs"},
        {"bound": {"kind": "abs"}},
        {"bound": {"kind": "abs", "value": -1}},
        {"bound": {"kind": "rel", "value": 1e-3, "mse": 1.0}},
        {"bound": {"kind": "pointwise_rel", "value": 1.0}},
        {"bound": {"kind": "l2", "value": 1.0}},
        {"bound": 1, "level": "best"},
        {"bound": 1, "level": 3},
        {"bound": 1, "preserve": -9999},
        {"bound": 1, "preserve": "NaN"},
        {"bound": 1, "preserve": None},
        {"bound": 1, "preserve": ["nan"]},
        {"bound": 1, "preserve": ["0x123"]},
        {"bound": 1, "preserve": [True]},
        {"bound": 1, "rewrite_safe": 1},
        {"bound": 1, "verify": None},
        {"bound": 1, "block_values": 0},
        {"bound": 1, "block_values": 1.5},
        {"bound": 1, "threads": 0},
        {"bound": 1, "threads": 1 << 20},
        {"bound": 1, "tolerance": 1},
    ],
)
def test_code_and_schema_refuse_the_same(data: dict[str, Any]) -> None:
    assert not allowed(data, SCHEMA)
    with pytest.raises(InvalidArgument):
        SZConfig.from_json(data)


def test_the_schema_has_the_fields_of_the_code() -> None:
    properties = SCHEMA["properties"]
    assert list(properties) == [each.name for each in fields(SZConfig)]
    written = SZConfig(1.0).to_json()
    assert set(properties) - set(written) == {"threads"}
    assert {name: properties[name]["default"] for name in written if name != "bound"} == {
        name: value for name, value in written.items() if name != "bound"
    }
    assert tuple(properties["level"]["enum"]) == get_args(Level)
    kinds = [kind for each in SCHEMA["$defs"].values() for kind in each["properties"]["kind"]["enum"]]
    assert sorted(kinds) == sorted(get_args(BoundKind))


def test_rewrite_safe_needs_a_bound_that_does_not_move() -> None:
    for bound in (Bound.rel(1e-3), Bound.psnr(60.0), Bound.abs(1.0, mse=0.1)):
        with pytest.raises(InvalidArgument, match=r"Bound\.abs"):
            SZConfig(bound, rewrite_safe=True)


def test_unknown_keys_are_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match=r"'tolerance'.*known are bound, level, preserve"):
        SZConfig.from_json({"bound": 1, "tolerance": 1})


@pytest.mark.parametrize("adapter", [for_numcodecs.SZ, for_zarr.SZ], ids=["numcodecs", "zarr"])
@given(config=configs())
def test_adapters_are_values_too(adapter: type[Any], config: SZConfig) -> None:
    codec = adapter(
        config.bound,
        level=config.level,
        preserve=config.preserve,
        rewrite_safe=config.rewrite_safe,
        verify=config.verify,
        block_values=config.block_values,
        threads=config.threads,
    )
    assert codec.config == config
    assert eval(repr(codec), {"Bound": Bound, "SZ": adapter}) == codec
    read, write = (
        (codec.from_config, codec.get_config)
        if adapter is for_numcodecs.SZ
        else (codec.from_dict, codec.to_dict)
    )
    assert read(json.loads(json.dumps(write(), allow_nan=False))) == codec
    again = pickle.loads(pickle.dumps(codec))
    assert again == codec
    assert hash(again) == hash(codec)
    assert again.config.threads == config.threads
    assert codec != adapter(7.25)
    assert codec != config


def test_the_adapters_refuse_names_and_keys_of_others() -> None:
    with pytest.raises(InvalidArgument, match=r"sciflow\.sz"):
        for_zarr.SZ.from_dict({"name": "zfpy", "configuration": {"bound": 1.0}})
    with pytest.raises(InvalidArgument, match="'mode'"):
        for_zarr.SZ.from_dict({"name": "sciflow.sz", "configuration": {"bound": 1.0, "mode": 4}})
    with pytest.raises(InvalidArgument, match="'mode'"):
        for_numcodecs.SZ.from_config({"bound": 1.0, "mode": 4})
    with pytest.raises(InvalidArgument, match="bound"):
        for_zarr.SZ.from_dict({"name": "sciflow.sz"})
