"""Adam and what grew out of it: two moving averages of the gradient, each corrected for having started at zero."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.op import composite
from unimodel.ops.optim.descent import regularised
from unimodel.ops.samples import Sample, nonzero, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "adam_update",
    "adamax_update",
    "lamb_update",
    "nadam_update",
    "radam_update",
]

ADAM = [
    Sample(normal(3, 2), normal(3, 2), normal(3, 2), uniform(0.1, 1, 3, 2), uniform(0.01, 0.1), uniform(0.1, 0.2), uniform(0.01, 0.02)),
    Sample(normal(3), normal(3), normal(3), uniform(0.1, 1, 3), uniform(0.01, 0.1), uniform(0.1, 0.2), uniform(0.01, 0.02), weight_decay=0.1, decoupled=True),
    Sample(
        normal(3), normal(3), normal(3), uniform(0.1, 1, 3), uniform(0.01, 0.1), uniform(0.1, 0.2), uniform(0.01, 0.02), uniform(0.5, 2, 3), weight_decay=0.1
    ),
]


@composite(samples=ADAM)
def adam_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    lr: Tensor,
    correction1: Tensor,
    correction2: Tensor,
    max_exp_avg_sq: Tensor | None = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> Any:
    """One step of Adam (Kingma and Ba 2015) or, decoupled, AdamW (Loshchilov and Hutter 2019); with ``max_exp_avg_sq`` AMSGrad.

    ``correction1`` is ``1 - beta1**t``, ``correction2`` is ``1 - beta2**t`` at step t. Returns the new param, exp_avg, exp_avg_sq (and max_exp_avg_sq).
    """
    if maximize:
        grad = -grad
    if weight_decay:
        if decoupled:
            param = param - (lr * weight_decay) * param
        else:
            grad = grad + weight_decay * param
    exp_avg = beta1 * exp_avg + (1.0 - beta1) * grad
    exp_avg_sq = beta2 * exp_avg_sq + (1.0 - beta2) * (grad * grad)
    second = exp_avg_sq
    if max_exp_avg_sq is not None:
        second = max_exp_avg_sq = ops.maximum(max_exp_avg_sq, exp_avg_sq)
    denominator = ops.sqrt(second) / ops.sqrt(correction2) + eps
    new = param - (lr / correction1) * (exp_avg / denominator)
    return (new, exp_avg, exp_avg_sq) if max_exp_avg_sq is None else (new, exp_avg, exp_avg_sq, max_exp_avg_sq)


def _averages(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    return beta1 * exp_avg + (1.0 - beta1) * grad, beta2 * exp_avg_sq + (1.0 - beta2) * (grad * grad)


def _decayed(param: Tensor, grad: Tensor, lr: Tensor, weight_decay: float, decoupled: bool, maximize: bool) -> tuple[Tensor, Tensor]:
    """Parameter and gradient after weight decay, which acts on the one or on the other."""
    grad = regularised(param, grad, 0.0 if decoupled else weight_decay, maximize)
    return param * (1.0 - lr * weight_decay) if decoupled and weight_decay else param, grad


MOMENTS = (normal(3, 2), normal(3, 2), normal(3, 2), uniform(0.1, 1, 3, 2), uniform(0.01, 0.1))
"""A parameter, its gradient, the two averages and a learning rate."""


@composite(
    samples=[
        Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.5, 2), uniform(0.5, 2)),
        Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.5, 2), uniform(0.5, 2), weight_decay=0.1, maximize=True),
        Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.5, 2), uniform(0.5, 2), weight_decay=0.1, decoupled=True),
    ]
)
def nadam_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    lr: Tensor,
    correction2: Tensor,
    grad_factor: Tensor,
    average_factor: Tensor,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> Any:
    """One step of Adam with Nesterov momentum (Dozat 2016): the new param, exp_avg, exp_avg_sq.

    ``grad_factor`` and ``average_factor`` are the corrected shares of gradient and average in the step, which follow the momentum's schedule.
    """
    param, grad = _decayed(param, grad, lr, weight_decay, decoupled, maximize)
    exp_avg, exp_avg_sq = _averages(grad, exp_avg, exp_avg_sq, beta1, beta2)
    denominator = ops.sqrt(exp_avg_sq / correction2) + eps
    return param - lr * ((grad_factor * grad + average_factor * exp_avg) / denominator), exp_avg, exp_avg_sq


@composite(
    samples=[
        Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.1, 0.5)),
        Sample(*MOMENTS, uniform(0.1, 0.2), 0.0, weight_decay=0.1, maximize=True),
        Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.1, 0.5), weight_decay=0.1, decoupled=True),
    ]
)
def radam_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    lr: Tensor,
    correction1: Tensor,
    rectification: Tensor,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> Any:
    """One step of rectified Adam (Liu et al. 2020): the new param, exp_avg, exp_avg_sq.

    ``rectification`` is the variance's rectification times ``sqrt(1 - beta2**t)``, or 0 in the first steps, which go without the second average.
    """
    param, grad = _decayed(param, grad, lr, weight_decay, decoupled, maximize)
    exp_avg, exp_avg_sq = _averages(grad, exp_avg, exp_avg_sq, beta1, beta2)
    adaptive = ops.where(ops.greater(rectification, 0.0), rectification / (ops.sqrt(exp_avg_sq) + eps), 1.0)
    return param - (lr / correction1) * (exp_avg * adaptive), exp_avg, exp_avg_sq


@composite(
    samples=[
        Sample(normal(3, 2), nonzero(3, 2), normal(3, 2), uniform(0.01, 0.05, 3, 2), uniform(0.01, 0.1), uniform(0.1, 0.2)),
        Sample(normal(3), nonzero(3), normal(3), uniform(3, 4, 3), uniform(0.01, 0.1), uniform(0.1, 0.2), weight_decay=0.1, maximize=True),
    ]
)
def adamax_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_inf: Tensor,
    lr: Tensor,
    correction1: Tensor,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of Adam with the infinity norm (Kingma and Ba 2015, section 7.1): the new param, exp_avg, exp_inf."""
    grad = regularised(param, grad, weight_decay, maximize)
    exp_avg = beta1 * exp_avg + (1.0 - beta1) * grad
    exp_inf = ops.maximum(beta2 * exp_inf, ops.abs(grad) + eps)
    return param - (lr / correction1) * (exp_avg / exp_inf), exp_avg, exp_inf


@composite(samples=[Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.01, 0.02)), Sample(*MOMENTS, uniform(0.1, 0.2), uniform(0.01, 0.02), weight_decay=0.1)])
def lamb_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    lr: Tensor,
    correction1: Tensor,
    correction2: Tensor,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of LAMB (You et al. 2020, algorithm 2): Adam's direction plus decay, as long as the parameter itself. The new param, exp_avg, exp_avg_sq.

    Where the parameter or the direction is zero, the direction is taken as it is.
    """
    grad = regularised(param, grad, 0.0, maximize)
    exp_avg, exp_avg_sq = _averages(grad, exp_avg, exp_avg_sq, beta1, beta2)
    direction = (exp_avg / correction1) / (ops.sqrt(exp_avg_sq / correction2) + eps)
    if weight_decay:
        direction = direction + weight_decay * param
    length, reach = ops.sqrt(ops.sum(param * param)), ops.sqrt(ops.sum(direction * direction))
    usable = ops.logical_and(ops.greater(length, 0.0), ops.greater(reach, 0.0))
    trust = ops.where(usable, length / ops.where(usable, reach, 1.0), 1.0)
    return param - (lr * trust) * direction, exp_avg, exp_avg_sq
