"""RAdam."""

from __future__ import annotations

import math
from typing import Any

from unimodel import ops
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots, present


class RAdam(Optimizer):
    """Adam whose first steps go without the second average, until its variance can be trusted (Liu et al. 2020).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.RAdam.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params, lr, betas=averaging(betas), eps=eps, weight_decay=weight_decay, decoupled_weight_decay=decoupled_weight_decay, maximize=maximize
        )

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        beta1, beta2 = o["betas"]
        new, state["exp_avg"], state["exp_avg_sq"] = ops.radam_update(
            param,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            lr,
            self.step_scalar(lambda t: 1.0 - present(beta1) ** t, "correction", beta1),
            self.step_scalar(lambda t: rectification(present(beta2), t), "rectification", beta2),
            beta1,
            beta2,
            o["eps"],
            o["weight_decay"],
            o["decoupled_weight_decay"],
            o["maximize"],
        )
        return new


def rectification(beta2: float, t: int) -> float:
    """What the variance of the adaptive rate is rectified by at step t, times ``sqrt(1 - beta2**t)``; 0 while there are too few terms in the average."""
    correction = 1.0 - beta2**t
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * t * beta2**t / correction
    if length <= 5.0:
        return 0.0
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) * math.sqrt(correction)
