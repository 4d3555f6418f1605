"""NAdam."""

from __future__ import annotations

import math
from typing import Any

from unimodel import ops
from unimodel.errors import UnsupportedError
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots
from unimodel.tracing import Scalar


class NAdam(Optimizer):
    """Adam with Nesterov momentum that warms up (Dozat 2016).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.NAdam.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            lr,
            betas=averaging(betas),
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        beta1, beta2 = o["betas"]
        if isinstance(beta1, Scalar):
            raise UnsupportedError("NAdam's momentum has a schedule of its own.", remedy="pass cycle_momentum=False to the schedule, or take Adam")
        momentum = Momentum(beta1, o["momentum_decay"])
        new, state["exp_avg"], state["exp_avg_sq"] = ops.nadam_update(
            param,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            lr,
            self.step_scalar(lambda t: 1.0 - beta2**t, "correction", beta2),
            self.step_scalar(momentum.grad_factor, "grad_factor", beta1, o["momentum_decay"]),
            self.step_scalar(momentum.average_factor, "average_factor", beta1, o["momentum_decay"]),
            beta1,
            beta2,
            o["eps"],
            o["weight_decay"],
            o["decoupled_weight_decay"],
            o["maximize"],
        )
        return new


class Momentum:
    """The momentum of each step, and the product of all so far, which is a function of the step's number: a resumed run finds it again."""

    def __init__(self, beta1: float, decay: float) -> None:
        self.beta1 = beta1
        self.decay = decay
        self._known = (0, 1.0)

    def at(self, t: int) -> float:
        return self.beta1 * (1.0 - 0.5 * math.pow(0.96, t * self.decay))

    def product(self, t: int) -> float:
        start, product = self._known if self._known[0] <= t else (0, 1.0)
        for i in range(start + 1, t + 1):
            product *= self.at(i)
        self._known = t, product
        return product

    def grad_factor(self, t: int) -> float:
        return (1.0 - self.at(t)) / (1.0 - self.product(t))

    def average_factor(self, t: int) -> float:
        return self.at(t + 1) / (1.0 - self.product(t) * self.at(t + 1))
