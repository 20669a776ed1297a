"""What a training run is, as one TOML file: every key, its default and what it means.

```
CONFIG.toml ─ load_config(path, set=["train.rate=1e-4"]) ─▶ Config ─▶ train
```
Unknown keys are refused by name. `to_toml` writes a config with its keys explained.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sciflow.errors import InvalidArgument

__all__ = [
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "load_config",
    "to_toml",
]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_OF_A_RECIPE = {"kind", "name", "title", "licence", "dataset", "settings"}
"""What a recipe of the catalogue has beside its config."""

Names = Annotated[tuple[str, ...], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class DataConfig(_Section):
    """What is learned, and from which file."""

    path: str = Field(description="HDF5, NetCDF-4, Zarr or .npy; its first axis counts samples.")
    inputs: Names = Field(min_length=1, description="Variables that are the channels of the input.")
    targets: Names = Field(
        default=(),
        description="Variables to predict; empty for next-step (the inputs later) and unsupervised models.",
    )
    layout: Literal["samples", "next-step", "pdebench", "well"] = Field(
        default="samples",
        description="samples: a row is a sample. next-step: a row is a trajectory (time, ...), a state "
        "predicts the next one. pdebench, well: trajectories as these collections store them.",
    )
    normalise: Literal["standard", "none", "maximum"] = Field(
        default="standard",
        description="standard: mean 0, deviation 1. maximum: largest magnitude 1. Of the training split.",
    )
    validation: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Part of the samples, or trajectories, that judges each epoch.",
    )
    test: float = Field(
        default=0.1, ge=0, lt=1, description="Part that no training sees; `sciflow evaluate` uses it."
    )
    buffer: str = Field(
        default="1GiB", description="Memory for samples in each process: more of it, fewer reads."
    )

    @field_validator("buffer")
    @classmethod
    def _is_a_size(cls, text: str) -> str:
        _bytes(text)
        return text

    @model_validator(mode="after")
    def _leaves_samples(self) -> DataConfig:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test = {self.validation + self.test:g} leave nothing to train on; expected < 1"
            )
        for name, names in (("inputs", self.inputs), ("targets", self.targets)):
            if len(set(names)) != len(names):
                raise ValueError(f"{name} names a variable twice: {', '.join(names)}")
        return self

    @property
    def buffer_bytes(self) -> int:
        """The buffer's size in bytes."""
        return _bytes(self.buffer)


class ModelConfig(_Section):
    """The network."""

    name: str = Field(description="A surrogate: ptychonn, autophasenn, cosmoflow, unet, fno ...")
    settings: dict[str, Any] = Field(
        default={}, description="Of that surrogate; what is left out is its default."
    )


class TrainConfig(_Section):
    """How it is trained."""

    epochs: int = Field(default=50, ge=1, description="Passes over the training split, at most.")
    batch_size: int = Field(default=32, ge=1, description="Samples of a batch, over all processes together.")
    accumulate: int = Field(default=1, ge=1, description="Batches whose gradients make one step.")
    rate: float = Field(
        default=1e-3, gt=0, description="Of AdamW at its highest; a cosine brings it to a hundredth."
    )
    warmup: int = Field(default=0, ge=0, description="Steps in which the rate rises to its highest.")
    decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    clip: float = Field(default=1.0, ge=0, description="Largest norm of a gradient; 0: as it is.")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="Decay of a running average of the weights, as 0.999; 0: none."
    )
    patience: int = Field(default=0, ge=0, description="Epochs without a better validation; 0: all epochs.")
    precision: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        default="auto", description="auto: bfloat16 on a GPU that has it, float32 elsewhere."
    )
    threads: int = Field(
        default=0, ge=0, description="Of the processor, for the network; 0: as torch chooses."
    )


class CheckpointConfig(_Section):
    """What is kept of it."""

    every: int = Field(
        default=500, ge=1, description="Steps between checkpoints; there is one each epoch as well."
    )
    keep: int = Field(
        default=2, ge=1, description="Newest checkpoints that are kept, beside the best weights."
    )


class Config(_Section):
    """A training run.

    Parameters
    ----------
    seed : int
        Of splits, weights, order and all else that is random.
    out : str
        Folder of the run.
    data, model, train, checkpoint
        One for each table of the file.

    Raises
    ------
    pydantic.ValidationError
        If a value is out of its domain or a key is unknown; `Config.of` makes one line of it.

    Examples
    --------
    >>> made = Config.of({"data": {"path": "a.h5", "inputs": ["x"]}, "model": {"name": "fno"}})
    >>> made.train.epochs
    50
    >>> Config.of({"data": {"path": "a.h5", "inputs": ["x"]}, "model": {"name": "fno"}, "train": {"lr": 1}})
    Traceback (most recent call last):
        ...
    sciflow.errors.InvalidArgument: config: train.lr: unknown key, expected one of epochs, batch_size, ...
    """

    seed: int = Field(default=0, ge=0, description="Of splits, weights, order and all else that is random.")
    out: str = Field(default="run", min_length=1, description="Folder of the run: checkpoints, logs, curves.")
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @classmethod
    def of(cls, table: Mapping[str, Any], *, origin: str = "config") -> Config:
        """Return the config that a nested mapping describes.

        Parameters
        ----------
        table : mapping
            As a TOML file gives it.
        origin : str
            What an error calls it.

        Raises
        ------
        InvalidArgument
            For every key that is unknown, missing or out of its domain, in one line.
        """
        try:
            return cls.model_validate(dict(table))
        except ValidationError as error:
            problems = "; ".join(_problem(each) for each in error.errors())
            raise InvalidArgument(f"{origin}: {problems}") from None

    def replace(self, **changes: Any) -> Config:
        """Return another config: ``replace(seed=1, train={"rate": 1e-4})``; a table's other keys stay.

        Raises
        ------
        InvalidArgument
            As `of`.
        """
        table = self.model_dump()
        for key, value in changes.items():
            table[key] = {**table[key], **value} if isinstance(value, Mapping) else value
        return Config.of(table)


def load_config(path: str | os.PathLike[str], *, set: Iterable[str] = ()) -> Config:  # noqa: A002 - as --set
    """Read a config, or a recipe of the catalogue, with some values replaced.

    Parameters
    ----------
    path : path
        TOML.
    set : iterable of str
        ``"train.rate=1e-4"``: a key with dots and a TOML value; text needs no quotes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidArgument
        If it is no TOML, or as `Config.of`.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path}: not TOML ({error})") from error
    if table.get("kind") == "surrogate":
        table = {key: value for key, value in table.items() if key not in _OF_A_RECIPE}
    for text in set:
        _replace(table, text)
    return Config.of(table, origin=str(path))


def to_toml(config: Config) -> str:
    """Return the text of a config, every key with its meaning; `load_config` reads it back."""
    lines = _keys(config)
    for name in ("data", "model", "train", "checkpoint"):
        section = getattr(config, name)
        lines += ["", f"[{name}]  # {(type(section).__doc__ or '').strip()}", *_keys(section)]
    return "\n".join(lines) + "\n"


def _keys(section: BaseModel) -> list[str]:
    lines = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if not isinstance(value, BaseModel):
            lines.append(f"# {field.description}")
            lines.append(f"{key} = {_toml(value)}")
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _replace(table: dict[str, Any], text: str) -> None:
    key, found, value = text.partition("=")
    path = key.strip().split(".")
    if not (found and all(path)):
        raise InvalidArgument(f"--set {text}: expected KEY=VALUE, as in train.rate=1e-4")
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InvalidArgument(f"--set {text}: {name} is a value, expected a table as in train.rate=1e-4")
    try:
        table[path[-1]] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[path[-1]] = value


def _problem(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key, expected one of {', '.join(_siblings(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{where}: missing, expected a value"
    said = error["msg"].removeprefix("Value error, ")
    shown = f", found {error['input']!r}" if not isinstance(error["input"], Mapping) else ""
    return f"{where}: {said[:1].lower()}{said[1:]}{shown}"


def _siblings(path: tuple[str | int, ...]) -> list[str]:
    at: type[BaseModel] = Config
    for name in path:
        at = at.model_fields[str(name)].annotation  # type: ignore[assignment]
    return list(at.model_fields)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([kmgt]?|[kmgt]i)b?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no size, expected one as 1GiB or 500MB")
    return int(float(match[1]) * {**_UNITS, **_BINARY_UNITS}[match[2]])
