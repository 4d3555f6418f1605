"""More arithmetic of each element: roundings, signs, bits, and PyTorch's fused forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import INTEGERS, TensorSpec
from unimodel.op import primitive
from unimodel.ops.rules import BOTH, need_number, same_kind
from unimodel.ops.samples import Sample, integers
from unimodel.tracing import Tensor

__all__ = [
    "addcdiv",
    "addcmul",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "copysign",
    "frac",
    "isinf",
    "lerp",
    "nan_to_num",
    "positive",
    "reciprocal",
    "signbit",
    "trunc",
]


def positive(x: Any) -> Tensor:
    """``+x``: x itself."""
    result: Tensor = ops.asarray(x)
    need_number(result.spec)
    return result


def reciprocal(x: Any) -> Tensor:
    """``1 / x``."""
    return ops.true_divide(1.0, ops.as_float(x))


def trunc(x: Any) -> Tensor:
    """x without what is behind the point: the nearest integer towards zero, in x's dtype."""
    x = ops.asarray(x)
    need_number(x.spec)
    return ops.where(ops.less(x, 0), ops.ceil(x), ops.floor(x)) if x.spec.is_float else x


def frac(x: Any) -> Tensor:
    """``x - trunc(x)``."""
    return ops.subtract(x, trunc(x))


def isinf(x: Any) -> Tensor:
    """Whether each element is plus or minus infinity."""
    x = ops.asarray(x)
    return ops.equal(ops.abs(x), math.inf) if x.spec.is_float else ops.zeros(x.shape, dtype="bool")


def signbit(x: Any) -> Tensor:
    """Whether each element is negative, -0.0 included. The sign of NaN, which frameworks do not keep, counts as positive."""
    x = ops.asarray(x)
    return ops.less(ops.where(ops.equal(x, 0.0), 1.0 / x, x) if x.spec.is_float else x, 0)


def copysign(x1: Any, x2: Any) -> Tensor:
    """The magnitude of ``x1`` with the sign of ``x2``, of which -0.0 is negative."""
    size = ops.abs(x1)
    return ops.where(signbit(x2), -size, size)


def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with other numbers for NaN and the infinities, by default 0 and the largest and least that the dtype has."""
    given = ops.asarray(x)
    if not given.spec.is_float:
        return given
    largest = 3.3895313892515355e38 if given.dtype == "bfloat16" else float(np.finfo(given.dtype).max)
    x = ops.where(ops.isnan(given), nan, given)
    x = ops.where(ops.equal(x, math.inf), largest if posinf is None else posinf, x)
    return ops.where(ops.equal(x, -math.inf), -largest if neginf is None else neginf, x)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """``input + weight * (end - input)``, which is exactly ``input`` at weight 0."""
    return ops.add(input, weight * (end - input))


def addcmul(input: Any, tensor1: Any, tensor2: Any, value: float = 1.0) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = tensor1 * tensor2
    return ops.add(input, product if value == 1 else value * product)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, value: float = 1.0) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    quotient = tensor1 / tensor2
    return ops.add(input, quotient if value == 1 else value * quotient)


# --------------------------------------------------------------------------------------------------------------------- bits


def _need_bits(*operands: Any) -> None:
    for x in operands:
        if x.dtype not in (*INTEGERS, "bool"):
            raise ShapeError(
                "bits are those of integers and booleans.", expected="int32, int64 or bool", given=str(x), remedy="compare first (x != 0), or convert it"
            )


BITS = [Sample(integers(-9, 9, 2, 3), integers(-9, 9, 3), gradient=False), Sample(integers(-9, 9, 4), 6, gradient=False)]


@primitive(promote=BOTH, samples=BITS)
def bitwise_and(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The bits that both have; of booleans, whether both hold."""
    _need_bits(x1, x2)
    return same_kind(x1, x2)


def bitwise_or(x1: Any, x2: Any) -> Tensor:
    """The bits that either has; of booleans, whether either holds."""
    both = bitwise_and(x1, x2)
    return ops.logical_or(x1, x2) if both.dtype == "bool" else x1 + x2 - both


def bitwise_xor(x1: Any, x2: Any) -> Tensor:
    """The bits that one has and the other has not; of booleans, whether one holds but not both."""
    both = bitwise_and(x1, x2)
    return ops.logical_xor(x1, x2) if both.dtype == "bool" else x1 + x2 - 2 * both


def bitwise_invert(x: Any) -> Tensor:
    """The other bits; of booleans, the opposite."""
    x = ops.asarray(x)
    _need_bits(x.spec)
    return ops.logical_not(x) if x.dtype == "bool" else -1 - x


bitwise_not = bitwise_invert
"""PyTorch's name for ``bitwise_invert``."""


def bitwise_left_shift(x1: Any, x2: Any) -> Tensor:
    """The bits moved up by ``x2`` places, from 0 to fewer than the dtype has: ``x1 * 2 ** x2``."""
    return ops.multiply(x1, _power_of_two(x1, x2))


def bitwise_right_shift(x1: Any, x2: Any) -> Tensor:
    """The bits moved down by ``x2`` places, the sign kept: ``x1 // 2 ** x2``."""
    return ops.floor_divide(x1, _power_of_two(x1, x2))


def _power_of_two(x: Any, places: Any) -> Any:
    _need_bits(ops.asarray(x).spec, ops.asarray(places).spec)
    return 2**places if isinstance(places, int) else ops.pow(ops.full_like(places, 2), places)
