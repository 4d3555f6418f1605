"""The loss of a sequence whose alignment with its target is not known."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.losses.inputs import SeveralInputs


class CTCLoss(SeveralInputs):
    """Connectionist temporal classification (Graves et al. 2006): log-probabilities (T, N, C) against padded targets (N, S), with both lengths, (N,).

    Called as ``loss(log_probs, targets, input_lengths, target_lengths)``; from a trainer the target is ``(targets, input_lengths, target_lengths)``. The
    mean is over samples, each over its target's length. ``zero_infinity`` makes the loss 0 where no alignment is possible. Targets joined into one row, as
    PyTorch takes them too, are refused. The recursion is written out over T. Source: https://pytorch.org/docs/stable/generated/torch.nn.CTCLoss.html
    """

    order = ("log_probs", "targets", "input_lengths", "target_lengths")

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def __call__(self, *inputs: Any, sample_weight: Any = None, **named: Any) -> Any:
        if len(inputs) >= 2 and isinstance(inputs[1], tuple):
            log_probs, target, *weight = inputs
            return super().__call__((log_probs, *target), None, weight[0] if weight else sample_weight)
        return super().__call__(*inputs, sample_weight=sample_weight, **named)

    def terms(self, input: Any, target: Any) -> Any:
        log_probs, targets, input_lengths, target_lengths = input
        losses = ops.ctc(log_probs, targets, input_lengths, target_lengths, self.blank)
        if self.zero_infinity:
            losses = ops.where(ops.isfinite(losses), losses, 0.0)
        return losses / ops.astype(ops.maximum(target_lengths, 1), losses.dtype) if self.reduction == "mean" else losses
