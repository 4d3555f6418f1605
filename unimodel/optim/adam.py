"""Adam and AdamW, which differ in where weight decay comes in."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.optim.arguments import averaging, not_negative
from unimodel.optimizer import Optimizer, Slots, present


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with L2 weight decay added to the gradient, or ``decoupled_weight_decay`` as AdamW has it; ``amsgrad`` keeps the largest second moment.

    Source: https://pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params,
            lr,
            betas=averaging(betas),
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = state.options
        beta1, beta2 = o["betas"]
        correction1 = self.step_scalar(lambda t: 1.0 - present(beta1) ** t, "correction", beta1)
        correction2 = self.step_scalar(lambda t: 1.0 - present(beta2) ** t, "correction", beta2)
        names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if o["amsgrad"] else [])
        results = ops.adam_update(
            param,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            lr,
            correction1,
            correction2,
            state["max_exp_avg_sq"] if o["amsgrad"] else None,
            beta1=beta1,
            beta2=beta2,
            eps=o["eps"],
            weight_decay=o["weight_decay"],
            decoupled=o["decoupled_weight_decay"],
            maximize=o["maximize"],
        )
        for name, value in zip(names, results[1:], strict=True):
            state[name] = value
        return results[0]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Source: https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
