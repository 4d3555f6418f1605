"""Rprop."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import DataError
from unimodel.optimizer import Optimizer, Slots


class Rprop(Optimizer):
    """Resilient backpropagation, for full batches: each element's step, ``lr`` at first, follows the sign of its gradient (Riedmiller and Braun 1993).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Rprop.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        if len(etas) != 2 or not 0 < etas[0] < 1 < etas[1]:
            raise DataError("etas shrink and grow a step.", expected="0 < etas[0] < 1 < etas[1]", given=repr(etas))
        if len(step_sizes) != 2 or not 0 <= step_sizes[0] <= step_sizes[1]:
            raise DataError("step_sizes are the smallest and the largest step.", given=repr(step_sizes))
        super().__init__(params, lr, etas=tuple(etas), step_sizes=tuple(step_sizes), maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        first = self.step_scalar(lambda t: float(t == 1), "first")
        step_size = ops.where(first > 0, lr, state["step_size"])
        new, state["prev"], state["step_size"] = ops.rprop_update(param, grad, state["prev"], step_size, *o["etas"], *o["step_sizes"], o["maximize"])
        return new
