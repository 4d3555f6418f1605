"""Pooling to a given size, whatever the input's: window i of m covers elements ``floor(i * n / m)`` to ``ceil((i + 1) * n / m)``, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import Array
from unimodel.ops.rules import known
from unimodel.tracing import Tensor

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]


def _sizes(x: Any, output_size: Any) -> tuple[list[int], list[int]]:
    """Input and output sizes of the spatial dimensions; None keeps a size."""
    before = [known(n) for n in x.shape[2:]]
    wanted = (output_size,) * len(before) if isinstance(output_size, int) or output_size is None else tuple(output_size)
    after = [n if m is None else m for n, m in zip(before, wanted, strict=True)]
    if any(m < 1 for m in after):
        raise ShapeError("output_size has sizes of at least 1.", given=output_size)
    return before, after


def _bounds(n: int, m: int) -> list[tuple[int, int]]:
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def adaptive_avg_pool(input: Any, output_size: Any) -> Tensor:
    """The mean of each window of (N, C, *spatial), of which there are ``output_size`` (a number, or one per dimension, None for as many as come in)."""
    x = ops.asarray(input)
    before, after = _sizes(x, output_size)
    if all(n % m == 0 for n, m in zip(before, after, strict=True)):
        return ops.avg_pool(x, tuple(n // m for n, m in zip(before, after, strict=True)))
    for axis, (n, m) in enumerate(zip(before, after, strict=True), 2):  # a mean over a box is a mean of means: one matrix per dimension
        if n != m:
            matrix = np.zeros((n, m))
            for i, (a, b) in enumerate(_bounds(n, m)):
                matrix[a:b, i] = 1.0 / (b - a)
            x = along(x, axis, matrix)
    return x


def along(x: Tensor, axis: int, matrix: Array) -> Tensor:
    """Each line of ``x`` along one axis times a constant matrix (n, m): the axis gets size m."""
    if axis == x.ndim - 1:
        return ops.matmul(x, matrix)
    return ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), matrix), -1, axis)


def adaptive_max_pool(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest of each window of (N, C, *spatial), the first of equals; with ``return_indices`` also its index in the flattened plane."""
    x = ops.asarray(input)
    before, after = _sizes(x, output_size)
    if all(n % m == 0 for n, m in zip(before, after, strict=True)):
        values, indices = ops.max_pool(x, tuple(n // m for n, m in zip(before, after, strict=True)))
    else:
        windows, places = _windows(x, before, after)
        which = ops.expand_dims(ops.argmax(windows, axis=-1), windows.ndim - 1)
        values = ops.squeeze(ops.take_along_axis(windows, which, axis=-1), -1)
        everywhere = ops.broadcast_to(ops.asarray(places), tuple(windows.shape))
        indices = ops.squeeze(ops.take_along_axis(everywhere, which, axis=-1), -1)
    return (values, indices) if return_indices else values


def _windows(x: Tensor, before: Sequence[int], after: Sequence[int]) -> tuple[Tensor, Array]:
    """All windows as (N, C, *after, elements), and each element's index in the plane; short windows repeat their last line."""
    lines = []
    for n, m in zip(before, after, strict=True):
        bounds = _bounds(n, m)
        longest = max(b - a for a, b in bounds)
        lines.append(np.array([[min(a + i, b - 1) for i in range(longest)] for a, b in bounds]))
    shape: list[Any] = list(x.shape[:2])
    for axis, line in enumerate(lines, 2):
        x = ops.take(x, line.reshape(-1), axis=axis)
        shape += line.shape
    x = ops.reshape(x, tuple(shape))
    rank = len(lines)
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2)]
    flat = np.zeros([1] * (2 * rank), "int64")
    for i, line in enumerate(lines):
        place = [1] * (2 * rank)
        place[i], place[rank + i] = line.shape
        flat = flat * before[i] + line.reshape(place)
    return ops.reshape(ops.permute_dims(x, tuple(order)), (*x.shape[:2], *after, -1)), flat.reshape(*after, -1)


adaptive_avg_pool1d = adaptive_avg_pool2d = adaptive_avg_pool3d = adaptive_avg_pool  # the rank is the input's
adaptive_max_pool1d = adaptive_max_pool2d = adaptive_max_pool3d = adaptive_max_pool
