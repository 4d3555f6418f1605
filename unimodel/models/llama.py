"""Llama: a transformer decoder with root-mean-square norms, rotary positions, grouped queries and gated networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import nn, ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.models.generation import KeyValueCache, generate
from unimodel.models.heads import attend, join_heads, split_heads
from unimodel.models.initial import draw_small
from unimodel.tracing import Tensor

Rotation = tuple[Any, Any]


def rotated(x: Any, rotation: Rotation) -> Tensor:
    """Each pair of features (i, i + E / 2) of x (N, heads, L, E) turned by an angle that grows with its position (Su et al. 2021, "RoFormer")."""
    cos, sin = rotation
    first, second = ops.chunk(x, 2, dim=3)
    return ops.concat([first * cos - second * sin, second * cos + first * sin], axis=3)


class LlamaAttention(Model):
    """Fewer key-value heads than query heads, each serving several (Ainslie et al. 2023, "GQA")."""

    def __init__(self, hidden_size: int, heads: int, key_value_heads: int, head_dim: int, bias: bool) -> None:
        self.heads = heads
        self.key_value_heads = key_value_heads
        self.q_proj = nn.Linear(hidden_size, heads * head_dim, bias)
        self.k_proj = nn.Linear(hidden_size, key_value_heads * head_dim, bias)
        self.v_proj = nn.Linear(hidden_size, key_value_heads * head_dim, bias)
        self.o_proj = nn.Linear(heads * head_dim, hidden_size, bias)

    def forward(self, x: Any, rotation: Rotation, cache: KeyValueCache | None, layer: int) -> Any:
        q = rotated(split_heads(self.q_proj(x), self.heads), rotation)
        k = rotated(split_heads(self.k_proj(x), self.key_value_heads), rotation)
        v = split_heads(self.v_proj(x), self.key_value_heads)
        return self.o_proj(join_heads(attend(q, k, v, cache, layer)))


class LlamaMLP(Model):
    """A two-layer network with a gate (Shazeer 2020, "GLU variants improve transformer")."""

    def __init__(self, hidden_size: int, intermediate_size: int, bias: bool) -> None:
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias)

    def forward(self, x: Any) -> Any:
        return self.down_proj(ops.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaDecoderLayer(Model):
    """Attention and a gated network, each after a norm and beside a shortcut."""

    def __init__(
        self, hidden_size: int, intermediate_size: int, heads: int, key_value_heads: int, head_dim: int, eps: float, attention_bias: bool, mlp_bias: bool
    ) -> None:
        self.self_attn = LlamaAttention(hidden_size, heads, key_value_heads, head_dim, attention_bias)
        self.mlp = LlamaMLP(hidden_size, intermediate_size, mlp_bias)
        self.input_layernorm = nn.RMSNorm(hidden_size, eps)
        self.post_attention_layernorm = nn.RMSNorm(hidden_size, eps)

    def forward(self, x: Any, rotation: Rotation, cache: KeyValueCache | None, layer: int) -> Any:
        x = x + self.self_attn(self.input_layernorm(x), rotation, cache, layer)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(Model):
    """Token ids (N, L) give features (N, L, hidden_size)."""

    def __init__(self, vocab_size: int, hidden_size: int, head_dim: int, rope_theta: float, eps: float, layers: list[LlamaDecoderLayer]) -> None:
        self.head_dim = head_dim
        self.rope_theta = rope_theta
        self.embed_tokens = nn.Embedding(vocab_size, hidden_size)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.RMSNorm(hidden_size, eps)

    def rotation(self, positions: Any) -> Rotation:
        """Cosine and sine of all angles for positions (L,) or (N, L): (…, L, head_dim / 2), to be broadcast over heads."""
        frequencies = (1.0 / self.rope_theta ** (np.arange(0, self.head_dim, 2, dtype="float64") / self.head_dim)).astype("float32")
        if isinstance(positions, np.ndarray):  # the same for every batch: constants
            angles = positions[:, None].astype("float32") * frequencies
            return ops.asarray(np.cos(angles)), ops.asarray(np.sin(angles))
        turned = ops.expand_dims(ops.expand_dims(ops.as_float(positions), 1), 3) * frequencies
        return ops.cos(turned), ops.sin(turned)

    def forward(self, input_ids: Any, cache: KeyValueCache | None = None) -> Any:
        length = int(input_ids.shape[1])
        rotation = self.rotation(np.arange(length) if cache is None else cache.positions(length))
        x = self.embed_tokens(input_ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, rotation, cache, i)
        return self.norm(x)


class LlamaForCausalLM(Model):
    """Token ids (N, L) give logits of the tokens that follow (N, L, vocab_size).

    Arguments, defaults (Llama 7B) and state-dict keys are those of ``LlamaForCausalLM`` in transformers, weights drawn as there. Positions are the plain
    rotary ones; the stretched ones of Llama 3.1 and later are not. Paper: Touvron et al. 2023, "LLaMA: open and efficient foundation language models".
    ``generate`` continues texts, see ``unimodel.models.generation``.
    """

    renamed_keys = ((r".*\.rotary_emb\.inv_freq$", ""),)

    def __init__(
        self,
        vocab_size: int = 32000,
        hidden_size: int = 4096,
        intermediate_size: int = 11008,
        num_hidden_layers: int = 32,
        num_attention_heads: int = 32,
        num_key_value_heads: int | None = None,
        max_position_embeddings: int = 2048,
        rms_norm_eps: float = 1e-6,
        rope_theta: float = 10000.0,
        tie_word_embeddings: bool = False,
        attention_bias: bool = False,
        mlp_bias: bool = False,
        head_dim: int | None = None,
    ) -> None:
        heads, groups = num_attention_heads, num_key_value_heads or num_attention_heads
        if heads % groups:
            raise ShapeError("num_key_value_heads must divide num_attention_heads.", given=f"{groups} and {heads}", remedy="each serves the same number")
        size = head_dim or hidden_size // heads
        layers = [
            LlamaDecoderLayer(hidden_size, intermediate_size, heads, groups, size, rms_norm_eps, attention_bias, mlp_bias) for _ in range(num_hidden_layers)
        ]
        self.model = LlamaModel(vocab_size, hidden_size, size, rope_theta, rms_norm_eps, layers)
        self.lm_head = nn.Linear(hidden_size, vocab_size, bias=False)
        draw_small(self)
        if tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.max_length = max_position_embeddings
        self.cache_shape = (num_hidden_layers, groups, size)

    def forward(self, input_ids: Any, cache: KeyValueCache | None = None) -> Any:
        x = self.model(input_ids, cache)
        return self.lm_head(x if cache is None else x[:, -1:])

    generate = generate
