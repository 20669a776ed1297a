"""A decoder of sciflow streams, from docs/format.md alone and to be read beside it: `decode`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import tests.reference_refine as refine
from tests.reference_described import read_description
from tests.reference_low_bits import read_low_bits
from tests.reference_packed import decode_packed
from tests.reference_pairing import decode_mixed
from tests.reference_raster import Plan, reconstruct
from tests.reference_reader import Axes, Corrupt, DType, Reader, Truncated, Unsupported, Values, require
from tests.reference_weighted import Model
from tests.reference_weights import read_weights

__all__ = ["Corrupt", "Truncated", "Unsupported", "decode"]


# 2. The frame
def read_header(reader: Reader) -> tuple[int, Axes, float, list[tuple[Axes, int]]]:
    """Flags, shape, bound; of each block shape and length."""
    require(reader.take(2) == b"\x53\xf7", "a stream begins with its magic")
    major, minor = reader.u8(), reader.u8()
    if major != 0 or minor > 2:
        raise Unsupported(f"version {major}.{minor}: this decoder reads up to 0.2")
    flags, dims = reader.u8(), reader.u8()
    kind, ndim, a = flags >> 4 & 3, dims & 15, dims >> 4
    require(flags < 128 and ndim <= 8 and a <= max(0, ndim - 1), "flags and dims are in their ranges")
    shape = tuple(reader.varint() for _ in range(ndim))
    require(math.prod(length for length in shape if length) <= 1 << 56, "the shape is of at most 2^56 values")
    bound = reader.f64()
    request = reader.f64() if kind in (1, 3) else 0.0
    require(bound >= 0 and request >= 0 and (kind != 2 or bound < 1), "bounds are in their ranges")
    refine.read_header(reader, flags, bound)
    rows, empty, behind, walk = reader.varint(), 0 in shape, shape[a + 1 :], (*shape, 1)[a]
    most = min(1 << 21, next((length for length in reversed(behind) if length > 1), 8) << 18)
    fits = empty or (rows <= walk and rows * math.prod(behind) <= most)
    require(rows >= 1 and fits, "a block is of one walk, at most 2^18 rows and 2^21 values")
    firsts = (row for _ in range(0 if empty else math.prod(shape[:a])) for row in range(0, walk, rows))
    blocks = [((min(rows, walk - row), *behind), reader.varint()) for row in firsts]
    require(all(length >= 5 for _, length in blocks), "a block has a mode and a checksum")
    reader.checksum(reader.data[: -reader.left])
    return flags, shape, bound, blocks


@np.errstate(all="ignore")
def decode(stream: bytes, model: Model = None) -> Values:
    """The array of a stream, with its dtype, byte order and memory layout; blocks of mode 9 need a model."""
    reader = Reader(stream)
    flags, shape, bound, blocks = read_header(reader)
    dtype, bodies = np.dtype("<f8" if flags & 1 else "<f4"), Reader(reader.take(sum(n for _, n in blocks)))
    require(reader.left == 0, "nothing stands behind the last block")
    values = [np.empty(0, dtype)]
    for block, length in blocks:
        body = bodies.take(length - 4)
        bodies.checksum(body)
        values.append(decode_block(Reader(body), block, dtype, bound, model))
    array = np.concatenate(values).reshape(shape)
    if flags & 4:
        array = array.byteswap().view(dtype.newbyteorder(">"))
    return array.T if flags & 2 else array


# 3. and 4. Blocks
def decode_block(reader: Reader, shape: Axes, dtype: DType, bound: float, model: Model = None) -> Values:
    """The values of a block, shape (N,)."""
    lengths = [1, 1, 1, 1, *(length for length in shape if length > 1)]
    axes = math.prod(lengths[:-3]), *lengths[-3:]
    N, mode, pattern, exact = math.prod(axes), reader.u8(), f"<u{dtype.itemsize}", None
    require(mode <= 8 or (mode == 9 and model is not None), "there is such a mode")
    if mode <= 1:
        values = reader.array(dtype.str, 1 if mode else N).repeat(N if mode else 1)
    else:
        flags = reader.u8()
        own = {4: 0b1110, 7: 2 if dtype.itemsize == 4 else 0}.get(mode, 0)
        allowed = {6: 0b01010001, 7: 1}.get(mode, 0b11110001) | own
        require(flags & ~allowed == 0, "flags belong to their mode")
        exact = read_exact_set(reader, axes, pattern) if flags & 1 else None
        if mode == 7:
            values = decode_described(reader, np.dtype("<f8") if flags & 2 else dtype, axes, dtype)
        elif mode in (5, 8):
            require(mode == 5 or 0 < (every := reader.u8()) <= 64, "fits are to one value of 64 at least")
            plan = Plan(0 if mode == 5 else every, reader.f64(), *reader.array(dtype.str, 3))
            require(plan.is_sound(), "plans are finite")
            values = reconstruct(decode_codes(reader, [(axes, False)], flags)[0], exact and exact[0], plan)
        elif mode in (2, 9):
            values = decode_multilevel(reader, axes, dtype, flags, False, model if mode == 9 else None)
        else:
            values = decode_coded(reader, mode, flags, axes, dtype, bound)
        if mode != 7:
            refine.apply(reader, flags, axes, values, exact)
    require(reader.left == 0, "no bytes are left over behind a body")
    if exact:
        values.view(pattern)[exact[0]] = exact[1]
    return values


def decode_described(reader: Reader, held: DType, axes: Axes, dtype: DType) -> Values:
    described = read_description(
        reader,
        axes,
        dtype,
        patterns=lambda count: read_patterns(reader, count, "<u8").view("<f8"),
        codes=lambda count: decode_grids(reader, [((1, 1, 1, count), False)], "<i8")[0].ravel(),
    )
    require(reader.data[-reader.left :][:1] != b"\7", "the integers' mode is another")
    return described(decode_block(reader, axes, held, 0.5).astype("<f8"))


def decode_coded(reader: Reader, mode: int, flags: int, axes: Axes, dtype: DType, bound: float) -> Values:
    signs = read_mask(reader, axes) if flags & 2 else np.zeros(math.prod(axes), np.bool_)
    stride = reader.varint() if flags & 8 else 0
    origin, step = (0.0, 2 * bound) if flags & 24 else (reader.f64(), reader.f64())
    require(flags & 8 > 0 or 0 < step < math.inf, "a map's step is finite and above 0")
    base = (zigzag := reader.varint()) >> 1 ^ -(zigzag & 1)
    require(flags & 8 > 0 or abs(base) <= 2**52, "a base is at most 2^52")
    if mode == 3:
        integers = decode_multilevel(reader, axes, dtype, flags, True)
        return np.asarray((origin + (integers.astype("<f8") + float(base)) * step).astype(dtype))
    if mode == 6:
        codes = decode_packed(reader, axes, lambda most: read_numbers(reader, most=most), require)
        return np.asarray((origin + (codes.astype("<f8") + float(base)) * step).astype(dtype))
    word, differenced = "<i8" if flags & 4 else "<i4", reader.u8()
    require(differenced <= 31, "there are four axes")
    weights = read_weights(reader) if differenced & 16 else None
    (sums,) = decode_codes(reader, [(axes, False)], flags, word)
    sums = weights.undo(sums) if weights else sums
    for axis in odd_axes(differenced):
        sums = sums.cumsum(axis, dtype=word)
    q = sums.ravel().astype("<i8").view("<u8") + np.uint64(base % (1 << 64))
    if flags & 8:
        magnitudes = (q * np.uint64(stride)).astype(f"<u{dtype.itemsize}")
        top = signs.astype(magnitudes.dtype) << 8 * dtype.itemsize - 1
        return np.asarray((magnitudes | top).view(dtype))
    return np.asarray((origin + q.view("<i8").astype("<f8") * step).astype(dtype))


# 5. Masks, exact sets, numbers
def read_numbers(reader: Reader, *, most: int) -> NDArray[np.int64]:
    count = reader.varint()
    require(count <= most, "no more numbers than positions")
    if count < 48:
        numbers = [reader.varint() for _ in range(count)]
    else:
        numbers = decode_grids(reader, [((1, 1, 1, count), False)])[0].ravel().tolist()
    require(all(0 <= number < 1 << 31 for number in numbers), "numbers are from 0 to 2^31 - 1")
    return np.array(numbers, np.int64)


def read_mask(reader: Reader, axes: Axes) -> NDArray[np.bool_]:
    """One flag a position, shape (N,)."""
    axis = reader.u8()
    return read_image(reader, axes, 1) > 0 if axis == 5 else read_runs(reader, axes, axis)


def read_image(reader: Reader, axes: Axes, most: int) -> NDArray[np.int32]:
    (codes,) = decode_mixed(reader, [(axes, False)])
    require(bool(np.all((codes >= 0) & (codes <= most))), "an image's codes are in their range")
    return codes.ravel()


def read_runs(reader: Reader, axes: Axes, axis: int) -> NDArray[np.bool_]:
    N = math.prod(axes)
    require(axis in (0, 1, 2, 4), "a mask's axis is 0, 1, 2, 4 or 5")
    runs = read_numbers(reader, most=N)
    require(runs.sum() <= N, "a mask's runs end within the block")
    runs = np.append(runs, N - runs.sum())
    flags = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    lines = flags.reshape(-1, math.prod(axes[axis + 1 :]) if axis < 4 else N)
    return np.asarray(np.logical_xor.accumulate(lines)).ravel()


def read_exact_set(reader: Reader, axes: Axes, pattern: str) -> tuple[NDArray[np.bool_], Values]:
    """The marked positions, shape (N,), and their bit patterns."""
    axis = reader.u8()
    if axis != 5:
        marked = read_runs(reader, axes, axis)
        return marked, read_patterns(reader, int(marked.sum()), pattern)
    image = read_image(reader, axes, 63)
    marked, P = image > 0, reader.u8()
    require(P <= 62, "a palette has at most 62 entries")
    palette, kinds = reader.array(pattern, P), image[marked].astype(np.int64) - 1
    require(bool(np.all(kinds <= P)), "an image has no kinds beyond the palette's")
    return marked, patterns_of(reader, palette, kinds)


def patterns_of(reader: Reader, palette: Values, kinds: Values) -> Values:
    """Patterns of the palette; those of the kind behind its last follow literally."""
    patterns = np.append(palette, np.zeros(1, palette.dtype))[kinds]
    patterns[kinds == palette.size] = reader.array(palette.dtype.str, int((kinds == palette.size).sum()))
    return np.asarray(patterns)


def read_patterns(reader: Reader, count: int, pattern: str) -> Values:
    """So many bit patterns, shape (count,)."""
    P = reader.u8()
    require(P <= 62, "a palette has at most 62 entries")
    palette, numbers = reader.array(pattern, P), read_numbers(reader, most=count)
    lengths = numbers // (P + 1) + 1
    require(lengths.sum() == count, "runs of patterns cover the marked positions")
    return patterns_of(reader, palette, np.repeat(numbers % (P + 1), lengths))


# 6. Codes
E = np.frexp(np.arange(1, 8 * 4095 + 2))[1] - 1
FINE = 2 * E + (np.arange(1, E.size + 1) >= 1.5 * 2.0**E)  # the fine context of each m
Table: TypeAlias = list[tuple[int, int, int]]  # of each slot: symbol, f, slot - start


class Rans(NamedTuple):
    tables: list[Table]  # of each fine context
    states: list[int]
    words: list[int]  # the next one last
    raw: Reader

    def row(self, contexts: list[int]) -> list[int]:
        codes = []
        for x, context in enumerate(contexts):
            lane = x % len(self.states)
            symbol, f, offset = self.tables[context][self.states[lane] % 4096]
            state = f * (self.states[lane] // 4096) + offset
            if state < 1 << 15:
                require(len(self.words) > 0, "there are as many words as the codes take")
                state = state * 65536 + self.words.pop()
            self.states[lane] = state
            codes.append(self.code(symbol))
        return codes

    def code(self, symbol: int) -> int:
        if symbol < 63:
            return -(symbol + 1 >> 1) if symbol % 2 else symbol >> 1
        first, lowest_e, bits = (63, 5, 2) if symbol < 171 else (171, 32, 1)
        e, top = lowest_e + (symbol - first >> bits), symbol - first & (1 << bits) - 1
        negative, low = self.raw.bits(1), self.raw.bits(e - bits)
        magnitude = 1 << e | top << e - bits | low
        return -magnitude if negative else magnitude


def read_table(reader: Reader, last: int) -> Table:
    b, f = 8, list[int]()
    require(last <= 234, "a symbol is at most 234")
    while len(f) <= last:
        ones = 0
        while reader.bits(1):
            ones += 1
        b += -(ones + 1 >> 1) if ones % 2 else ones >> 1
        require(0 <= b <= 13, "a frequency has 0 to 13 bits")
        f.append(1 << b - 1 | reader.bits(b - 1) if b else 0)
    require(sum(f) == 4096, "frequencies sum to 4096")
    return [(symbol, size, offset) for symbol, size in enumerate(f) for offset in range(size)]


def as_coded(axes: Axes) -> Axes:
    size, rows = math.prod(axes), math.prod(axes[:3])
    return (1, 1, -(-size // 64), 64) if size >= 2048 and (rows < 16 or axes[3] < 16) else axes


def decode_codes(
    reader: Reader, grids: Sequence[tuple[Axes, bool]], flags: int, word: str = "<i4"
) -> list[Values]:
    """The codes of a block's grids, with their lowest bits where these lie apart."""
    decode_upper = decode_mixed if flags & 32 else decode_grids
    if not flags & 128:
        return decode_upper(reader, grids, word)
    sizes = [math.prod(axes) for axes, _ in grids]
    low = read_low_bits(reader, sum(sizes), word)
    require(low is not None, "low bits are fewer than a word's by 8 at least")
    coded = decode_upper(reader, grids, word)
    return [low.join(grid, sum(sizes[:k])).astype(word) for k, grid in enumerate(coded)] if low else []


def decode_grids(reader: Reader, grids: Sequence[tuple[Axes, bool]], word: str = "<i4") -> list[Values]:
    """The codes of each grid, given its axes and whether the grid before it is its reference."""
    opens = [reader.bits(1) for _ in range(29)]
    require(sum(opens) < 16, "there are at most 16 tables")
    sixteen = (last := reader.bits(8)) == 255
    tables = [read_table(reader, reader.bits(8) if sixteen else last)]
    tables += [read_table(reader, reader.bits(8)) for _ in range(sum(opens))]
    word_count, coded = reader.varint(), sum(math.prod(as_coded(axes)) for axes, _ in grids)
    states = reader.array("<u4", 16 if sixteen else 32 if coded >= 65536 else 4).tolist()
    require(all(1 << 15 <= state < 1 << 31 for state in states), "states are from 2^15 to 2^31 - 1")
    words, raw = reader.array("<u2", word_count)[::-1].tolist(), Reader(reader.take(reader.varint()))
    rans = Rans([tables[sum(opens[:context])] for context in range(30)], states, words, raw)
    decoded, known = list[Values](), np.zeros(0)
    for (axes, refers), (before, _) in zip(grids, [grids[0], *grids], strict=False):
        usable = refers and as_coded(axes) == axes and as_coded(before) == before and axes[3] <= before[3] + 1
        codes, known = decode_grid(rans, axes, [known] if usable else [])
        decoded.append(codes.astype(word))
    require(not words and raw.left == 0, "all words and raw bytes are used")
    require(set(states) == {1 << 15}, "every state ends as 2^15")
    return decoded


def decode_grid(rans: Rans, axes: Axes, reference: list[Values]) -> tuple[Values, Values]:
    """The codes of a grid, modulo 2^64, and its rows of magnitudes with a zero before and two behind."""
    shape = as_coded(axes)
    codes, known = np.empty(shape, "<u8"), np.zeros((*shape[:3], 3 + shape[3]), np.int64)
    for row in np.ndindex(shape[:3]):
        decoded = rans.row(FINE[magnitude_sums(known, row, reference, folded=shape != axes)].tolist())
        codes[row] = [code % (1 << 64) for code in decoded]
        known[row][1:-2] = [min(abs(code), 4095) for code in decoded]
    if shape != axes:
        codes = codes[0, 0].T.ravel()[: math.prod(axes)].reshape(axes)
    return codes, known


def magnitude_sums(known: Values, row: Axes, reference: list[Values], *, folded: bool) -> Values:
    """The sum m of each code of a row."""
    (i0, i1, i2), unknown, n3 = row, known[row], known.shape[3] - 3  # this row is zeros as yet
    if folded:
        a, b, c = (known[0, 0, max(i2 - distance, 0), 1:-2] for distance in (1, 2, 3))
        return np.asarray(4 * a + 2 * b + 2 * c)
    north = [known[i0, i1, i2 - 1]] if i2 else []
    plane = [known[i0, i1 - 1, i2]] if i1 else [known[i0 - 1, i1, i2]] if i0 else []
    other = [rows[tuple(np.minimum(row, np.array(rows.shape[:3]) - 1))] for rows in reference]
    orders = (north + plane + other, plane + north + other, other + plane + north)
    n, p, r = ([*order, unknown][0][: n3 + 2] for order in orders)
    return np.asarray(n[:-2] + n[2:] + 2 * (n + p + r)[1:-1])


# 7. The multilevel plan and its reconstruction
class Level(NamedTuple):
    grid: Values  # a view of the block
    active: int
    step: float
    weights: dict[tuple[int, int], int]  # of class and odd axis, as sent

    def classes(self) -> list[int]:
        return [odd for odd in (1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15) if odd & ~self.active == 0]

    def part(self, odd: int) -> Values:
        """The positions of a class; for 0, the next level's grid."""
        return self.grid[tuple(slice(odd >> a & 1, None, 1 + (self.active >> a & 1)) for a in range(4))]


def odd_axes(odd: int) -> list[int]:
    return [axis for axis in range(4) if odd >> axis & 1]


def read_levels(reader: Reader, block: Values, head: int, step: float) -> list[Level]:
    """All levels, and the coarsest grid as one more."""
    levels, F, r, g = list[Level](), head >> 4 & 3, head >> 6, 1.0
    while active := sum(1 << a for a in odd_axes(head & 15) if block.shape[a] > 1):
        level = Level(block, active, step / g, {})
        for odd, axis in [(each, axis) for each in level.classes() for axis in odd_axes(each)]:
            each, rest = divmod(64, odd.bit_count())
            weight = 1 | (63 + each + rest * (axis == odd_axes(odd)[0])) << 1
            if len(levels) < F:
                weight = reader.u8()
            elif F > 0 and levels[F - 1].active == active:
                weight = levels[F - 1].weights[odd, axis]
            level.weights[odd, axis] = weight
        levels.append(level)
        block, g = level.part(0), min(g * ((16 + r) / 16), 1.75)
    require(len(levels) >= F, "there are no more fitted levels than levels")
    return [*levels, Level(block, 0, step, {})]


def decode_multilevel(
    reader: Reader, axes: Axes, dtype: DType, flags: int, lattice: bool, model: Model = None
) -> Values:
    """The values of a block, or its integers on the lattice, shape (N,)."""
    number, head = model.opening(reader) if model else (0, reader.u8())
    block, T = np.zeros(axes, dtype), dtype.type
    step, start = (1.0, 0.0) if lattice else (reader.f64(), reader.f64())
    require(step > 0, "a step is above 0")
    *levels, coarsest = read_levels(reader, block, head, step)
    grids: list[tuple[Axes, bool]] = [((1, 1, 1, coarsest.grid.size), False)]
    for level in levels[::-1]:
        grids += [(level.part(odd).shape, place > 0) for place, odd in enumerate(level.classes())]
    codes = (grid.astype(dtype) for grid in decode_codes(reader, grids, flags))
    coarsest.grid.flat[:] = np.add.accumulate(np.append(T(start), next(codes) * T(step)))[1:]
    for depth, level in reversed(list(enumerate(levels))):
        for odd in level.classes():
            code, learned = next(codes), model.predict(level, number, depth, odd) if model else None
            values = predict(level, odd) if learned is None else learned
            values = np.rint(values) + code if lattice else values + code * T(level.step)
            level.part(odd)[...] = values
    return block.ravel()


def predict(level: Level, odd: int) -> Values:
    total = np.zeros_like(level.part(odd))
    for axis in odd_axes(odd):
        weight, cubic = (level.weights[odd, axis] >> 1) - 63, level.weights[odd, axis] % 2 == 1
        source, into = np.moveaxis(level.part(odd ^ 1 << axis), axis, 0), np.moveaxis(total, axis, 0)
        v = extend(source) if axis == 3 else dict(enumerate(source))
        for i in range(len(into)):
            around = taps(i - 1 in v, i + 1 in v, i + 2 in v, cubic=cubic)
            for position, tap in enumerate(around, start=i - 1):
                if tap:
                    into[i] += total.dtype.type(weight / 64 * tap) * v[position]
    return total


def taps(before: bool, behind: bool, beyond: bool, *, cubic: bool) -> tuple[float, ...]:
    """The taps at i-1, i, i+1, i+2, 0 for none, given which of i-1, i+1, i+2 exist."""
    if not behind:
        return (-1 / 2, 3 / 2, 0, 0) if cubic and before else (0, 1, 0, 0)
    if not cubic or not (before or beyond):
        return 0, 1 / 2, 1 / 2, 0
    if not beyond:
        return -1 / 8, 3 / 4, 3 / 8, 0
    return (-1 / 16, 9 / 16, 9 / 16, -1 / 16) if before else (0, 3 / 8, 3 / 4, -1 / 8)


def extend(r: Values) -> dict[int, Values]:
    """The positions along x, with one before them and two behind."""
    n = len(r)
    if n == 1:
        return dict.fromkeys(range(-1, 3), r[0])
    before = 3 * (r[0] - r[1]) + r[2] if n > 2 else 2 * r[0] - r[1]
    behind = 2 * r[n - 1] - r[n - 2]
    return {-1: before, **dict(enumerate(r)), n: behind, n + 1: 2 * behind - r[n - 1]}
