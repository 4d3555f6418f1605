"""Pooling layers that give one size whatever comes in."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.batch import batched


class _AdaptivePool(Model):
    """As many windows as ``output_size`` says: a number, or one per dimension; None leaves a dimension as it is."""

    rank = 0

    def __init__(self, output_size: Any) -> None:
        sizes = (output_size,) * self.rank if isinstance(output_size, int) or output_size is None else tuple(output_size)
        if len(sizes) != self.rank or any(s is not None and (not hasattr(s, "__index__") or s < 1) for s in sizes):
            raise ShapeError(
                "output_size is one number or None, or one per spatial dimension.", expected=f"{self.rank} sizes of at least 1", given=repr(output_size)
            )
        self.output_size = sizes

    def pooled(self, x: Any) -> Any:
        raise NotImplementedError

    def forward(self, input: Any) -> Any:
        return batched(self.pooled, input, self.rank + 1)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_AdaptivePool):
    """The mean of each window. Source: https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html"""

    def pooled(self, x: Any) -> Any:
        return ops.adaptive_avg_pool(x, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    rank = 3


class _AdaptiveMaxPool(_AdaptivePool):
    """The largest of each window, and with ``return_indices`` where it was. Source: https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html"""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def pooled(self, x: Any) -> Any:
        return ops.adaptive_max_pool(x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    rank = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    rank = 3
