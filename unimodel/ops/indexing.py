"""Parts of tensors: slices by position, elements by integer indices, and their transposes, which add where indexing reads."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import Dim, Size, product
from unimodel.errors import ShapeError
from unimodel.graph import INTEGERS, TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.creation import default_float
from unimodel.ops.rules import (
    axis_index,
    canonical_axis,
    known,
    need_integer,
    shapes_agree,
)
from unimodel.ops.samples import Sample, integers, normal
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor

__all__ = [
    "getitem",
    "one_hot",
    "slice",
    "take",
    "take_along_axis",
    "take_along_axis_gradient",
    "take_gradient",
    "tril",
    "triu",
]


@primitive(
    samples=[
        Sample(normal(4, 5), start=(1, 0), stop=(3, 5), step=(1, 2)),
        Sample(normal(6), start=(1,), stop=(6,), step=(3,)),
        Sample(normal(3, 4), start=(0, 2), stop=(3, 2), step=(1, 1), gradient=False),
    ]
)
def slice(x: TensorSpec, start: Any, stop: Any, step: Any) -> TensorSpec:
    """Elements ``start`` to ``stop`` by a positive ``step``, one of each per dimension, none negative or past the end."""
    for axis, (a, b, s, n) in enumerate(zip(start, stop, step, x.shape, strict=True)):
        if s < 1 or _out_of_order(a, b, n):
            raise ShapeError(
                "a slice lies inside its dimension.",
                expected=f"0 <= start <= stop <= {n} in dimension {axis}, and a step of at least 1",
                given=f"start {a}, stop {b}, step {s}",
                remedy="x[start:stop:step] cuts what is beyond the end, as Python does",
            )
    sizes = tuple(b - a if s == 1 else -(-builtins.max(0, known(b) - known(a)) // s) for a, b, s in zip(start, stop, step, strict=True))
    return x.with_shape(*sizes)


def _out_of_order(start: Size, stop: Size, size: Size) -> bool:
    """Whether these are not in order, as far as numbers say it."""
    bounds = [b for b in (0, start, stop, size) if isinstance(b, int)]
    return bounds != sorted(bounds)


@slice.vjp
def _(node: Application, g: Tensor) -> Any:
    shape = node.inputs[0].shape
    start, step = node.attrs["start"], node.attrs["step"]
    for axis, s in enumerate(step):
        if s != 1:
            g = spread(g, axis, s)
    after = tuple(n - a - m for n, a, m in zip(shape, start, g.shape, strict=True))
    kept = tuple(m if not isinstance(w, int) or w >= 0 else m + w for m, w in zip(g.shape, after, strict=True))
    if kept != g.shape:
        g = cut(g, [0] * g.ndim, list(kept))
    after = tuple(w if not isinstance(w, int) else builtins.max(w, 0) for w in after)
    return ops.pad_constant(g, tuple(zip(start, after, strict=True)))


def spread(x: Tensor, axis: int, step: int) -> Tensor:
    """``x`` with ``step - 1`` zeros after each element along ``axis``."""
    wide = ops.expand_dims(x, axis + 1)
    widths = [(0, 0)] * wide.ndim
    widths[axis + 1] = (0, step - 1)
    shape = tuple(s * step if i == axis else s for i, s in enumerate(x.shape))
    return ops.reshape(ops.pad_constant(wide, tuple(widths)), shape)


def cut(x: Tensor, start: Sequence[Size], stop: Sequence[Size], step: Sequence[int] | None = None) -> Tensor:
    step = tuple(step or (1,) * x.ndim)
    if tuple(stop) == x.shape and builtins.all(a == 0 for a in start) and builtins.all(s == 1 for s in step):
        return x
    return slice(x, tuple(start), tuple(stop), step)


def cut_axis(x: Tensor, axis: int, start: Size, stop: Size, step: int = 1) -> Tensor:
    starts: list[Size] = [0] * x.ndim
    stops, steps = list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return cut(x, starts, stops, steps)


def getitem(x: Any, key: Any) -> Tensor:
    """``x[key]`` with integers, slices, ``...``, None, and one integer tensor or array (taken along its dimension)."""
    x = ops.asarray(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    real = [k for k in keys if k is not None and k is not Ellipsis]
    if builtins.sum(k is Ellipsis for k in keys) > 1 or len(real) > x.ndim:
        raise ShapeError("too many indices.", expected=f"at most {x.ndim}, with one ... among them", given=len(real), remedy="index fewer dimensions")
    if Ellipsis not in [k for k in keys if not isinstance(k, (TensorLike, np.ndarray))]:
        keys.append(Ellipsis)
    place = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[place : place + 1] = [_ALL] * (x.ndim - len(real))
    start: list[Size] = []
    stop: list[Size] = []
    step: list[int] = []
    shape: list[Size | None] = []
    flips, takes = [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, (TensorLike, np.ndarray, list)):
            if isinstance(k, TensorLike) and k.dtype not in INTEGERS:
                raise _no_index(f"a tensor of {k.dtype}")
            takes.append((len(shape), k if isinstance(k, TensorLike) else _index_array(k, size)))
            start.append(0)
            stop.append(size)
            step.append(1)
            shape.append(size)
        elif isinstance(k, builtins.slice):
            a, b, s = _slice_bounds(k, size)
            if s < 0:
                flips.append(axis)
            start.append(a)
            stop.append(b)
            step.append(builtins.abs(s))
            shape.append(b - a if builtins.abs(s) == 1 else -(-(known(b) - known(a)) // builtins.abs(s)))
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            index = int(k)
            if not -size <= index < size:  # which a symbolic size decides for 0 and -1 only, and else is asked for
                raise ShapeError(
                    f"index {index} is out of range.",
                    expected=f"[{-size}, {size})",
                    given=f"dimension {axis} of shape {x.shape}",
                    remedy="check the shape of what comes in",
                )
            position: Size = index if index >= 0 else size + index
            start.append(position)
            stop.append(position + 1)
            step.append(1)
        else:
            raise _no_index(type(k).__name__)
        axis += 1
    result: Tensor = x
    if flips:
        result = ops.flip(result, axis=tuple(flips))
    result = cut(result, start, stop, step)
    if tuple(shape) != result.shape:
        result = ops.reshape(result, tuple(shape))
    return _picked(result, takes) if takes else result


def _picked(x: Tensor, takes: Sequence[tuple[int, Any]]) -> Tensor:
    """Elements by tensor indices into dimensions that stand side by side: the indices are broadcast together, and what they choose stands in their place."""
    first = takes[0][0]
    if [axis for axis, _ in takes] != list(range(first, first + len(takes))):
        raise ShapeError(
            "tensor indices into dimensions that are apart.",
            expected="tensor indices side by side",
            given=f"dimensions {', '.join(str(axis) for axis, _ in takes)}",
            remedy="permute the dimensions first, or use um.ops.take_along_axis",
        )
    indices = [i for _, i in takes] if len(takes) == 1 else ops.broadcast_arrays(*(ops.asarray(i) for _, i in takes))
    x = take(x, indices[0], axis=first)
    for others in indices[1:]:
        axis = first + others.ndim
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        places = ops.reshape(others, (1,) * first + tuple(others.shape) + (1,) * (x.ndim - axis))
        x = ops.squeeze(take_along_axis(x, ops.broadcast_to(places, shape), axis=axis), axis)
    return x


_ALL = builtins.slice(None)


def _no_index(given: str) -> ShapeError:
    return ShapeError(
        "this is no index.",
        expected="integers, slices, ..., None, or an integer tensor",
        given=given,
        remedy="choose by a boolean mask with um.ops.where: a traced shape cannot depend on values",
    )


def _index_array(key: Any, size: Size) -> Any:
    """Constant indices, checked while tracing, negative ones counted from the end."""
    indices = np.asarray(key)
    if indices.dtype.kind not in "iu" and indices.size:
        raise _no_index(f"an array of {indices.dtype}")
    count = known(size)
    if indices.size and not (-count <= indices.min() and indices.max() < count):
        raise ShapeError(
            "an index is out of range.",
            expected=f"[{-count}, {count})",
            given=f"from {indices.min()} to {indices.max()}",
            remedy="check where the indices come from",
        )
    return indices.astype("int64") % builtins.max(count, 1)


def _slice_bounds(key: Any, size: Size) -> tuple[Size, Size, int]:
    """Start, stop and step of a slice; with a negative step the bounds are those in the reversed dimension."""
    step = 1 if key.step is None else int(key.step)
    if step == 0:
        raise ShapeError("a slice's step cannot be 0.", remedy="leave the step out, or make it 1")
    if isinstance(size, Dim):
        if key.start is None and key.stop is None:
            return 0, size, step
        bounds = []
        for bound, default in ((key.start, 0), (key.stop, size)):
            if bound is None:
                bounds.append(default)
            elif isinstance(bound, Dim):
                bounds.append(bound)
            else:
                known(size)  # clipping to the end needs the number
        if step > 0:
            return bounds[0], bounds[1], step
        known(size)
    a, b, s = key.indices(known(size))
    if s < 0:
        a, b = size - 1 - a, size - 1 - b
    return a, builtins.max(a, b), s


def _canonical_take(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


@primitive(
    canonical=_canonical_take,
    samples=[Sample(normal(5, 3), integers(0, 5, 4)), Sample(normal(2, 5), integers(0, 5, 2, 3), axis=1), Sample(normal(4), integers(0, 4), axis=0)],
)
def take(x: TensorSpec, indices: TensorSpec, axis: int = 0) -> TensorSpec:
    """Elements along one axis by integer indices in [0, size): shape ``x.shape[:axis] + indices.shape + x.shape[axis+1:]``."""
    need_integer(indices, "indices")
    return x.with_shape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@take.vjp
def _(node: Application, g: Tensor) -> Any:
    x, indices = node.inputs
    axis = node.attrs["axis"]
    return take_gradient(g, indices, axis=axis, size=x.shape[axis]), None


@primitive(samples=[Sample(normal(4, 3), integers(0, 5, 4), axis=0, size=5), Sample(normal(2, 2, 3), integers(0, 4, 2, 3), axis=1, size=4)])
def take_gradient(g: TensorSpec, indices: TensorSpec, axis: int, size: Any) -> TensorSpec:
    """The transpose of ``take``: zeros of ``size`` along ``axis``, to which each slice of ``g`` is added at its index."""
    return g.with_shape(*g.shape[:axis], size, *g.shape[axis + indices.ndim :])


@take_gradient.vjp
def _(node: Application, g: Tensor) -> Any:
    return take(g, node.inputs[1], axis=node.attrs["axis"]), None


def _rows(axis: int, size: Size, *tensors: Tensor) -> tuple[list[Tensor], Tensor, list[int]]:
    """Tensors with this axis last, where each row begins if rows of ``size`` are laid one behind the other, and the order of axes that leads back."""
    order = [*(i for i in range(tensors[0].ndim) if i != axis), axis]
    rows = [ops.permute_dims(t, order) for t in tensors]
    lead = rows[0].shape[:-1]
    return rows, ops.reshape(ops.arange(product(lead)) * size, (*lead, 1)), sorted(range(len(order)), key=order.__getitem__)


@composite(canonical=canonical_axis, samples=[Sample(normal(3, 4), integers(0, 4, 3, 2), axis=1), Sample(normal(3, 4), integers(0, 3, 1, 4), axis=0)])
def take_along_axis(x: Tensor, indices: Tensor, axis: int = -1) -> Tensor:
    """For each place of ``indices``, the element of ``x`` at that index along ``axis`` and the same place otherwise."""
    need_integer(indices.spec, "indices")
    if indices.ndim != x.ndim or not shapes_agree((*indices.shape[:axis], *indices.shape[axis + 1 :]), (*x.shape[:axis], *x.shape[axis + 1 :])):
        raise ShapeError(f"indices must have the input's shape but for axis {axis}.", expected=str(x.spec), given=str(indices.spec))
    (x, indices), starts, back = _rows(axis, x.shape[axis], x, indices)
    return ops.permute_dims(take(ops.reshape(x, (-1,)), ops.astype(indices, "int64") + starts), back)


@take_along_axis.vjp
def _(node: Application, g: Tensor) -> Any:
    x, indices = node.inputs
    axis = node.attrs["axis"]
    return take_along_axis_gradient(g, indices, axis=axis, size=x.shape[axis]), None


@composite(
    samples=[
        Sample(normal(3, 2), integers(0, 4, 3, 2), axis=1, size=4),
        Sample(normal(2, 4), integers(0, 3, 2, 4), axis=0, size=3),
        Sample(normal(3, 1, 2), integers(0, 4, 3, 1, 2), axis=1, size=4),
    ]
)
def take_along_axis_gradient(g: Tensor, indices: Tensor, axis: int, size: Any) -> Tensor:
    """The transpose of ``take_along_axis``: zeros of ``size`` along ``axis``, to which ``g`` is added at the indices."""
    if g.shape[axis] == 1:  # as in cross-entropy: nothing to add up
        places = ops.reshape(ops.arange(size, dtype=indices.dtype), (size, *(1,) * (g.ndim - 1 - axis)))
        return ops.where(ops.equal(places, indices), g, 0.0)
    (g, indices), starts, back = _rows(axis, size, g, indices)
    places = ops.reshape(ops.astype(indices, "int64") + starts, (-1,))
    found = take_gradient(ops.reshape(g, (-1,)), places, axis=0, size=product(g.shape[:-1]) * size)
    return ops.permute_dims(ops.reshape(found, (*g.shape[:-1], size)), back)


@take_along_axis_gradient.vjp
def _(node: Application, g: Tensor) -> Any:
    return take_along_axis(g, node.inputs[1], axis=node.attrs["axis"]), None


@composite(samples=[Sample(integers(0, 4, 5), 4, gradient=False), Sample(integers(0, 3, 2, 2), 3, dtype="int64", gradient=False)])
def one_hot(x: Tensor, num_classes: int, dtype: str | None = None) -> Tensor:
    """1 at each index and 0 elsewhere along a new last dimension of size ``num_classes``."""
    need_integer(x.spec, "class indices")
    return ops.astype(ops.equal(ops.expand_dims(x, x.ndim), ops.arange(num_classes, dtype=x.dtype)), dtype or default_float())


def tril(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros above the k-th diagonal of its last two dimensions."""
    return ops.where(ops.less_equal(ops.arange(x.shape[-1]), ops.expand_dims(ops.arange(x.shape[-2]), 1) + k), x, 0)


def triu(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros below the k-th diagonal of its last two dimensions."""
    return ops.where(ops.greater_equal(ops.arange(x.shape[-1]), ops.expand_dims(ops.arange(x.shape[-2]), 1) + k), x, 0)
