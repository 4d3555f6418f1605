"""RMSprop."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots


class RMSprop(Optimizer):
    """Gradients over their root mean square (Hinton 2012); ``centered`` takes the variance instead (Graves 2013).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        super().__init__(params, lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        momentum = state.uses("momentum")
        names = ["square_avg", *(["momentum_buffer"] if momentum else []), *(["grad_avg"] if o["centered"] else [])]
        results = ops.rmsprop_update(
            param,
            grad,
            state["square_avg"],
            lr,
            state["momentum_buffer"] if momentum else None,
            state["grad_avg"] if o["centered"] else None,
            o["alpha"],
            o["eps"],
            o["weight_decay"],
            o["momentum"],
            o["maximize"],
        )
        for name, value in zip(names, results[1:], strict=True):
            state[name] = value
        return results[0]
