"""A single sample where a batch of them is usual, as PyTorch's layers take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unimodel import nest, ops


def batched(function: Callable[[Any], Any], input: Any, rank: int) -> Any:
    """``function`` of a batch, whose samples have ``rank`` dimensions; a single sample is made a batch of one, and its results single again."""
    if input.ndim != rank:
        return function(input)
    return nest.map_leaves(lambda t: ops.squeeze(t, 0), function(ops.expand_dims(input, 0)))
