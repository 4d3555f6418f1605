"""Activations with PyTorch's arguments. ``inplace`` is taken as layers take it: a traced program has nothing to overwrite."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError


def relu(input: Any, inplace: bool = False) -> Any:
    """``max(x, 0)``."""
    return ops.relu(input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """x between 0 and 6."""
    return ops.relu6(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    return ops.leaky_relu(input, negative_slope)


def rrelu(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> Any:
    """Leaky ReLU whose slope is drawn for each element when ``training``, and is the mean of the bounds else (Xu et al. 2015). The draws are core's."""
    if not lower <= upper:
        raise ShapeError("the bounds are in the wrong order.", expected="lower <= upper", given=f"lower={lower}, upper={upper}")
    if not training or lower == upper:
        return ops.leaky_relu(input, (lower + upper) / 2)
    slopes = ops.random.uniform(input.shape, lower, upper, dtype=input.dtype)
    return ops.where(input < 0.0, input * slopes, input)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    return ops.elu(input, alpha)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere."""
    return ops.celu(input, alpha)


def selu(input: Any, inplace: bool = False) -> Any:
    """elu with the scale and alpha that keep mean 0 and variance 1."""
    return ops.selu(input)


def silu(input: Any, inplace: bool = False) -> Any:
    """``x * sigmoid(x)``."""
    return ops.silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """``x * tanh(softplus(x))``."""
    return ops.mish(input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x between two bounds."""
    return ops.hardtanh(input, min_val, max_val)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """``x / 6 + 1 / 2``, between 0 and 1."""
    return ops.hardsigmoid(input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """``x * hardsigmoid(x)``."""
    return ops.hardswish(input)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where it is above ``threshold``, ``value`` elsewhere."""
    return ops.threshold(input, threshold, value)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(beta * x)) / beta``; as in PyTorch it is x itself where ``beta * x > threshold``."""
    scaled = input * beta
    return ops.where(scaled > threshold, input, ops.softplus(scaled) / beta)


def _typed(input: Any, dtype: Any) -> Any:
    return input if dtype is None else ops.astype(input, dtype)


def softmax(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    """Exponentials that add up to 1 along ``dim``, of x in another dtype where one is given."""
    return ops.softmax(_typed(input, dtype), dim)


def softmin(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    """softmax of ``-x``."""
    return ops.softmin(_typed(input, dtype), dim)


def log_softmax(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    """``log(softmax(x))``, without overflow."""
    return ops.log_softmax(_typed(input, dtype), dim)


def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Any:
    """A draw from the classes along ``dim`` that can be differentiated: softmax of logits and Gumbel noise over ``tau`` (Jang et al. 2017).

    With ``hard`` it is 1 for one class and 0 for the others, and its gradient that of the soft draw. The noise is core's, the same on every backend. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gumbel_softmax.html
    """
    if not tau > 0:
        raise ShapeError("tau is a temperature.", expected="tau above 0", given=repr(tau))
    soft = ops.softmax((logits + ops.random.gumbel(logits.shape, dtype=logits.dtype)) / tau, dim)
    if not hard:
        return soft
    classes = ops.moveaxis(ops.one_hot(ops.argmax(soft, axis=dim), logits.shape[dim], soft.dtype), -1, dim)
    return soft + ops.stop_gradient(classes - soft)
