"""Lion."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots


class Lion(Optimizer):
    """Steps of one size along the sign of a moving average, with decoupled weight decay (Chen et al. 2023, "Symbolic discovery of optimization algorithms").

    PyTorch has no Lion; arguments and defaults are those of the paper's own code.
    """

    def __init__(
        self, params: Any = None, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0, *, maximize: bool = False
    ) -> None:
        not_negative(weight_decay=weight_decay)
        super().__init__(params, lr, betas=averaging(betas), weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        new, state["exp_avg"] = ops.lion_update(param, grad, state["exp_avg"], lr, *o["betas"], o["weight_decay"], o["maximize"])
        return new
