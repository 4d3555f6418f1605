"""BERT: a transformer encoder that reads in both directions, trained to fill in what is masked."""

from __future__ import annotations

from typing import Any

from unimodel import nn, ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.models.heads import join_heads, split_heads
from unimodel.models.initial import draw_small


class BertEmbeddings(Model):
    """The sum of a token's, its position's and its segment's vectors, normalised."""

    def __init__(self, vocab_size: int, hidden_size: int, max_positions: int, types: int, dropout: float, eps: float, pad_token_id: int | None) -> None:
        self.max_positions = max_positions
        self.word_embeddings = nn.Embedding(vocab_size, hidden_size, pad_token_id)
        self.position_embeddings = nn.Embedding(max_positions, hidden_size)
        self.token_type_embeddings = nn.Embedding(types, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        length = input_ids.shape[1]
        if length > self.max_positions:
            raise ShapeError("there are more tokens than positions.", expected=f"at most {self.max_positions}", given=length, remedy="cut the text")
        kinds = self.token_type_embeddings.weight[0] if token_type_ids is None else self.token_type_embeddings(token_type_ids)
        x = self.word_embeddings(input_ids) + kinds + self.position_embeddings.weight[:length]
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(Model):
    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        self.heads = heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.dropout = dropout

    def forward(self, x: Any, mask: Any) -> Any:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.query, self.key, self.value))
        return join_heads(ops.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0))


class BertSelfOutput(Model):
    """A linear layer beside a shortcut, then a layer norm."""

    def __init__(self, inputs: int, hidden_size: int, dropout: float, eps: float) -> None:
        self.dense = nn.Linear(inputs, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any, shortcut: Any) -> Any:
        return self.LayerNorm(self.dropout(self.dense(x)) + shortcut)


class BertAttention(Model):
    def __init__(self, hidden_size: int, heads: int, dropout: float, attention_dropout: float, eps: float) -> None:
        self.self = BertSelfAttention(hidden_size, heads, attention_dropout)
        self.output = BertSelfOutput(hidden_size, hidden_size, dropout, eps)

    def forward(self, x: Any, mask: Any) -> Any:
        return self.output(self.self(x, mask), x)


class BertIntermediate(Model):
    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        self.dense = nn.Linear(hidden_size, intermediate_size)

    def forward(self, x: Any) -> Any:
        return ops.gelu(self.dense(x))


class BertLayer(Model):
    def __init__(self, hidden_size: int, heads: int, intermediate_size: int, dropout: float, attention_dropout: float, eps: float) -> None:
        self.attention = BertAttention(hidden_size, heads, dropout, attention_dropout, eps)
        self.intermediate = BertIntermediate(hidden_size, intermediate_size)
        self.output = BertSelfOutput(intermediate_size, hidden_size, dropout, eps)

    def forward(self, x: Any, mask: Any) -> Any:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class BertEncoder(Model):
    def __init__(self, layers: int, *arguments: Any) -> None:
        self.layer = nn.ModuleList(BertLayer(*arguments) for _ in range(layers))

    def forward(self, x: Any, mask: Any) -> Any:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertPooler(Model):
    def __init__(self, hidden_size: int) -> None:
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Any) -> Any:
        return ops.tanh(self.dense(x[:, 0]))


class BertModel(Model):
    """Token ids (N, L) give features (N, L, hidden_size) and those of the first token, pooled (N, hidden_size).

    ``attention_mask`` (N, L) is 0 at padding, ``token_type_ids`` (N, L) name segments. Arguments, defaults (BERT base, 110 million parameters) and
    state-dict keys are those of ``BertModel`` in transformers, weights drawn as there. Paper: Devlin, Chang, Lee and Toutanova 2018, "BERT: pre-training of
    deep bidirectional transformers for language understanding".
    """

    renamed_keys = ((r"^bert\.", ""), (r"\.gamma$", ".weight"), (r"\.beta$", ".bias"), (r"^cls\..*", ""), (r".*\.position_ids$", ""))

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        add_pooling_layer: bool = True,
    ) -> None:
        if hidden_size % num_attention_heads:
            raise ShapeError("num_attention_heads must divide hidden_size.", given=f"{num_attention_heads} and {hidden_size}", remedy="choose other numbers")
        drop, eps = hidden_dropout_prob, layer_norm_eps
        self.embeddings = BertEmbeddings(vocab_size, hidden_size, max_position_embeddings, type_vocab_size, drop, eps, pad_token_id)
        self.encoder = BertEncoder(num_hidden_layers, hidden_size, num_attention_heads, intermediate_size, drop, attention_probs_dropout_prob, eps)
        self.pooler = BertPooler(hidden_size) if add_pooling_layer else None
        draw_small(self)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        mask = None
        if attention_mask is not None:
            mask = ops.not_equal(ops.expand_dims(ops.expand_dims(attention_mask, 1), 1), 0)
        x = self.encoder(self.embeddings(input_ids, token_type_ids), mask)
        return x if self.pooler is None else (x, self.pooler(x))
