"""A language model that reads from left to right and remembers: embedding, LSTM layers, logits of the next token."""

from __future__ import annotations

from typing import Any

from unimodel import init, nn
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter


class LSTMLanguageModel(Model):
    """Token ids (N, L) give logits of the tokens that follow (N, L, ntoken).

    With a ``hidden`` state, the pair (h, c) of shapes (nlayers, N, nhid), the text goes on from there, and the result is (logits, new state). State-dict keys are those
    of ``RNNModel("LSTM", …)`` in PyTorch's example (https://github.com/pytorch/examples/tree/main/word_language_model): ``encoder.weight``,
    ``rnn.weight_ih_l0``, …, ``decoder.weight``; it has (L, N) where this has (N, L), and gives logarithms of probabilities. ``tie_weights``: one matrix for
    reading and writing tokens. Papers: Hochreiter and Schmidhuber 1997, "Long short-term memory"; Zaremba, Sutskever and Vinyals 2014, "Recurrent neural
    network regularization".
    """

    def __init__(self, ntoken: int, ninp: int = 200, nhid: int = 200, nlayers: int = 2, dropout: float = 0.2, tie_weights: bool = False) -> None:
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.encoder.weight = Parameter((ntoken, ninp), init.uniform(-0.1, 0.1))
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout, batch_first=True)
        self.decoder = nn.Linear(nhid, ntoken)
        self.decoder.weight = Parameter((ntoken, nhid), init.uniform(-0.1, 0.1))
        self.decoder.bias = Parameter((ntoken,), init.zeros)
        if tie_weights:
            if nhid != ninp:
                raise ShapeError("tied weights are one matrix.", expected="nhid == ninp", given=f"nhid={nhid}, ninp={ninp}", remedy="make them equal")
            self.decoder.weight = self.encoder.weight

    def forward(self, input: Any, hidden: Any = None) -> Any:
        features, state = self.rnn(self.drop(self.encoder(input)), hidden)
        logits = self.decoder(self.drop(features))
        return logits if hidden is None else (logits, state)
