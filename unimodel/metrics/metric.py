"""A metric is a sum over samples of a few numbers, and a function of that sum.

``measure`` is written in ops and traced into the step; ``result`` runs on the host when somebody wants to read it. So a metric over an epoch is exact,
whatever the batches, and costs the training loop one small addition.
"""

from __future__ import annotations

import re
from typing import Any

from unimodel import ops
from unimodel.graph import Array


class Metric:
    """Base of metrics. ``name`` is how it is reported, by default the class's name in snake case."""

    name = ""

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        """What this batch adds to the sum: a tensor of shape (k,)."""
        raise NotImplementedError

    def result(self, total: Array) -> float:
        """The metric of the samples summed up in ``total``."""
        raise NotImplementedError


class MeanMetric(Metric):
    """A metric that is a (weighted) mean of one number per element; a subclass gives ``values``."""

    def values(self, input: Any, target: Any) -> Any:
        raise NotImplementedError

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        values = self.values(input, target)
        weights = ops.ones_like(values)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.astype(sample_weight, values.dtype), (-1,) + (1,) * (values.ndim - 1))
        return ops.stack([ops.sum(values * weights), ops.sum(weights)])

    def result(self, total: Array) -> float:
        return float(total[0] / total[1]) if total[1] else float("nan")
