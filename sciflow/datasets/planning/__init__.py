"""Plans of all reads of a training run, made from the shuffles that are fixed ahead.

```
seed ─▶ shuffle of every epoch ─▶ which node uses what when ─▶ what is read when, where it waits ─▶ EpochPlan
```

The order of samples is that of ``torch.utils.data.DistributedSampler``; only the place of reading changes.
After SOLAR [1]_, with plans of O(N) an epoch, an exact shuffle and a bounded buffer; ``docs/loader.md`` has
the ideas.

References
----------
.. [1] B. Sun et al., "SOLAR: A Highly Optimized Data Loading Framework for Distributed Training of CNN-based
   Scientific Surrogates", PVLDB 16(1), 2022, arXiv:2211.00224.
"""

from sciflow.datasets.planning.epoch import EpochPlan
from sciflow.datasets.planning.header import Header
from sciflow.datasets.planning.layout import DescribedSource, Layout, Source
from sciflow.datasets.planning.plan import Plan, make_plan
from sciflow.datasets.planning.simulate import Counters, Simulation
from sciflow.datasets.planning.storage import StorageModel
from sciflow.errors import StalePlan

__all__ = [
    "Counters",
    "DescribedSource",
    "EpochPlan",
    "Header",
    "Layout",
    "Plan",
    "Simulation",
    "Source",
    "StalePlan",
    "StorageModel",
    "make_plan",
]
