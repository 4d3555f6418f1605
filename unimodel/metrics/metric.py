"""A metric is a sum over samples of a few numbers, and a function of that sum.

``measure`` is written in ops and traced into the step; ``merge`` and ``result`` run on the host when somebody wants to read it. So a metric over an epoch is
exact, whatever the batches, and costs the training loop one small addition.
"""

from __future__ import annotations

import re
from typing import Any

from unimodel import ops
from unimodel.arguments import ChecksArguments
from unimodel.graph import Array


class Metric(ChecksArguments):
    """Base of metrics. ``name`` is how it is reported, by default the class's name in snake case."""

    name = ""

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        """What this batch adds to the sum: a tensor, of one shape for all batches unless ``merge`` can do with more."""
        raise NotImplementedError

    def merge(self, total: Any, part: Array) -> Any:
        """The sum so far, None at first, with one more batch's part. A metric that is no sum of its parts says here how they come together."""
        return part if total is None else total + part

    def result(self, total: Any) -> Any:
        """The metric of the samples summed up in ``total``: a number, or an array of them."""
        raise NotImplementedError


class MeanMetric(Metric):
    """A metric that is a (weighted) mean of one number per element; a subclass gives ``values``."""

    def values(self, input: Any, target: Any) -> Any:
        raise NotImplementedError

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        values = self.values(input, target)
        weights = element_weights(values, sample_weight)
        return ops.stack([ops.sum(values * weights), ops.sum(weights)])

    def result(self, total: Array) -> float:
        return float(total[0] / total[1]) if total[1] else float("nan")


def element_weights(values: Any, sample_weight: Any) -> Any:
    """The weight of each element, of the shape of ``values``: its sample's, or 1."""
    if sample_weight is None:
        return ops.ones_like(values)
    each = ops.reshape(ops.astype(sample_weight, values.dtype), (-1,) + (1,) * (values.ndim - 1))
    return ops.broadcast_to(each, values.shape)
