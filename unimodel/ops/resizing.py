"""Images of another size. Each way is one matrix per dimension, made on the host: what a pixel takes from which."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import Array
from unimodel.ops.adaptive import along
from unimodel.ops.rules import known
from unimodel.tracing import Tensor

__all__ = [
    "interpolate",
]

T = TypeVar("T", Array, Tensor)

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Tensor:
    """x (N, C, *spatial) at another size, given as sizes or as factors, each one number or one per dimension.

    ``mode`` is "nearest", "nearest-exact", "linear", "bilinear", "trilinear" (by rank), "bicubic" or "area". ``align_corners`` (for the linear ones and bicubic) puts
    the outermost pixels' centres upon each other instead of their edges. As in PyTorch, given factors are used as they are, not those that the sizes make.
    """
    x = ops.asarray(input)
    rank = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ShapeError("give size or scale_factor.", given=f"size={size}, scale_factor={scale_factor}")
    if mode not in ("nearest", "nearest-exact", "area", *([LINEAR[rank]] if rank in LINEAR else []), *(["bicubic"] if rank == 2 else [])):
        raise ShapeError(f"this mode is not for {rank} spatial dimensions.", expected=f"nearest, nearest-exact, area, {LINEAR.get(rank, '')}", given=repr(mode))
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ShapeError("align_corners is for linear and cubic modes.", given=f"mode={mode!r}")
    before = [known(n) for n in x.shape[2:]]
    factors: list[float | None] = [None] * rank
    if scale_factor is not None:
        factors = [float(f) for f in ((scale_factor,) * rank if isinstance(scale_factor, (int, float)) else scale_factor)]
        after = [math.floor(n * f) for n, f in zip(before, factors, strict=True) if f is not None]
    else:
        after = [int(n) for n in ((size,) * rank if isinstance(size, int) else size)]
    if min(after) < 1:
        raise ShapeError("nothing is left of the image.", expected="sizes of at least 1", given=after)
    if mode == "area":
        return ops.adaptive_avg_pool(x, tuple(after))
    for axis, (n, m, f) in enumerate(zip(before, after, factors, strict=True), 2):
        if mode.startswith("nearest"):
            x = _nearest(x, axis, n, m, f, exact=mode == "nearest-exact")
        elif n != m or (f is not None and f != 1.0):
            x = along(x, axis, _weights(n, m, f, cubic=mode == "bicubic", align_corners=bool(align_corners)))
    return x


def _nearest(x: Tensor, axis: int, n: int, m: int, factor: float | None, exact: bool) -> Tensor:
    if m % n == 0 and factor in (None, m // n):  # each pixel several times: no gather, and its gradient is a sum
        wide = ops.expand_dims(x, axis + 1)
        shape = list(wide.shape)
        shape[axis + 1] = m // n
        return ops.reshape(ops.broadcast_to(wide, tuple(shape)), (*x.shape[:axis], m, *x.shape[axis + 1 :]))
    step = np.float32(1.0 / factor) if factor is not None else np.float32(n / m)  # PyTorch's index is found in float32
    index = np.floor((np.arange(m, dtype="float32") + np.float32(0.5 if exact else 0.0)) * step).astype("int64")
    return ops.take(x, np.minimum(index, n - 1), axis=axis)


def _weights(n: int, m: int, factor: float | None, cubic: bool, align_corners: bool) -> Array:
    """The matrix (n, m) whose column i says what output i takes from each input."""
    places = np.arange(m, dtype="float64")
    if align_corners:
        places = places * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        places = (places + 0.5) * (1.0 / factor if factor is not None else n / m) - 0.5
        places = places if cubic else np.maximum(places, 0.0)
    first = np.floor(places).astype("int64") if cubic else np.minimum(np.floor(places).astype("int64"), n - 1)
    part = places - first
    taps = cubic_weights(part) if cubic else {0: 1.0 - part, 1: part}
    matrix = np.zeros((n, m))
    for offset, weight in taps.items():
        np.add.at(matrix, (np.clip(first + offset, 0, n - 1), np.arange(m)), weight)
    return matrix


def cubic_weights(t: T, a: float = -0.75) -> dict[int, T]:
    """Keys's (1981) cubic convolution: weights of the four pixels around a place that is ``t`` past the second."""

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return {-1: far(t + 1), 0: near(t), 1: near(1 - t), 2: far(2 - t)}
