"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive, tuple_of
from unimodel.nn.batch import batched
from unimodel.ops.conv import same_padding
from unimodel.tracing import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Layer(Model):
    """What convolutions share: their numbers, a weight, and a bias drawn in ±1/sqrt(fan_in)."""

    rank = 0

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, dilation: Any, groups: int, padding_mode: str) -> None:
        positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ShapeError("groups must divide both channel counts.", given=f"in_channels={in_channels}, out_channels={out_channels}, groups={groups}")
        if padding_mode not in PADDING_MODES:
            raise ShapeError("this padding_mode is not known.", expected=", ".join(PADDING_MODES), given=repr(padding_mode))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size, self.rank, "kernel_size", 1)
        self.stride = tuple_of(stride, self.rank, "stride", 1)
        self.dilation = tuple_of(dilation, self.rank, "dilation", 1)
        self.groups = groups
        self.padding_mode = padding_mode

    def _draw(self, first: int, second: int, bias: bool) -> None:
        bound = 1.0 / math.sqrt(second * math.prod(self.kernel_size))
        self.weight = Parameter((first, second, *self.kernel_size), init.uniform(-bound, bound))
        self.bias = Parameter((self.out_channels,), init.uniform(-bound, bound)) if bias else None


class _Conv(_Layer):
    """Cross-correlation: (N, in_channels, *spatial), or one sample without N, gives (N, out_channels, *spatial').

    ``weight`` (out_channels, in_channels / groups, *kernel_size) and ``bias`` (out_channels,), both drawn uniformly in ±1/sqrt(fan_in). ``padding`` is a
    number, one per dimension, "same" (stride 1) or "valid"; ``padding_mode`` "zeros", "reflect", "replicate" or "circular". Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """

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
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        if isinstance(padding, str):
            self.padding: Any = same_padding(padding, self.kernel_size, self.stride, self.dilation)
        else:
            self.padding = tuple_of(padding, self.rank, "padding", 0)
        self._draw(out_channels, in_channels // groups, bias)

    def forward(self, input: Any) -> Tensor:
        result: Tensor = batched(self._batch, input, self.rank + 1)
        return result

    def _batch(self, x: Any) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" and x.ndim == self.rank + 2:
            pairs = [(p, p) if isinstance(p, int) else p for p in padding]
            x = ops.pad(x, [n for pair in reversed(pairs) for n in pair], self.padding_mode)
            padding = 0
        return ops.convolution(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Conv1d(_Conv):
    __doc__ = _Conv.__doc__
    rank = 1


class Conv2d(_Conv):
    """2-d cross-correlation: (N, in_channels, H, W), or one sample without N, gives (N, out_channels, H', W').

    ``weight`` (out_channels, in_channels / groups, *kernel_size) and ``bias`` (out_channels,), both drawn uniformly in ±1/sqrt(fan_in). ``padding`` is a
    number, one per dimension, "same" (stride 1) or "valid"; ``padding_mode`` "zeros", "reflect", "replicate" or "circular". Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html

    >>> import numpy as np
    >>> Conv2d(1, 4, 3, padding=1)(np.zeros((2, 1, 8, 8), "float32")).shape
    (2, 4, 8, 8)
    """

    rank = 2


class Conv3d(_Conv):
    __doc__ = _Conv.__doc__
    rank = 3


class _ConvTranspose(_Layer):
    """Transposed cross-correlation, the gradient of one: (N, in_channels, *spatial), or one sample without N, gives (N, out_channels, *spatial').

    ``weight`` (in_channels, out_channels / groups, *kernel_size) and ``bias`` (out_channels,), both drawn uniformly in ±1/sqrt(fan_in). A size n becomes
    ``(n - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``; ``forward`` takes ``output_size`` instead of ``output_padding``.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        if padding_mode != "zeros":
            raise ShapeError("a transposed convolution pads with zeros only.", expected="padding_mode='zeros'", given=repr(padding_mode))
        self.padding = tuple_of(padding, self.rank, "padding", 0)
        self.output_padding = tuple_of(output_padding, self.rank, "output_padding", 0)
        if any(o >= max(s, d) for o, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True)):
            raise ShapeError(
                "output_padding must be smaller than stride or dilation.", given=f"output_padding={output_padding}, stride={stride}, dilation={dilation}"
            )
        self._draw(in_channels, out_channels // groups, bias)

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        result: Tensor = batched(lambda x: self._batch(x, output_size), input, self.rank + 1)
        return result

    def _batch(self, x: Any, output_size: Sequence[int] | None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(x.shape[2:], tuple(output_size)[-self.rank :])
        return ops.conv_transpose(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, spatial: Sequence[Any], wanted: Sequence[int]) -> tuple[int, ...]:
        numbers = zip(spatial, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in numbers]
        extra = tuple(w - m for w, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
            raise ShapeError("output_size is out of reach.", expected=f"sizes from {least} to {most}", given=wanted)
        return extra

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 1


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 2


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 3
