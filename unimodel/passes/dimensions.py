"""Ops on many dimensions are carried out on fewer: neighbours that an op treats alike are one dimension to it.

Frameworks' kernels have a largest number of dimensions, each kernel its own: TensorFlow cuts eight and finds the largest of seven, MXNet joins six. An op that is elementwise, or names
the axes that it works on, is written here between two reshapes, which cost nothing; padding is done one dimension after another. Six dimensions every kernel takes; what still has more
then goes to the framework as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from unimodel import ops
from unimodel.dim import Size, product
from unimodel.graph import Graph, Node
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, every_node, with_bodies
from unimodel.tracing import Tensor

DIMENSIONS = 6
"""So many dimensions every framework's kernels take."""
BY_AXIS = frozenset([ops.concat, ops.flip, ops.cumulative_sum, ops.arg_sort, ops.arg_max, ops.arg_min, ops.sum, ops.prod, ops.max, ops.min, ops.all, ops.any])
"""Ops with an attribute ``axis``, to which neighbouring dimensions that are in it, or are not, are one."""


def merge_dimensions(graph: Graph) -> Graph:
    """The same graph with fewer dimensions to its ops, inside bodies too."""
    if not any(_many(node) for node in every_node(graph)):
        return graph

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, merge_dimensions))
        if node.op is ops.pad_constant and _many(node):
            return [_padded_in_turn(t, node.attrs["widths"], node.attrs["value"]) for t in inputs if t is not None]
        labels = _labels(node) if _many(node) else []
        runs = [[axis for axis, _ in run] for _, run in groupby(enumerate(labels), key=lambda pair: pair[1])]
        if len(runs) == len(labels):
            return None
        tensors = [_reshaped(t, len(labels), runs) for t in inputs if t is not None]
        merged = node.op(**node.op.arguments(tensors, _attributes(node, runs)))
        return [ops.reshape(merged, node.outputs[0].spec.shape)]

    return rewrite(graph, visit)


def _many(node: Node) -> bool:
    return any(v is not None and v.spec.ndim > DIMENSIONS for v in (*node.inputs, *node.outputs))


def _labels(node: Node) -> list[Any]:
    """For each dimension how the op treats it; neighbours that are equal here are one to it. Empty for ops that are left as they are."""
    op, attrs, shapes = node.op, node.attrs, [v.spec.shape for v in node.inputs if v is not None]
    if op in BY_AXIS:
        axes = attrs["axis"] if isinstance(attrs["axis"], tuple) else (attrs["axis"],)
        return [axis in axes for axis in range(len(shapes[0]))]
    if op is ops.slice:
        whole = zip(attrs["start"], attrs["stop"], attrs["step"], shapes[0], strict=True)
        return [None if (a, s) == (0, 1) and b == n else axis for axis, (a, b, s, n) in enumerate(whole)]
    if op is ops.broadcast_to or op is ops.where or (op.promote and not op.variadic):
        return _broadcast_labels(shapes, node.outputs[0].spec.shape)
    return []


def _broadcast_labels(shapes: Sequence[tuple[Size, ...]], result: tuple[Size, ...]) -> list[Any]:
    """Which sides are broadcast along each dimension; one of size 1 is as its neighbour is."""
    padded = [(1,) * (len(result) - len(shape)) + shape for shape in shapes]
    labels: list[Any] = []
    for axis, size in enumerate(result):
        labels.append(labels[-1] if size == 1 and labels else tuple(side[axis] == 1 for side in padded))
    return labels


def _reshaped(x: Tensor, rank: int, runs: list[list[int]]) -> Tensor:
    """``x`` with each run one dimension; what has fewer dimensions than the result lacks its first ones."""
    return ops.reshape(x, _sizes((*(1,) * (rank - x.ndim), *x.shape), runs)) if x.ndim else x


def _attributes(node: Node, runs: list[list[int]]) -> dict[str, Any]:
    """The node's attributes over runs of its dimensions."""
    attrs = dict(node.attrs)
    for name in attrs.keys() & {"start", "step"}:  # of a run of several nothing is cut
        attrs[name] = tuple(attrs[name][run[0]] for run in runs)
    for name in attrs.keys() & {"stop", "shape"}:
        attrs[name] = _sizes(attrs[name], runs)
    if "axis" in attrs:
        axes = attrs["axis"]
        places = tuple(place for place, run in enumerate(runs) if run[0] in (axes if isinstance(axes, tuple) else (axes,)))
        attrs["axis"] = places if isinstance(axes, tuple) else places[0]
    return attrs


def _sizes(shape: Sequence[Size], runs: list[list[int]]) -> tuple[Size, ...]:
    return tuple(product(tuple(shape[axis] for axis in run)) for run in runs)


def _padded_in_turn(x: Tensor, widths: Sequence[tuple[Size, Size]], value: float) -> Tensor:
    """Padding of one dimension after another, with those before and behind it as one each."""
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            before, behind = x.shape[:axis], x.shape[axis + 1 :]
            padded = ops.pad_constant(ops.reshape(x, (product(before), x.shape[axis], product(behind))), ((0, 0), pair, (0, 0)), value)
            x = ops.reshape(padded, (*before, padded.shape[1], *behind))
    return x
