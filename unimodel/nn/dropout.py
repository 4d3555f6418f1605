"""Layers that drop."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.model import Model
from unimodel.nn.arguments import probability


class Dropout(Model):
    """In train mode zeroes each element with probability ``p`` and scales the rest by 1 / (1 - p) (Srivastava et al. 2014); nothing in eval mode.

    The masks are core's, the same on every backend. Source: https://pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """

    def __init__(self, p: float = 0.5) -> None:
        probability("p", p)
        self.p = p

    def forward(self, input: Any) -> Any:
        return ops.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
