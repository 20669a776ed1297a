"""The engine (codecs/module.cpp): status codes come back, `sciflow.codecs.stream` turns them into errors."""

from typing import Any, NotRequired, TypedDict

from numpy.typing import NDArray
from typing_extensions import Buffer

STREAM_MAJOR: int
STREAM_MINOR: int
MAX_BLOCK_VALUES: int

class EncodeOptions(TypedDict):
    eb: float
    pointwise: float
    mse: float
    lattice: bool
    level: int
    preserve: list[int]
    order_f: bool
    big_endian: bool
    request_kind: int
    request_value: float
    block_values: int
    threads: int
    verify: bool
    weights: NotRequired[bytes]
    weights_set: NotRequired[int]
    regions: NotRequired[NDArray[Any]]
    region_bounds: NotRequired[list[float]]
    region_labels: NotRequired[list[int]]

class HeaderFields(TypedDict):
    dtype: str
    shape: tuple[int, ...]
    order_f: bool
    big_endian: bool
    eb: float
    pointwise: float
    request_kind: int
    request_value: float
    lattice: bool
    elsewhere: float
    regions: list[tuple[int, float]]
    nblocks: int
    header_bytes: int
    block_axis: int
    block_rows: int
    block_offsets: list[int]

class EnhanceOptions(TypedDict):
    groups: int
    n_groups: int
    worth: float
    own: bool
    shared: bytes
    preserve: list[int]
    bound: float
    aux: NotRequired[list[NDArray[Any]]]

class EnhanceOutcome(TypedDict):
    kind: int
    base_squares: float
    squares: float
    base_most: float
    most: float
    cells: int
    exact: int
    mark_bytes: int
    reach: float
    aux: int

def encode(data: NDArray[Any], shape: tuple[int, ...], opts: EncodeOptions) -> tuple[int, bytes]: ...
def decode_into(
    stream: Buffer, out: NDArray[Any], threads: int, weights: Buffer = b""
) -> tuple[int, int]: ...
def check_weights(weights: Buffer) -> int: ...
def info(stream: Buffer) -> tuple[int, int, HeaderFields]: ...
def decode_block(header: Buffer, block: Buffer, index: int, out: NDArray[Any]) -> tuple[int, int]: ...
def encoded_size_bound(nbytes: int, ndim: int) -> int: ...
def enhance_encode(
    original: NDArray[Any],
    decoded: NDArray[Any],
    shape: tuple[int, ...],
    opts: EnhanceOptions,
    out: NDArray[Any],
) -> tuple[int, bytes, EnhanceOutcome]: ...
def enhance_decode(
    body: Buffer,
    shared: Buffer,
    decoded: NDArray[Any],
    shape: tuple[int, ...],
    out: NDArray[Any],
    aux: list[NDArray[Any]] = ...,
) -> int: ...
def enhance_fit(
    arrays: list[NDArray[Any]], shapes: list[tuple[int, ...]], opts: EnhanceOptions
) -> tuple[int, bytes]: ...
def network_shape(
    network: Buffer, lengths: tuple[int, int, int]
) -> tuple[int, tuple[int, int, int, int]]: ...
def run_network(
    network: Buffer,
    blocks: NDArray[Any],
    count: int,
    lengths: tuple[int, int, int],
    threads: int,
    out: NDArray[Any],
) -> int: ...
def crc32c(data: Buffer) -> int: ...
def simd() -> str: ...
