"""The order in which an epoch uses its samples, and the global batches cut from it.

```
order (torch | feistel | block:SIZE | explicit:FILE.npy) ─▶ permutation ─ tail (drop | short | pad) ─▶ batches
```

Every order is a permutation of all samples and a pure function of (seed, epoch).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import InvalidArgument, StalePlan

__all__ = [
    "BlockOrder",
    "ExplicitOrder",
    "FeistelOrder",
    "Order",
    "Tail",
    "TorchOrder",
    "make_order",
    "sequence",
]

Ids = NDArray[np.integer[Any]]
Tail = Literal["drop", "short", "pad"]

_ROUNDS = 7
_SLICE = 1 << 15
_SHUFFLED_TOGETHER = 16


class Order(Protocol):
    """A permutation for every epoch."""

    samples: int

    def permutation(self, epoch: int) -> Ids:
        """All samples, int32 or int64[N], in the order of `epoch`."""


class TorchOrder:
    """The order of ``torch.utils.data.DistributedSampler(seed=seed)`` after ``set_epoch(epoch)``.

    Parameters
    ----------
    samples, seed : int
        N, and the seed of epoch 0; epoch e has seed + e.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def permutation(self, epoch: int) -> Ids:
        """All samples in the order of `epoch`."""
        try:
            import torch
        except ImportError as error:
            raise InvalidArgument(
                "order='torch' needs PyTorch, which is not installed: pip install 'sciflow[torch]', "
                "or order='feistel'"
            ) from error
        generator = torch.Generator()
        generator.manual_seed(self.seed + epoch)
        drawn: NDArray[np.int64] = torch.randperm(self.samples, generator=generator).numpy()
        return _narrow(drawn, self.samples)


class FeistelOrder:
    """A permutation in O(1) memory with an inverse: a Feistel network over the next even number of bits.

    Values outside of 0 to N - 1 walk on along their cycle until they are inside. The statistics are those of
    a shuffle for training; it is no cipher.

    Parameters
    ----------
    samples, seed : int
        N, and what keys the network together with the epoch.

    References
    ----------
    .. [1] M. Luby, C. Rackoff, "How to construct pseudorandom permutations from pseudorandom functions",
       SIAM J. Comput. 17(2), 1988.
    .. [2] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002 (cycle walking).
    """

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self._half = max(1, ((samples - 1).bit_length() + 1) // 2)

    def permutation(self, epoch: int) -> Ids:
        """All samples in the order of `epoch`."""
        out: Ids = np.empty(self.samples, np.int32 if self.samples < 2**31 else np.int64)
        for first in range(0, self.samples, _SLICE):
            stop = min(first + _SLICE, self.samples)
            out[first:stop] = self.at(epoch, np.arange(first, stop))
        return out

    def at(self, epoch: int, positions: Ids) -> NDArray[np.int64]:
        """The samples, int64, at `positions` of an epoch."""
        return self._walk(positions, self._keys(epoch), self._forward)

    def position_of(self, epoch: int, ids: Ids) -> NDArray[np.int64]:
        """Where samples `ids` stand in an epoch, int64: the inverse of `at`."""
        return self._walk(ids, self._keys(epoch)[::-1], self._backward)

    def _walk(self, values: Ids, keys: NDArray[np.uint64], step: Any) -> NDArray[np.int64]:
        found: NDArray[np.uint64] = step(values.astype(np.uint64), keys)
        while (outside := np.flatnonzero(found >= self.samples)).size:
            found[outside] = step(found[outside], keys)
        return found.astype(np.int64)

    def _forward(self, values: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half, mask = np.uint64(self._half), np.uint64((1 << self._half) - 1)
        left, right = values >> half, values & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right, key) & mask)
        return (left << half) | right

    def _backward(self, values: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half, mask = np.uint64(self._half), np.uint64((1 << self._half) - 1)
        left, right = values >> half, values & mask
        for key in keys:
            left, right = right ^ (_mixed(left, key) & mask), left
        return (left << half) | right

    def _keys(self, epoch: int) -> NDArray[np.uint64]:
        return _keys(self.seed, epoch, _ROUNDS)


class BlockOrder:
    """Not an exact shuffle: blocks in random order, and 16 blocks at a time shuffled together.

    Samples that lie within a block stay close in time; training may end worse than with an exact shuffle.

    Parameters
    ----------
    samples, seed : int
        N, and the seed.
    block : int
        Samples of a block.
    """

    def __init__(self, samples: int, seed: int, block: int) -> None:
        if block < 1:
            raise InvalidArgument(
                f"order: found block:{block}, expected at least one sample, as in block:1024"
            )
        self.samples, self.seed, self.block = samples, seed, block

    def permutation(self, epoch: int) -> Ids:
        """All samples in the order of `epoch`."""
        among_blocks, within = _keys(self.seed, epoch, 2)
        blocks = np.arange(-(-self.samples // self.block), dtype=np.uint64)
        rank = np.empty(len(blocks), np.int64)
        rank[np.argsort(_mixed(blocks, among_blocks), kind="stable")] = np.arange(len(blocks))
        ids = np.arange(self.samples)
        together = rank[ids // self.block] // _SHUFFLED_TOGETHER
        return _narrow(np.lexsort((_mixed(ids.astype(np.uint64), within), together)), self.samples)


class ExplicitOrder:
    """Permutations that the caller made.

    Parameters
    ----------
    samples : int
        N.
    path : str or Path
        A .npy of integers, shape (epochs, N).
    digest : str, optional
        SHA-256 that the file had when the plan was made.
    """

    def __init__(self, samples: int, path: str | Path, *, digest: str = "") -> None:
        self.samples, self.path = samples, Path(path)
        self._lists = np.load(self.path, mmap_mode="r", allow_pickle=False)
        if self._lists.ndim != 2 or self._lists.shape[1] != samples or self._lists.dtype.kind not in "iu":
            raise InvalidArgument(
                f"{path}: found {self._lists.dtype} of shape {self._lists.shape}, expected integers of shape "
                f"(epochs, {samples})"
            )
        self.digest = hashlib.sha256(np.ascontiguousarray(self._lists).data).hexdigest()
        if digest and digest != self.digest:
            raise StalePlan(
                f"{path}: found SHA-256 {self.digest}, planned with {digest}; make the plan again"
            )

    @property
    def epochs(self) -> int:
        """How many there are."""
        return len(self._lists)

    def permutation(self, epoch: int) -> Ids:
        """All samples in the order of `epoch`."""
        if epoch >= len(self._lists):
            raise InvalidArgument(f"{self.path}: found {len(self._lists)} epochs, expected more than {epoch}")
        given: NDArray[np.int64] = np.array(self._lists[epoch], np.int64)
        if given.min() < 0 or given.max() >= self.samples or len(np.unique(given)) != self.samples:
            raise InvalidArgument(
                f"{self.path}: epoch {epoch} is not a permutation of 0 to {self.samples - 1}"
            )
        return _narrow(given, self.samples)


def make_order(kind: str, samples: int, seed: int, *, digest: str = "") -> Order:
    """Make the order that `kind` names.

    Parameters
    ----------
    kind : str
        "torch", "feistel", "block:SIZE" or "explicit:FILE.npy".
    samples, seed : int
        N, and the seed.
    digest : str, optional
        Of the explicit file.

    Returns
    -------
    Order

    Raises
    ------
    InvalidArgument
        For another kind, or a file that holds no permutations.
    """
    name, _, rest = kind.partition(":")
    if kind == "torch":
        return TorchOrder(samples, seed)
    if kind == "feistel":
        return FeistelOrder(samples, seed)
    if name == "block" and rest.isdecimal():
        return BlockOrder(samples, seed, int(rest))
    if name == "explicit" and rest:
        return ExplicitOrder(samples, rest, digest=digest)
    raise InvalidArgument(f"order: found {kind!r}, expected torch, feistel, block:SIZE or explicit:FILE.npy")


def steps_of(samples: int, global_batch_size: int, tail: Tail) -> int:
    """Steps S of an epoch."""
    if tail not in get_args(Tail):
        raise InvalidArgument(f"tail: found {tail!r}, expected one of {', '.join(get_args(Tail))}")
    return samples // global_batch_size if tail == "drop" else -(-samples // global_batch_size)


def sequence(permutation: Ids, global_batch_size: int, tail: Tail) -> Ids:
    """Cut or wrap a permutation so that its step t is ``[t G, (t + 1) G)``.

    Parameters
    ----------
    permutation : ndarray of int, shape (N,)
        An epoch.
    global_batch_size : int
        G.
    tail : "drop", "short" or "pad"
        What happens to the last N mod G samples: left out, a short batch, or filled up from the front.

    Returns
    -------
    ndarray of int
        The samples in order of use; positions N and up are the repeated ones.
    """
    steps = steps_of(len(permutation), global_batch_size, tail)
    if tail == "drop":
        return permutation[: steps * global_batch_size]
    if tail == "short":
        return permutation
    rows: Ids = np.resize(permutation, steps * global_batch_size)
    return rows


def _narrow(ids: NDArray[np.int64], samples: int) -> Ids:
    return ids.astype(np.int32) if samples < 2**31 else ids


def _keys(seed: int, epoch: int, count: int) -> NDArray[np.uint64]:
    text = f"{seed}/{epoch}".encode()
    return np.frombuffer(hashlib.shake_256(text).digest(8 * count), "<u8").astype(np.uint64)


def _mixed(values: NDArray[np.uint64], key: Any) -> NDArray[np.uint64]:
    """The finaliser of MurmurHash3 (fmix64) over values and a key."""
    x = values ^ key
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(33))
    return mixed
