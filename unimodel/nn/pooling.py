"""Pooling layers."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.model import Model
from unimodel.nn.arguments import tuple_of


class MaxPool2d(Model):
    """The largest of each window of (N, C, H, W); ``stride`` is the window by default. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False
    ) -> None:
        self.kernel_size = tuple_of(kernel_size, 2, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else tuple_of(stride, 2, "stride", 1)
        self.padding = tuple_of(padding, 2, "padding", 0)
        self.dilation = tuple_of(dilation, 2, "dilation", 1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return ops.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Model):
    """The mean of each window of (N, C, H, W); ``stride`` is the window by default. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = tuple_of(kernel_size, 2, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else tuple_of(stride, 2, "stride", 1)
        self.padding = tuple_of(padding, 2, "padding", 0)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        return ops.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
