"""Pooling layers: a number for each window of (N, C, *spatial), or of one sample without N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import positive, tuple_of
from unimodel.nn.batch import batched


class _Pool(Model):
    """Windows of ``kernel_size``, ``stride`` apart (the window's size by default)."""

    rank = 0

    def __init__(self, kernel_size: Any, stride: Any, padding: Any) -> None:
        self.kernel_size = tuple_of(kernel_size, self.rank, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else tuple_of(stride, self.rank, "stride", 1)
        self.padding = tuple_of(padding, self.rank, "padding", 0)
        if any(p > k // 2 for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ShapeError("padding must be at most half the kernel.", given=f"padding={padding}, kernel_size={kernel_size}")

    def pooled(self, x: Any) -> Any:
        raise NotImplementedError

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ShapeError(
                f"{type(self).__name__} got another rank.",
                expected=f"(N, C, *spatial) of {self.rank + 2} dimensions, or (C, *spatial)",
                given=f"{input.dtype} {input.shape}",
                remedy="add the missing dimension (um.ops.expand_dims), or take the layer of the input's rank",
            )
        return batched(self.pooled, input, self.rank + 1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    """The largest of each window; ``stride`` is the window by default, ``return_indices`` adds where it was. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = tuple_of(dilation, self.rank, "dilation", 1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def pooled(self, x: Any) -> Any:
        values, indices = ops.max_pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return (values, indices) if self.return_indices else values


class MaxPool1d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    rank = 1


class MaxPool2d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    rank = 2


class MaxPool3d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    rank = 3


class _AvgPool(_Pool):
    """The mean of each window; ``stride`` is the window by default. Padding counts as zeros, or not at all with ``count_include_pad=False``. Source:
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
        super().__init__(kernel_size, stride, padding)
        if divisor_override is not None:
            positive(divisor_override=divisor_override)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def pooled(self, x: Any) -> Any:
        return ops.avg_pool(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)


class AvgPool1d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    rank = 1

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    rank = 2


class AvgPool3d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    rank = 3


class _LPPool(_Pool):
    """The ``norm_type``-norm of each window; ``stride`` is the window by default. Source: https://pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html"""

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, 0)
        if not norm_type > 0:
            raise ShapeError("norm_type is above 0.", given=repr(norm_type))
        self.norm_type = float(norm_type)
        self.ceil_mode = ceil_mode

    def pooled(self, x: Any) -> Any:
        return ops.lp_pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    rank = 1


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    rank = 2


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    rank = 3


class _MaxUnpool(_Pool):
    """Max-pooling's values put back where its indices say, zeros elsewhere. Source: https://pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html"""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__(kernel_size, stride, padding)

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:  # type: ignore[override]  # PyTorch's arguments
        single = input.ndim == self.rank + 1
        if single:
            input, indices = ops.expand_dims(input, 0), ops.expand_dims(indices, 0)
        result = ops.max_unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return ops.squeeze(result, 0) if single else result


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    rank = 1


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    rank = 2


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    rank = 3
