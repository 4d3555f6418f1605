"""LAMB."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots, present


class LAMB(Optimizer):
    """Adam whose step is as long, parameter by parameter, as the parameter itself times the rate: for large batches (You et al. 2020, algorithm 2).

    PyTorch has no LAMB; names and arguments follow its Adam's. Weight decay is decoupled and counts in the step's length.
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr, betas=averaging(betas), eps=eps, weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        beta1, beta2 = o["betas"]
        new, state["exp_avg"], state["exp_avg_sq"] = ops.lamb_update(
            param,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            lr,
            self.step_scalar(lambda t: 1.0 - present(beta1) ** t, "correction", beta1),
            self.step_scalar(lambda t: 1.0 - present(beta2) ** t, "correction", beta2),
            beta1,
            beta2,
            o["eps"],
            o["weight_decay"],
            o["maximize"],
        )
        return new
