"""DLRM: clicks predicted from numbers and categories, which meet in dot products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel import init, nn, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter


class DLRM(Model):
    """Numbers (N, ln_bot[0]) and category indices (N, tables) or bags of them (N, tables, L) give the probability of a click (N, 1).

    ``ln_emb`` are the tables' sizes; ``ln_bot`` the layers for the numbers, the last as wide as the embeddings, ``m_spa``; ``ln_top`` the layers after the
    interaction, without the width that enters, which follows. Categories are embedded and added up over a bag; each pair of embeddings, the numbers' vector
    among them, gives its dot product. The state-dict keys are those of https://github.com/facebookresearch/dlrm: ``emb_l.0.weight``, ``bot_l.0.weight``,
    ``top_l.0.weight``, weights drawn as there. Paper: Naumov et al. 2019, "Deep learning recommendation model for personalization and recommendation systems".
    """

    def __init__(self, m_spa: int, ln_emb: Sequence[int], ln_bot: Sequence[int], ln_top: Sequence[int]) -> None:
        if ln_bot[-1] != m_spa:
            raise ShapeError("the bottom network's last layer meets the embeddings.", expected=f"ln_bot[-1] == m_spa == {m_spa}", given=list(ln_bot))
        vectors = len(ln_emb) + 1
        self.emb_l = nn.ModuleList()
        for count in ln_emb:
            table = nn.EmbeddingBag(count, m_spa, mode="sum")
            table.weight = Parameter((count, m_spa), init.uniform(-math.sqrt(1.0 / count), math.sqrt(1.0 / count)))
            self.emb_l.append(table)
        self.bot_l = layers(ln_bot, nn.ReLU)
        self.top_l = layers([m_spa + vectors * (vectors - 1) // 2, *ln_top], nn.Sigmoid)
        rows, columns = np.tril_indices(vectors, -1)
        self.pairs = rows * vectors + columns

    def forward(self, dense_x: Any, sparse: Any) -> Any:
        if sparse.ndim == 2:
            sparse = ops.expand_dims(sparse, 2)
        x = self.bot_l(dense_x)
        vectors = ops.stack([x, *(table(sparse[:, i]) for i, table in enumerate(self.emb_l))], axis=1)
        products = ops.flatten(ops.matmul(vectors, ops.matrix_transpose(vectors)), 1)
        return self.top_l(ops.concat([x, products[:, self.pairs]], axis=1))


def layers(widths: Sequence[int], last: type[Model]) -> nn.Sequential:
    """Linear layers with relu between them and ``last`` at the end."""
    found: list[Model] = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        linear = nn.Linear(inputs, outputs)
        linear.weight = Parameter((outputs, inputs), init.normal(0.0, math.sqrt(2.0 / (inputs + outputs))))
        linear.bias = Parameter((outputs,), init.normal(0.0, math.sqrt(1.0 / outputs)))
        found += [linear, last() if i == len(widths) - 2 else nn.ReLU()]
    return nn.Sequential(*found)
