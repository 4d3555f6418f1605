"""Broadcasts and reductions that go back and forth between their dimensions more often than frameworks' kernels can follow are brought to a form that these can.

Neighbouring dimensions that are treated alike are one to a kernel, and those of TensorFlow and MXNet take five such stretches at most, whatever the number of
dimensions. The sides of a wider broadcast are first brought to the result's shape, in pieces of three dimensions, which every kernel takes; the dimensions of a wider reduction are
sorted first, those that stay before the others. It is rare: six dimensions at least, every other one of them treated otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from unimodel import ops
from unimodel.dim import Size, product
from unimodel.graph import Graph, Node
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, every_node, with_bodies
from unimodel.tracing import Tensor

STRETCHES = 5
"""How many stretches every framework's kernels take."""
REDUCTIONS = frozenset([ops.sum, ops.prod, ops.max, ops.min, ops.all, ops.any])


def in_stretches(graph: Graph) -> Graph:
    """The same graph without wider broadcasts and reductions, inside bodies too."""
    if not any(_wide(node) or _wide_reduction(node) for node in every_node(graph)):
        return graph

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, in_stretches))
        if _wide_reduction(node):
            return [_reduced(node, t) for t in inputs if t is not None]
        if not _wide(node):
            return None
        shape = node.outputs[0].spec.shape
        whole = [None if t is None else _broadcast(t, shape) for t in inputs]
        return [t for t in whole if t is not None] if node.op is ops.broadcast_to else rewriter.keep(node, whole)

    return rewrite(graph, visit)


def _wide(node: Node) -> bool:
    op, shape = node.op, node.outputs[0].spec.shape if node.outputs else ()
    if len(shape) <= STRETCHES or not (op is ops.broadcast_to or op is ops.where or (op.promote and not op.variadic)):
        return False
    sides = [v.spec.shape for v in node.inputs if v is not None]
    if any(len(s) > len(shape) for s in sides):
        return False
    padded = [(1,) * (len(shape) - len(s)) + s for s in sides]
    patterns = [tuple(p[i] == 1 and n != 1 for p in padded) for i, n in enumerate(shape)]  # to MXNet a size of 1 parts stretches
    return sum(a != b for a, b in zip(patterns, patterns[1:], strict=False)) >= STRETCHES


def _broadcast(x: Tensor, shape: tuple[Size, ...]) -> Tensor:
    """``x`` at a shape, one stretch of broadcast dimensions after another."""
    now: list[Size] = [*(1,) * (len(shape) - x.ndim), *x.shape]
    axis = 0
    while axis < len(shape):
        end = axis
        while end < len(shape) and now[end] == 1 and shape[end] != 1:
            end += 1
        if end > axis:
            before, after = product(tuple(now[:axis])), product(tuple(now[end:]))
            wide = ops.broadcast_to(ops.reshape(x, (before, 1, after)), (before, product(shape[axis:end]), after))
            now[axis:end] = shape[axis:end]
            x = wide
        axis = end + 1
    return x if tuple(x.shape) == shape else ops.reshape(x, shape)


def _wide_reduction(node: Node) -> bool:
    return node.op in REDUCTIONS and len(_runs(node)) > STRETCHES


def _runs(node: Node) -> list[tuple[bool, Size]]:
    """The stretches of a reduction: whether each is reduced, and its size. Dimensions of size 1 are part of any."""
    (spec,) = (v.spec for v in node.inputs if v is not None)
    sizes = [(i in node.attrs["axis"], size) for i, size in enumerate(spec.shape) if size != 1]
    return [(reduced, product(tuple(size for _, size in run))) for reduced, run in itertools.groupby(sizes, lambda pair: pair[0])]


def _reduced(node: Node, x: Tensor) -> Tensor:
    """``x`` reduced over one dimension, the last."""
    runs = _runs(node)
    order = sorted(range(len(runs)), key=lambda i: runs[i][0])
    kept = [size for reduced, size in runs if not reduced]
    rows = ops.permute_dims(ops.reshape(x, tuple(size for _, size in runs)), tuple(order))
    rows = ops.reshape(rows, (*kept, product(tuple(size for reduced, size in runs if reduced))))
    return ops.reshape(node.op(rows, axis=len(kept)), node.outputs[0].spec.shape)
