"""Activations made of straight pieces, as layers; the formulas stand beside the ops of the same names."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.init import constant
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.nn.functional.activation import rrelu


class Threshold(Model):
    """``x`` where it is above ``threshold``, ``value`` elsewhere."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = threshold
        self.value = value

    def forward(self, input: Any) -> Any:
        return ops.threshold(input, self.threshold, self.value)


class Hardtanh(Model):
    """``x`` held between ``min_val`` and ``max_val``."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if not min_val < max_val:
            raise ShapeError("the bounds are in the wrong order.", expected="min_val < max_val", given=f"min_val={min_val}, max_val={max_val}")
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Any) -> Any:
        return ops.hardtanh(input, self.min_val, self.max_val)


class ReLU6(Model):
    """``x`` held between 0 and 6."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.relu6(input)


class Hardsigmoid(Model):
    """``(x + 3) / 6`` held between 0 and 1."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.hardsigmoid(input)


class Hardswish(Model):
    """``x`` times its hard sigmoid."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.hardswish(input)


class _Shrink(Model):
    """``lambd`` is how far from 0 an element must be to be more than 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        if not lambd >= 0:
            raise ShapeError("lambd is a distance from 0.", expected="lambd >= 0", given=repr(lambd))
        self.lambd = lambd


class Hardshrink(_Shrink):
    """``x`` where its magnitude is above ``lambd``, 0 elsewhere."""

    def forward(self, input: Any) -> Any:
        return ops.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """``x`` moved towards 0 by ``lambd``, and no further."""

    def forward(self, input: Any) -> Any:
        return ops.softshrink(input, self.lambd)


class PReLU(Model):
    """``x`` where positive, ``weight * x`` elsewhere; ``weight`` (num_parameters,) is learnt, one for all or one per channel (He et al. 2015)."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        positive(num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.weight = Parameter((num_parameters,), constant(init))

    def forward(self, input: Any) -> Any:
        return ops.prelu(input, self.weight)


class RReLU(Model):
    """Leaky ReLU whose slope is drawn for each element between ``lower`` and ``upper`` in train mode, and their mean in eval mode (Xu et al. 2015).

    The draws are core's, the same on every backend.
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        if not lower <= upper:
            raise ShapeError("the bounds are in the wrong order.", expected="lower <= upper", given=f"lower={lower}, upper={upper}")
        self.lower = lower
        self.upper = upper

    def forward(self, input: Any) -> Any:
        return rrelu(input, self.lower, self.upper, self.training)
