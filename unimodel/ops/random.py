"""Random ops. Masks are drawn by the host from core's generator, so that every backend drops the same elements."""

from __future__ import annotations

from typing import Any

from unimodel.errors import ShapeError, TraceError
from unimodel.ops.attention import masked_dropout
from unimodel.tracing import Tensor, current_trace

__all__ = [
    "dropout",
    "keep_mask",
]


def keep_mask(shape: Any, keep: float) -> Tensor:
    """A boolean mask that is True with probability ``keep``, drawn anew at each step (see ``unimodel.random``)."""
    trace = current_trace()
    if trace is None:
        raise TraceError("random masks belong to a step or a forward.", remedy="call it inside step() or forward()")
    return trace.mask(tuple(shape), keep)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Zeros with probability ``p``, the rest scaled by ``1 / (1 - p)``; ``x`` itself when not training."""
    if not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
        raise ShapeError("p is a probability.", expected="0 <= p <= 1", given=repr(p), remedy="give the share of elements to drop, such as 0.5")
    if not training or p == 0.0:
        return x
    return x * 0.0 if p == 1.0 else masked_dropout(x, keep_mask(x.shape, 1.0 - p), p)
