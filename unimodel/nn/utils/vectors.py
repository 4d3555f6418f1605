"""Many tensors as one: their length, and the vector that they make."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from unimodel import ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.ops.rules import known
from unimodel.tracing import Tensor


def get_total_norm(tensors: Iterable[Any], norm_type: float = 2.0) -> Tensor:
    """The p-norm of all elements of all tensors, such as the gradients in a step of one's own; None among them is passed over."""
    norms = [ops.vector_norm(ops.ravel(t), ord=norm_type) for t in tensors if t is not None]
    if not norms:
        return ops.zeros(())
    return norms[0] if len(norms) == 1 else ops.vector_norm(ops.stack(norms), ord=norm_type)


def parameters_to_vector(parameters: Iterable[Any]) -> Tensor:
    """The elements of all parameters in a row, as a tensor in a step."""
    return ops.concat([ops.ravel(ops.asarray(p)) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Set the parameters, in a step, to the elements of a vector, in the order of ``parameters_to_vector``."""
    parameters = list(parameters)
    counts = [math.prod(p.shape) for p in parameters]
    given = known(product(tuple(vec.shape)))
    if given != sum(counts) or vec.ndim != 1:
        raise ShapeError("the vector has an element for each of the parameters.", expected=f"({sum(counts)},)", given=f"{tuple(vec.shape)}")
    start = 0
    for parameter, count in zip(parameters, counts, strict=True):
        parameter.assign(ops.reshape(vec[start : start + count], tuple(parameter.shape)))
        start += count
