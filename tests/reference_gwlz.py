"""A decoder of GWLZ streams over SZ, from docs/gwlz-format.md alone and to be read beside it: `decode`."""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference_decoder, reference_gwlz_network
from tests.reference_reader import Truncated, Unsupported, crc32c, require

Values = NDArray[Any]


class OtherModel(ValueError):
    """The stream was made with a model that is not at hand."""


@dataclass
class Fields:
    """Sections 2 and 3: fields taken from the front."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Truncated("a field is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def of(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            require(not (byte == 0 and shift) and shift < 63, "varint")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


# 5. The binary coder
class Chance:
    def __init__(self, zero: int = 1 << 14) -> None:
        self.zero = zero


class Bits:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.range = data, 4, 2**32 - 1
        self.code = int.from_bytes((data + bytes(4))[:4], "big")

    def renormalise(self) -> None:
        while self.range < 1 << 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.at += 1
            self.range, self.code = self.range << 8, (self.code << 8 | byte) & 0xFFFFFFFF
        if self.at > len(self.data) + 4:
            raise Truncated("bits are missing")

    def bit(self, chance: Chance) -> int:
        split = (self.range >> 15) * chance.zero
        one = self.code >= split
        if one:
            self.code, self.range = self.code - split, self.range - split
            chance.zero -= chance.zero >> 5
        else:
            self.range = split
            chance.zero += ((1 << 15) - chance.zero) >> 5
        self.renormalise()
        return int(one)

    def plain(self, count: int) -> int:
        value = 0
        for _ in range(count):
            self.range >>= 1
            one = self.code >= self.range
            self.code -= self.range if one else 0
            value = 2 * value + one
            self.renormalise()
        return value

    def end(self) -> None:
        require(self.at >= len(self.data), "all bytes are read")


class Number:
    def __init__(self) -> None:
        self.length = [Chance() for _ in range(31)]
        self.second = [Chance() for _ in range(31)]

    def get(self, bits: Bits) -> int:
        b = 0
        while b < 30 and bits.bit(self.length[b]):
            b += 1
        if b == 0:
            return 0
        s = bits.bit(self.second[b])
        return ((2 + s) << (b - 1) | bits.plain(b - 1)) - 1

    def signed(self, bits: Bits) -> int:
        value = self.get(bits)
        return -value if value and bits.plain(1) else value


# 4. The model
def steps(axes: int) -> list[tuple[int, ...]]:
    return [
        step
        for step in itertools.product(range(-2, 3), repeat=axes)
        if 0 < sum(map(abs, step)) <= 2 and step > (0,) * axes
    ]


@dataclass
class Model:
    axes: int
    second: int
    unit: float
    origin: float
    aux: list[tuple[float, float]]
    shift: int = 0
    coarse: int = 0
    activity: list[int] = field(default_factory=list)
    value: list[int] = field(default_factory=list)
    filter_of: list[int] = field(default_factory=list)
    filters: list[list[int]] = field(default_factory=list)

    def second_bins(self) -> int:
        return (1, len(self.value) + 1, 2**self.axes)[self.second]


def edges(bits: Bits, count: Number, number: Number) -> list[int]:
    n = count.get(bits)
    require(n <= 63, "edges")
    found: list[int] = []
    for i in range(n):
        found.append(number.signed(bits) if i == 0 else found[-1] + number.get(bits))
        require(abs(found[-1]) <= 1 << 30, "edge")
    return found


def read_model(data: bytes) -> Model:
    fields = Fields(data)
    head, unit, origin = fields.u8(), fields.of("f"), fields.of("f")
    require(head < 64, "head")
    others = [(fields.of("f"), fields.of("f")) for _ in range(head >> 4)]
    model = Model(head & 3, head >> 2 & 3, unit, origin, others)
    require(model.axes > 0 and model.second <= 2, "head")
    for u, o in [(unit, origin), *others]:
        require(math.isfinite(u) and u > 0 and math.isfinite(o), "unit and origin")
    bits = Bits(data[fields.at :])
    s, c, e, f = Number(), Number(), Number(), Number()
    model.shift, model.coarse = s.get(bits), s.get(bits)
    require(model.coarse <= model.shift <= 14, "shift")
    model.activity = edges(bits, c, e)
    model.value = edges(bits, c, e) if model.second == 1 else []
    classes = (len(model.activity) + 1) * model.second_bins()
    require(classes <= 64, "classes")
    count = c.get(bits)
    require(1 <= count <= classes, "filters")
    model.filter_of = [f.get(bits) if count > 1 else 0 for _ in range(classes)]
    require(max(model.filter_of) < count, "filter of a class")
    read_filters(bits, model, count)
    bits.end()
    return model


def read_filters(bits: Bits, model: Model, count: int) -> None:
    pairs = steps(model.axes)
    kinds = [0 if sum(map(abs, step)) == 1 else 1 for step in pairs]
    kinds = [*kinds, *(kind + 2 for kind in kinds)]
    kinds = [*kinds, *[kind + 5 for kind in kinds] * len(model.aux), 4]
    numbers, difference = [Number() for _ in range(9)], Chance()
    raw: list[list[int]] = []
    for k in range(count):
        before = raw[-1] if k and bits.bit(difference) else [0] * len(kinds)
        raw.append([b + numbers[kind].signed(bits) for b, kind in zip(before, kinds, strict=True)])
    n = len(pairs)
    for weights in raw:
        reach = ([32766] * n + [48] * n) * (1 + len(model.aux)) + [32]
        scaled = [w if most == 32766 else w << model.coarse for w, most in zip(weights, reach, strict=True)]
        require(max(map(abs, [*weights, *scaled])) <= 32767, "weights")
        total = sum(abs(w) * most for w, most in zip(scaled, reach, strict=True))
        require((1 << 14) + total < 1 << 31, "sum of weights")
        model.filters.append(scaled)


def volume(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Slabs, and the lengths of the axes that a filter reaches along."""
    long = [n for n in shape if n != 1]
    inner = tuple(long[-3:]) or (1,)
    return math.prod(long[:-3]), inner


def integers(y: Values, unit: float, origin: float, patterns: list[int]) -> tuple[Values, NDArray[np.bool_]]:
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint((y.astype(np.float64) - origin) * (1.0 / unit))
    raw = y.view(f"u{y.itemsize}")
    hole = (
        ~(np.abs(scaled) < 2.0**30) | ((y == 0) & np.signbit(y)) | np.isin(raw, np.array(patterns, raw.dtype))
    )
    t = np.where(np.abs(scaled) < 2.0**30, scaled, 0).astype(np.int64)
    for row, holes in zip(t.reshape(-1, t.shape[-1]), hole.reshape(-1, t.shape[-1]), strict=True):
        known = np.flatnonzero(~holes)
        last = row[known[0]] if known.size else 0
        for x in range(row.size):
            if holes[x]:
                row[x] = last
            last = row[x]
    return t, hole


def shifted(t: Values, step: tuple[int, ...]) -> Values:
    """The integers at a step from each cell, the axes mirrored."""
    for axis, (n, d) in enumerate(zip(t.shape, step, strict=True)):
        period = max(2 * (n - 1), 1)
        at = (np.arange(n) + d) % period
        t = np.take(t, np.where(at < n, at, period - at), axis)
    return t


def classes(t: Values, model: Model) -> Values:
    axes = t.ndim
    activity = np.zeros_like(t)
    for around in itertools.product(range(-2, 3), repeat=axes):
        here = shifted(t, around)
        for a in range(axes):
            ahead = shifted(t, tuple(d + (i == a) for i, d in enumerate(around)))
            activity += np.minimum(np.abs(ahead - here), 4095)
    second = np.zeros_like(t)
    if model.second == 1:
        second = np.searchsorted(model.value, t, side="right")
    elif model.second == 2:
        for i, axis in enumerate(np.indices(t.shape)):
            second += (axis & 1) << (axes - 1 - i)
    return np.searchsorted(model.activity, activity, side="right") * model.second_bins() + second


def cut(v: Values, most: int) -> Values:
    return np.clip(v, -most, most)


def corrections(t: Values, beside: list[Values], model: Model) -> Values:
    features = []
    for s in [t, *beside]:
        pairs = [
            (shifted(s, step) - s, shifted(s, tuple(-d for d in step)) - s) for step in steps(model.axes)
        ]
        features += [cut(u, most) + cut(v, most) for most in (16383, 24) for u, v in pairs]
    features.append(np.full_like(t, 32))
    weights = np.array(model.filters)[np.array(model.filter_of)[classes(t, model)]]
    total = sum(weights[..., j] * feature for j, feature in enumerate(features))
    return cut((total + ((1 << model.shift) >> 1)) >> model.shift, 32767)


def marks(fields: Fields, h: Values, limit: int) -> NDArray[np.bool_]:
    nx = h.shape[-1]
    flat = h.reshape(-1)
    mark = np.zeros(flat.size, dtype=bool)
    least = fields.varint()
    require(least <= 32767, "least")
    if least:
        bits = Bits(fields.take(fields.varint()))
        chances = [Chance((1 << 15) - 512) for _ in range(96)]
        for i, size in enumerate(np.minimum(np.abs(flat), limit).tolist()):
            if size >= least:
                near = (i % nx > 0 and int(mark[i - 1])) + (i >= nx and int(mark[i - nx]))
                mark[i] = bits.bit(chances[3 * min(size, 31) + near])
        bits.end()
    return mark


def enhance(body: bytes, y: Values, shared: bytes, aux: list[Values]) -> Values:
    """Section 3."""
    if body[:1] == b"\x04":
        y, body = reference_gwlz_network.enhance(body, y)
        require(body[:1] == b"\x00", "kind behind a network")
    fields = Fields(body)
    kind = fields.u8()
    require(kind <= 2, "kind")
    out = y.copy().reshape(-1)
    if kind:
        out = corrected(fields, kind, y, shared, aux)
    count, at, where = fields.varint(), 0, []
    require(count <= out.size, "exact values")
    for _ in range(count):
        at += fields.varint()
        require(at < out.size, "position")
        where.append(at)
        at += 1
    for i in where:
        out[i : i + 1] = np.frombuffer(fields.take(y.itemsize), y.dtype)
    require(fields.at == len(body), "nothing is left over")
    return out


def corrected(fields: Fields, kind: int, y: Values, shared: bytes, aux: list[Values]) -> Values:
    if kind == 1:
        data = fields.take(fields.varint())
    else:
        data = shared
        if fields.of("I") != crc32c(shared) or not shared:
            raise OtherModel
    model, limit = read_model(data), fields.varint()
    count = fields.varint()
    require(1 <= limit <= 32767 and count <= 62, "limit and sentinels")
    patterns = [fields.of("I" if y.itemsize == 4 else "Q") for _ in range(count)]
    slabs, inner = volume(y.shape)
    require(model.axes == len([n for n in inner if n != 1] or [1]) and y.size > 0, "axes")
    require(len(model.aux) in (0, len(aux)), "others")
    h = np.empty((slabs, *inner), np.int64)
    for k, slab in enumerate(h):
        t, hole = integers(y.reshape(h.shape)[k], model.unit, model.origin, patterns)
        scaled = zip(aux if model.aux else [], model.aux, strict=True)
        beside = [integers(a.reshape(h.shape)[k], unit, origin, [])[0] for a, (unit, origin) in scaled]
        slab[...] = np.where(hole, 0, corrections(t, beside, model))
    mark = marks(fields, h, limit)
    applied = np.where(mark, 0, cut(h.reshape(-1), limit))
    flat = y.reshape(-1)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = (flat.astype(np.float64) + applied * float(model.unit)).astype(y.dtype)
    return np.where(applied == 0, flat.view(f"u{y.itemsize}"), sums.view(f"u{y.itemsize}")).view(y.dtype)


def check_numbers(fields: Fields, form: str) -> None:
    for each in form:
        value = fields.of(each) if each != "x" else fields.u8()
        require(math.isfinite(value) and value >= 0, "bound, tuned, error, mse")


def decode(stream: bytes, shared: bytes = b"", aux: Sequence[Values] = ()) -> Values:
    """Return the array of a stream whose base codec is SZ; `aux`: other arrays as stored, native.

    Raises
    ------
    Corrupt, Truncated, Unsupported, OtherModel
        As docs/gwlz-format.md says.
    """
    if not stream:
        raise Truncated("nothing is there")
    if stream[0] == 0:
        return reference_decoder.decode(stream[1:])
    fields = Fields(stream)
    if stream[0] == 1:
        check_numbers(fields, "xff")
        require(fields.of("I") == zlib.crc32(stream[:9] + stream[13:]), "checksum")
        return reference_decoder.decode(stream[13:])
    require(fields.take(2) == b"GW", "magic")
    version = fields.u8(), fields.u8()
    if version > (0, 2):
        raise Unsupported
    flags = fields.u8()
    require(flags < (8 if version < (0, 2) else 16), "flags")
    check_numbers(fields, "d" * (flags & 1) + "d" * (flags >> 2 & 1))
    others = fields.u8() if flags & 8 else 0
    require(others <= 3 and (others > 0) == (flags >= 8), "others")
    if [fields.of("I") for _ in range(others)] != [crc32c(a.tobytes()) for a in aux[:others]]:
        raise OtherModel
    check_numbers(fields, "ff")
    kind, ndim = fields.u8(), fields.u8()
    require(kind < 8 and ndim <= 8, "dtype")
    stored = tuple(fields.varint() for _ in range(ndim))
    body, output = fields.take(fields.varint()), fields.of("I")
    front = fields.at
    require(fields.of("I") == zlib.crc32(stream[:front] + stream[front + 4 :]), "checksum")
    y = reference_decoder.decode(stream[fields.at :])
    y = (y.T if y.flags.f_contiguous and not y.flags.c_contiguous else y).astype(f"=f{y.itemsize}")
    require(y.shape == stored and y.itemsize == (8 if kind & 1 else 4), "shape")
    require(body[:1] != b"\x04" or version == (0, 2), "a network of integers in 0.1")
    values = enhance(body, y, shared, list(aux[:others]))
    require(crc32c(values.tobytes()) == output, "checksum of the values")
    array = values.reshape(stored).astype(f"{'>' if kind & 2 else '<'}f{y.itemsize}")
    return array.T if kind & 4 else array
