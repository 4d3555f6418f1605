"""Muon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from unimodel import ops
from unimodel.errors import DataError
from unimodel.model import Parameter
from unimodel.optim.arguments import not_negative
from unimodel.optimizer import Optimizer, Slots

if TYPE_CHECKING:
    from unimodel.runtime import Runtime


class Muon(Optimizer):
    """Momentum made orthogonal, for the matrices inside a network (Jordan 2024); other parameters belong to another optimizer or trainer step.

    ``adjust_lr_fn`` is "original" (also None) or "match_rms_adamw". PyTorch iterates in bfloat16 whatever the parameter's dtype; here the iteration has the
    trainer's precision on every backend, so numbers agree with PyTorch's to bfloat16 and with each other exactly. Source:
    https://pytorch.org/docs/stable/generated/torch.optim.Muon.html
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        not_negative(weight_decay=weight_decay, momentum=momentum, eps=eps)
        if len(ns_coefficients) != 3:
            raise DataError("ns_coefficients are three numbers.", given=repr(ns_coefficients))
        if not 0 <= ns_steps < 100:
            raise DataError("ns_steps is below 100.", given=repr(ns_steps))
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise DataError("adjust_lr_fn is None, 'original' or 'match_rms_adamw'.", given=repr(adjust_lr_fn))
        super().__init__(
            params,
            lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=tuple(ns_coefficients),
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )

    def bind(self, runtime: Runtime, parameters: Iterable[Parameter], prefix: str) -> None:
        super().bind(runtime, parameters, prefix)
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if len(parameter.shape) != 2:
                raise DataError(
                    "Muon is for matrices.",
                    expected="parameters of 2 dimensions",
                    given=f"{parameter.name} of shape {parameter.shape}",
                    remedy="give Muon the matrices, Muon([p for p in net.parameters() if len(p.shape) == 2]), and the others to AdamW",
                )

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        o = {name: value for name, value in state.options.items() if name not in ("params", "lr", "initial_lr")}
        new, state["momentum_buffer"] = ops.muon_update(param, grad, state["momentum_buffer"], lr, **o)
        return new
