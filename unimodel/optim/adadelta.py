"""Adadelta."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import DataError
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots


class Adadelta(Optimizer):
    """Steps in the parameters' own unit: the average step over the average gradient (Zeiler 2012).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Adadelta.html
    """

    def __init__(self, params: Any = None, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0, *, maximize: bool = False) -> None:
        not_negative(eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise DataError("rho is a number in [0, 1].", given=repr(rho))
        super().__init__(params, lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        new, state["square_avg"], state["acc_delta"] = ops.adadelta_update(
            param, grad, state["square_avg"], state["acc_delta"], lr, o["rho"], o["eps"], o["weight_decay"], o["maximize"]
        )
        return new
