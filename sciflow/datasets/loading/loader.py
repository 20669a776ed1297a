"""The SOLAR loader: exact shuffles at the speed of sequential reads."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.loading.flight import Grain
from sciflow.datasets.loading.head import Start
from sciflow.datasets.loading.pipeline import Pipeline, Step
from sciflow.datasets.loading.position import Position, load_position, save_position
from sciflow.datasets.loading.prefetch import Ahead
from sciflow.datasets.loading.ranks import joined
from sciflow.datasets.loading.stats import LoaderStats, Timeline
from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.loading.exchange import Exchange
    from sciflow.datasets.planning import Header, Plan
    from sciflow.datasets.sources.base import Source
    from sciflow.datasets.sources.fields import FieldSpec

__all__ = ["SolarLoader"]

Sample = dict[str, NDArray[Any]]
_MOST_THREADS = 4
_OPERATIONS = 8
"""A read lasts as long as so many operations, about."""
_OUR_TIME = 1e-4
"""Seconds that we need for a read besides."""


@dataclass(slots=True)
class _Running:
    """A pipeline, its batches ahead, and the batch that it gives next."""

    pipeline: Pipeline
    ahead: Ahead[tuple[Step, Any]] | None
    position: Position
    make: Callable[[], tuple[Step, Any] | None]
    exchanging: bool

    def next(self) -> tuple[Step, Any] | None:
        return self.ahead.next() if self.ahead is not None else self.make()

    def close(self) -> None:
        if self.pipeline.pid != os.getpid():  # its threads stayed in the parent
            return
        if self.ahead is not None:
            self.ahead.close(fill=self.exchanging)
        self.pipeline.close()
        if self.ahead is not None:
            self.ahead.join()


@dataclass(slots=True)
class _Held:
    """What the finalizer of a loader closes."""

    running: _Running | None = None
    before: LoaderStats = field(default_factory=LoaderStats)

    def stop(self) -> None:
        running, self.running = self.running, None
        if running is not None:
            running.close()
            self.before = self.before + running.pipeline.stats


class SolarLoader:
    """Every epoch is the exact shuffle that its seed gives, read from the files nearly in order.

    ``for batch in loader`` gives the node's part of each global batch: a dict of tensors, shape ``(rows,
    *sample)``. Each ``for`` is an epoch, one after the other; `set_epoch` chooses another. Reads go on in
    threads, into memory that never holds more than the plan's slots.

    Parameters
    ----------
    source : Source
        Where samples are.
    plan : Plan, optional
        From `sciflow.datasets.planning.make_plan`. Where it is not given, one is made for `batch_size`.
    batch_size : int, optional
        Samples of a global batch; only without a plan.
    buffer_bytes : int
        Memory for samples that are held; only without a plan.
    seed : int
        Of the shuffle; only without a plan.
    drop_last : bool
        Whether a last batch that is not full is left out; only without a plan.
    node : int, optional
        Node of the plan; from torch.distributed or ``RANK`` where it is not given. From torch.distributed,
        all processes make their loaders together, and take the plan of the first.
    threads : int, optional
        Threads that read and decode; where it is not given, four for samples that are stored as they are, as
        most of their time is waiting, and as many as cores, at most four, for chunks that are decoded.
    prefetch : int
        Batches that are assembled ahead, in a thread; 0 for none.
    transform : callable, optional
        ``transform(sample, rng)``; `rng` depends on seed, epoch and sample alone, so that augmentation is the
        same with any number of nodes and after a resume.
    collate_fn : callable, optional
        Makes a batch of a list of samples, as in a DataLoader.
    pin_memory : bool
        Batches in pinned memory, for asynchronous copies to a GPU; without effect where torch sees none.
    as_numpy : bool
        Batches of NumPy arrays; torch is not loaded.
    progress : bool
        A progress bar for each epoch.
    log_timeline : bool
        Keep what `timeline` draws.
    on_read : callable, optional
        Called with the bytes of every read operation; see `EmulatedStorage`.
    exchange : Exchange, optional
        Brings samples that other nodes read; needed for plans with ``overflow="peer"`` and more than one
        node.

    Raises
    ------
    InvalidArgument
        If neither or both of plan and batch size are given, or the plan is for other processes.
    StalePlan
        If the plan was made for other files.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sciflow.datasets.sources import NpySource
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "u.npy"
    >>> np.save(path, np.arange(60, dtype="f4").reshape(30, 2))
    >>> with SolarLoader(NpySource(path), batch_size=10, buffer_bytes=160, as_numpy=True) as loader:
    ...     shapes = [batch["x"].shape for batch in loader]
    >>> shapes
    [(10, 2), (10, 2), (10, 2)]
    """

    def __init__(
        self,
        source: Source,
        plan: Plan | None = None,
        *,
        batch_size: int | None = None,
        buffer_bytes: int = 2 << 30,
        seed: int = 0,
        drop_last: bool = True,
        node: int | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        transform: Callable[[Sample, np.random.Generator], Any] | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        as_numpy: bool = False,
        progress: bool = False,
        log_timeline: bool = False,
        on_read: Callable[[int], None] | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        if (plan is None) == (batch_size is None):
            raise InvalidArgument("give either a plan or a batch_size")
        if threads is None:
            threads = _MOST_THREADS if not source.layout.filtered else min(_cores(), _MOST_THREADS)
        if threads < 1 or prefetch < 0:
            raise InvalidArgument(f"threads={threads}, prefetch={prefetch}: expected at least 1 and 0")
        if plan is None:
            plan = _plan(source, batch_size or 0, buffer_bytes, seed, drop_last)
        plan.check(source)
        self.plan, self.node = joined(plan, node)
        self.source = source
        self.timeline = Timeline(log_timeline)
        self._threads, self._prefetch, self._progress = threads, prefetch, progress
        self._transform, self._collate = transform, collate_fn
        self._pin, self._numpy = pin_memory, as_numpy
        self._on_read, self._exchange = on_read, exchange
        self._next = Position(0, 0)
        self._scale = 1.0
        self._turn = 0
        self._resumed = False
        self._held = _Held()
        self._finalizer = weakref.finalize(self, _Held.stop, self._held)

    def __len__(self) -> int:
        return int(self.plan.header.steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads and free the memory; the next iteration starts anew."""
        self._held.stop()

    @property
    def stats(self) -> LoaderStats:
        """Counters since the loader was made; reads ahead of the last batch are in them."""
        running = self._held.running
        return self._held.before + running.pipeline.stats if running is not None else self._held.before

    @property
    def loss_scale(self) -> float:
        """What to multiply the mean loss of the last batch with, so that averaged gradients are exact.

        1 where all nodes have equal batches.
        """
        return self._scale

    @property
    def epoch(self) -> int:
        """The epoch of the batch that comes next."""
        return self._next.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be this epoch, from its first batch.

        Raises
        ------
        InvalidArgument
            If it is negative.
        """
        if epoch < 0:
            raise InvalidArgument(f"epoch {epoch}: expected 0 or more")
        if self._next != Position(epoch, 0) and not (self._resumed and self._next.epoch == epoch):
            self._next, self._resumed = Position(epoch, 0), False

    def state_dict(self) -> dict[str, Any]:
        """Which batch comes next; the same on all nodes, ready for JSON."""
        return save_position(self.plan, self._next)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on where a loader was, in the middle of an epoch.

        The number of nodes may be another one.

        Raises
        ------
        InvalidArgument
            If the plan gives other batches than the one of the state.
        """
        self._next = load_position(self.plan, state)
        self._resumed = True

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch after `load_state_dict`, a whole one otherwise.

        One that was left in the middle begins anew.
        """
        if not self._resumed:
            self._next = Position(self._next.epoch, 0)
        self._resumed = False
        self._turn += 1
        return self._epoch(self._turn)

    def _epoch(self, turn: int) -> Iterator[Any]:
        epoch = self._next.epoch
        with self._bar(epoch) as advance:
            while self._next.epoch == epoch:
                found = self._advance(turn)
                if found is None:
                    return
                advance()
                yield found

    def _advance(self, turn: int) -> Any:
        if turn != self._turn:
            raise InvalidArgument("another iteration of this loader has begun; make a loader for each")
        running = self._run()
        try:
            found = running.next()
        except BaseException:
            self._held.stop()
            raise
        if found is None:
            return None
        step, batch = found
        self._scale = self._loss_scale(step)
        self._next = running.position = Position(step.epoch, step.step).after(step.steps)
        return batch

    def _run(self) -> _Running:
        running = self._held.running
        if running is not None and (running.position, running.pipeline.pid) == (self._next, os.getpid()):
            return running
        self._held.stop()
        self._held.running = self._start(self._next)
        return self._held.running

    def _start(self, position: Position) -> _Running:
        plan, node, header = self.plan, self.node, self.plan.header
        pipeline = Pipeline(
            self.source,
            iter(plan.epochs(node, start=(position.epoch, position.step))),
            header.slots,
            threads=self._threads,
            gap_bytes=header.gap_bytes,
            grain=_grain(header),
            start=Start(
                position.epoch,
                position.step,
                header.steps,
                lambda step: plan.batch(position.epoch, step, node),
                chunked=header.layout.unit > 1,
            ),
            on_read=self._on_read,
            exchange=self._exchange,
            empty=None if self._numpy else _Tensors(self._pin),
            timeline=self.timeline,
        )
        make = _Maker(pipeline, header.seed, self._transform, self._collate, self._numpy)
        ahead = Ahead(make, self._prefetch) if self._prefetch else None
        return _Running(pipeline, ahead, position, make, self._exchange is not None)

    def _loss_scale(self, step: Step) -> float:
        header = self.plan.header
        if header.overflow != "variable":
            return 1.0
        full = header.global_batch_size
        rows = min(full, header.samples - step.step * full) if header.tail == "short" else full
        return len(step.ids) * int(header.num_nodes) / rows

    def _bar(self, epoch: int) -> Any:
        from sciflow.datasets.loading.bar import bar

        return bar(f"epoch {epoch}", len(self), self._next.step, on=self._progress)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _grain(header: Header) -> Grain:
    """Reads that last so long that the time of an operation, and our own, is a small part of it."""
    layout, storage = header.layout, header.storage
    decode = storage.decode if layout.filtered else 0.0
    chunk = layout.unit * header.sample_bytes * (layout.stored_fraction / storage.beta + decode)
    return Grain(layout.unit, max(1, math.ceil(_OPERATIONS * max(storage.alpha, _OUR_TIME) / chunk)))


def _plan(source: Source, batch_size: int, buffer_bytes: int, seed: int, drop_last: bool) -> Plan:
    from sciflow.datasets.planning import make_plan

    return make_plan(
        source,
        global_batch_size=batch_size,
        buffer_bytes=buffer_bytes,
        seed=seed,
        tail="drop" if drop_last else "short",
    )


@dataclass(frozen=True, slots=True)
class _Tensors:
    """Memory of batches, made by torch."""

    pin: bool

    def __call__(self, spec: FieldSpec, rows: int) -> NDArray[Any]:
        import torch

        if not self.pin or not torch.cuda.is_available():
            return np.empty((rows, *spec.shape), spec.dtype)
        plain = torch.empty((rows * spec.bytes,), dtype=torch.uint8, pin_memory=True)
        return np.asarray(plain.numpy().view(spec.dtype).reshape(rows, *spec.shape))


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes batches of steps."""

    pipeline: Pipeline
    seed: int
    transform: Callable[[Sample, np.random.Generator], Any] | None
    collate: Callable[[list[Any]], Any] | None
    numpy: bool

    def __call__(self) -> tuple[Step, Any] | None:
        step = self.pipeline.next()
        return None if step is None else (step, self._batch(step))

    def _batch(self, step: Step) -> Any:
        if self.transform is None and self.collate is None:
            return step.rows if self.numpy else _tensors(step.rows)
        samples: list[Any] = [
            {name: rows[i, ...] for name, rows in step.rows.items()} for i in range(len(step.ids))
        ]
        if self.transform is not None:
            keys = [(self.seed, step.epoch, sample) for sample in step.ids.tolist()]
            samples = [
                self.transform(s, np.random.default_rng(key)) for s, key in zip(samples, keys, strict=True)
            ]
        return (self.collate or _stack(self.numpy))(samples)


def _tensors(rows: Sample) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(values) for name, values in rows.items()}


def _stack(numpy: bool) -> Callable[[list[Any]], Any]:
    if numpy:
        return lambda samples: {name: np.stack([s[name] for s in samples]) for name in samples[0]}
    from torch.utils.data import default_collate

    return default_collate
