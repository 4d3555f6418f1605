"""PyTorch's ``nn.utils.rnn``: sequences of different lengths in a batch.

A program is compiled for fixed shapes, and those of PyTorch's packed form depend on the lengths' values. So a ``PackedSequence`` here keeps the padded tensor and the
lengths together, and the recurrent layers leave the padding out of what they compute: results and gradients are those of PyTorch's, and a model written with
``pack_padded_sequence`` and ``pad_packed_sequence`` runs as it is. Lengths may be 0, need not be sorted, and may change from batch to batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.graph import INTEGERS, Array
from unimodel.names import missing
from unimodel.ops.rules import known, sizes_agree
from unimodel.ops.sequences import LengthTable
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor

__all__ = ["PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence", "unpad_sequence"]


@dataclass(frozen=True)
class PackedSequence:
    """Sequences padded on the right, and their lengths. It has no ``data`` and ``batch_sizes``, whose shapes would depend on values."""

    padded: Any
    lengths: Any
    batch_first: bool = False

    def within(self, batch_first: bool) -> Any:
        """The padded tensor in this order of its first two dimensions."""
        return self.padded if batch_first == self.batch_first else ops.swapaxes(self.padded, 0, 1)


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Padded sequences (L, N, ...) or, ``batch_first``, (N, L, ...), and their integer lengths (N,), for a recurrent layer.

    ``enforce_sorted`` is for PyTorch's programs: any order is right here. Source: https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html
    """
    return PackedSequence(input, checked_lengths(lengths, input, batch_first), batch_first)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded sequences, ``padding_value`` beyond each length, and the lengths.

    They are as long as what was packed, or ``total_length``; PyTorch cuts them to the longest of the batch, which a traced shape cannot depend on. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html
    """
    x = sequence.within(False)
    size = known(x.shape[0])
    mask = ops.sequence_mask(sequence.lengths, size)
    x = ops.where(ops.reshape(mask, (*mask.shape, *[1] * (x.ndim - 2))), x, padding_value)
    if total_length is not None and total_length != size:
        if total_length < size:
            raise ShapeError(
                "total_length is shorter than what was packed.",
                expected=f"at least {size}",
                given=total_length,
                remedy="leave it out, or cut the result yourself",
            )
        x = ops.pad_constant(x, ((0, total_length - size), *[(0, 0)] * (x.ndim - 1)), value=padding_value)
    return ops.swapaxes(x, 0, 1) if batch_first else x, sequence.lengths


def pad_sequence(sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Array:
    """Arrays of different lengths (L, ...) padded to the longest: (L, N, ...) or, ``batch_first``, (N, L, ...). For preparing data, with NumPy.

    >>> pad_sequence([np.array([1, 2, 3]), np.array([4])], batch_first=True)
    array([[1, 2, 3],
           [4, 0, 0]])
    """
    arrays = [np.asarray(s) for s in sequences]
    if not arrays or any(a.ndim == 0 or a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        raise DataError(
            "sequences to be padded differ in their lengths alone.",
            expected="at least one array, all of shape (length, ...)",
            given=repr([a.shape for a in arrays]),
            remedy="make the other dimensions equal",
        )
    if padding_side not in ("right", "left"):
        raise DataError("padding_side is 'right' or 'left'.", given=repr(padding_side), remedy="choose one; lengths= of the recurrent layers needs 'right'")
    longest = max(map(len, arrays))
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), padding_value, np.result_type(*arrays))
    for row, a in zip(padded, arrays, strict=True):
        row[longest - len(a) if padding_side == "left" else 0 :][: len(a)] = a
    return padded if batch_first else np.swapaxes(padded, 0, 1)


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Arrays of different lengths as a packed sequence; they are known while tracing, as constants are."""
    return pack_padded_sequence(pad_sequence(sequences), np.array([len(s) for s in sequences]), enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Array]:
    """The sequences of a padded array, each of its own length. For looking at results, with NumPy."""
    padded = np.asarray(padded_sequences)
    return [row[: int(n)] for row, n in zip(padded if batch_first else np.swapaxes(padded, 0, 1), lengths, strict=True)]


def checked_lengths(lengths: Any, padded: Any, batch_first: bool) -> Any:
    """Lengths that fit a batch of padded sequences; those that come in with a batch have their range looked at on the host, as indices have."""
    where, order = (0, "(N, L, ...)") if batch_first else (1, "(L, N, ...)")
    if not isinstance(lengths, TensorLike):
        lengths = np.asarray(lengths)
    if padded.ndim < 3 or lengths.ndim != 1 or str(lengths.dtype) not in INTEGERS or not sizes_agree(lengths.shape[0], padded.shape[where]):
        raise ShapeError(
            "lengths are one integer for each sequence of a batch.",
            expected=f"int64 ({padded.shape[where] if padded.ndim > 2 else 'N'},), with sequences {order}",
            given=f"lengths {lengths.dtype} {tuple(lengths.shape)}, sequences {padded.shape}",
            remedy="pass lengths (N,) of integers, and batch_first=True where sequences are (N, L, ...)",
        )
    longest = padded.shape[1 - where]
    if isinstance(lengths, np.ndarray) and lengths.size and not (lengths.min() >= 0 and lengths.max() <= known(longest)):
        raise ShapeError(
            "a length is out of range.",
            expected=f"[0, {longest}], as long as the sequences are padded",
            given=f"from {lengths.min()} to {lengths.max()}",
            remedy="pad the sequences to the longest (um.nn.utils.rnn.pad_sequence)",
        )
    table = ops.constant(value=LengthTable(known(longest)), dtype="int64")
    return ops.take(table, ops.astype(lengths, "int64"))


__getattr__ = missing("um.nn.utils.rnn")
