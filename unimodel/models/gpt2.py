"""GPT-2: a transformer decoder that predicts the next token."""

from __future__ import annotations

import math
from typing import Any

from unimodel import init, nn, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.models.generation import KeyValueCache, generate
from unimodel.models.heads import attend, join_heads, split_heads
from unimodel.models.initial import draw_small


class Conv1D(Model):
    """``x @ weight + bias``: a linear layer whose weight is (in, out), as GPT-2's files have it."""

    def __init__(self, nf: int, nx: int, std: float = 0.02) -> None:
        self.weight = Parameter((nx, nf), init.normal(0.0, std))
        self.bias = Parameter((nf,), init.zeros)

    def forward(self, x: Any) -> Any:
        return ops.linear(x, ops.matrix_transpose(self.weight), self.bias)


class GPT2Attention(Model):
    def __init__(self, n_embd: int, n_head: int, attn_pdrop: float, resid_pdrop: float, std: float) -> None:
        self.n_head = n_head
        self.attn_pdrop = attn_pdrop
        self.c_attn = Conv1D(3 * n_embd, n_embd)
        self.c_proj = Conv1D(n_embd, n_embd, std)
        self.resid_dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Any, cache: KeyValueCache | None, layer: int) -> Any:
        q, k, v = (split_heads(part, self.n_head) for part in ops.chunk(self.c_attn(x), 3, dim=2))
        y = attend(q, k, v, cache, layer, self.attn_pdrop if self.training else 0.0)
        return self.resid_dropout(self.c_proj(join_heads(y)))


class GPT2MLP(Model):
    def __init__(self, n_embd: int, n_inner: int, resid_pdrop: float, std: float) -> None:
        self.c_fc = Conv1D(n_inner, n_embd)
        self.c_proj = Conv1D(n_embd, n_inner, std)
        self.dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Any) -> Any:
        return self.dropout(self.c_proj(ops.gelu(self.c_fc(x), approximate="tanh")))


class GPT2Block(Model):
    """Attention and a two-layer network, each after a layer norm and beside a shortcut."""

    def __init__(self, n_embd: int, n_head: int, n_inner: int, resid_pdrop: float, attn_pdrop: float, eps: float, std: float) -> None:
        self.ln_1 = nn.LayerNorm(n_embd, eps)
        self.attn = GPT2Attention(n_embd, n_head, attn_pdrop, resid_pdrop, std)
        self.ln_2 = nn.LayerNorm(n_embd, eps)
        self.mlp = GPT2MLP(n_embd, n_inner, resid_pdrop, std)

    def forward(self, x: Any, cache: KeyValueCache | None, layer: int) -> Any:
        x = x + self.attn(self.ln_1(x), cache, layer)
        return x + self.mlp(self.ln_2(x))


class GPT2Model(Model):
    """Token ids (N, L) give features (N, L, n_embd)."""

    def __init__(
        self,
        vocab_size: int,
        n_positions: int,
        n_embd: int,
        n_layer: int,
        n_head: int,
        n_inner: int | None,
        resid_pdrop: float,
        embd_pdrop: float,
        attn_pdrop: float,
        layer_norm_epsilon: float,
    ) -> None:
        if n_embd % n_head:
            raise ShapeError("n_head must divide n_embd.", given=f"n_embd={n_embd}, n_head={n_head}", remedy="each head has n_embd / n_head features")
        self.n_positions = n_positions
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(n_positions, n_embd)
        self.drop = nn.Dropout(embd_pdrop)
        std = 0.02 / math.sqrt(2 * n_layer)  # so that the sum of all layers' shortcuts keeps its size (section 2.3)
        arguments = (n_embd, n_head, n_inner or 4 * n_embd, resid_pdrop, attn_pdrop, layer_norm_epsilon, std)
        self.h = nn.ModuleList(GPT2Block(*arguments) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd, layer_norm_epsilon)
        draw_small(self)

    def forward(self, input_ids: Any, cache: KeyValueCache | None = None) -> Any:
        length = input_ids.shape[1]
        if cache is None and length > self.n_positions:
            raise ShapeError("there are more tokens than positions.", expected=f"at most {self.n_positions}", given=length, remedy="cut the text")
        positions = self.wpe.weight[:length] if cache is None else self.wpe(cache.positions(length))
        x = self.drop(self.wte(input_ids) + positions)
        for i, block in enumerate(self.h):
            x = block(x, cache, i)
        return self.ln_f(x)


class GPT2LMHeadModel(Model):
    """Token ids (N, L) give logits of the tokens that follow (N, L, vocab_size); at most ``n_positions`` tokens.

    Arguments, defaults (GPT-2 small, 124 million parameters) and state-dict keys are those of ``GPT2LMHeadModel`` in transformers, weights drawn as there;
    ``lm_head.weight`` is ``transformer.wte.weight``. Paper: Radford, Wu, Child, Luan, Amodei and Sutskever 2019, "Language models are unsupervised
    multitask learners". ``generate`` continues texts, see ``unimodel.models.generation``.
    """

    renamed_keys = ((r"^(?!transformer\.|lm_head\.)", "transformer."), (r".*\.attn\.(masked_)?bias$", ""))

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        n_inner: int | None = None,
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
    ) -> None:
        self.transformer = GPT2Model(vocab_size, n_positions, n_embd, n_layer, n_head, n_inner, resid_pdrop, embd_pdrop, attn_pdrop, layer_norm_epsilon)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        self.max_length = n_positions
        self.cache_shape = (n_layer, n_head, n_embd // n_head)

    def forward(self, input_ids: Any, cache: KeyValueCache | None = None) -> Any:
        x = self.transformer(input_ids, cache)
        return self.lm_head(x if cache is None else x[:, -1:])

    generate = generate
