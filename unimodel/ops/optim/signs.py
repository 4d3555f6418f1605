"""Updates that look only at signs."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.op import composite
from unimodel.ops.optim.descent import regularised
from unimodel.ops.samples import Sample, nonzero, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "lion_update",
    "rprop_update",
]


@composite(
    samples=[
        Sample(normal(3, 2), nonzero(3, 2), nonzero(3, 2), uniform(0.1, 0.2)),
        Sample(normal(3), nonzero(3), nonzero(3), uniform(0.1, 0.2), beta1=0.5, beta2=0.7, weight_decay=0.1, maximize=True),
    ]
)
def lion_update(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    lr: Tensor,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of Lion (Chen et al. 2023, algorithm 2), weight decay decoupled: the new param and exp_avg."""
    grad = regularised(param, grad, 0.0, maximize)
    direction = ops.sign(beta1 * exp_avg + (1.0 - beta1) * grad)
    if weight_decay:
        param = param * (1.0 - lr * weight_decay)
    return param - lr * direction, beta2 * exp_avg + (1.0 - beta2) * grad


@composite(
    samples=[
        Sample(normal(3, 2), nonzero(3, 2), nonzero(3, 2), uniform(0.1, 0.2, 3, 2)),
        Sample(normal(4), nonzero(4), nonzero(4), uniform(0.1, 0.2, 4), 0.3, 1.5, step_size_min=0.05, step_size_max=0.18, maximize=True),
    ]
)
def rprop_update(
    param: Tensor,
    grad: Tensor,
    prev: Tensor,
    step_size: Tensor,
    etaminus: float = 0.5,
    etaplus: float = 1.2,
    step_size_min: float = 1e-6,
    step_size_max: float = 50.0,
    maximize: bool = False,
) -> Any:
    """One step of resilient backpropagation (Riedmiller and Braun 1993): the new param, prev, step_size.

    Steps grow while the gradient keeps its sign and shrink where it turns; an element that turned stays where it is for one step.
    """
    grad = regularised(param, grad, 0.0, maximize)
    agreement = grad * prev
    turned = ops.less(agreement, 0.0)
    factor = ops.where(turned, etaminus, ops.where(ops.greater(agreement, 0.0), etaplus, 1.0))
    step_size = ops.clip(step_size * factor, step_size_min, step_size_max)
    grad = ops.where(turned, 0.0, grad)
    return param - ops.sign(grad) * step_size, grad, step_size
