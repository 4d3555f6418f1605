"""How far two vectors are apart, and vectors made of length 1."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
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
    """The cosine of the angle between vectors along ``dim``; each length is held above ``eps``."""
    first, second = (ops.maximum(ops.vector_norm(x, axis=dim, keepdims=True), eps) for x in (x1, x2))
    return ops.sum((x1 / first) * (x2 / second), axis=dim)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along ``dim`` over their p-norm, which is held above ``eps``."""
    return ops.divide(input, ops.maximum(ops.vector_norm(input, axis=dim, keepdims=True, ord=p), eps))
