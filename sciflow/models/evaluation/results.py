"""What a ladder found: a rung for each bound, a score for each seed, the knee, a table.

A change of loss is relative, of a rung's model against the one trained on the uncompressed data with the same
seed: the same split, weights and order, so that what differs is the data alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["REFERENCE", "Report", "Rung", "Score"]

REFERENCE = "uncompressed"
"""Name of the first rung."""

Values = Mapping[str, Mapping[str, float]]
"""Metrics by variable and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One model, trained on what a rung decodes to and tested on samples that were never compressed.

    Parameters
    ----------
    seed : int
        Of split, weights and order.
    test_loss : float
        Mean over the held-out samples, in the units that the uncompressed training data are normalised to.
    best_validation : float
        Smallest loss of validation while training, on the rung's own data.
    epochs : int
        That were trained.
    seconds : float
        Wall clock of the training.
    predictions : mapping of str to mapping of str to float
        Physics metrics of the predictions against the truth, by variable, in the units of the file.
    """

    seed: int
    test_loss: float
    best_validation: float
    epochs: int
    seconds: float
    predictions: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One bound.

    Parameters
    ----------
    name : str
        The bound as text, "rel:0.001", or "uncompressed".
    bytes_in, bytes_out : int
        Of the variables that are learned from, as arrays and as the store that holds them.
    compress_seconds : float
        Wall clock of compressing and checking.
    data : mapping of str to mapping of str to float
        Physics metrics of the held-out samples as they are decoded, by variable.
    scores : tuple of Score
        One for each seed.
    """

    name: str
    bytes_in: int
    bytes_out: int
    compress_seconds: float
    data: Values
    scores: tuple[Score, ...]

    @property
    def ratio(self) -> float:
        """Bytes before over bytes after."""
        return self.bytes_in / self.bytes_out

    @property
    def test_loss(self) -> float:
        """Mean over seeds."""
        return _mean([score.test_loss for score in self.scores])

    @property
    def seconds(self) -> float:
        """Mean wall clock of a training."""
        return _mean([score.seconds for score in self.scores])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The ladder.

    Parameters
    ----------
    model, data : str
        Name of the surrogate, and the file it learns from.
    tolerance : float
        Largest relative change of the mean test loss that is accepted.
    rungs : tuple of Rung
        The uncompressed one first.

    Raises
    ------
    InvalidArgument
        If the first rung is another, or rungs have other seeds.
    """

    model: str
    data: str
    tolerance: float
    rungs: tuple[Rung, ...]

    def __post_init__(self) -> None:
        if not self.rungs or self.rungs[0].name != REFERENCE:
            raise InvalidArgument(f"rungs: expected {REFERENCE!r} first")
        seeds = [tuple(score.seed for score in rung.scores) for rung in self.rungs]
        if not seeds[0] or len(set(seeds)) > 1:
            raise InvalidArgument(f"seeds {sorted(set(seeds))}: expected the same for each rung")

    @property
    def reference(self) -> Rung:
        """The uncompressed rung."""
        return self.rungs[0]

    def change(self, rung: Rung) -> float:
        """Relative change of the mean test loss; below 0 where it is smaller."""
        return _growth(rung.test_loss, self.reference.test_loss)

    def spread(self, rung: Rung) -> float:
        """Standard deviation over seeds of the relative change of each; NaN of one seed."""
        pairs = zip(rung.scores, self.reference.scores, strict=True)
        return _deviation([_growth(ours.test_loss, theirs.test_loss) for ours, theirs in pairs])

    @property
    def noise(self) -> float:
        """What a seed alone changes: standard deviation of the uncompressed test losses over their mean."""
        mean = self.reference.test_loss
        return _deviation([_growth(score.test_loss, mean) for score in self.reference.scores])

    def within_noise(self, rung: Rung) -> bool:
        """Whether the change is no larger than its standard error over seeds, doubled; False of one seed."""
        error = self.spread(rung) / math.sqrt(len(rung.scores))
        return abs(self.change(rung)) <= 2.0 * error

    def accepted(self, rung: Rung) -> bool:
        """Whether the mean test loss has grown by the tolerance at most."""
        return self.change(rung) <= self.tolerance

    @property
    def knee(self) -> Rung | None:
        """The accepted rung of the largest ratio; None where no compressed one is accepted."""
        return max(filter(self.accepted, self.rungs[1:]), key=lambda rung: rung.ratio, default=None)

    def verdict(self) -> str:
        """The result in a sentence or two."""
        knee = self.knee
        if knee is None:
            return f"With every bound the mean test loss grows by more than {100 * self.tolerance:.3g} %."
        said = (
            f"{knee.name}: {knee.ratio:.1f} times smaller, test loss {100 * self.change(knee):+.2f} % "
            f"(at most {100 * self.tolerance:+.3g} % accepted)"
        )
        if len(knee.scores) < 2:
            return f"{said}; one seed, so nothing is known of the noise."
        inside = "within" if self.within_noise(knee) else "beyond"
        return (
            f"{said}, {inside} the noise of {len(knee.scores)} seeds. "
            f"A seed alone changes the loss by {100 * self.noise:.2f} %."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for strict JSON."""
        rows = [
            {**asdict(rung), "ratio": rung.ratio, "test_loss": rung.test_loss, **self._judged(rung)}
            for rung in self.rungs
        ]
        return {
            "model": self.model,
            "data": self.data,
            "tolerance": self.tolerance,
            "noise": _finite(self.noise),
            "knee": self.knee.name if self.knee else None,
            "verdict": self.verdict(),
            "rungs": _strict(rows),
        }

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Report:
        """Return what `to_dict` was called on."""
        rungs = tuple(_rung(each) for each in told["rungs"])
        return cls(model=told["model"], data=told["data"], tolerance=told["tolerance"], rungs=rungs)

    def to_csv(self) -> str:
        """A row for each rung and seed."""
        text = io.StringIO()
        names = ["rung", "ratio", "bytes_in", "bytes_out", "seed", "test_loss", "change", "best_validation"]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*names, "epochs", "train_seconds", "compress_seconds"])
        for rung in self.rungs:
            for score, theirs in zip(rung.scores, self.reference.scores, strict=True):
                change = _growth(score.test_loss, theirs.test_loss)
                row = [rung.name, f"{rung.ratio:.5g}", rung.bytes_in, rung.bytes_out, score.seed]
                row += [f"{v:.8g}" for v in (score.test_loss, change, score.best_validation)]
                row += [score.epochs, f"{score.seconds:.4g}", f"{rung.compress_seconds:.4g}"]
                writer.writerow(row)
        return text.getvalue()

    def table(self) -> Table:
        """For people."""
        from rich import box
        from rich.table import Table

        count = len(self.reference.scores)
        title = f"{self.model} on {self.data}, {count} seed{'s' if count > 1 else ''}"
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")
        table.add_column("trained on")
        for name in ("ratio", "MB", "test loss", "change %", "+- seeds %", "train s"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("")
        for rung in self.rungs:
            table.add_row(*self.cells(rung), style="bold" if rung is self.knee else None)
        table.caption, table.caption_justify = self.verdict(), "left"
        return table

    def cells(self, rung: Rung) -> list[str]:
        """A row of the table: name, ratio, MB, loss, change, spread, seconds, mark."""
        first = rung is self.reference
        spread = self.noise if first else self.spread(rung)
        return [
            rung.name,
            f"{rung.ratio:.1f}",
            f"{rung.bytes_out / 1e6:.3g}",
            f"{rung.test_loss:.5g}",
            "" if first else f"{100 * self.change(rung):+.2f}",
            "" if math.isnan(spread) else f"{100 * spread:.2f}",
            f"{rung.seconds:.1f}",
            "knee" if rung is self.knee else "",
        ]

    def __rich__(self) -> Table:
        return self.table()

    def _judged(self, rung: Rung) -> dict[str, Any]:
        if rung is self.reference:
            return {}
        return {
            "change": self.change(rung),
            "spread": self.spread(rung),
            "accepted": self.accepted(rung),
            "within_noise": self.within_noise(rung),
        }


def _rung(told: Mapping[str, Any]) -> Rung:
    scores = tuple(
        _made(Score, {**each, "predictions": _values(each["predictions"])}) for each in told["scores"]
    )
    rung: Rung = _made(Rung, {**told, "scores": scores, "data": _values(told["data"])})
    return rung


def _values(told: Mapping[str, Mapping[str, float | None]]) -> Values:
    return {
        variable: {name: math.nan if value is None else value for name, value in metrics.items()}
        for variable, metrics in told.items()
    }


def _made(kind: Any, told: Mapping[str, Any]) -> Any:
    known = {each.name: told[each.name] for each in fields(kind)}
    return kind(**{name: math.nan if value is None else value for name, value in known.items()})


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _growth(value: float, reference: float) -> float:
    """Relative; NaN where the reference says nothing."""
    return value / reference - 1.0 if 0.0 < reference < math.inf else math.nan


def _deviation(values: Sequence[float]) -> float:
    """Of a sample; NaN of one value."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _strict(value: Any) -> Any:
    """With null for what is not a finite number."""
    if isinstance(value, Mapping):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return _finite(value) if isinstance(value, float) else value
