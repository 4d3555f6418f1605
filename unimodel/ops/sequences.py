"""Sequences of different lengths in one tensor: padded on the right, with the length of each beside it.

Time is the first dimension, (L, N, ...), and lengths are integers (N,) in [0, L].
"""

from __future__ import annotations

from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.graph import ArrayLiteral
from unimodel.ops.rules import known
from unimodel.tracing import Tensor

__all__ = ["reverse_sequences", "sequence_mask", "state_at", "within_lengths"]


class LengthTable(ArrayLiteral):
    """The lengths that sequences of a batch may have, in order: taking a length from it gives the length itself, and its range is looked at on the host."""

    __slots__ = ()

    def __init__(self, longest: int) -> None:
        super().__init__(np.arange(longest + 1))


def sequence_mask(lengths: Any, maxlen: int) -> Tensor:
    """bool (maxlen, N): whether a time is within each sequence."""
    times = ops.expand_dims(ops.arange(maxlen, dtype=lengths.dtype), 1)
    return ops.less(times, ops.expand_dims(lengths, 0))


def within_lengths(x: Any, lengths: Any) -> Tensor:
    """``x`` (L, N, ...) with zeros where a sequence has ended, whatever stood there: neither it nor its gradient goes further."""
    mask = sequence_mask(lengths, known(x.shape[0]))
    return ops.where(_beside(mask, x), x, 0.0)


def reverse_sequences(x: Any, lengths: Any) -> Tensor:
    """Each sequence of ``x`` (L, N, ...) the other way round within its length; what is behind it stays."""
    size = known(x.shape[0])
    times = ops.expand_dims(ops.arange(size, dtype=lengths.dtype), 1)
    mirrored = ops.where(sequence_mask(lengths, size), ops.expand_dims(lengths, 0) - 1 - times, times)
    return ops.take_along_axis(x, ops.broadcast_to(_beside(mirrored, x), x.shape), axis=0)


def state_at(states: Any, first: Any, lengths: Any) -> Tensor:
    """The state after ``lengths`` steps, given all of them (L, N, ...) and the ``first`` (N, ...), which is that after none."""
    every = ops.concat([ops.expand_dims(first, 0), states], axis=0)
    index = ops.broadcast_to(_beside(ops.expand_dims(lengths, 0), every), (1, *every.shape[1:]))
    return ops.squeeze(ops.take_along_axis(every, index, axis=0), 0)


def _beside(by_sequence: Any, x: Any) -> Any:
    """(L, N) with as many dimensions as ``x``."""
    return ops.reshape(by_sequence, (*by_sequence.shape, *[1] * (x.ndim - by_sequence.ndim)))
