"""Images as (N, *spatial, C) instead of (N, C, *spatial), for backends whose kernels want channels last.

Only some ops care (convolution, pooling, batch norm): they are marked with the attribute ``channels_last``, and take and give their images in that
order. Between them the order is kept: elementwise ops work in whatever order their operands are in, reductions, joins and cuts have their axes renamed.
So a chain of convolutions costs one transposition where it begins and one where it ends. Every image in the new order has a twin in the old one, a
``permute_dims`` that falls away where nobody uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from unimodel.dim import Size
from unimodel.graph import Graph, Node, TensorSpec, Value
from unimodel.op import value_and_grad_op
from unimodel.ops import broadcast_to, permute_dims, reshape
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, every_node, with_bodies
from unimodel.tracing import Tensor

IMAGES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "conv": ((0,), (0,)),
    "conv_input_gradient": ((0,), (0,)),
    "conv_weight_gradient": ((0, 1), ()),
    "max_pool": ((0,), (0, 1)),
    "max_pool_gradient": ((0, 1, 2, 3), (0,)),
    "avg_pool": ((0,), (0,)),
    "avg_pool_gradient": ((0,), (0,)),
    "batch_norm_inference": ((0,), (0,)),
    "batch_norm_training": ((0,), (0,)),
    "batch_norm_gradient": ((0, 1), (0,)),
}
"""The ops that care: which of their inputs and of their results are images."""

ELEMENTWISE = frozenset([
    "add", "subtract", "multiply", "true_divide", "floor_divide", "remainder", "pow", "maximum", "minimum", "negative", "abs", "sign", "exp", "expm1", "log",
    "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor", "ceil", "round", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isfinite", "where", "cast", "square", "rsqrt", "stop_gradient", "relu",
    "relu_gradient", "leaky_relu", "elu", "gelu", "gelu_gradient", "silu", "softplus", "masked_dropout",
])  # fmt: skip  # a table reads better in rows
"""Ops that take every element by itself, whatever the order of the dimensions."""

REDUCTIONS = frozenset(["sum", "prod", "max", "min", "all", "any"])
PER_DIMENSION = {"pad_constant": ("widths",), "slice": ("start", "stop", "step")}
"""Ops with attributes that have one entry per dimension."""


def channels_last(graph: Graph, marked: Container[str]) -> Graph:
    """The same graph with the ops in ``marked``, which must be among ``IMAGES``, in the new order. Regions, which frameworks differentiate, stay as they are."""
    if not any(n.op.name in marked for n in every_node(graph)):
        return graph
    return rewrite(graph, _Layout(marked).visit)


def _last(values: Sequence[Any]) -> tuple[Any, ...]:
    """What holds per dimension, in the new order."""
    return (values[0], *values[2:], values[1])


def _first(values: Sequence[Any]) -> tuple[Any, ...]:
    return (values[0], values[-1], *values[1:-1])


class _Layout:
    def __init__(self, marked: Container[str]) -> None:
        self.marked = marked
        self.made: set[Value] = set()  # images that came about in the new order
        self.twins: dict[Value, Tensor] = {}
        self.makers: dict[Value, Callable[[], Tensor]] = {}

    def last(self, image: Tensor) -> Tensor:
        """An image in the new order."""
        found = self.twins.get(image.value)
        if found is None:
            maker = self.makers.get(image.value)
            found = self.twins[image.value] = _reorder(image, _last) if maker is None else maker()
        return found

    def first(self, image: Tensor) -> Tensor:
        """An image that came about in the new order, in the old one."""
        twin = _reorder(image, _first)
        self.made.add(twin.value)
        self.twins[twin.value] = image
        return twin

    def operand(self, tensor: Tensor | None, rank: int) -> Tensor | None:
        """An operand that broadcasts against images, in the new order."""
        if tensor is None or tensor.ndim == 0 or tensor.ndim == rank:
            return tensor if tensor is None or tensor.ndim == 0 else self.last(tensor)
        shape = (1,) * (rank - tensor.ndim) + tensor.shape
        moved = _reorder(tensor if tensor.ndim == rank else reshape(tensor, shape), _last)
        ones = next((i for i, s in enumerate(moved.shape) if s != 1), rank - 1)
        return reshape(moved, moved.shape[ones:])

    def visit(self, rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if bodies(node):
            return None if node.op is value_and_grad_op else rewriter.keep(node, inputs, with_bodies(node, lambda body: channels_last(body, self.marked)))
        name, attrs, out = node.op.name, node.attrs, node.outputs[0].spec
        images, results = ((), (0,)) if name not in self.marked else IMAGES[name]
        if images:
            if node.inputs[0] is None or node.inputs[0].spec.ndim < 3:
                return None
            moved = [self.last(t) if i in images and t is not None else t for i, t in enumerate(inputs)]
            return self._emit(rewriter, node, moved, {**attrs, "channels_last": True}, results)
        if name == "broadcast_to" and out.ndim >= 3:
            return self._broadcast(rewriter, node, inputs)
        rank = max((t.ndim for t in inputs if t is not None), default=0)
        if not any(t is not None and t.value in self.made and t.ndim == rank for t in inputs):
            return None
        if name in ELEMENTWISE:
            return self._emit(rewriter, node, [self.operand(t, rank) for t in inputs], attrs, (0,))
        if name == "concat":
            return self._emit(rewriter, node, [self.last(t) for t in inputs if t is not None], {"axis": _last(range(rank)).index(attrs["axis"])}, (0,))
        if name in PER_DIMENSION:
            renamed = {k: _last(v) if k in PER_DIMENSION[name] else v for k, v in attrs.items()}
            return self._emit(rewriter, node, [self.last(inputs[0])] if inputs[0] is not None else [], renamed, (0,))
        if name in REDUCTIONS and inputs[0] is not None:
            left = [i for i in _last(range(rank)) if i not in attrs["axis"]]
            if attrs["keepdims"] or left == sorted(left):
                axes = tuple(i for i, old in enumerate(_last(range(rank))) if old in attrs["axis"])
                return self._emit(rewriter, node, [self.last(inputs[0])], {**attrs, "axis": axes}, (0,) if attrs["keepdims"] else ())
        return None

    def _emit(self, rewriter: Rewriter, node: Node, inputs: Sequence[Tensor | None], attrs: Any, images: Sequence[int]) -> Sequence[Tensor]:
        """The node on inputs in the new order; results that are images get twins in the old one."""
        specs = tuple(TensorSpec(_last(v.spec.shape), v.spec.dtype) if i in images else v.spec for i, v in enumerate(node.outputs))
        results = rewriter.trace.emit(node.op, inputs, attrs, specs)
        return [self.first(t) if i in images else t for i, t in enumerate(results)]

    def _broadcast(self, rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor]:
        """Kept as it is, and made again in the new order should somebody want it there, which is cheaper than moving it."""
        (result,) = rewriter.keep(node, inputs)
        shape: tuple[Size, ...] = node.attrs["shape"]

        def make() -> Tensor:
            operand = self.operand(inputs[0], len(shape))
            assert operand is not None, "broadcast_to has one input"
            return broadcast_to(operand, _last(shape))

        self.makers[result.value] = make
        return (result,)


def _reorder(image: Tensor, order: Callable[[Sequence[Any]], tuple[Any, ...]]) -> Tensor:
    """The dimensions in another order; no element moves where only sizes of 1 change places."""
    axes = order(range(image.ndim))
    wide = [a for a in axes if image.shape[a] != 1]
    return reshape(image, order(image.shape)) if wide == sorted(wide) else permute_dims(image, axes)
