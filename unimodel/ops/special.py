"""Functions with a name of their own: logarithms of other bases, error and gamma functions."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import BOTH, need_float
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "digamma",
    "erfc",
    "erfinv",
    "exp2",
    "lgamma",
    "log2",
    "log10",
    "logaddexp",
    "logit",
    "xlogy",
]


def log2(x: Any) -> Tensor:
    """The logarithm to base 2."""
    return ops.log(x) * (1.0 / math.log(2.0))


def log10(x: Any) -> Tensor:
    """The logarithm to base 10."""
    return ops.log(x) * (1.0 / math.log(10.0))


def exp2(x: Any) -> Tensor:
    """2 to the power of x."""
    return ops.pow(2.0, x)


@composite(promote=BOTH, samples=[Sample(normal(2, 3), normal(3)), Sample(normal(3), 0.5)])
def logaddexp(x1: Tensor, x2: Tensor) -> Tensor:
    """``log(exp(x1) + exp(x2))`` without overflow."""
    larger = ops.maximum(x1, x2)
    apart = ops.where(ops.equal(x1, x2), 0.0, ops.abs(x1 - x2))  # of equal infinities, which have no difference
    return larger + ops.log1p(ops.exp(-apart))


@logaddexp.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    share = ops.sigmoid(ops.where(ops.equal(a, b), 0.0, a - b))
    return unbroadcast(g * share, a), unbroadcast(g * (1.0 - share), b)


def logit(x: Any, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, the inverse of sigmoid; with ``eps``, x is first held in [eps, 1 - eps], as in PyTorch."""
    held = ops.as_float(x) if eps is None else ops.clip(ops.as_float(x), eps, 1.0 - eps)
    return ops.log(held) - ops.log1p(-held)


def xlogy(x: Any, y: Any) -> Tensor:
    """``x * log(y)``, 0 where x is 0 and y is not NaN."""
    zero = ops.logical_and(ops.equal(x, 0.0), ops.logical_not(ops.isnan(y)))
    return ops.where(zero, 0.0, x * ops.log(ops.where(zero, 1.0, y)))


@primitive(samples=[Sample(uniform(-0.95, 0.95, 2, 3))])
def erfinv(x: TensorSpec) -> TensorSpec:
    """The number whose error function is x; infinite at -1 and 1, NaN outside."""
    need_float(x)
    return x


@erfinv.vjp
def _(node: Application, g: Tensor) -> Any:
    y = node.outputs[0]
    return g * (0.5 * math.sqrt(math.pi)) * ops.exp(y * y)


ERFC = (
    -1.3026537197817094, 6.4196979235649026e-1, 1.9476473204185836e-2, -9.561514786808631e-3, -9.46595344482036e-4, 3.66839497852761e-4, 4.2523324806907e-5,
    -2.0278578112534e-5, -1.624290004647e-6, 1.303655835580e-6, 1.5626441722e-8, -8.5238095915e-8, 6.529054439e-9, 5.059343495e-9, -9.91364156e-10,
    -2.27365122e-10, 9.6467911e-11, 2.394038e-12, -6.886027e-12, 8.94487e-13, 3.13092e-13, -1.12708e-13, 3.81e-16, 7.106e-15, -1.523e-15, -9.4e-17, 1.21e-16, -2.8e-17,
)  # fmt: skip  # a series reads as one
"""Chebyshev coefficients of ``log(erfc(z) * exp(z ** 2) / t)`` in ``4 t - 2``, with ``t = 2 / (2 + z)``, for z above 0 (Press et al. 2007, section 6.2.2)."""


@composite(samples=[Sample(normal(2, 3)), Sample(uniform(2, 5, 3))])
def erfc(x: Tensor) -> Tensor:
    """``1 - erf(x)``, exact to its own size where erf is near 1."""
    z = ops.abs(x)
    t = 2.0 / (2.0 + z)
    twice = 4.0 * t - 2.0
    before, last = ops.zeros_like(x), ops.zeros_like(x)
    for coefficient in ERFC[:0:-1]:
        before, last = last, twice * last - before + coefficient
    tail = t * ops.exp(-z * z + 0.5 * (ERFC[0] + twice * last) - before)
    return ops.where(ops.less(x, 0.0), 2.0 - tail, tail)


@erfc.vjp
def _(node: Application, g: Tensor) -> Any:
    x = node.inputs[0]
    return g * (-2.0 / math.sqrt(math.pi)) * ops.exp(-x * x)


@primitive(samples=[Sample(uniform(0.2, 5, 2, 3)), Sample(uniform(-1.8, -1.2, 3))])
def lgamma(x: TensorSpec) -> TensorSpec:
    """The logarithm of the gamma function's magnitude, which at n + 1 is ``log(n!)``."""
    need_float(x)
    return x


@lgamma.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * digamma(node.inputs[0])


BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
"""B(2k) / 2k of the asymptotic series, from k = 1 on."""


@composite(samples=[Sample(uniform(0.2, 5, 2, 3)), Sample(uniform(-1.8, -1.2, 3))])
def digamma(x: Tensor) -> Tensor:
    """The derivative of ``lgamma``: moved up to where its asymptotic series is exact (Abramowitz and Stegun 1964, 6.3), negative numbers by reflection."""
    below = ops.less(x, 0.5)
    z = ops.where(below, 1.0 - x, x)
    total = ops.where(below, -math.pi / ops.tan(math.pi * ops.where(below, x, 0.25)), 0.0)
    for k in range(10):
        total = total - 1.0 / (z + float(k))
    z = z + 10.0
    inverse = 1.0 / (z * z)
    series: Any = 0.0
    for coefficient in reversed(BERNOULLI):
        series = (series + coefficient) * inverse
    return ops.subtract(total + ops.log(z) - 0.5 / z, series)
