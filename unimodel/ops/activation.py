"""Activations, with PyTorch's names and formulas (https://pytorch.org/docs/stable/nn.functional.html#non-linear-activation-functions)."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.rules import axis_index, canonical_axis, known, need_number
from unimodel.ops.samples import Sample, nonzero, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "gelu_gradient",
    "glu",
    "leaky_relu",
    "log_softmax",
    "log_softmax_gradient",
    "logsigmoid",
    "mish",
    "relu",
    "relu_gradient",
    "selu",
    "silu",
    "softmax",
    "softmax_gradient",
    "softmin",
    "softplus",
    "softsign",
    "tanhshrink",
]


@composite(samples=[Sample(nonzero(2, 3))])
def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``; NaN stays NaN, the gradient at 0 is 0."""
    need_number(x.spec)
    return ops.where(ops.less_equal(x, 0), 0, x)


@relu.vjp
def _(node: Application, g: Tensor) -> Any:
    return relu_gradient(g, node.outputs[0])


@composite(samples=[Sample(normal(2, 3), nonzero(2, 3))])
def relu_gradient(g: Tensor, y: Tensor) -> Tensor:
    """``g`` where relu's result ``y`` is positive (or NaN), 0 elsewhere."""
    return ops.where(ops.less_equal(y, 0), 0, g)


@composite(samples=[Sample(nonzero(2, 3)), Sample(nonzero(4), negative_slope=0.2)])
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    need_number(x.spec)
    return ops.where(ops.greater(x, 0), x, x * negative_slope)


@composite(samples=[Sample(nonzero(2, 3)), Sample(nonzero(4), alpha=0.5)])
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2015)."""
    need_number(x.spec)
    positive = ops.greater(x, 0)
    return ops.where(positive, x, alpha * ops.expm1(ops.where(positive, 0, x)))


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@composite(samples=[Sample(nonzero(2, 3))])
def selu(x: Tensor) -> Tensor:
    """elu with the scale and alpha that keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


@composite(samples=[Sample(nonzero(2, 3)), Sample(nonzero(4), alpha=0.5)])
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere: smooth for every alpha (Barron 2017)."""
    need_number(x.spec)
    positive = ops.greater(x, 0)
    return ops.where(positive, x, alpha * ops.expm1(ops.where(positive, 0, x) / alpha))


@composite(samples=[Sample(normal(2, 3)), Sample(normal(2, 3), approximate="tanh")])
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """``x`` times the normal distribution function at x; ``approximate="tanh"`` is the tanh formula (Hendrycks and Gimpel 2016)."""
    need_number(x.spec)
    if approximate == "tanh":
        return x * ops.sigmoid(x * _tanh_slope(x * x, 1.0))
    if approximate != "none":
        raise ShapeError("approximate is 'none' or 'tanh'.", given=approximate)
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


def _tanh_slope(square: Tensor, power: float) -> Tensor:
    """Of the tanh formula, ``(1 + tanh(u)) / 2`` as the sigmoid of ``2 u``, which keeps its digits for negative x: ``2 u / x``, or with ``power`` 3 its derivative ``2 u'``."""
    scale = math.sqrt(8.0 / math.pi)
    return scale + scale * power * 0.044715 * square


@gelu.vjp
def _(node: Application, g: Tensor) -> Any:
    return gelu_gradient(g, node.inputs[0], node.attrs["approximate"])


@composite(samples=[Sample(normal(2, 3), normal(2, 3)), Sample(normal(2, 3), normal(2, 3), approximate="tanh")])
def gelu_gradient(g: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """The gradient of gelu at x, times ``g``."""
    if approximate == "tanh":
        square = x * x
        share = ops.sigmoid(x * _tanh_slope(square, 1.0))
        return g * (share + x * share * (1.0 - share) * _tanh_slope(square, 3.0))  # x * share is gelu(x), which is there already
    density = ops.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
    return g * (0.5 * (1.0 + ops.erf(x * math.sqrt(0.5))) + x * density)


@composite(samples=[Sample(normal(2, 3))])
def silu(x: Tensor) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    return x * ops.sigmoid(x)


@composite(samples=[Sample(normal(2, 3)), Sample(uniform(-40, 40, 5), gradient=False)])
def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))``, without overflow and exact for large negative x."""
    return ops.maximum(x, 0) + ops.log1p(ops.exp(-ops.abs(x)))  # not relu: at 0 both halves must count half, whoever differentiates


@softplus.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * ops.sigmoid(node.inputs[0])


@composite(samples=[Sample(normal(2, 3)), Sample(uniform(-40, 40, 5), gradient=False)])
def mish(x: Tensor) -> Tensor:
    """``x * tanh(softplus(x))`` (Misra 2019)."""
    return x * ops.tanh(softplus(x))


@composite(samples=[Sample(nonzero(2, 3))])
def softsign(x: Tensor) -> Tensor:
    """``x / (1 + abs(x))``."""
    need_number(x.spec)
    return x / (1.0 + ops.abs(x))


def tanhshrink(x: Any) -> Tensor:
    """``x - tanh(x)``."""
    return ops.subtract(x, ops.tanh(x))


def glu(x: Any, dim: int = -1) -> Tensor:
    """The first half along ``dim`` times the sigmoid of the second (Dauphin et al. 2017)."""
    size = known(x.shape[axis_index(dim, x.ndim)])
    if size % 2:
        raise ShapeError("glu halves a dimension.", expected=f"an even size in dimension {dim}", given=f"shape {x.shape}")
    first, second = ops.split(x, size // 2, dim)
    return ops.multiply(first, ops.sigmoid(second))


def logsigmoid(x: Any) -> Tensor:
    """``log(sigmoid(x))``, without overflow."""
    return -softplus(-x)


@composite(canonical=canonical_axis, samples=[Sample(normal(2, 5)), Sample(normal(2, 3, 4), axis=1), Sample(uniform(-400, 400, 3, 4), gradient=False)])
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Exponentials that add up to 1 along ``axis``, without overflow."""
    e = ops.exp(x - ops.max(x, axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


@softmax.vjp
def _(node: Application, g: Tensor) -> Any:
    return softmax_gradient(g, node.outputs[0], axis=node.attrs["axis"])


@composite(samples=[Sample(normal(2, 5), uniform(0.1, 0.4, 2, 5), axis=1)])
def softmax_gradient(g: Tensor, y: Tensor, axis: int) -> Tensor:
    """The gradient of softmax whose result is ``y``."""
    return y * (g - ops.sum(g * y, axis=axis, keepdims=True))


@composite(canonical=canonical_axis, samples=[Sample(normal(2, 5)), Sample(normal(2, 3, 4), axis=1), Sample(uniform(-400, 400, 3, 4), gradient=False)])
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """``log(softmax(x))``, without overflow."""
    shifted = x - ops.max(x, axis=axis, keepdims=True)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=axis, keepdims=True))


@log_softmax.vjp
def _(node: Application, g: Tensor) -> Any:
    return log_softmax_gradient(g, node.outputs[0], axis=node.attrs["axis"])


@composite(samples=[Sample(normal(2, 5), uniform(-3.0, -0.5, 2, 5), axis=1)])
def log_softmax_gradient(g: Tensor, y: Tensor, axis: int) -> Tensor:
    """The gradient of log_softmax whose result is ``y``."""
    return g - ops.exp(y) * ops.sum(g, axis=axis, keepdims=True)


def softmin(x: Any, axis: int = -1) -> Tensor:
    """softmax of ``-x``."""
    return softmax(ops.negative(x), axis=axis)
