"""Dropouts. Their masks are drawn by the host from core's generator, so that every backend drops the same elements."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.ops.attention import masked_dropout
from unimodel.ops.random import keep_mask
from unimodel.tracing import Tensor

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "feature_dropout",
]


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Zeros with probability ``p``, the rest scaled by ``1 / (1 - p)``; ``x`` itself when not training."""
    if not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
        raise ShapeError("p is a probability.", expected="0 <= p <= 1", given=repr(p), remedy="give the share of elements to drop, such as 0.5")
    if not training or p == 0.0:
        return x
    return x * 0.0 if p == 1.0 else masked_dropout(x, keep_mask(x.shape, 1.0 - p), p)


def _lead_mask(x: Any, keep: float, lead: int | None) -> Tensor:
    """A mask of x's shape, or one that is the same for all but the first ``lead`` dimensions."""
    return keep_mask(x.shape if lead is None else (*x.shape[:lead], *((1,) * (x.ndim - lead))), keep)


def feature_dropout(x: Any, p: float = 0.5, training: bool = True, lead: int = 2) -> Any:
    """Dropout of whole features: one draw for each place of the first ``lead`` dimensions."""
    if not training or p == 0.0:
        return x
    return x * 0.0 if p == 1.0 else masked_dropout(x, _lead_mask(x, 1.0 - p, lead), p)


ALPHA = 1.7580993408473766
"""How far below 0 SELU goes."""


def alpha_dropout(x: Any, p: float = 0.5, training: bool = True, lead: int | None = None) -> Any:
    """Dropout that keeps the mean and variance of what SELU gives (Klambauer et al. 2017); with ``lead`` of whole features."""
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    scale = 1.0 / math.sqrt((ALPHA * ALPHA * p + 1.0) * (1.0 - p))
    return ops.where(_lead_mask(x, 1.0 - p, lead), scale * x, -ALPHA * scale) + ALPHA * scale * p


dropout1d = dropout2d = dropout3d = feature_dropout  # the rank is the input's


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """``alpha_dropout`` of whole channels of (N, C, *)."""
    return alpha_dropout(x, p, training, lead=2)
