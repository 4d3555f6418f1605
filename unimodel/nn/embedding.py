"""Vectors for integers, and bags of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import init
from unimodel.errors import ShapeError
from unimodel.graph import Array
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.nn.functional.lookup import embedding, embedding_bag
from unimodel.tracing import Tensor


class _Table(Model):
    """A matrix with a row for each integer. With ``max_norm`` the rows that are used are first scaled down to that ``norm_type``-norm, and stay so."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    weight: Parameter

    def _make(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None, norm_type: float, scale: bool) -> None:
        positive(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ShapeError("padding_idx must be a row of the embedding.", expected=f"[{-num_embeddings}, {num_embeddings})", given=padding_idx)
        if max_norm is not None and not (isinstance(max_norm, (int, float)) and max_norm > 0):
            raise ShapeError("max_norm is above 0, or None.", given=repr(max_norm))
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale
        self.weight = Parameter((num_embeddings, embedding_dim), self._initial)

    def _initial(self, shape: tuple[int, ...], stream: init.Stream) -> Any:
        array = init.normal()(shape, stream)
        if self.padding_idx is not None:
            array[self.padding_idx] = 0.0
        return array

    def _take(self, rows: Array, freeze: bool) -> None:
        self.load_state_dict({"weight": rows})
        self.weight.requires_grad = not freeze

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


def _rows(embeddings: Any) -> Array:
    rows = np.asarray(embeddings)
    if rows.ndim != 2:
        raise ShapeError("embeddings are a matrix.", expected="(num_embeddings, embedding_dim)", given=f"{rows.dtype} {rows.shape}")
    return rows


class Embedding(_Table):
    """Vectors for integers: x of integers (...) gives (..., embedding_dim); ``weight`` (num_embeddings, embedding_dim), normal.

    The row ``padding_idx`` starts at zero and gets no gradient. ``max_norm`` scales the rows that are used down to at most that ``norm_type``-norm, in place;
    ``scale_grad_by_freq`` divides a row's gradient by how often it is used in the batch. Source: https://pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> None:
        self._make(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> Embedding:
        """A layer whose rows are those of a matrix (num_embeddings, embedding_dim), not trained unless ``freeze`` is False."""
        rows = _rows(embeddings)
        layer = cls(rows.shape[0], rows.shape[1], padding_idx, max_norm, norm_type, scale_grad_by_freq)
        layer._take(rows, freeze)
        return layer

    def forward(self, input: Any) -> Tensor:
        return embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)


class EmbeddingBag(_Table):
    """The "mean", "sum" or "max" (``mode``) of the vectors for a bag of integers: (N, L) gives (N, embedding_dim).

    ``weight`` (num_embeddings, embedding_dim) is normal; the row ``padding_idx`` starts at zero, gets no gradient and does not count. In mode "sum"
    ``per_sample_weights`` (N, L) weigh the vectors. PyTorch's other form, one row of integers with offsets, is refused: its shapes depend on values; pad with
    ``padding_idx``. ``max_norm`` and, but for mode "max", ``scale_grad_by_freq`` are those of ``Embedding``; where some integers are more frequent than others PyTorch 2.13
    on a CPU divides by another integer's frequency (https://github.com/pytorch/pytorch/issues/190063).
    Source: https://pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        *,
        padding_idx: int | None = None,
    ) -> None:
        if mode not in ("mean", "sum", "max"):
            raise ShapeError("mode is 'mean', 'sum' or 'max'.", given=repr(mode))
        if mode == "max" and scale_grad_by_freq:
            raise ShapeError(
                "scale_grad_by_freq is for modes 'sum' and 'mean', as in PyTorch.", given="mode 'max'", remedy="leave it out, or take another mode"
            )
        self.mode = mode
        self._make(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        *,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer whose rows are those of a matrix (num_embeddings, embedding_dim), not trained unless ``freeze`` is False."""
        rows = _rows(embeddings)
        layer = cls(rows.shape[0], rows.shape[1], max_norm, norm_type, scale_grad_by_freq, mode, padding_idx=padding_idx)
        layer._take(rows, freeze)
        return layer

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        return embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, per_sample_weights, self.padding_idx
        )

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}"
