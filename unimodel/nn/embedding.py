"""Bags of embeddings."""

from __future__ import annotations

from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.tracing import Tensor


class EmbeddingBag(Model):
    """The "mean", "sum" or "max" (``mode``) of the vectors for a bag of integers: (N, L) gives (N, embedding_dim).

    ``weight`` (num_embeddings, embedding_dim) is normal; the row ``padding_idx`` starts at zero, gets no gradient and does not count. In mode "sum"
    ``per_sample_weights`` (N, L) weigh the vectors. PyTorch's other form, one row of integers with offsets, is refused: its shapes depend on values; pad with
    ``padding_idx``. Source: https://pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, mode: str = "mean", padding_idx: int | None = None) -> None:
        positive(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if mode not in ("mean", "sum", "max"):
            raise ShapeError("mode is 'mean', 'sum' or 'max'.", given=repr(mode))
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ShapeError("padding_idx must be a row of the embedding.", expected=f"[{-num_embeddings}, {num_embeddings})", given=padding_idx)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.mode = mode
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter((num_embeddings, embedding_dim), self._initial)

    def _initial(self, shape: tuple[int, ...], stream: init.Stream) -> Any:
        array = init.normal()(shape, stream)
        if self.padding_idx is not None:
            array[self.padding_idx] = 0.0
        return array

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        if offsets is not None or input.ndim != 2:
            raise ShapeError(
                "a bag is a row of a matrix.", expected="int64 (N, L), and no offsets", given=f"{input.dtype} {input.shape}", remedy="pad with padding_idx"
            )
        return ops.embedding_bag(input, self.weight, self.mode, self.padding_idx, per_sample_weights)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}"
