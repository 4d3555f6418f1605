"""Updates that see a parameter as a matrix: factored second moments, orthogonal directions."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.op import composite
from unimodel.ops.optim.descent import regularised
from unimodel.ops.rules import EPSILON, known
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "adafactor_update",
    "muon_update",
]


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(x * x))


ADAFACTOR = (uniform(0.1, 0.2), uniform(0.1, 0.2), uniform(0.5, 1))


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), *ADAFACTOR, uniform(0.5, 1, 3, 1), uniform(0.5, 1, 1, 2)),
        Sample(normal(2, 3, 2), normal(2, 3, 2), *ADAFACTOR, uniform(2, 3, 2, 3, 1), uniform(2, 3, 2, 1, 2), eps1=1e-3, d=2.0, weight_decay=0.1),
        Sample(normal(3), normal(3), *ADAFACTOR, uniform(0.5, 1, 3), maximize=True),
    ]
)
def adafactor_update(
    param: Tensor,
    grad: Tensor,
    lr: Tensor,
    relative: Tensor,
    share: Tensor,
    row_var: Tensor,
    col_var: Tensor | None = None,
    eps1: float | None = None,
    eps2: float = 1e-3,
    d: float = 1.0,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Any:
    """One step of Adafactor (Shazeer and Stern 2018): the new param and its new variances.

    ``row_var`` (..., m, 1) and ``col_var`` (..., 1, n) factor the second moment of a parameter (..., m, n); for a vector ``row_var`` alone is all of it.
    ``relative`` is ``1 / sqrt(t)``, ``share`` is ``t ** beta2_decay``: what the new gradient counts for. ``eps1`` is by default the dtype's epsilon.
    """
    grad = regularised(param, grad, 0.0, maximize)
    least = EPSILON[param.dtype] if eps1 is None else eps1
    size = math.sqrt(known(product(param.shape)))
    alpha = ops.maximum(_norm(param) / size, eps2) * ops.minimum(lr, relative)
    if weight_decay:
        param = param * (1.0 - lr * weight_decay)
    squared = grad * grad
    if col_var is None:
        row_var = row_var + share * (squared - row_var)
        estimate = row_var
    else:
        row_var = row_var + share * (ops.mean(squared, axis=-1, keepdims=True) - row_var)
        col_var = col_var + share * (ops.mean(squared, axis=-2, keepdims=True) - col_var)
        estimate = row_var * col_var / ops.maximum(ops.mean(row_var, axis=-2, keepdims=True), least)
    update = ops.rsqrt(ops.maximum(estimate, least * least)) * grad
    new = param - (alpha / ops.maximum(_norm(update) / (size * d), 1.0)) * update
    return (new, row_var) if col_var is None else (new, row_var, col_var)


@composite(
    samples=[
        Sample(normal(3, 2), normal(3, 2), normal(3, 2), uniform(0.1, 0.2)),
        Sample(normal(2, 3), normal(2, 3), normal(2, 3), uniform(0.1, 0.2), nesterov=False, weight_decay=0.0, ns_steps=2, adjust_lr_fn="match_rms_adamw"),
    ]
)
def muon_update(
    param: Tensor,
    grad: Tensor,
    momentum_buffer: Tensor,
    lr: Tensor,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: Any = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> Any:
    """One step of Muon (Jordan 2024) for a matrix: the new param and momentum_buffer; weight decay is decoupled.

    The momentum is made nearly orthogonal by ``ns_steps`` of a quintic Newton-Schulz iteration, in the trainer's precision.
    """
    if param.ndim != 2:
        raise ShapeError("Muon is for matrices.", expected="a parameter of 2 dimensions", given=str(param.spec), remedy="give other parameters to AdamW")
    momentum_buffer = momentum * momentum_buffer + (1.0 - momentum) * grad
    update = momentum * momentum_buffer + (1.0 - momentum) * grad if nesterov else momentum_buffer
    rows, columns = (known(s) for s in param.shape)
    ratio = 0.2 * math.sqrt(max(rows, columns)) if adjust_lr_fn == "match_rms_adamw" else math.sqrt(max(1.0, rows / columns))
    if weight_decay:
        param = param * (1.0 - lr * weight_decay)
    return param - (lr * ratio) * _orthogonal(update, ns_coefficients, ns_steps, eps, tall=rows > columns), momentum_buffer


def _orthogonal(x: Tensor, coefficients: Any, steps: int, eps: float, tall: bool) -> Tensor:
    a, b, c = coefficients
    if tall:
        x = ops.matrix_transpose(x)
    x = x / ops.maximum(_norm(x), eps)
    for _ in range(steps):
        gram = ops.matmul(x, ops.matrix_transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.matrix_transpose(x) if tall else x
