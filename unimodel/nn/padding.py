"""Padding layers: ``padding`` is one number for all sides, or (before, after) of the last dimension, then of the last but one, and so on."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import tuple_of
from unimodel.tracing import Tensor


class _Padding(Model):
    """The last dimensions padded, negative numbers refused. Source: https://pytorch.org/docs/stable/nn.html#padding-layers"""

    rank = 0
    mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        self.padding = tuple_of(padding, 2 * self.rank, "padding", 0)

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ShapeError(f"{type(self).__name__} got another rank.", expected=f"{self.rank + 1} or {self.rank + 2} dimensions", given=input.shape)
        return ops.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Padding):
    __doc__ = _Padding.__doc__

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value


class ConstantPad1d(_ConstantPad):
    __doc__ = _Padding.__doc__
    rank = 1


class ConstantPad2d(_ConstantPad):
    __doc__ = _Padding.__doc__
    rank = 2


class ConstantPad3d(_ConstantPad):
    __doc__ = _Padding.__doc__
    rank = 3


class ZeroPad1d(_Padding):
    __doc__ = _Padding.__doc__
    rank = 1


class ZeroPad2d(_Padding):
    __doc__ = _Padding.__doc__
    rank = 2


class ZeroPad3d(_Padding):
    __doc__ = _Padding.__doc__
    rank = 3


class ReflectionPad1d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 1, "reflect"


class ReflectionPad2d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 2, "reflect"


class ReflectionPad3d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 3, "reflect"


class ReplicationPad1d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 1, "replicate"


class ReplicationPad2d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 2, "replicate"


class ReplicationPad3d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 3, "replicate"


class CircularPad1d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 1, "circular"


class CircularPad2d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 2, "circular"


class CircularPad3d(_Padding):
    __doc__ = _Padding.__doc__
    rank, mode = 3, "circular"
