"""Adagrad."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots


class Adagrad(Optimizer):
    """A rate for each element that falls with the sum of its squared gradients (Duchi et al. 2011).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)
        super().__init__(
            params,
            lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        divisor = self.step_scalar(lambda t: 1.0 + (t - 1) * o["lr_decay"], "divisor", o["lr_decay"])
        new, state["sum"] = ops.adagrad_update(
            param, grad, state["sum"], lr, divisor, o["initial_accumulator_value"], o["eps"], o["weight_decay"], o["maximize"]
        )
        return new
