"""Adamax."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots, present


class Adamax(Optimizer):
    """Adam with the infinity norm in place of the second average (Kingma and Ba 2015).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Adamax.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr, betas=averaging(betas), eps=eps, weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        beta1, beta2 = o["betas"]
        correction = self.step_scalar(lambda t: 1.0 - present(beta1) ** t, "correction", beta1)
        new, state["exp_avg"], state["exp_inf"] = ops.adamax_update(
            param, grad, state["exp_avg"], state["exp_inf"], lr, correction, beta1, beta2, o["eps"], o["weight_decay"], o["maximize"]
        )
        return new
