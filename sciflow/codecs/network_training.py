"""Trains the networks of an enhancer while an array is compressed. Needs torch; decoding never comes here.

```
patches of inputs ─▶ conv ─ ReLU ─▶ conv ─ ReLU ─▶ conv ─▶ correction of a cell's group ─▶ squared error
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import Unsupported

__all__ = ["CHANNELS", "INPUTS", "MOST_STEPS", "Lesson", "forward", "load_torch", "shapes", "train"]

INPUTS = 2
CHANNELS = 4
_PATCH = {3: 24, 2: 96, 1: 2048}
_BATCH = 4
_RATE = 1e-2
MOST_STEPS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What to learn from.

    Parameters
    ----------
    inputs : ndarray, float32, shape (2, slabs, z, y, x)
        `reach` cells longer at both ends of each of the last `axes` axes than the others.
    target, group : ndarray, float32 and int64, shape (slabs, z, y, x)
        What was lost, and the group of a cell; a target of 0 where nothing is known.
    axes, groups : int
        Axes that a convolution reaches along, and how many networks.
    reach : int
        0: convolutions see zeros beyond a patch; 3: they see the cells around it.
    rounded : bool
        Whether weights are rounded to eight bits for each output while they are trained.
    """

    inputs: NDArray[np.float32]
    target: NDArray[np.float32]
    group: NDArray[np.int64]
    axes: int
    groups: int
    reach: int
    rounded: bool


def shapes(axes: int, groups: int) -> list[tuple[int, ...]]:
    """Shapes of kernel and bias of each layer."""
    kernel = tuple(3 if axis >= 3 - axes else 1 for axis in range(3))
    found: list[tuple[int, ...]] = []
    for inputs, outputs in ((INPUTS, CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, 1)):
        found += [(groups * outputs, inputs, *kernel), (groups * outputs,)]
    return found


def train(
    lesson: Lesson, *, seed: int, budget: float, progress: bool | None, steps: int = MOST_STEPS
) -> list[NDArray[np.float32]]:
    """Return kernel and bias of each layer after at most `budget` seconds, or `steps` if those end before.

    Parameters
    ----------
    lesson : Lesson
    seed : int
        Of the first weights and of the patches that are looked at.
    budget : float
        Seconds.
    progress : bool, optional
        Show a bar on standard error; by default where that is a terminal.
    steps : int
        Of the optimiser, at most.

    Raises
    ------
    Unsupported
        If torch is not installed.
    """
    torch = load_torch()
    generator = torch.Generator().manual_seed(seed)
    device = _device(torch)
    parameters = _first(torch, lesson, generator, device)
    inputs = torch.from_numpy(lesson.inputs).to(device)
    target = torch.from_numpy(lesson.target).to(device)
    group = torch.from_numpy(lesson.group).to(device)
    optimiser = torch.optim.Adam(parameters, lr=_RATE)
    start = time.monotonic()
    with _bar(show=progress) as advance:
        for step in range(steps):
            done = max(step / steps, (time.monotonic() - start) / budget)
            if done >= 1.0:
                break
            for settings in optimiser.param_groups:
                settings["lr"] = _RATE * max(0.02, 1.0 - done)
            optimiser.zero_grad()
            used = [_rounded(torch, p) for p in parameters] if lesson.rounded else parameters
            loss = torch.zeros((), device=device)
            for _ in range(_BATCH):
                cut = _patch(lesson, generator, torch)
                seen = inputs[(slice(None), *_around(cut, lesson))]
                found = forward(seen, used, lesson.axes, lesson.groups, padded=lesson.reach == 0)
                chosen = found.gather(0, group[cut][None])[0]
                loss = loss + torch.nn.functional.mse_loss(chosen, target[cut])
            loss.backward()
            optimiser.step()
            advance(done)
    return [parameter.detach().cpu().numpy() for parameter in parameters]


def forward(inputs: Any, parameters: Sequence[Any], axes: int, groups: int, *, padded: bool) -> Any:
    """Corrections of every group; inputs (2, z, y, x) give (groups, z, y, x), shorter where not padded."""
    torch = load_torch()
    padding = tuple(1 if padded and axis >= 3 - axes else 0 for axis in range(3))
    x = inputs.repeat(groups, 1, 1, 1)[None]
    for layer in range(3):
        kernel, bias = parameters[2 * layer : 2 * layer + 2]
        x = torch.nn.functional.conv3d(x, kernel, bias, padding=padding, groups=groups)
        if layer < 2:
            x = torch.relu(x)
    return x[0]


def load_torch() -> Any:
    """Return torch.

    Raises
    ------
    Unsupported
        If it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise Unsupported("enhancer='cnn' needs torch: pip install 'sciflow[torch]'") from error
    return torch


def _first(torch: Any, lesson: Lesson, generator: Any, device: Any) -> list[Any]:
    parameters = []
    for shape in shapes(lesson.axes, lesson.groups):
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        value = torch.randn(shape, generator=generator) * (2.0 / fan) ** 0.5 * (len(shape) > 1)
        parameters.append(value.to(device).requires_grad_(True))
    with torch.no_grad():
        parameters[-2].mul_(0.1)
    return parameters


def _rounded(torch: Any, parameter: Any) -> Any:
    """A kernel as eight bits for each output hold it; its gradient is that of the exact one."""
    if parameter.dim() == 1:
        return parameter
    step = parameter.detach().abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-12) / 127
    return parameter + (torch.round(parameter / step) * step - parameter).detach()


def _device(torch: Any) -> Any:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _patch(lesson: Lesson, generator: Any, torch: Any) -> tuple[Any, ...]:
    size = _PATCH[lesson.axes]
    cuts: list[Any] = [int(torch.randint(lesson.target.shape[0], (), generator=generator))]
    for n in lesson.target.shape[1:]:
        start = int(torch.randint(max(1, n - size + 1), (), generator=generator))
        cuts.append(slice(start, start + min(size, n)))
    return tuple(cuts)


def _around(cut: tuple[Any, ...], lesson: Lesson) -> tuple[Any, ...]:
    """The same patch of the inputs, with the cells around it."""
    first = 4 - lesson.axes
    return tuple(
        slice(each.start, each.stop + 2 * lesson.reach) if axis >= first else each
        for axis, each in enumerate(cut)
    )


@contextmanager
def _bar(*, show: bool | None) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = not (console.is_terminal if show is None else show)
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("train enhancer", total=1.0)
        yield lambda done: progress.update(task, completed=done)
