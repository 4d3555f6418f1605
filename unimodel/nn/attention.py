"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive, probability
from unimodel.nn.linear import Linear
from unimodel.tracing import Tensor


class MultiheadAttention(Model):
    """Attention with ``num_heads`` heads (Vaswani et al. 2017) of a query (L, N, embed_dim) to keys (S, N, kdim) and values (S, N, vdim).

    With ``batch_first`` all are (N, length, size); without N they are one sample. Returns the result, of the query's shape, and with ``need_weights`` the weights
    (N, L, S), averaged over heads or (N, heads, L, S). Masks (``attn_mask`` (L, S) or (N * heads, L, S), ``key_padding_mask`` (N, S)) are True where a place is
    left out, or numbers to be added; ``is_causal`` says that attn_mask is the causal one. Keys and shapes of weights are PyTorch's. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
    ) -> None:
        positive(embed_dim=embed_dim, num_heads=num_heads)
        probability("dropout", dropout)
        if embed_dim % num_heads:
            raise ShapeError("num_heads must divide embed_dim.", given=f"embed_dim={embed_dim}, num_heads={num_heads}")
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        positive(kdim=self.kdim, vdim=self.vdim)
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        joint = self.kdim == embed_dim and self.vdim == embed_dim
        draw = init.xavier_uniform()
        self.q_proj_weight = None if joint else Parameter((embed_dim, embed_dim), draw)
        self.k_proj_weight = None if joint else Parameter((embed_dim, self.kdim), draw)
        self.v_proj_weight = None if joint else Parameter((embed_dim, self.vdim), draw)
        self.in_proj_weight = Parameter((3 * embed_dim, embed_dim), draw) if joint else None
        self.in_proj_bias = Parameter((3 * embed_dim,), init.zeros) if bias else None
        self.bias_k = Parameter((1, 1, embed_dim), init.xavier_normal()) if add_bias_kv else None
        self.bias_v = Parameter((1, 1, embed_dim), init.xavier_normal()) if add_bias_kv else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias)
        if bias:
            self.out_proj.bias = Parameter((embed_dim,), init.zeros)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise ShapeError("is_causal says what attn_mask is, which is not given.", remedy="give attn_mask, as in PyTorch")
        same, single = query is key and key is value, query.ndim == 2
        axis = 0 if single else 1
        if single or not self.batch_first:
            query, key, value = (ops.expand_dims(t, 0) if single else ops.swapaxes(t, 0, 1) for t in (query, key, value))
        if single and key_padding_mask is not None:
            key_padding_mask = ops.expand_dims(key_padding_mask, 0)
        q, k, v = self._projected(query, key, value, same)
        count, length = q.shape[0], k.shape[1]
        extra = (self.bias_k is not None) + self.add_zero_attn
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (ops.concat([t, ops.broadcast_to(b, (count, 1, self.embed_dim))], axis=1) for t, b in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            k, v = (ops.concat([t, ops.zeros((count, 1, self.embed_dim), dtype=t.dtype)], axis=1) for t in (k, v))
        mask = self._mask(attn_mask, key_padding_mask, count, (q.shape[1], length), extra)
        q, k, v = (self._heads(t) for t in (q, k, v))
        if need_weights:
            result, weights = self._with_weights(q, k, v, mask)
        else:
            result, weights = ops.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0), None
        joined = ops.reshape(ops.permute_dims(result, (0, 2, 1, 3)), (count, -1, self.embed_dim))
        output = self.out_proj(joined)
        if weights is not None and average_attn_weights:
            weights = ops.mean(weights, axis=1)
        if single:
            return ops.squeeze(output, 0), None if weights is None else ops.squeeze(weights, 0)
        return (output if self.batch_first else ops.swapaxes(output, 0, axis)), weights

    def _projected(self, query: Any, key: Any, value: Any, same: bool) -> tuple[Any, Any, Any]:
        """Queries, keys and values (N, length, embed_dim): one product where all are made from the same."""
        size = self.embed_dim
        if self.in_proj_weight is not None and same:
            q, k, v = ops.chunk(ops.linear(query, self.in_proj_weight, self.in_proj_bias), 3, -1)
            return q, k, v
        if self.in_proj_weight is not None:
            weights: Any = ops.split(self.in_proj_weight, size, 0)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases: Any = (None,) * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, size, 0)
        q, k, v = (ops.linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True))
        return q, k, v

    def _heads(self, t: Any) -> Tensor:
        shape = (t.shape[0], t.shape[1], self.num_heads, self.embed_dim // self.num_heads)
        return ops.permute_dims(ops.reshape(t, shape), (0, 2, 1, 3))

    def _mask(self, attn_mask: Any, padding: Any, count: Any, lengths: tuple[Any, Any], extra: int) -> Any:
        """Both masks as one that broadcasts to (N, heads, L, S + extra): booleans that are True where a place takes part, or numbers to be added."""
        masks = []
        if attn_mask is not None:
            mask = ops.asarray(attn_mask)
            if mask.ndim == 3:
                mask = ops.reshape(mask, (count, self.num_heads, *lengths))
            elif tuple(mask.shape) != lengths:
                raise ShapeError("attn_mask is for other lengths.", expected=f"{lengths}, or (N * heads, L, S)", given=str(mask.spec))
            masks.append(mask)
        if padding is not None:
            padding = ops.asarray(padding)
            masks.append(ops.reshape(padding, (padding.shape[0], 1, 1, padding.shape[1])))
        if extra:
            masks = [_widened(m, extra) for m in masks]
        if not masks:
            return None
        if all(m.dtype == "bool" for m in masks):
            return ops.logical_not(masks[0] if len(masks) == 1 else ops.logical_or(*masks))
        added = [ops.where(m, -math.inf, 0.0) if m.dtype == "bool" else m for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _with_weights(self, q: Any, k: Any, v: Any, mask: Any) -> tuple[Tensor, Tensor]:
        scores = ops.matmul(q * (1.0 / math.sqrt(self.embed_dim // self.num_heads)), ops.matrix_transpose(k))
        if mask is not None:
            scores = ops.where(mask, scores, -math.inf) if mask.dtype == "bool" else scores + mask
        weights = ops.dropout(ops.softmax(scores, axis=-1), self.dropout, self.training)
        return ops.matmul(weights, v), weights

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


def _widened(mask: Tensor, extra: int) -> Tensor:
    """A mask with more keys at the end, none of them left out."""
    shape = (*mask.shape[:-1], extra)
    return ops.concat([mask, ops.full(shape, False) if mask.dtype == "bool" else ops.zeros(shape, dtype=mask.dtype)], axis=-1)
