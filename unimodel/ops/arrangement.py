"""Elements moved, repeated and put side by side, by the array ops beneath: the rest of the Array API's and PyTorch's ways."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import Size
from unimodel.errors import ShapeError
from unimodel.ops.indexing import cut_axis
from unimodel.ops.rules import axes_of, axis_index, broadcast_shapes, known
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "diff",
    "dstack",
    "expand",
    "hstack",
    "linspace",
    "meshgrid",
    "movedim",
    "narrow",
    "ravel",
    "repeat",
    "repeat_interleave",
    "roll",
    "rot90",
    "tile",
    "unbind",
    "unflatten",
    "unstack",
    "vstack",
]


def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved by ``shift`` places along ``axis``, those that fall off the end put in front; without an axis those of the flattened tensor."""
    result = ops.asarray(x)
    if axis is None:
        if not isinstance(shift, int):
            raise ShapeError("several shifts need as many axes.", given=f"shift={shift}", remedy="name the axes")
        return ops.reshape(roll(ops.reshape(result, (-1,)), shift, 0), result.shape)
    axes = [axis] if isinstance(axis, int) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, int) else list(shift)
    if len(axes) != len(shifts):
        raise ShapeError("each axis needs a shift.", expected=f"{len(axes)} shifts", given=f"shift={shift}, axis={axis}")
    for a, s in zip((axis_index(a, result.ndim) for a in axes), shifts, strict=True):
        size = known(result.shape[a])
        at = -s % size if size else 0
        if at:
            result = ops.concat([cut_axis(result, a, at, size), cut_axis(result, a, 0, at)], axis=a)
    return result


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Each element several times in place, along ``axis`` or of the flattened tensor: one count, or one per element.

    What NumPy and the Array API call repeat; PyTorch's is ``tile``, and its name for this is ``repeat_interleave``.
    """
    x = ops.asarray(x)
    if axis is None:
        return repeat(ops.reshape(x, (-1,)), repeats, 0)
    axis = axis_index(axis, x.ndim)
    if not isinstance(repeats, int):
        counts = np.asarray(repeats)
        if counts.shape != (known(x.shape[axis]),):
            raise ShapeError("each element needs a count.", expected=f"{x.shape[axis]} counts", given=repeats, remedy="give one number for all")
        return ops.take(x, np.repeat(np.arange(len(counts)), counts), axis=axis)
    wide = ops.expand_dims(x, axis + 1)
    wide = ops.broadcast_to(wide, (*wide.shape[: axis + 1], repeats, *wide.shape[axis + 2 :]))
    return ops.reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


def repeat_interleave(input: Any, repeats: int | Sequence[int], dim: int | None = None) -> Tensor:
    """PyTorch's name for ``repeat``."""
    return repeat(input, repeats, dim)


def tile(x: Any, repetitions: Sequence[int]) -> Tensor:
    """The whole tensor several times along each dimension, leading ones added where there are more counts."""
    x = ops.asarray(x)
    rank = builtins.max(x.ndim, len(repetitions))
    counts = (1,) * (rank - len(repetitions)) + tuple(repetitions)
    shape: tuple[Size, ...] = (1,) * (rank - x.ndim) + x.shape
    x = ops.reshape(x, tuple(n for s in shape for n in (1, s)))
    x = ops.broadcast_to(x, tuple(n for c, s in zip(counts, shape, strict=True) for n in (c, s)))
    return ops.reshape(x, tuple(c * s for c, s in zip(counts, shape, strict=True)))


def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along one axis, without it: the inverse of ``stack``."""
    axis = axis_index(axis, x.ndim)
    return tuple(ops.squeeze(cut_axis(x, axis, i, i + 1), axis) for i in range(known(x.shape[axis])))


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """PyTorch's name for ``unstack``."""
    return unstack(input, dim)


def narrow(input: Any, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements from ``start`` on along one dimension."""
    axis = axis_index(dim, input.ndim)
    size = known(input.shape[axis])
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise ShapeError("the part goes past the end.", expected=f"start + length <= {size}", given=f"start={start}, length={length}")
    return cut_axis(input, axis, start, start + length)


def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Each tensor in the shape to which all broadcast."""
    tensors = [ops.asarray(a) for a in arrays]
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(ops.broadcast_to(t, shape) for t in tensors)


def expand(input: Any, *sizes: Any) -> Tensor:
    """PyTorch's ``broadcast_to``: -1 keeps a dimension's size."""
    x = ops.asarray(input)
    target = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    lead = len(target) - x.ndim
    return ops.broadcast_to(x, tuple(x.shape[i - lead] if isinstance(s, int) and s == -1 else s for i, s in enumerate(target)))


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid from those of its axes, each 1-d: one tensor per axis. ``indexing`` "xy" swaps the first two dimensions, "ij" does not.

    "xy" is the default of NumPy and the Array API; PyTorch's is "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ShapeError("this indexing is not known.", expected="'xy' or 'ij'", given=repr(indexing))
    tensors = [ops.asarray(a) for a in arrays]
    if any(t.ndim != 1 for t in tensors):
        raise ShapeError("coordinates of an axis are 1-d.", given=", ".join(str(t.spec) for t in tensors), remedy="flatten them")
    shape = [t.shape[0] for t in tensors]
    places = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        places[:2], shape[:2] = [1, 0], [shape[1], shape[0]]
    rank = len(tensors)
    return tuple(
        ops.broadcast_to(ops.reshape(t, tuple(t.shape[0] if i == place else 1 for i in range(rank))), tuple(shape))
        for t, place in zip(tensors, places, strict=True)
    )


def linspace(start: Any, stop: Any, num: int, *, dtype: str | None = None, endpoint: bool = True) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, which is the last or, without ``endpoint``, would be the next."""
    if not isinstance(start, TensorLike) and not isinstance(stop, TensorLike):
        return ops.asarray(np.linspace(float(start), float(stop), num, endpoint=endpoint), dtype=dtype)
    steps = builtins.max(num - 1 if endpoint else num, 1)
    part = ops.asarray(np.arange(num) / steps)
    return ops.add(start * (1.0 - part), stop * part)


def ravel(x: Any) -> Tensor:
    """All elements in one dimension."""
    return ops.reshape(ops.asarray(x), (-1,))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension made several, of which one size may be -1."""
    x = ops.asarray(input)
    axis = axis_index(dim, x.ndim)
    rest = x.shape[axis] // math.prod(s for s in sizes if s != -1)
    return ops.reshape(x, (*x.shape[:axis], *(rest if s == -1 else s for s in sizes), *x.shape[axis + 1 :]))


def movedim(input: Any, source: Any, destination: Any) -> Tensor:
    """One dimension, or several, moved to other places."""
    x = ops.asarray(input)
    pairs = zip(*([v] if isinstance(v, int) else list(v) for v in (source, destination)), strict=True)
    places = {axis_index(d, x.ndim): axis_index(s, x.ndim) for s, d in pairs}
    rest = iter(a for a in range(x.ndim) if a not in places.values())
    return ops.permute_dims(x, tuple(places[i] if i in places else next(rest) for i in range(x.ndim)))


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees ``k`` times, from the first of ``axes`` towards the second."""
    given = ops.asarray(x)
    a, b = (axis_index(i, given.ndim) for i in axes)
    axes_of((a, b), given.ndim)
    if k % 4 == 2:
        return ops.flip(given, axis=(a, b))
    if k % 4 == 0:
        return given
    return ops.swapaxes(ops.flip(given, axis=b), a, b) if k % 4 == 1 else ops.flip(ops.swapaxes(given, a, b), axis=b)


def diff(x: Any, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along one axis, ``n`` times over; ``prepend`` and ``append`` are put at the ends first."""
    result = ops.asarray(x)
    axis = axis_index(axis, result.ndim)
    pieces = [p for p in (prepend, result, append) if p is not None]
    result = ops.concat(pieces, axis=axis) if len(pieces) > 1 else result
    for _ in range(n):
        size = known(result.shape[axis])
        result = cut_axis(result, axis, 1, size) - cut_axis(result, axis, 0, size - 1)
    return result


def atleast_1d(x: Any) -> Tensor:
    """x, a number as one element."""
    x = ops.asarray(x)
    return x if x.ndim else ops.reshape(x, (1,))


def atleast_2d(x: Any) -> Tensor:
    """x with at least two dimensions, new ones in front."""
    x = atleast_1d(x)
    return x if x.ndim > 1 else ops.expand_dims(x, 0)


def atleast_3d(x: Any) -> Tensor:
    """x with at least three dimensions: a vector (n,) as (1, n, 1), a matrix with a new last one."""
    x = atleast_2d(x)
    return x if x.ndim > 2 else ops.expand_dims(x, 2)


def hstack(arrays: Sequence[Any]) -> Tensor:
    """Side by side: joined along the second dimension, or the first of vectors."""
    tensors = [atleast_1d(a) for a in arrays]
    return ops.concat(tensors, axis=0 if tensors[0].ndim == 1 else 1)


def vstack(arrays: Sequence[Any]) -> Tensor:
    """One below the other: vectors as rows, joined along the first dimension."""
    return ops.concat([atleast_2d(a) for a in arrays], axis=0)


def dstack(arrays: Sequence[Any]) -> Tensor:
    """One behind the other: joined along the third dimension."""
    return ops.concat([atleast_3d(a) for a in arrays], axis=2)
