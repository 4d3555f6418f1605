"""Rows of a table looked up by integers: the definition of ``um.nn.Embedding`` and ``EmbeddingBag``."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.ops.rules import known, need_integer
from unimodel.tracing import Tensor


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False
) -> Tensor:
    """Rows of ``weight`` (num_embeddings, dim) at integers (...): (..., dim). The row ``padding_idx`` gets no gradient.

    ``max_norm`` scales the rows that are used down to at most that ``norm_type``-norm, in place, so ``weight`` must be a parameter or buffer; ``scale_grad_by_freq``
    divides a row's gradient by how often it is used.
    """
    return ops.embedding(input, _table(input, weight, max_norm, norm_type, scale_grad_by_freq), padding_idx)


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    per_sample_weights: Any = None,
    padding_idx: int | None = None,
) -> Tensor:
    """The mean, sum or maximum of the rows for each bag of integers: (N, L) gives (N, dim). The row ``padding_idx`` does not count. The other options are ``embedding``'s."""
    if offsets is not None or input.ndim != 2:
        raise ShapeError(
            "a bag is a row of a matrix.", expected="int64 (N, L), and no offsets", given=f"{input.dtype} {input.shape}", remedy="pad with padding_idx"
        )
    if mode not in ("mean", "sum", "max"):
        raise ShapeError("mode is 'mean', 'sum' or 'max'.", given=repr(mode))
    if mode == "max" and scale_grad_by_freq:
        raise ShapeError("scale_grad_by_freq is for modes 'sum' and 'mean', as in PyTorch.", given="mode 'max'", remedy="leave it out, or take another mode")
    return ops.embedding_bag(input, _table(input, weight, max_norm, norm_type, scale_grad_by_freq), mode, padding_idx, per_sample_weights)


def one_hot(tensor: Any, num_classes: int) -> Tensor:
    """1 at each index and 0 elsewhere along a new last dimension, int64. How many classes there are must be given: values are not known while tracing."""
    return ops.one_hot(tensor, num_classes, "int64")


def _table(input: Any, weight: Any, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool) -> Any:
    """The weight as it is to be used for these integers; its gradient is that of the weight."""
    if max_norm is not None:
        _renormalise(input, weight, max_norm, norm_type)
    if not scale_grad_by_freq:
        return weight
    often = ops.expand_dims(ops.maximum(_counts(input, weight), 1.0), 1)
    part = weight / often
    return part + ops.stop_gradient(weight - part)


def _counts(input: Any, weight: Any) -> Tensor:
    """How often each row is used."""
    need_integer(input.spec, "indices of an embedding")
    indices = ops.reshape(input, (-1,))
    return ops.take_gradient(ops.ones(indices.shape, dtype=weight.dtype), indices, axis=0, size=known(weight.shape[0]))


def _renormalise(input: Any, weight: Any, max_norm: float, norm_type: float) -> None:
    if not hasattr(weight, "assign"):
        raise ShapeError(
            "max_norm changes the weight, which is no parameter.",
            expected="a Parameter or Buffer",
            given=repr(weight),
            remedy="leave max_norm out, or scale the rows",
        )
    norm = ops.vector_norm(weight, axis=1, keepdims=True, ord=norm_type)
    long = ops.logical_and(ops.greater(norm, max_norm), ops.greater(ops.expand_dims(_counts(input, weight), 1), 0.0))
    factor = ops.where(long, max_norm / (norm + 1e-7), 1.0)  # 1e-7 as in PyTorch
    weight.assign(weight + ops.stop_gradient(weight * factor - weight))
