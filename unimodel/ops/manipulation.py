"""Other shapes of the same elements: reshaping, reordering, joining, padding."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel.dim import Dim, Size, product
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.indexing import cut, cut_axis
from unimodel.ops.rules import (
    axes_of,
    axis_index,
    broadcast_shapes,
    canonical_axes,
    known,
    shapes_agree,
    sizes_agree,
)
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "broadcast_to",
    "chunk",
    "concat",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "pad_constant",
    "permute_dims",
    "reshape",
    "split",
    "split_sizes",
    "squeeze",
    "stack",
    "swapaxes",
]


def _canonical_reshape(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    shape = attrs["shape"]
    target = list((shape,) if isinstance(shape, (int, Dim)) else shape)
    total = product(specs[0].shape)
    unknown = [i for i, s in enumerate(target) if s == -1]
    if len(unknown) > 1:
        raise ShapeError("only one size can be left to be found.", given=shape, remedy="write -1 once")
    if unknown:
        rest = product(tuple(s for s in target if s != -1))
        if rest == 0 or total % rest != 0:
            raise ShapeError(
                "the elements do not fill this shape.",
                expected=f"a multiple of {rest} elements",
                given=f"{specs[0]}, shape {shape}",
                remedy="check the sizes beside the -1",
            )
        target[unknown[0]] = total // rest
    attrs["shape"] = tuple(target)


@primitive(
    canonical=_canonical_reshape,
    samples=[Sample(normal(2, 6), (3, 4)), Sample(normal(2, 6), (-1,)), Sample(normal(2, 3, 4), (2, -1, 2)), Sample(normal(1), ())],
)
def reshape(x: TensorSpec, shape: Any) -> TensorSpec:
    """The same elements in row-major order in another shape; one size may be -1."""
    if not sizes_agree(product(shape), product(x.shape)):
        raise ShapeError(
            "the number of elements must stay.",
            expected=f"{product(x.shape)} elements",
            given=f"{x} to shape {shape}",
            remedy="leave one size to be found with -1",
        )
    return x.with_shape(*shape)


@reshape.vjp
def _(node: Application, g: Tensor) -> Any:
    return reshape(g, node.inputs[0].shape)


def _canonical_permutation(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    rank = specs[0].ndim
    axes = tuple(axis_index(a, rank) for a in attrs["axes"])
    if sorted(axes) != list(range(rank)):
        raise ShapeError(
            "axes must name every dimension once.", expected=f"a permutation of 0 to {rank - 1}", given=attrs["axes"], remedy="name each axis once"
        )
    attrs["axes"] = axes


@primitive(canonical=_canonical_permutation, samples=[Sample(normal(2, 3), (1, 0)), Sample(normal(2, 3, 4), (2, 0, 1)), Sample(normal(2, 3, 4), (0, -1, 1))])
def permute_dims(x: TensorSpec, axes: Any) -> TensorSpec:
    """The dimensions in another order."""
    return x.with_shape(*(x.shape[a] for a in axes))


@permute_dims.vjp
def _(node: Application, g: Tensor) -> Any:
    return permute_dims(g, tuple(int(i) for i in np.argsort(node.attrs["axes"])))


@primitive(samples=[Sample(normal(3), (2, 3)), Sample(normal(2, 1), (2, 4)), Sample(normal(), (2,)), Sample(normal(2, 1, 3), (5, 2, 4, 3))])
def broadcast_to(x: TensorSpec, shape: Any) -> TensorSpec:
    """``x`` repeated along its dimensions of size 1, and new leading ones, to this shape."""
    if broadcast_shapes(x.shape, shape) != tuple(shape):
        raise ShapeError(
            "the shape does not broadcast to the target.",
            expected=f"a shape that broadcasts to {shape}",
            given=str(x),
            remedy="sizes must be 1 or the target's",
        )
    return x.with_shape(*shape)


@broadcast_to.vjp
def _(node: Application, g: Tensor) -> Any:
    return unbroadcast(g, node.inputs[0])


def _canonical_concat(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    if not specs:
        raise ShapeError("nothing to join.", expected="at least one tensor", given="an empty list", remedy="leave the call out where there is nothing")
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


@primitive(
    promote=("arrays",),
    canonical=_canonical_concat,
    samples=[Sample([normal(2, 3), normal(4, 3)]), Sample([normal(2, 3), normal(2, 1), normal(2, 2)], axis=-1)],
)
def concat(arrays: Sequence[TensorSpec], axis: int = 0) -> TensorSpec:
    """Tensors joined along an existing axis."""
    first = arrays[0]
    for x in arrays:
        if x.ndim != first.ndim or not shapes_agree((*x.shape[:axis], *x.shape[axis + 1 :]), (*first.shape[:axis], *first.shape[axis + 1 :])):
            raise ShapeError(
                f"all sizes but axis {axis} must agree.", given=" and ".join(str(a) for a in arrays), remedy="join along another axis, or reshape them first"
            )
    total: Size = 0
    for x in arrays:
        total = total + x.shape[axis]
    return first.with_shape(*(total if i == axis else s for i, s in enumerate(first.shape)))


@concat.vjp
def _(node: Application, g: Tensor) -> Any:
    axis = node.attrs["axis"]
    sizes = [x.shape[axis] for x in node.inputs]
    if len(sizes) > 1 and builtins.all(isinstance(s, int) for s in sizes):
        return tuple(split_sizes(g, tuple(sizes), axis))
    starts = list(itertools.accumulate(sizes, initial=0))
    return tuple(cut_axis(g, axis, a, b) for a, b in itertools.pairwise(starts))


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concat([expand_dims(a, axis) for a in arrays], axis=axis)


def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """PyTorch's split: pieces of one size (the last may be smaller) or of the given sizes along ``dim``."""
    axis = axis_index(dim, x.ndim)
    total = known(x.shape[axis])
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        if sizes < 1:
            raise ShapeError("a piece has at least one element.", expected="a size of at least 1", given=sizes)
        sizes = [builtins.min(sizes, total - i) for i in range(0, total, sizes)] or [0]
    return (x,) if tuple(sizes) == (total,) else tuple(split_sizes(x, tuple(sizes), axis))


@composite(samples=[Sample(normal(2, 6), (1, 2, 3), 1), Sample(normal(5, 2), (3, 2), 0), Sample(normal(2, 6), (2, 2, 2), 1)])
def split_sizes(x: Tensor, sizes: Any, axis: int) -> Any:
    """The pieces of these sizes along one axis, which they fill. One node, so that the gradient is one ``concat``."""
    if builtins.min(sizes, default=0) < 0 or builtins.sum(sizes) != known(x.shape[axis]):
        raise ShapeError("the pieces must add up.", expected=f"sizes that add up to {x.shape[axis]}", given=sizes, remedy="give the sizes of all pieces")
    starts = np.cumsum([0, *sizes])
    return tuple(cut_axis(x, axis, int(a), int(b)) for a, b in itertools.pairwise(starts))


@split_sizes.vjp
def _(node: Application, *gradients: Any) -> Any:
    pieces = [broadcast_to(y.trace.constant(0.0, y.dtype), y.shape) if g is None else g for y, g in zip(node.outputs, gradients, strict=True)]
    return concat(pieces, axis=node.attrs["axis"])


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """PyTorch's chunk: at most ``chunks`` pieces of equal size along ``dim``."""
    if chunks < 1:
        raise ShapeError("there is at least one chunk.", expected="chunks of at least 1", given=chunks)
    return split(x, builtins.max(1, -(-known(x.shape[axis_index(dim, x.ndim)]) // chunks)), dim)


def expand_dims(x: Any, axis: int) -> Tensor:
    """``x`` with a new dimension of size 1 at ``axis``."""
    shape = list(x.shape)
    shape.insert(axis_index(axis, len(shape) + 1), 1)
    return reshape(x, tuple(shape))


def squeeze(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """``x`` without these dimensions, which must have size 1."""
    axes = axes_of(axis, x.ndim)
    if not builtins.all(sizes_agree(x.shape[a], 1) for a in axes):
        raise ShapeError("only dimensions of size 1 can be left out.", given=f"shape {x.shape}, axis {axis}", remedy="index with x[:, 0], or flatten")
    return reshape(x, tuple(s for i, s in enumerate(x.shape) if i not in axes))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` made one, as PyTorch's flatten."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axis_index(start_dim, x.ndim), axis_index(end_dim, x.ndim)
    return reshape(x, (*x.shape[:first], product(tuple(x.shape[first : last + 1])), *x.shape[last + 1 :]))


def matrix_transpose(x: Any) -> Tensor:
    """The last two dimensions swapped."""
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two dimensions swapped (PyTorch's ``transpose``)."""
    axes = list(range(x.ndim))
    a, b = axis_index(axis1, x.ndim), axis_index(axis2, x.ndim)
    axes[a], axes[b] = axes[b], axes[a]
    return permute_dims(x, tuple(axes))


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """One dimension moved to another place."""
    axes = [i for i in range(x.ndim) if i != axis_index(source, x.ndim)]
    axes.insert(axis_index(destination, x.ndim), axis_index(source, x.ndim))
    return permute_dims(x, tuple(axes))


@primitive(canonical=canonical_axes, samples=[Sample(normal(3, 2)), Sample(normal(3, 2), axis=0)])
def flip(x: TensorSpec, axis: Any = None) -> TensorSpec:
    """The elements in reverse order along ``axis``."""
    return x


@flip.vjp
def _(node: Application, g: Tensor) -> Any:
    return flip(g, axis=node.attrs["axis"])


def _canonical_pad(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    widths = tuple(tuple(w) for w in attrs["widths"])
    if len(widths) != specs[0].ndim or builtins.any(len(w) != 2 for w in widths):
        raise ShapeError("widths needs one (before, after) pair per dimension.", given=attrs["widths"], remedy="give (0, 0) where nothing is padded")
    attrs["widths"] = widths
    if specs[0].dtype == "bool":
        attrs["value"] = bool(attrs["value"])  # one half is True, whatever a kernel would round it to


@primitive(
    canonical=_canonical_pad,
    samples=[
        Sample(normal(2, 3), ((0, 1), (2, 0))),
        Sample(normal(3), ((1, 1),), value=-1.5),
        Sample(normal(2, 3), ((0, 0), (0, 0))),
        Sample(normal(2, 1, 2, 1, 1, 3, 1), ((1, 0), (0, 0), (0, 2), (1, 1), (0, 0), (2, 1), (0, 1)), value=0.5),
    ],
)
def pad_constant(x: TensorSpec, widths: Any, value: float = 0.0) -> TensorSpec:
    """``x`` surrounded by a constant: (before, after) counts per dimension, none negative."""
    if builtins.any(isinstance(n, int) and n < 0 for w in widths for n in w):
        raise ShapeError("widths must not be negative.", given=widths, remedy="slice instead")
    return x.with_shape(*(s + lo + hi for s, (lo, hi) in zip(x.shape, widths, strict=True)))


@pad_constant.vjp
def _(node: Application, g: Tensor) -> Any:
    shape = node.inputs[0].shape
    lows = [w[0] for w in node.attrs["widths"]]
    return cut(g, lows, [lo + s for lo, s in zip(lows, shape, strict=True)])
