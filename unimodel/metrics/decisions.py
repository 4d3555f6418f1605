"""What a classifier decided, and what is right, in the forms that metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.graph import FLOATS
from unimodel.op import value_and_grad_op
from unimodel.ops.rules import known, shapes_agree


@dataclass(frozen=True)
class Decisions:
    """Predicted and actual class of each element as integers of one shape; two classes where a threshold decides."""

    predicted: Any
    actual: Any
    classes: int
    binary: bool


def decisions(input: Any, target: Any, threshold: float | None, what: str) -> Decisions:
    """Scores (N, C, ...) decide for the largest, against class indices (N, ...) or scores (N, C); numbers of the target's own shape decide by a threshold.

    Without one it is 0.5 for what a sigmoid has made, and 0, of logits, for all else.
    """
    if isinstance(input, (dict, tuple, list)):
        raise DataError(
            f"{what} compares one tensor with the target, and forward returned several.",
            expected="a tensor",
            given=f"a {type(input).__name__} of {len(input)}",
            remedy="subclass the metric and choose: def measure(self, input, target, sample_weight=None): return super().measure(input['logits'], target, sample_weight)",
        )
    threshold = (0.5 if _probabilities(input) else 0.0) if threshold is None else threshold
    if input.ndim == target.ndim + 1:
        return Decisions(ops.argmax(input, axis=1), ops.astype(target, "int64"), known(input.shape[1]), False)
    if shapes_agree(tuple(input.shape), tuple(target.shape)):
        if target.dtype in FLOATS and input.ndim == 2 and input.shape[1] != 1:
            return Decisions(ops.argmax(input, axis=1), ops.argmax(target, axis=1), known(input.shape[1]), False)
        positive = target if target.dtype == "bool" else ops.greater(target, 0.5 if target.dtype in FLOATS else 0)
        return Decisions(ops.astype(ops.greater(input, threshold), "int64"), ops.astype(positive, "int64"), 2, True)
    raise ShapeError(
        f"{what} cannot compare these.",
        expected="scores (N, C) with class indices (N,), or both of one shape",
        given=f"{input.dtype} {input.shape} and {target.dtype} {target.shape}",
        remedy="reshape the targets, e.g. y.reshape(-1), or squeeze the predictions",
    )


_SAME_NUMBERS = ("reshape", "permute_dims", "slice", "cast", "stop_gradient")


def _probabilities(input: Any) -> bool:
    """Whether a traced tensor is what a sigmoid gave, whatever became of its shape."""
    value = getattr(input, "value", None)
    while value is not None and value.producer is not None:
        node = value.producer
        if node.op is value_and_grad_op:
            value = node.attrs["body"].outputs[node.outputs.index(value)]
        elif node.op.name in _SAME_NUMBERS:
            value = node.inputs[0]
        else:
            return bool(node.op.name == "sigmoid")
    return False
