"""Layers that compare two vectors."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.model import Model
from unimodel.tracing import Tensor


class CosineSimilarity(Model):
    """The cosine of the angle between x1 and x2 along ``dim``; lengths are held above ``eps``. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return ops.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Model):
    """The p-norm of ``x1 - x2 + eps`` along the last dimension. Source: https://pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html"""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p = float(p)
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return ops.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)
