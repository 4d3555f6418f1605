"""A rate for each element from the squares of its gradients: summed up, or averaged."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.op import composite
from unimodel.ops.optim.descent import regularised
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "adadelta_update",
    "adagrad_update",
    "rmsprop_update",
]


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), uniform(0.1, 1, 3, 2), uniform(0.1, 0.2), uniform(1, 2)),
        Sample(normal(3), normal(3), uniform(0.1, 1, 3), uniform(0.1, 0.2), uniform(1, 2), initial=0.2, eps=1e-2, weight_decay=0.1, maximize=True),
    ]
)
def adagrad_update(
    param: Tensor,
    grad: Tensor,
    sum: Tensor,
    lr: Tensor,
    divisor: Tensor,
    initial: float = 0.0,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of Adagrad (Duchi et al. 2011): the new param and the new sum of squares, to which ``initial`` is added where it is used.

    ``divisor`` is what the learning rate has decayed by: ``1 + (t - 1) * lr_decay`` at step t.
    """
    grad = regularised(param, grad, weight_decay, maximize)
    sum = sum + grad * grad
    return param - (lr / divisor) * (grad / (ops.sqrt(sum + initial if initial else sum) + eps)), sum


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), uniform(0.1, 1, 3, 2), uniform(0.1, 1, 3, 2), uniform(0.1, 0.2)),
        Sample(normal(3), normal(3), uniform(0.1, 1, 3), uniform(0.1, 1, 3), uniform(0.1, 0.2), rho=0.5, eps=1e-2, weight_decay=0.1, maximize=True),
    ]
)
def adadelta_update(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    acc_delta: Tensor,
    lr: Tensor,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of Adadelta (Zeiler 2012): the new param, average square of gradients, average square of steps."""
    grad = regularised(param, grad, weight_decay, maximize)
    square_avg = rho * square_avg + (1.0 - rho) * (grad * grad)
    delta = ops.sqrt(acc_delta + eps) / ops.sqrt(square_avg + eps) * grad
    return param - lr * delta, square_avg, rho * acc_delta + (1.0 - rho) * (delta * delta)


RMSPROP = (normal(3, 2), normal(3, 2), uniform(1, 2, 3, 2), uniform(0.1, 0.2))


@composite(
    samples=[
        Sample(*RMSPROP),
        Sample(*RMSPROP, normal(3, 2), momentum=0.9, alpha=0.5, weight_decay=0.1),
        Sample(*RMSPROP, None, uniform(-0.5, 0.5, 3, 2), maximize=True),
        Sample(*RMSPROP, normal(3, 2), uniform(-0.5, 0.5, 3, 2), momentum=0.5, eps=1e-2),
    ]
)
def rmsprop_update(
    param: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    lr: Tensor,
    momentum_buffer: Tensor | None = None,
    grad_avg: Tensor | None = None,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of RMSprop (Hinton 2012), with ``grad_avg`` centred (Graves 2013): the new param, square_avg, then momentum_buffer and grad_avg if given."""
    grad = regularised(param, grad, weight_decay, maximize)
    square_avg = alpha * square_avg + (1.0 - alpha) * (grad * grad)
    variance = square_avg
    state = [square_avg]
    if grad_avg is not None:
        grad_avg = alpha * grad_avg + (1.0 - alpha) * grad
        variance = square_avg - grad_avg * grad_avg
    step = grad / (ops.sqrt(variance) + eps)
    if momentum_buffer is not None:
        step = momentum * momentum_buffer + step
        state.append(step)
    if grad_avg is not None:
        state.append(grad_avg)
    return param - lr * step, *state
