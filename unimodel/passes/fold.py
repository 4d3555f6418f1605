"""What can be known while compiling is not computed at run time.

Constant arithmetic, ops that change nothing, broadcasts that the next op would do by itself, chains of reshapes, and nodes that
compute the same thing twice (every op is pure). And odd cases of an op that are plain ones of another, so that no lowering has to know them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.graph import Graph, Node, TensorSpec, Value
from unimodel.op import Op, distinct
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, with_bodies
from unimodel.tracing import Tensor


def _total(name: str, function: Callable[..., Any]) -> Callable[..., float]:
    """Arithmetic on Python numbers that gives infinity and NaN where Python raises (or answers with a complex number), as arrays do."""
    by_numpy = getattr(np, {"pow": "power"}.get(name, name))

    def compute(*numbers: float) -> float:
        try:
            result = function(*numbers)
            return math.nan if isinstance(result, complex) else result
        except (ArithmeticError, ValueError):
            with np.errstate(all="ignore"):
                return float(by_numpy(*map(float, numbers)))

    compute.__name__ = compute.__qualname__ = name
    return compute


_PYTHON: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "true_divide": operator.truediv,
    "pow": operator.pow,
    "negative": operator.neg,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
}
SCALAR_ARITHMETIC: dict[str, Callable[..., float]] = {name: _total(name, function) for name, function in _PYTHON.items()}
"""Arithmetic on Python numbers, by op: for folding here, and for backends that keep host scalars as numbers."""

_BROADCASTING = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "true_divide",
        "floor_divide",
        "remainder",
        "pow",
        "maximum",
        "minimum",
        "where",
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
    ]
)


_OF_INTEGERS: dict[str, Callable[[Tensor], Tensor]] = {
    **dict.fromkeys(("floor", "ceil", "round"), lambda x: x),
    "isnan": lambda x: ops.not_equal(x, x),
    "isfinite": lambda x: ops.equal(x, x),
}
_ALONG_AXES = frozenset(["sum", "mean", "prod", "max", "min", "all", "any", "flip"])
"""Ops that, along no axis, move and change nothing but the dtype."""
_OF_BOOLEANS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bitwise_and": ops.logical_and,
    "maximum": ops.logical_or,
    "minimum": ops.logical_and,
    "less": lambda x, y: ops.logical_and(ops.logical_not(x), y),
    "less_equal": lambda x, y: ops.logical_or(ops.logical_not(x), y),
    "greater": lambda x, y: ops.logical_and(x, ops.logical_not(y)),
    "greater_equal": lambda x, y: ops.logical_or(x, ops.logical_not(y)),
}
"""What some ops come to where there is no fraction, or only false and true: no kernel has to know these cases."""


def fold(graph: Graph) -> Graph:
    """A smaller graph with the same results."""
    known: dict[Any, tuple[Tensor, ...]] = {}

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        simpler = _simplify(rewriter, node.op, inputs, node)
        if simpler is not None:
            producer = simpler.value.producer
            return (simpler,) if producer is None or len(producer.outputs) > 1 else known.setdefault(_key(producer), (simpler,))
        if node.op.name in _BROADCASTING:
            inputs = _without_broadcasts(inputs, node)
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, fold))
        key = node.op.name, tuple(None if t is None else t.value for t in inputs), distinct(tuple(node.attrs.values()))
        found = known.get(key)
        if found is None:
            found = known[key] = rewriter.keep(node, inputs)
        return found

    return rewrite(graph, visit)


def _key(node: Node) -> Any:
    """What makes two nodes the same computation."""
    return node.op.name, node.inputs, distinct(tuple(node.attrs.values()))


def _constant(tensor: Tensor | None) -> Any:
    """The Python number a tensor is known to be, or None."""
    if tensor is None or tensor.value.producer is None or tensor.value.producer.op.name != "constant":
        return None
    value = tensor.value.producer.attrs["value"]
    return value if isinstance(value, (int, float)) else None


def _simplify(rewriter: Rewriter, op: Op[Any], inputs: Sequence[Tensor | None], node: Node) -> Tensor | None:
    out = node.outputs[0].spec
    if not inputs or inputs[0] is None:
        return None
    name, first = op.name, inputs[0]
    if name in ("reshape", "broadcast_to", "cast") and first.spec == out:
        return first
    if not first.spec.is_float and name in _OF_INTEGERS:
        return _OF_INTEGERS[name](first)
    if first.dtype == "bool" and name in _OF_BOOLEANS and inputs[1] is not None:
        return _OF_BOOLEANS[name](first, inputs[1])
    if name in _ALONG_AXES and not node.attrs["axis"]:
        return first if first.spec == out else ops.astype(first, out.dtype)
    if name == "arg_sort" and first.shape[node.attrs["axis"]] == 1:
        return ops.zeros_like(first, dtype="int64")
    if name == "matmul" and inputs[1] is not None and 1 in (first.ndim, inputs[1].ndim):
        return _of_matrices(first, inputs[1], out)
    if name == "permute_dims" and node.attrs["axes"] == tuple(range(len(node.attrs["axes"]))):
        return first
    producer = first.value.producer
    if name == "permute_dims" and producer is not None:
        turned = _turned(rewriter, producer, node)
        if turned is not None:
            return turned
    if name in ("reshape", "broadcast_to") and producer is not None and producer.op.name == name:
        source = producer.inputs[0]
        assert source is not None, "reshape and broadcast_to have one input"
        if source.spec == out:
            return Tensor(rewriter.trace, source)
        return rewriter.keep(node, [Tensor(rewriter.trace, source)])[0]
    if name == "sum" and producer is not None and producer.op.name == "max_pool_gradient" and set(range(2, first.ndim)) <= set(node.attrs["axis"]):
        # a bias's gradient: each window's has gone to one place of the image, so they may as well be added up before
        assert producer.inputs[0] is not None, "max_pool_gradient has a gradient"
        return rewriter.keep(node, [Tensor(rewriter.trace, producer.inputs[0])])[0]
    if name in SCALAR_ARITHMETIC and out.shape == () and out.is_float:
        numbers = [_constant(t) for t in inputs]
        if all(n is not None for n in numbers):
            number = float(SCALAR_ARITHMETIC[name](*numbers))
            return rewriter.trace.constant(number, out.dtype) if math.isfinite(number) else None  # NaN and infinity are the framework's to make
    if len(inputs) == 2:
        second = inputs[1]
        right = _constant(second)
        if right is not None and first.spec == out and (name, right) in (("multiply", 1), ("true_divide", 1), ("add", 0), ("subtract", 0), ("pow", 1)):
            return first
        left = _constant(first)
        if left is not None and second is not None and second.spec == out and (name, left) in (("multiply", 1), ("add", 0)):
            return second
    return None


def _swaps(node: Node | None) -> bool:
    """Whether a node transposes matrices."""
    rank = 0 if node is None else node.outputs[0].spec.ndim
    return node is not None and node.op.name == "permute_dims" and node.attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2)


def _turned(rewriter: Rewriter, source: Node, node: Node) -> Tensor | None:
    """A ``permute_dims`` of what another one made, where the two undo each other; and a transposed product of a transposed matrix as a product of what that was."""
    axes = node.attrs["axes"]
    if source.op.name == "permute_dims" and all(source.attrs["axes"][a] == i for i, a in enumerate(axes)):
        assert source.inputs[0] is not None, "permute_dims has one input"
        return Tensor(rewriter.trace, source.inputs[0])
    assert node.inputs[0] is not None, "permute_dims has one input"
    if source.op.name != "matmul" or not _swaps(node) or len(node.inputs[0].users) > 1:
        return None
    x, y = source.inputs
    assert x is not None and y is not None, "matmul has two inputs"
    if x.spec.ndim != y.spec.ndim or not (_swaps(x.producer) or _swaps(y.producer)):
        return None

    def transposed(value: Value) -> Tensor:
        producer = value.producer
        if producer is not None and _swaps(producer):
            assert producer.inputs[0] is not None, "permute_dims has one input"
            return Tensor(rewriter.trace, producer.inputs[0])
        return ops.permute_dims(Tensor(rewriter.trace, value), axes)

    return ops.matmul(transposed(y), transposed(x))


def _of_matrices(x: Tensor, y: Tensor, out: TensorSpec) -> Tensor:
    """A product with vectors as one of a row and a column, so that no kernel has to know vectors."""
    row = ops.reshape(x, (1, *x.shape)) if x.ndim == 1 else x
    column = ops.reshape(y, (*y.shape, 1)) if y.ndim == 1 else y
    return ops.reshape(ops.matmul(row, column), out.shape)


def _without_broadcasts(inputs: Sequence[Tensor | None], node: Node) -> list[Tensor | None]:
    """Inputs before their ``broadcast_to`` (or a single number's reshape), where the op's own broadcasting gives the same shape."""
    out = node.outputs[0].spec.shape
    result = list(inputs)
    for i, tensor in enumerate(inputs):
        producer = None if tensor is None else tensor.value.producer
        if tensor is None or producer is None or producer.op.name not in ("broadcast_to", "reshape"):
            continue
        source: Value | None = producer.inputs[0]
        assert source is not None, "broadcast_to and reshape have one input"
        wider = producer.op.name == "broadcast_to" or source.spec.shape == ()
        if wider and any(t is not None and t.shape == out for j, t in enumerate(result) if j != i):
            result[i] = Tensor(tensor.trace, source)
    return result
