"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import DataError
from unimodel.optimizer import Optimizer, Slots


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov's or plain, and L2 weight decay.

    Source: https://pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if momentum < 0 or weight_decay < 0:
            raise DataError("momentum and weight_decay are at least 0.", given=f"momentum={momentum}, weight_decay={weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise DataError("Nesterov momentum needs a momentum and no dampening.", given=f"momentum={momentum}, dampening={dampening}")
        super().__init__(params, lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        if not state.uses("momentum"):
            return ops.sgd_update(param, grad, lr, weight_decay=o["weight_decay"], maximize=o["maximize"])
        # PyTorch's first step puts the whole gradient into the empty buffer, whatever the dampening
        damping = self.step_scalar(lambda t: 1.0 if t == 1 else 1.0 - o["dampening"], "damping", o["dampening"])
        new, buffer = ops.sgd_update(param, grad, lr, damping, state["momentum_buffer"], o["momentum"], o["weight_decay"], o["nesterov"], o["maximize"])
        state["momentum_buffer"] = buffer
        return new
