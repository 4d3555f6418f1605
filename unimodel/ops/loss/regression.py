"""Losses of regressions: a number per element from how far a prediction is off, and likelihoods of real and counted targets."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import shapes_agree
from unimodel.ops.samples import Sample, distinct, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "absolute_error",
    "gaussian_nll",
    "huber_error",
    "poisson_nll",
    "smooth_l1_error",
    "squared_error",
]

PAIR = [Sample(distinct(4, 2), normal(4, 2)), Sample(distinct(5), normal(5))]


def same_shape(input: Tensor, target: Tensor) -> Tensor:
    """``target`` in the input's dtype and shape. A single number stands for all elements; other shapes are refused, since broadcasting (N, 1)
    with (N,) is never what was meant."""
    if target.shape == ():
        return ops.full_like(input, target)
    if not shapes_agree(input.shape, target.shape):
        raise ShapeError(
            "predictions and targets must have the same shape.",
            expected=f"targets of shape {input.shape}",
            given=str(target.spec),
            remedy="reshape the targets, e.g. y.reshape(-1, 1), or squeeze the predictions",
        )
    return ops.astype(target, input.dtype)


@composite(samples=PAIR)
def squared_error(input: Tensor, target: Tensor) -> Tensor:
    """``(input - target) ** 2`` per element."""
    difference = input - same_shape(input, target)
    return difference * difference


@composite(samples=[Sample(distinct(4, 2), uniform(0.01, 0.04, 4, 2))])
def absolute_error(input: Tensor, target: Tensor) -> Tensor:
    """``abs(input - target)`` per element."""
    return ops.abs(input - same_shape(input, target))


def _both(g: Tensor, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A gradient for a difference as gradients for its two sides."""
    return g, -(ops.sum(g) if target.shape == () and input.shape != () else g)


@composite(samples=[Sample(distinct(4, 2), uniform(0.01, 0.04, 4, 2)), Sample(distinct(6), uniform(0.01, 0.04, 6), beta=0.2)])
def smooth_l1_error(input: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """``0.5 * d ** 2 / beta`` where the difference d is below ``beta``, ``abs(d) - 0.5 * beta`` elsewhere (Girshick 2015)."""
    size = ops.abs(input - same_shape(input, target))
    return ops.where(ops.less(size, beta), 0.5 * size * size / beta, size - 0.5 * beta)


@smooth_l1_error.vjp
def _(node: Application, g: Tensor) -> Any:
    input, target = node.inputs
    return _both(g * ops.clip((input - same_shape(input, target)) / node.attrs["beta"], -1.0, 1.0), input, target)


@composite(samples=[Sample(distinct(4, 2), uniform(0.01, 0.04, 4, 2)), Sample(distinct(6), uniform(0.01, 0.04, 6), delta=0.2)])
def huber_error(input: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """``0.5 * d ** 2`` where the difference d is below ``delta``, ``delta * (abs(d) - 0.5 * delta)`` elsewhere (Huber 1964)."""
    size = ops.abs(input - same_shape(input, target))
    return ops.where(ops.less(size, delta), 0.5 * size * size, delta * (size - 0.5 * delta))


@huber_error.vjp
def _(node: Application, g: Tensor) -> Any:
    input, target = node.inputs
    delta = node.attrs["delta"]
    return _both(g * ops.clip(input - same_shape(input, target), -delta, delta), input, target)


@composite(
    samples=[
        Sample(normal(4, 2), uniform(0, 3, 4, 2)),
        Sample(uniform(0.5, 2, 4), uniform(1.5, 4, 4), log_input=False, full=True),
    ]
)
def poisson_nll(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Tensor:
    """Minus the log-likelihood of counts, per element: input is the logarithm of the expected count, or that itself with ``log_input=False``.

    ``full`` adds Stirling's approximation of ``log(target!)`` for targets above 1.
    """
    target = same_shape(input, target)
    losses = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        many = ops.greater(target, 1.0)
        count = ops.where(many, target, 1.0)
        losses = losses + ops.where(many, count * ops.log(count) - count + 0.5 * ops.log(2.0 * math.pi * count), 0.0)
    return losses


@composite(
    samples=[
        Sample(normal(4, 2), normal(4, 2), uniform(0.5, 2, 4, 2)),
        Sample(normal(4, 2), normal(4, 2), uniform(0.5, 2, 4, 1), full=True),
    ]
)
def gaussian_nll(input: Tensor, target: Tensor, var: Tensor, full: bool = False, eps: float = 1e-6) -> Tensor:
    """Minus the log-likelihood of a normal distribution, per element, without its constant unless ``full``; ``var`` is held above ``eps``.

    ``var`` broadcasts against input. As in PyTorch its gradient passes the bound as if it were not there.
    """
    # below the bound the value is the bound's and the gradient is var's, also where a framework differentiates this body
    var = ops.where(ops.less(var, eps), eps + (var - ops.stop_gradient(var)), var)
    difference = input - same_shape(input, target)
    return 0.5 * (ops.log(var) + difference * difference / var + (math.log(2.0 * math.pi) if full else 0.0))


@gaussian_nll.vjp
def _(node: Application, g: Tensor) -> Any:
    input, target, var = node.inputs
    held = ops.maximum(var, node.attrs["eps"])
    relative = (input - same_shape(input, target)) / held
    return *_both(g * relative, input, target), unbroadcast(g * 0.5 * (1.0 / held - relative * relative), var)
