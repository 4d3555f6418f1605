"""Gradient descent: plain, with momentum, and averaged."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.op import composite
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "asgd_update",
    "sgd_update",
]


def regularised(param: Tensor, grad: Tensor, weight_decay: float, maximize: bool) -> Tensor:
    """The gradient to descend, with L2 weight decay added to it."""
    if maximize:
        grad = -grad
    return grad + weight_decay * param if weight_decay else grad


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
    grad = regularised(param, grad, weight_decay, maximize)
    if momentum_buffer is None:
        return param - lr * grad
    buffer = momentum * momentum_buffer + damping * grad
    grad = grad + momentum * buffer if nesterov else buffer
    return param - lr * grad, buffer


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), normal(3, 2), uniform(0.1, 0.2), uniform(0.1, 0.2), uniform(0.1, 1), uniform(1, 5)),
        Sample(
            normal(3), normal(3), normal(3), uniform(0.1, 0.2), uniform(0.1, 0.2), uniform(0.1, 1), uniform(1, 5), lambd=0.1, weight_decay=0.1, maximize=True
        ),
    ]
)
def asgd_update(
    param: Tensor,
    grad: Tensor,
    ax: Tensor,
    eta: Tensor,
    lr: Tensor,
    mu: Tensor,
    step: Tensor,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of averaged gradient descent (Polyak and Juditsky 1992): the new param, ``ax`` (the average) and ``eta`` (the next step's rate).

    ``mu`` is what the new parameter counts for in the average, ``step`` the number of this update.
    """
    grad = regularised(param, grad, weight_decay, maximize)
    new = param * (1.0 - lambd * eta) - eta * grad
    return new, ax + (new - ax) * mu, lr / ops.pow(1.0 + lambd * lr * step, alpha)
