"""Dropout by a given mask, and attention."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.rules import (
    known,
)
from unimodel.ops.samples import Sample, booleans, normal
from unimodel.tracing import Tensor

__all__ = [
    "attention",
    "masked_dropout",
    "scaled_dot_product_attention",
]


@composite(samples=[Sample(normal(2, 3), booleans(2, 3), 0.25), Sample(normal(2, 3, 2), booleans(2, 3, 1), 0.4)])
def masked_dropout(x: Tensor, mask: Tensor, p: float) -> Tensor:
    """``x / (1 - p)`` where the mask, which broadcasts to x, holds; 0 elsewhere (Srivastava et al. 2014)."""
    return x * (ops.astype(mask, x.dtype) * (1.0 / (1.0 - p)))


@masked_dropout.vjp
def _(node: Application, g: Tensor) -> Any:
    return masked_dropout(g, node.inputs[1], node.attrs["p"]), None


ATTENTION = [
    Sample(normal(2, 2, 4, 3), normal(2, 2, 5, 3), normal(2, 2, 5, 3)),
    Sample(normal(1, 2, 4, 3), normal(1, 2, 4, 3), normal(1, 2, 4, 3), is_causal=True),
    Sample(normal(2, 4, 3), normal(2, 5, 3), normal(2, 5, 2), normal(4, 5), scale=0.3),
]


@composite(samples=ATTENTION)
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """``softmax(query @ key.T * scale + mask) @ value``; the one node behind ``scaled_dot_product_attention``."""
    factor = 1.0 / math.sqrt(known(query.shape[-1])) if scale is None else scale
    scores = ops.matmul(query * factor, ops.matrix_transpose(key))
    if is_causal:
        scores = ops.where(ops.less_equal(ops.arange(key.shape[-2]), ops.expand_dims(ops.arange(query.shape[-2]), 1)), scores, -math.inf)
    if attn_mask is not None:
        scores = ops.where(attn_mask, scores, -math.inf) if attn_mask.dtype == "bool" else scores + attn_mask
    weights = ops.softmax(scores, axis=-1)
    if dropout_mask is not None:
        weights = masked_dropout(weights, dropout_mask, dropout_p)
    return ops.matmul(weights, value)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention (Vaswani et al. 2017): query (..., L, E), key (..., S, E), value (..., S, Ev) give (..., L, Ev).

    ``attn_mask`` broadcasts to (..., L, S): booleans say which places take part, floats are added to the scores. ``scale`` is ``1 / sqrt(E)``
    by default. With ``dropout_p`` above 0 the weights are dropped with core's portable masks, as in PyTorch whatever the mode. With
    ``enable_gqa`` each head of key and value, in the third dimension from the end, serves a group of the query's (Ainslie et al. 2023).
    """
    if enable_gqa:
        key, value = (_for_each_query_head(x, query) for x in (key, value))
    if is_causal and attn_mask is not None:
        raise ShapeError("give attn_mask or is_causal, not both.", remedy="put the causal mask into attn_mask")
    mask = None
    if dropout_p:
        from unimodel.ops.random import keep_mask

        mask = keep_mask((*query.shape[:-1], key.shape[-2]), 1.0 - dropout_p)
    return attention(query, key, value, attn_mask, mask, dropout_p, is_causal, scale)


def _for_each_query_head(x: Any, query: Any) -> Tensor:
    """Heads repeated, each as often as query heads share it."""
    heads, wanted = known(x.shape[-3]), known(query.shape[-3])
    if wanted % heads:
        raise ShapeError(
            "each head of key and value serves as many of the query's.",
            expected="query heads that are a multiple of theirs",
            given=f"{wanted} and {heads} heads",
        )
    return ops.repeat(x, wanted // heads, axis=x.ndim - 3)
