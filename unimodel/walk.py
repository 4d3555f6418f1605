"""A graph's nodes run one by one through a table of lowerings: what a backend that builds no program of its own does with a graph.

Bodies are walks of their own. Control flow is Python's: a branch is taken once its predicate is known, a loop goes round and round. Slices and stacks are made by
the table's own ``slice``, ``reshape`` and ``concat``, so that no backend needs more for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unimodel.dim import Dim, concrete
from unimodel.graph import Array, ArrayLiteral, Graph, Node, TensorSpec, Value
from unimodel.op import checkpoint_op, cond_op, scan_op, value_and_grad_op, while_loop_op
from unimodel.ops import catalogue
from unimodel.regions import bodies

if TYPE_CHECKING:
    from unimodel.backend import Backend


class Walk:
    """A graph's nodes in their order, each result dropped after its last use; gives the native arrays of the values in ``results``."""

    def __init__(self, backend: Backend, graph: Graph, results: Sequence[Value]) -> None:
        self.backend = backend
        self.graph = graph
        self.results = results
        self._bodies = {n: {name: Walk(backend, body, body.outputs) for name, body in bodies(n).items()} for n in graph.nodes if bodies(n)}
        last: dict[Value, int] = {}
        for i, node in enumerate(graph.nodes):
            last.update(dict.fromkeys((v for v in node.inputs if v is not None), i))
        kept = set(results)
        self._drops: list[list[Value]] = [[] for _ in graph.nodes]
        for value, i in last.items():
            if value not in kept:
                self._drops[i].append(value)

    def __call__(self, environment: dict[Value, Any], sizes: Mapping[str, int]) -> list[Any]:
        for node, drops in zip(self.graph.nodes, self._drops, strict=True):
            inputs = [None if v is None else environment[v] for v in node.inputs]
            if node in self._bodies:
                environment.update(zip(node.outputs, self._held(node, inputs, sizes), strict=True))
            elif len(node.outputs) == 1:
                environment[node.outputs[0]] = self._lowered(node, inputs, sizes)
            else:
                environment.update(zip(node.outputs, self._lowered(node, inputs, sizes), strict=True))
            for value in drops:
                del environment[value]
        return [environment[v] for v in self.results]

    def on(self, arrays: Sequence[Any], sizes: Mapping[str, int]) -> list[Any]:
        """The results for these inputs, in the graph's order."""
        return self(dict(zip((e.value for e in self.graph.inputs), arrays, strict=True)), sizes)

    def _lowered(self, node: Node, inputs: Sequence[Any], sizes: Mapping[str, int]) -> Any:
        return self.backend.lowerings[node.op.name](at_sizes(node, sizes), *inputs)

    # nodes that hold bodies
    def _held(self, node: Node, inputs: list[Any], sizes: Mapping[str, int]) -> Sequence[Any]:
        walks = self._bodies[node]
        if node.op is value_and_grad_op:
            results, gradients = self.backend.value_and_grad(lambda *arrays: walks["body"].on(arrays, sizes), inputs, node.attrs["wrt"])
            return [*results, *gradients]
        if node.op is cond_op:
            return walks["then" if self._holds(inputs[0]) else "otherwise"].on(inputs[1:], sizes)
        if node.op is while_loop_op:
            carries = node.attrs["carries"]
            state, captured = inputs[:carries], inputs[carries:]
            while self._holds(walks["condition"].on([*state, *captured], sizes)[0]):
                state = walks["body"].on([*state, *captured], sizes)
            return state
        if node.op is scan_op:
            return self._scan(node, inputs, sizes)
        assert node.op is checkpoint_op, f"a node of {node.op} holds bodies"
        return walks["body"].on(inputs, sizes)

    def _holds(self, predicate: Any) -> bool:
        return bool(self.backend.to_numpy(predicate))

    def _scan(self, node: Node, inputs: list[Any], sizes: Mapping[str, int]) -> list[Any]:
        body, attrs, specs = self._bodies[node]["body"], node.attrs, [e.spec.at(sizes) for e in node.attrs["body"].inputs]
        carries, split, length = attrs["carries"], attrs["carries"] + attrs["xs"], int(concrete(attrs["length"], sizes))
        state, stacked, captured = inputs[:carries], inputs[carries:split], inputs[split:]
        rounds: list[list[Any]] = []
        for i in reversed(range(length)) if attrs["reverse"] else range(length):
            slices = [self._slice(x, i, length, spec) for x, spec in zip(stacked, specs[carries:split], strict=True)]
            results = body.on([*state, *slices, *captured], sizes)
            state = results[:carries]
            rounds.append(results[carries:])
        if attrs["reverse"]:
            rounds.reverse()
        return [*state, *(self._stack([r[i] for r in rounds], v.spec.at(sizes)) for i, v in enumerate(node.outputs[carries:]))]

    def _slice(self, x: Any, i: int, length: int, spec: TensorSpec) -> Any:
        whole, row = spec.with_shape(length, *spec.shape), spec.with_shape(1, *spec.shape)
        start, stop = (i, *(0 for _ in spec.shape)), (i + 1, *spec.shape)
        return self._reshape(self._apply("slice", [(x, whole)], row, start=start, stop=stop, step=(1,) * whole.ndim), row, spec)

    def _stack(self, slices: Sequence[Any], spec: TensorSpec) -> Any:
        if not slices:
            return self.backend.from_numpy(np.zeros([int(s) for s in spec.shape], "float32" if spec.dtype == "bfloat16" else spec.dtype))
        row, single = spec.with_shape(1, *spec.shape[1:]), spec.with_shape(*spec.shape[1:])
        return self._apply("concat", [(self._reshape(s, single, row), row) for s in slices], spec, axis=0)

    def _reshape(self, x: Any, before: TensorSpec, after: TensorSpec) -> Any:
        return self._apply("reshape", [(x, before)], after, shape=after.shape)

    def _apply(self, name: str, inputs: Sequence[tuple[Any, TensorSpec]], result: TensorSpec, **attrs: Any) -> Any:
        node = Node(catalogue[name], tuple(Value(spec) for _, spec in inputs), attrs, (result,))
        return self._lowered(node, [x for x, _ in inputs], {})


class SizedNode:
    """A node with its symbolic attributes replaced by numbers; everything else is the node's."""

    __slots__ = ("attrs", "node")

    def __init__(self, node: Node, attrs: Mapping[str, Any]) -> None:
        self.node = node
        self.attrs = attrs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)


def at_sizes(node: Node, sizes: Mapping[str, int]) -> Any:
    """The node as a lowering sees it once the batch size is known."""
    if not any(_symbolic(v) for v in node.attrs.values()):
        return node
    return SizedNode(node, {k: _concrete(v, sizes) for k, v in node.attrs.items()})


def _symbolic(value: Any) -> bool:
    return isinstance(value, Dim) or (isinstance(value, tuple) and any(_symbolic(v) for v in value))


def _concrete(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_concrete(v, sizes) for v in value)
    return concrete(value, sizes) if isinstance(value, Dim) else value


def literal(node: Node) -> Array:
    """The value of a ``constant`` node as a NumPy array of its dtype."""
    value = node.attrs["value"]
    dtype = node.attrs["dtype"]
    return np.asarray(value.array if isinstance(value, ArrayLiteral) else value, "float32" if dtype == "bfloat16" else dtype)
