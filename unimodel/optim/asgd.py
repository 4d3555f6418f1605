"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots


class ASGD(Optimizer):
    """Gradient descent that also keeps the average of its path, from step ``t0`` on, in the state ``ax`` (Polyak and Juditsky 1992).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.ASGD.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(weight_decay=weight_decay)
        super().__init__(params, lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        first = self.step_scalar(lambda t: float(t == 1), "first")
        eta = ops.where(first > 0, lr, state.get("eta", np.zeros(())))
        mu = self.step_scalar(lambda t: 1.0 / max(1.0, t - 1 - o["t0"]), "mu", o["t0"])
        step = self.step_scalar(float, "step")
        new, state["ax"], state["eta"] = ops.asgd_update(param, grad, state["ax"], eta, lr, mu, step, o["lambd"], o["alpha"], o["weight_decay"], o["maximize"])
        return new
