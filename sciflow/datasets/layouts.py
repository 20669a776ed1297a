"""Samples out of files as others lay them out, read in place.

```
samples     (sample, ...)                          ─▶ {name: (...)}
next-step   (sample, time, ...) or (time, ...)     ─▶ {name: (2, ...)}    now and later, never across samples
pdebench    tensor, nu, density, Vx, 0000/data     ─▶ {name: (2, ...)}, or samples where there is one time
well        t0_fields, t1_fields, t2_fields        ─▶ {name: (2, ...)}
```
The collections are those of `sciflow.datasets.collected`, which cites their pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sciflow.datasets.collected import Found, Variable, groups_of, open_pdebench, open_well
from sciflow.datasets.containers import AnyPath, array_of, axes_of, files_of, holds_one, is_hdf5, opened
from sciflow.datasets.sources.array import StoredArray
from sciflow.datasets.sources.base import Source
from sciflow.datasets.sources.fields import Field
from sciflow.datasets.sources.joined import join_files
from sciflow.datasets.views import Pairs, Still
from sciflow.errors import InvalidArgument, Unsupported

__all__ = ["LAYOUTS", "Samples", "find_samples", "open_samples"]

TIME = ("time", "t")
"""Names of the axis that counts instants."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples, and how they belong together.

    Parameters
    ----------
    source : Source
        For the loader.
    layout : str
        Of the file, one of `LAYOUTS`.
    paired : bool
        Whether a field has an axis of two in front: the state now and the state later.
    together : int
        Samples in a row that come from one trajectory: a split into training and test that cuts through them
        tests on what it trained on. 1 where every sample stands alone.
    """

    source: Source
    layout: str
    paired: bool
    together: int


def open_samples(
    path: AnyPath | Sequence[AnyPath],
    inputs: str | Sequence[str],
    targets: str | Sequence[str] = (),
    *,
    layout: str = "auto",
    ahead: int = 1,
) -> Source:
    """Samples of a file in one of the common layouts, read in place.

    Parameters
    ----------
    path : path or URL, or sequence of these
        HDF5, NetCDF-4, Zarr, ``.npy``; a folder of HDF5 files, or of ``.npy`` files that are variables; a
        sequence of files whose samples follow one another.
    inputs, targets : str or sequence of str
        Variables; one that is both comes once. A component of a vector or tensor is ``"velocity.0"``, in the
        Well ``"velocity.x"`` too.
    layout : str
        One of `LAYOUTS`; ``"auto"`` looks.
    ahead : int
        Instants from now to later.

    Returns
    -------
    Source
        Fields by name. Where the variables have a time axis, a field has an axis of two in front: the state
        now and the state ``ahead`` instants later, for every instant that has one, trajectory after
        trajectory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidArgument
        If a variable is missing, or the file is not laid out so; the message says what was found.
    Unsupported
        If the layout's fields cannot be samples as they are.

    Examples
    --------
    >>> import tempfile, pathlib, h5py, numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "burgers.hdf5"
    >>> with h5py.File(path, "w") as file:
    ...     file["tensor"] = np.zeros((5, 11, 32), "f4")
    ...     file["x-coordinate"] = np.zeros(32)
    >>> open_samples(path, "tensor")
    <Source of 50 samples (tensor: float32[2, 32])>
    """
    return find_samples(path, inputs, targets, layout=layout, ahead=ahead).source


def find_samples(
    path: AnyPath | Sequence[AnyPath],
    inputs: str | Sequence[str],
    targets: str | Sequence[str] = (),
    *,
    layout: str = "auto",
    ahead: int = 1,
) -> Samples:
    """Return what `open_samples` does, with the layout that was found and how samples belong together."""
    names = tuple(dict.fromkeys((*_listed(inputs), *_listed(targets))))
    if not names:
        raise InvalidArgument("inputs: found none, expected the name of at least one variable")
    if layout not in LAYOUTS:
        raise InvalidArgument(f"layout: found {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if ahead < 1:
        raise InvalidArgument(f"ahead: found {ahead}, expected at least 1 instant")
    files = files_of(path)
    if len(names) > 1 and holds_one(files[0]):
        raise InvalidArgument(
            f"{files[0]}: holds one array, found {len(names)} names; put .npy files into one folder, and "
            "open that"
        )
    kind = _detect(files[0], names) if layout == "auto" else layout
    each = [_OPENERS[kind](file, names) for file in files]
    return _joined(kind, each, ahead)


# ---------------------------------------------------------------- pairs


def _joined(kind: str, files: Sequence[Found], ahead: int) -> Samples:
    """Return samples of all files, one after the other."""
    first = files[0]
    if not any(variable.time for variable in first.values()):
        arrays = {name: join_files([found[name].array for found in files]) for name in first}
        return Samples(Source.of(arrays), kind, paired=False, together=1)
    if any(not variable.sample for variable in first.values()):
        return _series(kind, files, ahead)
    per = {_instants(found) - ahead for found in files}
    if len(per) > 1 or min(per) < 1:
        found = ", ".join(str(each + ahead) for each in sorted(per))
        raise InvalidArgument(f"time axis: found {found} instants, expected one number above ahead={ahead}")
    (pairs,) = per
    views = [{name: _pairs(variable, pairs, ahead) for name, variable in found.items()} for found in files]
    arrays = {name: join_files([view[name] for view in views]) for name in first}
    return Samples(Source.of(arrays), kind, paired=True, together=pairs)


def _pairs(variable: Variable, pairs: int, ahead: int) -> StoredArray:
    return Pairs(variable.array, ahead) if variable.time else Still(variable.array, pairs)


def _instants(found: Found) -> int:
    lengths = {name: each.array.shape[1] for name, each in found.items() if each.time}
    if len(set(lengths.values())) > 1:
        raise InvalidArgument(
            f"time axis: found {lengths} instants, expected the same number in each variable"
        )
    return next(iter(lengths.values()))


def _series(kind: str, files: Sequence[Found], ahead: int) -> Samples:
    """Return the pairs of one series in time."""
    if len(files) > 1:
        raise Unsupported(
            f"{len(files)} files of one series each: expected a sample axis; open them one by one"
        )
    (found,) = files
    fields = {name: Field(variable.array, (0, ahead), stacked=True) for name, variable in found.items()}
    lengths = {name: variable.array.shape[0] for name, variable in found.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidArgument(
            f"time axis: found {lengths} instants, expected the same number in each variable"
        )
    source = Source(fields)
    return Samples(source, kind, paired=True, together=len(source))


# ---------------------------------------------------------------- detection


def _detect(path: AnyPath, names: Sequence[str]) -> str:
    if not is_hdf5(path):
        axes = axes_of(path, names)
    else:
        with opened(path) as file:
            keys = set(file)
            if keys & {"t0_fields", "t1_fields", "t2_fields"}:
                return "well"
            if (
                "tensor" in keys
                or "x-coordinate" in keys
                or {"velocity", "particles"} <= keys
                or groups_of(file)
            ):
                return "pdebench"
        axes = axes_of(path, names)
    return "next-step" if any(set(TIME) & set(dims or ()) for dims in axes.values()) else "samples"


# ---------------------------------------------------------------- layouts


def _open_samples(path: AnyPath, names: Sequence[str]) -> Found:
    return {name: Variable(array_of(path, name)) for name in names}


def _open_next_step(path: AnyPath, names: Sequence[str]) -> Found:
    found = {}
    for name, axes in axes_of(path, names).items():
        array = array_of(path, name)
        if axes is None:
            if len(array.shape) < 2:
                raise InvalidArgument(
                    f"{path}: {name} has shape {array.shape}, expected (sample, time, ...); pass "
                    'layout="samples" where rows are samples'
                )
            found[name] = Variable(array, time=True)
            continue
        times = [axes.index(each) for each in TIME if each in axes]
        if times and times[0] > 1:
            raise InvalidArgument(
                f"{path}: {name} has axes {axes}, expected (time, ...) or (sample, time, ...); write it "
                "transposed"
            )
        found[name] = Variable(array, time=bool(times), sample=times != [0])
    if not any(variable.time for variable in found.values()):
        raise InvalidArgument(
            f"{path}: none of {', '.join(found)} has a time axis ({' or '.join(TIME)}), expected one; pass "
            'layout="samples" where rows are samples'
        )
    if len({variable.sample for variable in found.values()}) > 1:
        mixed = ", ".join(f"{n} {'(sample, ...)' if v.sample else '(time, ...)'}" for n, v in found.items())
        raise InvalidArgument(f"{path}: found {mixed}; expected a sample axis in all variables or in none")
    return found


LAYOUTS = ("auto", "samples", "next-step", "pdebench", "well")
"""What `open_samples` knows."""

_OPENERS: dict[str, Callable[[AnyPath, Sequence[str]], Found]] = {
    "samples": _open_samples,
    "next-step": _open_next_step,
    "pdebench": open_pdebench,
    "well": open_well,
}


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
