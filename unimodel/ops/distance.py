"""How far two vectors are apart, and vectors made of length 1."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.ops.rules import broadcast_shapes
from unimodel.tracing import Tensor

__all__ = [
    "cosine_similarity",
    "normalize",
    "pairwise_distance",
]


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension."""
    return ops.vector_norm(x1 - x2 + eps, axis=-1, keepdims=keepdim, ord=p)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along ``dim``; each length is held above ``eps``, its gradient not, as in PyTorch."""
    shape = broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    wide = [x if tuple(x.shape) == shape else ops.broadcast_to(x, shape) for x in (x1, x2)]
    lengths = [ops.vector_norm(x, axis=dim, keepdims=True) for x in wide]
    first, second = (x / (n + ops.stop_gradient(ops.maximum(n, eps) - n)) for x, n in zip(wide, lengths, strict=True))
    return ops.sum(first * second, axis=dim)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along ``dim`` over their p-norm, which is held above ``eps``."""
    return ops.divide(input, ops.maximum(ops.vector_norm(input, axis=dim, keepdims=True, ord=p), eps))
