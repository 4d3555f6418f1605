"""How far two vectors are apart, and vectors made of length 1."""

from __future__ import annotations

from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.ops.rules import broadcast_shapes, known, need_rank
from unimodel.tracing import Tensor

__all__ = [
    "cosine_similarity",
    "normalize",
    "pairwise_distance",
    "pdist",
]


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension."""
    return ops.vector_norm(x1 - x2 + eps, axis=-1, keepdims=keepdim, ord=p)


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The p-norm of the difference of each row of (N, M) from each later one: (N * (N - 1) / 2,), the first row's first. Of equal rows the gradient is 0."""
    x = ops.asarray(input)
    need_rank(x.spec, 2, "the rows", "(N, M)")
    first, second = np.triu_indices(known(x.shape[0]), 1)
    return ops.vector_norm(ops.take(x, first) - ops.take(x, second), axis=-1, ord=p)


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
