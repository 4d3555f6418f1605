"""Optimizer updates, each a composite of one parameter: backends carry many of them out in one fused kernel.

The formulas are PyTorch's (https://pytorch.org/docs/stable/optim.html), operation by operation. Numbers that change from step to step come in as 0-d tensors.
"""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.ops.definition import composite
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "adam_update",
    "sgd_update",
]


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), uniform(0.1, 0.2)),
        Sample(normal(3), normal(3), uniform(0.1, 0.2), uniform(0.5, 1.0), normal(3), momentum=0.9, weight_decay=0.1, nesterov=True),
        Sample(normal(3), normal(3), uniform(0.1, 0.2), uniform(0.5, 1.0), normal(3), momentum=0.8, maximize=True),
    ]
)
def sgd_update(
    param: Tensor,
    grad: Tensor,
    lr: Tensor,
    damping: Tensor | None = None,
    momentum_buffer: Tensor | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Any:
    """One step of stochastic gradient descent: the new parameter, and the new momentum buffer if there is one.

    ``damping`` is what a new gradient counts for in the buffer: 1 at the first step, then ``1 - dampening``.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param
    if momentum_buffer is None:
        return param - lr * grad
    buffer = momentum * momentum_buffer + damping * grad
    grad = grad + momentum * buffer if nesterov else buffer
    return param - lr * grad, buffer


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
