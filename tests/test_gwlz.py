"""GWLZ: the bound still holds, the PSNR is met, and an enhancer that is not worth its bytes is not there."""

from __future__ import annotations

import json
import math
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.abc import Codec
from numpy.typing import NDArray

from sciflow import GWLZ, SZ, Bound
from sciflow.codecs import gwlz, sz
from sciflow.codecs import zarr as adapters
from sciflow.codecs.enhancer import fit_shared
from sciflow.codecs.gwlz import GWLZConfig
from sciflow.codecs.sz import SZConfig
from sciflow.errors import Corrupt, InvalidArgument, ModelMismatch, Unsupported, UnsupportedDtype
from sciflow.testing import SENTINELS, assert_bounded, assert_same_bits, fields
from tests.golden.gwlz import holed, waves

Field = NDArray[Any]
BASE = SZConfig(Bound.abs(0.5))


class Rounding(Codec):  # type: ignore[misc] # numcodecs ships no types
    """A lossy codec of somebody else: it rounds to multiples of a step, and tells neither dtype nor shape."""

    codec_id = "tests.rounding"

    def __init__(self, step: float = 1.0) -> None:
        self.step = step

    def encode(self, buf: Field) -> bytes:
        return np.rint(buf / self.step).astype("<i4").tobytes()

    def decode(self, buf: bytes, out: Any = None) -> Field:
        return (np.frombuffer(buf, "<i4") * self.step).astype("f4")


numcodecs.register_codec(Rounding)


def mse(x: Field, y: Field) -> float:
    return float(np.mean(np.square(x.astype("f8") - y)))


def psnr(x: Field, y: Field) -> float:
    error = mse(x, y)
    return 20 * math.log10(float(np.ptp(x))) - 10 * math.log10(error) if error else math.inf


@pytest.mark.parametrize("shape", [(9000,), (110, 120), (12, 24, 40), (2, 12, 24, 40)])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_the_bound_holds_and_the_error_is_smaller(shape: tuple[int, ...], dtype: str) -> None:
    field = waves(shape, dtype)
    stream = gwlz.encode(field, GWLZConfig(BASE))
    decoded = gwlz.decode(stream, GWLZConfig(BASE))
    assert_bounded(field, decoded, BASE.bound)
    found = gwlz.info(stream)
    if found.enhancer == "off":
        assert len(shape) == 1  # so few cells, and so few neighbours
        return
    assert mse(field, decoded) < 0.9 * mse(field, sz.decode(sz.encode(field, BASE)))
    assert found.bound == BASE.bound
    assert np.abs(field.astype("f8") - decoded).max() <= (found.error or 0.0) <= 0.5


@pytest.mark.parametrize("groups", ["auto", "value", "quantile", "activity"])
def test_every_kind_of_groups_keeps_the_bound(groups: gwlz.Groups) -> None:
    config = GWLZConfig(BASE, groups=groups, n_groups=5)
    field = waves((12, 40, 50))
    assert_bounded(field, gwlz.decode(gwlz.encode(field, config), config), BASE.bound)


def test_holes_and_sentinels_come_back_bit_for_bit() -> None:
    base = SZConfig(Bound.abs(0.5), preserve=[-9999.0])
    field = np.tile(holed(), (4, 4))
    stream = gwlz.encode(field, GWLZConfig(base))
    assert gwlz.info(stream).enhancer == "own"
    assert_bounded(field, gwlz.decode(stream, GWLZConfig(base)), base.bound, preserve=base.preserve)


@settings(max_examples=60, deadline=None)
@given(field=fields(), relative=st.sampled_from([0.3, 0.01]), psnr_target=st.booleans())
def test_any_field_keeps_the_promise(field: Field, relative: float, psnr_target: bool) -> None:
    with np.errstate(all="ignore"):
        finite = field[np.isfinite(field)]
        value = float(np.abs(finite).max(initial=0)) * relative
    base = SZConfig(Bound.abs(value if 0 < value < math.inf else 1.0), preserve=SENTINELS)
    config = GWLZConfig(base, target="psnr", psnr=20.0) if psnr_target else GWLZConfig(base)
    decoded = gwlz.decode(gwlz.encode(field, config), config)
    if psnr_target:
        assert (decoded.shape, decoded.dtype) == (field.shape, field.dtype)
        special = ~np.isfinite(field) | ((field == 0) & np.signbit(field))
        assert_same_bits(field[special], decoded[special])
    else:
        assert_bounded(field, decoded, base.bound, preserve=SENTINELS)


@pytest.mark.parametrize("decibels", [22.0, 30.0, 45.0, 90.0])
def test_the_psnr_is_reached_with_no_more_bytes_than_the_base_takes(decibels: float) -> None:
    field = waves((12, 40, 50))
    config = GWLZConfig(SZConfig(Bound.psnr(decibels)), target="psnr")
    stream = gwlz.encode(field, config)
    assert psnr(field, gwlz.decode(stream, config)) >= decibels
    assert len(stream) <= 1.01 * len(sz.encode(field, SZConfig(Bound.psnr(decibels))))


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["waves", "rough", "hundredths"])
def test_within_a_bound_it_is_smaller_than_the_base_for_its_error_or_a_byte_larger(
    kind: str, step: float
) -> None:
    field = waves((12, 48, 60))
    if kind == "rough":
        field = field + np.random.default_rng(3).normal(0.0, 0.6, field.shape).astype("f4")
    if kind == "hundredths":
        field = np.round(field, 1)
    base = SZConfig(Bound.abs(step))
    stream = gwlz.encode(field, GWLZConfig(base))
    alone = sz.encode(field, base)
    if gwlz.info(stream).enhancer == "off":
        assert len(stream) == len(alone) + 1
        return
    reached = mse(field, gwlz.decode(stream, GWLZConfig(base)))
    for part in np.geomspace(1.0, 0.3, 12):
        tighter = sz.encode(field, SZConfig(Bound.abs(step * part)))
        if mse(field, sz.decode(tighter)) <= reached:
            assert len(stream) <= len(tighter) + 1
            break


def test_what_is_held_and_what_was_reached_are_told() -> None:
    field = waves((12, 40, 50))
    for config in (
        GWLZConfig(BASE),
        GWLZConfig(SZConfig(Bound.psnr(24.0)), target="psnr"),
        GWLZConfig(SZConfig(Bound.psnr(110.0)), target="psnr"),
        GWLZConfig([Rounding(), numcodecs.Zstd()], target="psnr", psnr=24.0, tune="step"),
    ):
        stream = gwlz.encode(field, config)
        error = np.abs(field.astype("f8") - gwlz.decode(stream, config)).max()
        found = gwlz.info(stream)
        assert found.bound is not None
        assert error <= found.bound.value
        if found.error is None:
            assert (config.target, found.enhancer) == ("bound", "off")
            continue
        assert error <= found.error <= 1.000001 * error
        assert error <= found.bound.value <= max(3 * error, 1e-3)


def test_the_largest_error_of_a_psnr_is_stored_where_the_base_stands_alone() -> None:
    field = np.random.default_rng(1).random((40, 50), dtype="f4")
    config = GWLZConfig(SZConfig(Bound.psnr(60.0)), target="psnr")
    stream = gwlz.encode(field, config)
    found = gwlz.info(stream)
    assert (found.enhancer, found.added_bytes) == ("off", 13)
    error = np.abs(field.astype("f8") - gwlz.decode(stream, config)).max()
    assert error <= (found.error or 0.0) <= 1.000001 * error
    for at in range(13):
        with pytest.raises(Corrupt):
            gwlz.decode(stream[:at], config)
        with pytest.raises((Corrupt, Unsupported)):
            gwlz.decode(stream[:at] + bytes([stream[at] ^ 4]) + stream[at + 1 :], config)


def test_noise_costs_one_byte() -> None:
    field = waves((40, 50)) * 0 + np.random.default_rng(1).random((40, 50), dtype="f4")
    base = SZConfig(Bound.abs(1e-3))
    stream = gwlz.encode(field, GWLZConfig(base))
    assert stream == b"\x00" + sz.encode(field, base)
    assert gwlz.info(stream).enhancer == "off"


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (1, 1, 1)])
def test_small_arrays(shape: tuple[int, ...]) -> None:
    field = np.full(shape, 2.5, dtype="f4")
    for config in (GWLZConfig(BASE), GWLZConfig(SZConfig(Bound.psnr(40)), target="psnr")):
        decoded = gwlz.decode(gwlz.encode(field, config), config)
        assert decoded.shape == shape
        assert np.abs(decoded - field).max(initial=0) <= 0.5


@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_and_byte_order_are_restored(order: Any) -> None:
    field = np.asarray(waves((60, 80), ">f8"), order=order)
    decoded = gwlz.decode(gwlz.encode(field, GWLZConfig(BASE)), GWLZConfig(BASE))
    assert decoded.dtype == field.dtype
    assert decoded.flags.f_contiguous == field.flags.f_contiguous
    assert decoded.flags.writeable


class TestAnotherBase:
    """Codecs of numcodecs as the base."""

    def test_the_largest_error_of_the_base_is_its_bound(self) -> None:
        field = waves((12, 40, 50))
        config = GWLZConfig([Rounding(1.0), numcodecs.Zstd()])
        stream = gwlz.encode(field, config)
        assert gwlz.info(stream).enhancer == "own"
        decoded = gwlz.decode(stream, config)
        assert np.abs(field - decoded).max() <= np.abs(field - np.rint(field)).max()
        assert mse(field, decoded) < mse(field, np.rint(field))

    def test_what_the_base_loses_is_stored_as_it_is(self) -> None:
        field = waves((12, 40, 50))
        config = GWLZConfig(Rounding(1.0), bound=0.4)
        assert np.abs(field - np.rint(field)).max() > 0.4
        assert_bounded(field, gwlz.decode(gwlz.encode(field, config), config), Bound.abs(0.4))

    def test_holes_are_kept_for_a_base_that_has_none(self) -> None:
        config = GWLZConfig(Rounding(1.0), bound=0.6)
        with np.errstate(invalid="ignore"):
            stream = gwlz.encode(holed(), config)
        assert_bounded(holed(), gwlz.decode(stream, config), Bound.abs(0.6))

    def test_a_parameter_is_tuned_for_a_psnr(self) -> None:
        field = waves((12, 40, 50))
        config = GWLZConfig([Rounding(), numcodecs.Zstd()], target="psnr", psnr=30.0, tune="step")
        stream = gwlz.encode(field, config)
        assert psnr(field, gwlz.decode(stream, config)) >= 30.0

    def test_a_configuration_names_it(self) -> None:
        config = GWLZConfig({"id": "tests.rounding", "step": 0.5})
        assert GWLZConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


class TestShared:
    """One enhancer for many chunks."""

    def test_a_chunk_takes_it_where_that_is_smaller(self) -> None:
        model = fit_shared([waves((12, 24, 40)), waves((11, 24, 40))], GWLZConfig(BASE))
        config = GWLZConfig(BASE, shared=model)
        field = waves((10, 24, 40))
        stream = gwlz.encode(field, config)
        assert gwlz.info(stream).enhancer == "shared"
        alone = gwlz.info(gwlz.encode(field, GWLZConfig(BASE)))
        assert alone.enhancer == "own"
        assert gwlz.info(stream).added_bytes < alone.added_bytes
        assert_bounded(field, gwlz.decode(stream, config), BASE.bound)

    def test_another_or_none_is_a_mismatch(self) -> None:
        model = fit_shared([waves((12, 24, 40))], GWLZConfig(BASE))
        stream = gwlz.encode(waves((10, 24, 40)), GWLZConfig(BASE, shared=model))
        assert gwlz.info(stream).enhancer == "shared"
        other = fit_shared([waves((9, 30, 50)) * 2], GWLZConfig(BASE))
        for wrong in (None, other, model[:-1]):
            with pytest.raises(ModelMismatch, match="shared enhancer"):
                gwlz.decode(stream, GWLZConfig(BASE, shared=wrong))

    def test_no_chunks_are_refused(self) -> None:
        with pytest.raises(InvalidArgument, match="0 chunks"):
            fit_shared([], GWLZConfig(BASE))


class TestConfiguration:
    """What may be asked for."""

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"target": "ssim"}, "target"),
            ({"groups": "colour"}, "groups"),
            ({"n_groups": 0}, "n_groups"),
            ({"n_groups": 65}, "n_groups"),
            ({"target": "psnr"}, "psnr=60.0"),
            ({"psnr": 50.0}, 'target="psnr"'),
            ({"bound": 0.1}, "not SZ"),
            ({"shared": "***"}, "base64"),
        ],
    )
    def test_it_is_refused_when_it_is_made(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(InvalidArgument, match=named):
            GWLZConfig(BASE, **arguments)

    @pytest.mark.parametrize(
        ("base", "named"),
        [
            (SZConfig(Bound.pointwise_rel(0.1)), "pointwise_rel"),
            (SZConfig(0.1, rewrite_safe=True), "lattice"),
            ({"id": "no.such.codec"}, "no such codec"),
            ([], "expected a codec"),
            (3, "expected SZ"),
        ],
    )
    def test_a_base_is_refused_when_it_is_made(self, base: Any, named: str) -> None:
        with pytest.raises(InvalidArgument, match=named):
            GWLZConfig(base)

    def test_a_psnr_needs_a_base_that_moves(self) -> None:
        with pytest.raises(InvalidArgument, match="tune="):
            GWLZConfig(Rounding(), target="psnr", psnr=30.0)
        with pytest.raises(InvalidArgument, match="no such parameter"):
            GWLZConfig(Rounding(), target="psnr", psnr=30.0, tune="bound")

    def test_data_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(UnsupportedDtype):
            gwlz.encode(np.arange(5), GWLZConfig(BASE))
        with pytest.raises(InvalidArgument, match="masked"):
            gwlz.encode(np.ma.masked_array(np.zeros(3)), GWLZConfig(BASE))

    def test_unknown_keys_are_refused(self) -> None:
        with pytest.raises(InvalidArgument, match="'grups'"):
            GWLZConfig.from_json({"base": BASE.to_json() | {"id": "sciflow.sz"}, "grups": "auto"})


class TestAdapters:
    """The same in numcodecs and Zarr."""

    def test_numcodecs(self) -> None:
        codec = GWLZ(SZ(Bound.abs(0.5)), n_groups=4)
        again = numcodecs.get_codec(json.loads(json.dumps(codec.get_config())))
        assert again == codec
        assert hash(again) == hash(codec)
        field = waves((60, 80))
        assert_bounded(field, again.decode(codec.encode(field)), BASE.bound)
        out = np.empty_like(field)
        codec.decode(codec.encode(field), out)
        assert_bounded(field, out, BASE.bound)

    def test_zarr(self) -> None:
        store: dict[str, Any] = {}
        field = waves((50, 70))
        field[3, 4] = -5.0
        array = zarr.create_array(
            store,
            name="t",
            shape=field.shape,
            chunks=(40, 70),
            dtype="f4",
            serializer=adapters.GWLZ(adapters.SZ(Bound.abs(0.5))),
            compressors=None,
            fill_value=-5.0,
        )
        array[:] = field
        back = zarr.open_array(zarr.storage.MemoryStore(store), path="t", mode="r")
        assert_bounded(field, np.asarray(back[:]), BASE.bound, preserve=[-5.0])
        assert isinstance(back.serializer, adapters.GWLZ)

    def test_zarr_refuses_early(self) -> None:
        with pytest.raises(UnsupportedDtype):
            zarr.create_array({}, shape=(4,), dtype="i4", serializer=adapters.GWLZ(BASE), compressors=None)
