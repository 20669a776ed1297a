"""Sets of samples: each drawn by itself from a seed of its own, in parallel, and gathered in one file.

```
(seed, number) ─▶ draw ─▶ one sample
blocks of samples ─▶ Dask processes ─▶ <out>.unfinished/<first>.npz ─ block by block ─▶ out (NetCDF-4)
```
The values depend on the seed and on the sample's number, not on blocks, processes or the order in which they
run. Parts that are there already are not drawn again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sciflow.datasets.validate import require
from sciflow.errors import InvalidArgument, StoreError

if TYPE_CHECKING:
    import xarray as xr
    from dask.delayed import Delayed
    from distributed import Client


__all__ = [
    "Progress",
    "SampleParameters",
    "Sampled",
    "block_of",
    "generator",
    "in_memory",
    "numbers",
    "unfinished",
    "written",
]

Progress = Callable[[float], None]
"""Called with the fraction done, in [0, 1]."""

BLOCK_BYTES = 8 << 20
"""A task draws at most so many bytes of samples, unless one sample is larger."""

BLOCKS = 64
"""Tasks that a set is cut into at least, as far as it has samples: something to do for every process."""

CHUNK_BYTES = 1 << 20
"""Bytes of samples in a chunk of the file."""

DRAWING_SHARE = 0.95
"""Of the whole work, for the progress; the rest is gathering."""

Sample = Mapping[str, NDArray[Any]]
Advance = Callable[[int], None]


class SampleParameters(Protocol):
    """What every set of samples is asked for."""

    @property
    def samples(self) -> int:
        """How many."""

    @property
    def seed(self) -> int:
        """Of all of them."""


class Sampled(Protocol):
    """A module that a recipe names, whose data set is drawn sample by sample."""

    def template(self, parameters: Any) -> xr.Dataset:
        """Return the data set with everything but samples: dimension ``sample`` comes first and is empty."""

    def draw(self, parameters: Any, number: int) -> Sample:
        """Return the variables of sample ``number``; the same values wherever and whenever it is called."""


def numbers(parameters: SampleParameters) -> None:
    """Check ``samples`` and ``seed``.

    Raises
    ------
    InvalidArgument
        One of them is out of its domain.
    """
    require(parameters.samples >= 1, "samples", parameters.samples, "an integer, at least 1")
    require(parameters.seed >= 0, "seed", parameters.seed, "an integer, at least 0")


def generator(parameters: SampleParameters, *key: int) -> np.random.Generator:
    """Return the random numbers that ``key`` has for its own: those of child ``key`` of the set's seed.

    ``generator(p, 3)`` is what `numpy.random.SeedSequence.spawn` gives the fourth child of ``p.seed``.
    """
    return np.random.default_rng(np.random.SeedSequence(parameters.seed, spawn_key=key))


def in_memory(module: Sampled, parameters: SampleParameters, progress: Progress) -> xr.Dataset:
    """Return all samples, drawn one after the other.

    Parameters
    ----------
    module : Sampled
        Whose samples they are.
    parameters : SampleParameters
        Its parameters.
    progress : callable
        Called with the fraction done after every sample.
    """
    progress(0.0)
    drawn = []
    for number in range(parameters.samples):
        drawn.append(module.draw(parameters, number))
        progress((number + 1) / parameters.samples)
    template = module.template(parameters)
    return _filled(template, parameters, {name: _stacked(drawn, name) for name in _varying(template)})


def written(
    module: str,
    parameters: SampleParameters,
    record: str,
    out: Path,
    *,
    workers: int | None,
    progress: Progress,
) -> xr.Dataset:
    """Draw all samples into parts beside ``out``, and return the data set, which reads them when asked.

    Parameters
    ----------
    module : str
        Module of `sciflow.datasets` whose samples they are.
    parameters : SampleParameters
        Its parameters.
    record : str
        Recipe and settings; parts of another record are not taken.
    out : Path
        The file that is to be made; parts are in ``<out>.unfinished``, which the caller removes.
    workers : int, optional
        Processes; 1 stays in this one. None takes the Dask client that is open, else one for each core.
    progress : callable
        Called with the fraction done.

    Raises
    ------
    InvalidArgument
        ``workers`` is below 1.
    StoreError
        The parts that are there are those of another record, or cannot be written.
    """
    if workers is not None and workers < 1:
        raise InvalidArgument(f"workers: found {workers}, expected at least 1")
    imported = cast(Sampled, importlib.import_module(f"sciflow.datasets.{module}"))
    template = imported.template(parameters)
    parts = _Parts(_folder(out.resolve(), record), module, parameters)
    size = block_of(template, parameters.samples)
    blocks = [(a, min(a + size, parameters.samples)) for a in range(0, parameters.samples, size)]
    missing = [block for block in blocks if not parts.has(*block)]
    done = parameters.samples - sum(stop - first for first, stop in missing)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(DRAWING_SHARE * done / parameters.samples)

    advance(0)
    _run(parts, missing, workers, advance)
    lazy = {name: parts.lazy(template[name], blocks) for name in _varying(template)}
    return _filled(template, parameters, lazy)


def unfinished(out: Path) -> Path:
    """Return the folder that holds the parts of ``out``."""
    return out.with_name(f"{out.name}.unfinished")


def block_of(template: xr.Dataset, samples: int) -> int:
    """Return how many samples a task draws: the same for any number of processes."""
    by_bytes = BLOCK_BYTES // _sample_bytes(template)
    return max(1, min(by_bytes, -(-samples // BLOCKS)))


@dataclass(frozen=True, slots=True)
class _Parts:
    """Blocks of samples in a folder, a file each."""

    folder: Path
    module: str
    parameters: SampleParameters

    def path(self, first: int) -> Path:
        return self.folder / f"{first:09d}.npz"

    def has(self, first: int, stop: int) -> bool:
        try:
            with self.path(first).open("rb") as file, np.load(file) as part:
                return all(len(part[name]) == stop - first for name in part.files)
        except (OSError, ValueError, zipfile.BadZipFile):
            return False

    def draw(self, first: int, stop: int) -> int:
        """Draw samples ``[first, stop)`` into their file, and return how many these are."""
        module = cast(Sampled, importlib.import_module(f"sciflow.datasets.{self.module}"))
        drawn = [module.draw(self.parameters, number) for number in range(first, stop)]
        begun = self.folder / f".{uuid4().hex}"
        with begun.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: _stacked(drawn, name) for name in drawn[0]})
            file.flush()
            os.fsync(file.fileno())
        begun.replace(self.path(first))
        return stop - first

    def load(self, name: str, first: int) -> NDArray[Any]:
        with np.load(self.path(first)) as part:
            values: NDArray[Any] = part[name]
        return values

    def lazy(self, variable: xr.DataArray, blocks: list[tuple[int, int]]) -> Any:
        from dask.array import concatenate, from_delayed
        from dask.delayed import delayed

        load = delayed(self.load, pure=False)
        shapes = [(a, (b - a, *variable.shape[1:])) for a, b in blocks]
        each = [from_delayed(load(variable.name, a), shape, variable.dtype) for a, shape in shapes]  # type: ignore[no-untyped-call]
        return concatenate(each)  # type: ignore[no-untyped-call]


def _run(parts: _Parts, blocks: list[tuple[int, int]], workers: int | None, advance: Advance) -> None:
    client = _client() if workers is None else None
    try:
        if client is not None:
            _on_cluster(parts, blocks, client, advance)
        elif workers == 1 or len(blocks) < 2:
            for first, stop in blocks:
                advance(parts.draw(first, stop))
        else:
            _in_processes(parts, blocks, workers or os.cpu_count() or 1, advance)
    except BrokenProcessPool as error:
        raise StoreError(
            f"{parts.folder}: a process that drew samples ended; it had too little memory (use fewer "
            "workers), or the script lacks `if __name__ == '__main__':`. The same call goes on"
        ) from error
    except OSError as error:
        raise StoreError(f"{parts.folder}: cannot be written ({error.strerror or error})") from error


def _in_processes(parts: _Parts, blocks: list[tuple[int, int]], workers: int, advance: Advance) -> None:
    """Draw blocks in fresh processes; those that have begun are finished when this is interrupted."""
    import dask.base
    from dask.callbacks import Callback

    tasks = _tasks(parts, blocks)
    mine = {task.key for task in tasks}

    def done(key: Any, count: Any, _graph: Any, _state: Any, _worker: Any) -> None:
        if key in mine:
            advance(count)

    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    pool = ProcessPoolExecutor(workers, context, initializer=_leave_interrupts)
    with pool, Callback(posttask=done):  # type: ignore[no-untyped-call]
        dask.base.compute(*tasks, scheduler="processes", pool=pool, chunksize=1)  # type: ignore[no-untyped-call]


def _on_cluster(parts: _Parts, blocks: list[tuple[int, int]], client: Client, advance: Advance) -> None:
    from distributed import as_completed

    futures = client.compute(_tasks(parts, blocks))  # type: ignore[no-untyped-call]
    for _, count in as_completed(futures, with_results=True):  # type: ignore[no-untyped-call]
        advance(count)


def _tasks(parts: _Parts, blocks: list[tuple[int, int]]) -> list[Delayed]:
    from dask.delayed import delayed

    return [delayed(parts.draw, pure=False)(first, stop) for first, stop in blocks]


def _client() -> Client | None:
    """Return the Dask client that is open, None where there is none."""
    import distributed

    try:
        return distributed.get_client()
    except ValueError:
        return None


def _leave_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal: this one leaves it to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _folder(out: Path, record: str) -> Path:
    """Return the folder of parts, made where it is not there."""
    folder = unfinished(out)
    about = folder / "recipe.txt"
    try:
        found = about.read_text(encoding="utf-8") if about.is_file() else None
        folder.mkdir(exist_ok=True)
        if found is None and not any(folder.iterdir()):
            about.write_text(record, encoding="utf-8")
            found = record
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})") from error
    if found != record:
        raise StoreError(
            f"{folder}: found {f'parts of {found!r}' if found else 'other files'}, expected parts of "
            f"{record!r}; go on with those settings, or remove the folder"
        )
    return folder


def _filled(template: xr.Dataset, parameters: SampleParameters, values: Mapping[str, Any]) -> xr.Dataset:
    """Return ``template`` with the samples in it, and each variable's chunks in a file."""
    import xarray as xr

    variables = {str(name): each.variable for name, each in template.data_vars.items()}
    for name, data in values.items():
        empty = variables[name]
        encoding = {"chunksizes": (_chunk_rows(empty, parameters.samples), *empty.shape[1:])}
        variables[name] = xr.Variable(empty.dims, data, empty.attrs, encoding)
    about = {"standard_name": "realization", "long_name": "number of the sample", "units": "1"}
    numbered = {"sample": ("sample", np.arange(parameters.samples, dtype=np.int64), about)}
    return xr.Dataset(variables, {**numbered, **template.coords}, template.attrs)


def _chunk_rows(variable: xr.Variable, samples: int) -> int:
    """Return the samples in a chunk: about equal chunks, so that the last has little to fill."""
    each = int(variable.dtype.itemsize * np.prod(variable.shape[1:], dtype=np.int64))
    chunks = -(-samples // max(1, CHUNK_BYTES // each))
    return -(-samples // chunks)


def _varying(template: xr.Dataset) -> list[str]:
    return [str(name) for name, each in template.data_vars.items() if "sample" in each.dims]


def _sample_bytes(template: xr.Dataset) -> int:
    shapes = [(template[name].dtype.itemsize, template[name].shape[1:]) for name in _varying(template)]
    return sum(size * int(np.prod(shape, dtype=np.int64)) for size, shape in shapes)


def _stacked(drawn: list[Sample], name: str) -> NDArray[Any]:
    return np.stack([sample[name] for sample in drawn])
