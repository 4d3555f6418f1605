"""Attention's heads: a model's features taken apart into heads and put together again."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.tracing import Tensor


def split_heads(x: Any, heads: int) -> Tensor:
    """(N, L, heads * E) as (N, heads, L, E)."""
    return ops.permute_dims(ops.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads)), (0, 2, 1, 3))


def join_heads(x: Any) -> Tensor:
    """(N, heads, L, E) as (N, L, heads * E)."""
    x = ops.permute_dims(x, (0, 2, 1, 3))
    return ops.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]))


def attend(q: Any, k: Any, v: Any, cache: Any = None, layer: int = 0, dropout_p: float = 0.0) -> Tensor:
    """Causal attention of q (N, heads, L, E) to k and v (N, key-value heads, L, E), and with a cache to those before them too."""
    mask = None
    if cache is not None:
        k, v, mask = cache.update(layer, k, v)
    return ops.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1])
