"""Transformer from one sequence to another: an encoder reads the source, a decoder writes the target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unimodel import init, nn, ops
from unimodel.graph import Array
from unimodel.model import Buffer, Model, Parameter


class PositionalEncoding(Model):
    """x (N, L, emb_size) plus sines and cosines of its positions (section 3.5)."""

    def __init__(self, emb_size: int, dropout: float, maxlen: int = 5000) -> None:
        self.dropout = nn.Dropout(dropout)
        self.pos_embedding = Buffer((maxlen, 1, emb_size), waves(maxlen, emb_size))

    def forward(self, x: Any) -> Any:
        positions = ops.reshape(self.pos_embedding[: x.shape[1]], (1, *x.shape[1:]))
        return self.dropout(x + positions)


def waves(count: int, size: int) -> Array:
    """Sines at even and cosines at odd places, of wavelengths from 2π to 20000π."""
    angles = np.arange(count)[:, None] * np.exp(-np.arange(0, size, 2) * math.log(10000.0) / size)
    table = np.zeros((count, 1, size), "float32")
    table[:, 0, 0::2], table[:, 0, 1::2] = np.sin(angles), np.cos(angles)
    return table


class TokenEmbedding(Model):
    """Vectors of tokens, as large as those of positions (section 3.4)."""

    def __init__(self, vocab_size: int, emb_size: int) -> None:
        self.embedding = nn.Embedding(vocab_size, emb_size)
        self.emb_size = emb_size

    def forward(self, tokens: Any) -> Any:
        return self.embedding(tokens) * math.sqrt(self.emb_size)


class Seq2SeqTransformer(Model):
    """Source ids (N, S) and target ids (N, T) give logits of the target tokens that follow (N, T, tgt_vocab_size).

    The padding masks (N, S) and (N, T) are true at padding. State-dict keys are those of PyTorch's tutorial "Language Translation with nn.Transformer"
    (https://pytorch.org/tutorials/beginner/translation_transformer.html), which has (S, N) where this has (N, S): ``transformer.encoder.layers.0.…``,
    ``generator.weight``, ``src_tok_emb.embedding.weight``; matrices are drawn as there. Paper: Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        num_encoder_layers: int,
        num_decoder_layers: int,
        emb_size: int,
        nhead: int,
        src_vocab_size: int,
        tgt_vocab_size: int,
        dim_feedforward: int = 512,
        dropout: float = 0.1,
    ) -> None:
        self.transformer = nn.Transformer(emb_size, nhead, num_encoder_layers, num_decoder_layers, dim_feedforward, dropout, batch_first=True)
        self.generator = nn.Linear(emb_size, tgt_vocab_size)
        self.src_tok_emb = TokenEmbedding(src_vocab_size, emb_size)
        self.tgt_tok_emb = TokenEmbedding(tgt_vocab_size, emb_size)
        self.positional_encoding = PositionalEncoding(emb_size, dropout)
        for module in self.modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter) and len(value.shape) > 1:
                    setattr(module, name, Parameter(value.shape, init.xavier_uniform()))

    def encode(self, src: Any, src_padding_mask: Any = None) -> Any:
        """What the decoder looks at, (N, S, emb_size)."""
        return self.transformer.encoder(self.positional_encoding(self.src_tok_emb(src)), None, src_padding_mask)

    def decode(self, tgt: Any, memory: Any, tgt_padding_mask: Any = None, src_padding_mask: Any = None) -> Any:
        """Logits for a target that has been written so far."""
        mask = nn.Transformer.generate_square_subsequent_mask(int(tgt.shape[1]))
        x = self.positional_encoding(self.tgt_tok_emb(tgt))
        return self.generator(self.transformer.decoder(x, memory, mask, None, tgt_padding_mask, src_padding_mask, tgt_is_causal=True))

    def forward(self, src: Any, tgt: Any, src_padding_mask: Any = None, tgt_padding_mask: Any = None) -> Any:
        return self.decode(tgt, self.encode(src, src_padding_mask), tgt_padding_mask, src_padding_mask)
