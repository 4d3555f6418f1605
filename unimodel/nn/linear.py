"""Layers that multiply, look up, or only change the shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.ops.rules import axis_index
from unimodel.tracing import Tensor


class Linear(Model):
    """``y = x @ weight.T + bias``.

    Shapes: x (..., in_features) gives (..., out_features); ``weight`` (out_features, in_features), ``bias`` (out_features,), both drawn
    uniformly in ±1/sqrt(in_features). Source: https://pytorch.org/docs/stable/generated/torch.nn.Linear.html

    >>> import numpy as np
    >>> Linear(3, 2)(np.zeros((4, 3), "float32")).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        positive(in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        bound = 1.0 / math.sqrt(in_features)
        self.weight = Parameter((out_features, in_features), init.uniform(-bound, bound))
        self.bias = Parameter((out_features,), init.uniform(-bound, bound)) if bias else None

    def forward(self, input: Any) -> Tensor:
        return ops.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Model):
    """``y[k] = x1 @ weight[k] @ x2 + bias[k]``: x1 (..., in1_features), x2 (..., in2_features) give (..., out_features).

    ``weight`` (out_features, in1_features, in2_features), ``bias`` (out_features,), both drawn uniformly in ±1/sqrt(in1_features). Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Bilinear.html
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        positive(in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        bound = 1.0 / math.sqrt(in1_features)
        self.weight = Parameter((out_features, in1_features, in2_features), init.uniform(-bound, bound))
        self.bias = Parameter((out_features,), init.uniform(-bound, bound)) if bias else None

    def forward(self, input1: Any, input2: Any) -> Tensor:
        return ops.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}, bias={self.bias is not None}"


class Flatten(Model):
    """Dimensions ``start_dim`` to ``end_dim`` made one: (N, C, H, W) gives (N, C * H * W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Tensor:
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Model):
    """One dimension made several, of sizes ``unflattened_size``, one of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        sizes = tuple(unflattened_size)
        if sizes.count(-1) > 1 or any(not hasattr(s, "__index__") or (s < 1 and s != -1) for s in sizes):
            raise ShapeError("unflattened_size is positive sizes, one of which may be -1.", given=repr(unflattened_size))
        self.dim = dim
        self.unflattened_size = sizes

    def forward(self, input: Any) -> Tensor:
        axis = axis_index(self.dim, input.ndim)
        return ops.reshape(input, (*input.shape[:axis], *self.unflattened_size, *input.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Model):
    """Its input; takes and ignores any arguments, as PyTorch's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input
