"""Losses of regressions."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.loss import Loss
from unimodel.losses.inputs import SeveralInputs


class MSELoss(Loss):
    """The mean of ``(input - target) ** 2``; both of one shape.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.squared_error(input, target)


class L1Loss(Loss):
    """The mean of ``abs(input - target)``; both of one shape.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.absolute_error(input, target)


class SmoothL1Loss(Loss):
    """Squares below ``beta``, absolute values above, joined smoothly: as L1Loss where ``beta`` is 0.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise DataError("beta is at least 0.", given=repr(beta))
        self.beta = float(beta)

    def terms(self, input: Any, target: Any) -> Any:
        return ops.smooth_l1_error(input, target, self.beta) if self.beta else ops.absolute_error(input, target)


class HuberLoss(Loss):
    """Squares below ``delta``, ``delta`` times absolute values above, joined smoothly (Huber 1964).

    Source: https://pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise DataError("delta is above 0.", given=repr(delta))
        self.delta = float(delta)

    def terms(self, input: Any, target: Any) -> Any:
        return ops.huber_error(input, target, self.delta)


class PoissonNLLLoss(Loss):
    """Minus the log-likelihood of counts whose expectation is ``exp(input)``, or input with ``log_input=False``; ``full`` adds ``log(target!)``, roughly.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.PoissonNLLLoss.html
    """

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def terms(self, input: Any, target: Any) -> Any:
        return ops.poisson_nll(input, target, self.log_input, self.full, self.eps)


class GaussianNLLLoss(SeveralInputs):
    """Minus the log-likelihood of ``target`` under normal distributions of mean ``input`` and variance ``var``, which is held above ``eps``.

    Called as ``loss(input, target, var)``; from a trainer the model returns ``(input, var)``. ``var`` has the shape of input, or lacks its last dimension,
    or has size 1 in some. Source: https://pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html
    """

    order = ("input", "target", "var")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not eps > 0:
            raise DataError("eps is above 0.", given=repr(eps))
        self.full = full
        self.eps = eps

    def terms(self, input: Any, target: Any) -> Any:
        mean, var = input
        var = ops.full_like(mean, var) if isinstance(var, (int, float)) else var
        if var.ndim == mean.ndim - 1 and tuple(var.shape) == tuple(mean.shape[:-1]):
            var = ops.expand_dims(var, var.ndim)
        if var.ndim != mean.ndim or any(v not in (m, 1) for v, m in zip(var.shape, mean.shape, strict=True)):
            raise ShapeError("a variance for each prediction.", expected=f"{mean.shape}, {mean.shape[:-1]}, or size 1 somewhere", given=var.shape)
        return ops.gaussian_nll(mean, target, var, self.full, self.eps)
