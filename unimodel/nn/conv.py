"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive, tuple_of
from unimodel.ops.conv import same_padding
from unimodel.tracing import Tensor


class Conv2d(Model):
    """2-d cross-correlation: (N, in_channels, H, W) gives (N, out_channels, H', W').

    ``weight`` (out_channels, in_channels / groups, *kernel_size) and ``bias`` (out_channels,), both drawn uniformly in ±1/sqrt(fan_in). ``padding`` is a
    number, one per dimension, "same" (stride 1) or "valid"; zeros are padded. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html

    >>> import numpy as np
    >>> Conv2d(1, 4, 3, padding=1)(np.zeros((2, 1, 8, 8), "float32")).shape
    (2, 4, 8, 8)
    """

    rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ShapeError("groups must divide both channel counts.", given=f"in_channels={in_channels}, out_channels={out_channels}, groups={groups}")
        if padding_mode != "zeros":
            raise ShapeError("padding_mode 'zeros' is the one there is.", given=padding_mode, remedy="pad the input with um.ops before the layer")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size, self.rank, "kernel_size", 1)
        self.stride = tuple_of(stride, self.rank, "stride", 1)
        self.dilation = tuple_of(dilation, self.rank, "dilation", 1)
        self.groups = groups
        if isinstance(padding, str):
            self.padding: Any = same_padding(padding, self.kernel_size, self.stride, self.dilation)
        else:
            self.padding = tuple_of(padding, self.rank, "padding", 0)
        bound = 1.0 / math.sqrt(in_channels // groups * math.prod(self.kernel_size))
        self.weight = Parameter((out_channels, in_channels // groups, *self.kernel_size), init.uniform(-bound, bound))
        self.bias = Parameter((out_channels,), init.uniform(-bound, bound)) if bias else None

    def forward(self, input: Any) -> Tensor:
        return ops.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
