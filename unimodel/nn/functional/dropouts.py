"""Dropouts with PyTorch's arguments and defaults, of which ``training`` is one that differs: alpha dropouts do nothing unless it is set."""

from __future__ import annotations

from typing import Any

from unimodel import ops


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeros with probability ``p``, the rest scaled by ``1 / (1 - p)``; the input itself when not ``training``."""
    return ops.dropout(input, p, training)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of whole channels of (N, C, *)."""
    return ops.feature_dropout(input, p, training)


dropout2d = dropout3d = dropout1d  # the rank is the input's


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout that keeps the mean and variance of what SELU gives."""
    return ops.alpha_dropout(input, p, training)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """``alpha_dropout`` of whole channels of (N, C, *)."""
    return ops.feature_alpha_dropout(input, p, training)
