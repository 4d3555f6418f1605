"""Adafactor."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import DataError
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots


class Adafactor(Optimizer):
    """Second moments of a matrix kept as a row and a column, and steps relative to the parameter's size (Shazeer and Stern 2018).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Adafactor.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        not_negative(weight_decay=weight_decay, **{"eps[0]": 0.0 if eps[0] is None else eps[0], "eps[1]": eps[1]})
        if not beta2_decay <= 0:
            raise DataError("beta2_decay is at most 0.", given=repr(beta2_decay))
        if not d >= 1:
            raise DataError("d, the clipping threshold, is at least 1.", given=repr(d))
        super().__init__(params, lr, beta2_decay=beta2_decay, eps=tuple(eps), d=d, weight_decay=weight_decay, maximize=maximize)

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        shape = tuple(state.parameter.shape)
        shapes = {"variance": shape} if len(shape) < 2 else {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}
        slots = [state.get(name, np.zeros(size)) for name, size in shapes.items()]
        relative = self.step_scalar(lambda t: t**-0.5, "relative")
        share = self.step_scalar(lambda t: float(t ** o["beta2_decay"]), "share", o["beta2_decay"])
        results = ops.adafactor_update(
            param,
            grad,
            lr,
            relative,
            share,
            *slots,
            eps1=o["eps"][0],
            eps2=o["eps"][1],
            d=o["d"],
            weight_decay=o["weight_decay"],
            maximize=o["maximize"],
        )
        for name, value in zip(shapes, results[1:], strict=True):
            state[name] = value
        return results[0]
