"""Everything sciflow raises on purpose.

```
SciflowError
├── InvalidArgument (ValueError)      the caller asked for something that cannot be
│   └── UnsupportedDtype (TypeError)  ... of data that this codec does not take
├── Corrupt (ValueError)              the bytes are not what an encoder wrote
│   └── Truncated                     ... because the end is missing
├── Unsupported                       well-formed, but newer than this release or not built in
├── BoundViolated                     the promise was broken: our bug, please report
├── ModelMismatch                     a learned stream met another model than the one it names
│   └── AuxMismatch                   ... or other variables beside it than its encoder had
├── SourceChanged                     a file is not the one that was opened
├── Diverged                          a training left what can be trusted
├── StalePlan                         an access plan was made for data that have changed since
├── SchedulerError                    Slurm refused a job, lost it, or does not answer
└── StoreError                        the target exists, is half-written or cannot be written
```
"""

from __future__ import annotations

__all__ = [
    "AuxMismatch",
    "BoundViolated",
    "Corrupt",
    "Diverged",
    "InvalidArgument",
    "ModelMismatch",
    "SchedulerError",
    "SciflowError",
    "SourceChanged",
    "StalePlan",
    "StoreError",
    "Truncated",
    "Unsupported",
    "UnsupportedDtype",
]


class SciflowError(Exception):
    """The root: ``except SciflowError`` catches whatever sciflow raises on purpose."""


class InvalidArgument(SciflowError, ValueError):
    """An argument is out of its domain; nothing was read or written."""


class UnsupportedDtype(InvalidArgument, TypeError):
    """The data are of a type that the codec does not take; the message names a codec that does."""


class Corrupt(SciflowError, ValueError):
    """A stream fails its checksum or contradicts itself."""


class Truncated(Corrupt):
    """A stream ends before its header says it does."""


class Unsupported(SciflowError):
    """A stream is well-formed but needs a newer release, or a feature that is not built in."""


class BoundViolated(SciflowError):
    """A decoded value is further from the original than was promised: a bug of ours, please report it."""


class ModelMismatch(SciflowError):
    """A learned stream names a model that is not the one at hand."""


class AuxMismatch(ModelMismatch):
    """A stream needs other variables that are missing, of another shape, or not those of its encoder."""


class SourceChanged(SciflowError):
    """A file that is being read is not the one that was opened: it has another size or time, or is gone."""


class Diverged(SciflowError):
    """A training's loss or gradients are not to be trusted any more; the message names step and samples."""


class StalePlan(SciflowError):
    """An access plan belongs to data, or an order, that have changed since it was made: make it again."""


class SchedulerError(SciflowError):
    """Slurm refused a job, lost it or does not answer; the message quotes what it says."""


class StoreError(SciflowError):
    """A store exists already, is half-written, or cannot be written."""
