"""BERT with its head for masked tokens: what stood where the mask stands."""

from __future__ import annotations

from typing import Any

from unimodel import init, nn, ops
from unimodel.model import Model, Parameter
from unimodel.models.bert import BertModel
from unimodel.models.initial import draw_small


class BertPredictionHeadTransform(Model):
    def __init__(self, hidden_size: int, eps: float) -> None:
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps)

    def forward(self, x: Any) -> Any:
        return self.LayerNorm(ops.gelu(self.dense(x)))


class BertLMPredictionHead(Model):
    """Logits by the tokens' own vectors, and a bias that the state dict lists twice."""

    def __init__(self, hidden_size: int, vocab_size: int, eps: float) -> None:
        self.bias = Parameter((vocab_size,), init.zeros)
        self.transform = BertPredictionHeadTransform(hidden_size, eps)
        self.decoder = nn.Linear(hidden_size, vocab_size)

    def forward(self, x: Any) -> Any:
        return self.decoder(self.transform(x))


class BertOnlyMLMHead(Model):
    def __init__(self, hidden_size: int, vocab_size: int, eps: float) -> None:
        self.predictions = BertLMPredictionHead(hidden_size, vocab_size, eps)

    def forward(self, x: Any) -> Any:
        return self.predictions(x)


class BertForMaskedLM(Model):
    """Token ids (N, L) give logits (N, L, vocab_size) of what belongs in each place.

    Arguments as ``BertModel``'s; state-dict keys are those of ``BertForMaskedLM`` in transformers, ``cls.predictions.decoder.weight`` is
    ``bert.embeddings.word_embeddings.weight``. Train with ``um.losses.CrossEntropyLoss(ignore_index=-100)`` on the masked places. Paper: as ``BertModel``.
    """

    renamed_keys = (
        (r"\.gamma$", ".weight"),
        (r"\.beta$", ".bias"),
        (r"^cls\.seq_relationship\..*", ""),
        (r"^bert\.pooler\..*", ""),
        (r".*\.position_ids$", ""),
    )

    def __init__(self, vocab_size: int = 30522, hidden_size: int = 768, layer_norm_eps: float = 1e-12, **arguments: Any) -> None:
        self.bert = BertModel(vocab_size, hidden_size, layer_norm_eps=layer_norm_eps, add_pooling_layer=False, **arguments)
        self.cls = BertOnlyMLMHead(hidden_size, vocab_size, layer_norm_eps)
        draw_small(self.cls)
        head = self.cls.predictions
        head.decoder.weight = self.bert.embeddings.word_embeddings.weight
        head.decoder.bias = head.bias

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        return self.cls(self.bert(input_ids, attention_mask, token_type_ids))
