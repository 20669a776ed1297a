"""Variables as PDEBench and the Well store them: which axes they have, and their components.

```
PDEBench   tensor, density, Vx, ...   (batch, t, x, ...)      nu, force   (batch, x, ...)
           0000/data                  (t, x, ..., component)
Well       t0_fields/f                (trajectory, t, x, ...)
           t1_fields/v                (trajectory, t, x, ..., d)     t2_fields/s  (..., d, d)
```
PDEBench: Takamoto et al., "PDEBench: an extensive benchmark for scientific machine learning", NeurIPS 2022,
and how https://github.com/pdebench/PDEBench reads its files (``pdebench/models/fno/utils.py``,
``pdebench/data_download/visualize_pdes.py``). The Well: Ohana et al., "The Well: a large-scale collection of
diverse physics simulations for machine learning", NeurIPS 2024, and the specification of its files,
https://github.com/PolymathicAI/the_well/blob/master/docs/data_format.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sciflow.datasets.containers import AnyPath, opened, variables
from sciflow.datasets.sources.array import StoredArray
from sciflow.datasets.sources.hdf5 import open_dataset, open_datasets
from sciflow.datasets.views import Fixed, Trajectories
from sciflow.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    import h5py

__all__ = ["Found", "Variable", "groups_of", "open_pdebench", "open_well"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, its axes in the order sample, time, space, components, those that it has.

    Parameters
    ----------
    array : StoredArray
        Rows are samples; instants where there is no sample axis.
    time : bool
        Whether it has a time axis.
    sample : bool
        Whether it has a sample axis.
    """

    array: StoredArray
    time: bool = False
    sample: bool = True


Found = Mapping[str, Variable]


def open_pdebench(path: AnyPath, names: Sequence[str]) -> Found:
    """Return variables of one of PDEBench's files, or components of them; steady ones without a time axis.

    Raises
    ------
    InvalidArgument
        If there is no such variable, or the file is not one of PDEBench's.
    """
    with opened(path) as file:
        groups = groups_of(file)
        if groups:
            described = {"data": _Layout(time=True, components=(file[f"{groups[0]}/data"].shape[-1],))}
        else:
            described = _described_pdebench(file)
        if not described:
            expected = "tensor, fields with x-coordinate, or groups 0000/data"
            raise _mistaken(path, "pdebench", variables(file), expected)
    wanted = {name: _resolved(path, name, described) for name in names}
    arrays = {key: _rows_of(path, key, groups) for key in {key for key, _ in wanted.values()}}
    return _one_time({name: _picked(arrays[key], name, layout) for name, (key, layout) in wanted.items()})


def _rows_of(path: AnyPath, key: str, groups: Sequence[str]) -> StoredArray:
    if not groups:
        return open_dataset(path, key)
    return Trajectories(tuple(open_datasets(path, [f"{group}/{key}" for group in groups])))


def _described_pdebench(file: h5py.File) -> dict[str, _Layout]:
    """Return the fields (batch, t, x, ...), static fields (batch, x, ...) and their components."""
    space = sum(f"{axis}-coordinate" in file for axis in "xyz")
    if "velocity" in file and not space:
        space = 2  # incompressible flow has no coordinates in the file
    described = {}
    for name in variables(file):
        axes = len(file[name].shape) - space
        shape = file[name].shape
        if "/" in name or name.endswith("coordinate") or name == "t" or not space or axes < 1:
            continue
        static = axes == 1 or name == "force"
        components = shape[-1:] if axes == (3 if not static else 2) else ()
        described[name] = _Layout(time=not static, components=components)
    return described


def _one_time(found: dict[str, Variable]) -> dict[str, Variable]:
    """Return steady fields, which are stored with one instant, without their time axis."""
    if any(variable.time and variable.array.shape[1] != 1 for variable in found.values()):
        return found
    return {
        name: Variable(Fixed(variable.array, 0, 0)) if variable.time else variable
        for name, variable in found.items()
    }


def open_well(path: AnyPath, names: Sequence[str]) -> Found:
    """Return fields of one of the Well's files, or components of them.

    Raises
    ------
    InvalidArgument
        If there is no such field, or the file is not one of the Well's.
    Unsupported
        If a field is the same for all trajectories, or lacks an axis of the grid.
    """
    described: dict[str, _Layout] = {}
    where: dict[str, str] = {}
    with opened(path) as file:
        for rank in range(3):
            for name, dataset in file.get(f"t{rank}_fields", {}).items():
                described[name] = _described_well(dataset, rank, _labels(file))
                where[name] = dataset.name
        if not described:
            expected = "groups t0_fields, t1_fields or t2_fields with data sets"
            raise _mistaken(path, "well", variables(file), expected)
    found = {}
    for name in names:
        key, layout = _resolved(path, name, described)
        if layout.fault:
            raise Unsupported(f"{path}: {key} {layout.fault}")
        found[name] = _picked(open_dataset(path, where[key]), name, layout)
    return found


def _described_well(dataset: h5py.Dataset, rank: int, labels: tuple[str, ...]) -> _Layout:
    fault = ""
    if not dataset.attrs.get("sample_varying", True):
        fault = "is the same for all trajectories, expected a trajectory axis; read it with h5py"
    elif not all(dataset.attrs.get("dim_varying", (True,))):
        fault = "does not vary along every axis, expected a field on the whole grid; read it with h5py"
    components = tuple(dataset.shape[len(dataset.shape) - rank :]) if rank else ()
    return _Layout(bool(dataset.attrs.get("time_varying", True)), components, labels, fault)


def _labels(file: h5py.File) -> tuple[str, ...]:
    names = file["dimensions"].attrs.get("spatial_dims", ()) if "dimensions" in file else ()
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a collection stores one of its variables, whose first axis counts trajectories.

    Parameters
    ----------
    time : bool
        Whether the second axis is time.
    components : tuple of int
        Lengths of the last axes, which are components.
    labels : tuple of str
        Names of the components along each of them.
    fault : str
        Why it cannot be read; empty where it can.
    """

    time: bool
    components: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    fault: str = ""

    def index(self, component: str) -> tuple[int, ...] | None:
        """Return the place of ``"0"``, ``"x"``, ``"0.1"`` or ``"xy"``; None where there is none."""
        parts = component.split(".")
        if len(parts) != len(self.components):
            parts = list(component)
        places = []
        for part, length in zip(parts, self.components, strict=False):
            place = int(part) if part.isdigit() else self._labelled(part)
            places.append(place if place < length else -1)
        return tuple(places) if len(parts) == len(self.components) and min(places) >= 0 else None

    def _labelled(self, part: str) -> int:
        return self.labels.index(part) if part in self.labels else -1


def _resolved(path: AnyPath, name: str, described: Mapping[str, _Layout]) -> tuple[str, _Layout]:
    """Return the variable that ``name`` is, or is a component of."""
    key, _, component = name.partition(".")
    if name in described:
        return name, described[name]
    if key in described and described[key].index(component) is not None:
        return key, described[key]
    shown = [
        f"{each} (components {'.'.join(f'0..{n - 1}' for n in layout.components)})"
        if max(layout.components, default=1) > 1
        else each
        for each, layout in described.items()
    ]
    raise InvalidArgument(f"{path}: found no variable {name!r}, expected one of {', '.join(shown)}")


def _picked(array: StoredArray, name: str, layout: _Layout) -> Variable:
    """Return the variable, one component of it where one is named or there is but one."""
    places = layout.index(name.partition(".")[2]) if "." in name else None
    if places is None and all(length == 1 for length in layout.components):
        places = (0,) * len(layout.components)
    for axis in range(len(places or ()), 0, -1):
        assert places is not None
        array = Fixed(array, len(array.shape) - 2, places[axis - 1])
    return Variable(array, time=layout.time)


def groups_of(file: h5py.File) -> list[str]:
    """Return the groups that are trajectories: those that hold ``data``, if all do."""
    import h5py

    groups = sorted(name for name in file if isinstance(file[name], h5py.Group))
    return groups if groups and all("data" in file[name] for name in groups) else []


def _mistaken(path: AnyPath, layout: str, found: Sequence[str], expected: str) -> InvalidArgument:
    shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    return InvalidArgument(
        f"{path}: found {shown or 'no data set'}, expected {expected} of layout {layout!r}; pass the "
        "layout that it has"
    )
