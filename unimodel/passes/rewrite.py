"""The one walk that every pass shares: a graph is emitted anew, node by node, and a visitor says what becomes of each node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unimodel.graph import Graph, Node, TensorSpec, Value
from unimodel.tracing import Root, Tensor, Trace, live_nodes, recording

Visitor = Callable[["Rewriter", Node, list[Tensor | None]], Sequence[Any] | None]


class Rewriter:
    """Emits nodes into a new graph. ``visit`` returns the tensors that stand for a node's results, or None to keep the node as it is."""

    def __init__(self, visit: Visitor, float_dtype: str) -> None:
        self.visit = visit
        self.trace = Trace(Root(float_dtype, {}, locate=False))
        self.float_dtype = float_dtype

    def keep(self, node: Node, inputs: Sequence[Tensor | None], attrs: Any = None) -> tuple[Tensor, ...]:
        """The node itself on new inputs."""
        self.trace.root.source = node.source
        return self.trace.emit(node.op, inputs, node.attrs if attrs is None else attrs, tuple(v.spec for v in node.outputs))

    def inline(self, body: Graph, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """A body's nodes in place of one node."""
        given = [t for t in inputs if t is not None]
        environment = {entry.value: tensor for entry, tensor in zip(body.inputs, given, strict=True)}
        source = self.trace.root.source
        self.run(body.nodes, environment, source)
        return tuple(environment[v] for v in body.outputs)

    def run(self, nodes: Sequence[Node], environment: dict[Value, Tensor], source: Any = None) -> None:
        for node in nodes:
            inputs = [None if v is None else environment[v] for v in node.inputs]
            self.trace.root.source = node.source or source
            results = self.visit(self, node, inputs)
            if results is None:
                results = self.trace.emit(node.op, inputs, node.attrs, tuple(v.spec for v in node.outputs))
            environment.update(zip(node.outputs, results, strict=True))


def rewrite(graph: Graph, visit: Visitor) -> Graph:
    """The graph that results from visiting every node; inputs keep their names, kinds and order."""
    rewriter = Rewriter(visit, float_dtype_of(graph))
    with recording(rewriter.trace):
        environment = {e.value: rewriter.trace.input(e.kind, e.name, e.spec) for e in graph.inputs}
        rewriter.run(graph.nodes, environment)
    outputs = tuple(environment[v].value for v in graph.outputs)
    inputs = rewriter.trace.root.inputs
    updates = tuple((inputs[e.name], environment[v].value) for e, v in graph.updates)
    nodes = live_nodes(rewriter.trace.nodes, [*outputs, *(v for _, v in updates)])
    return Graph(tuple(inputs.values()), nodes, outputs, updates, graph.output_names)


def build(specs: Sequence[TensorSpec], float_dtype: str, function: Callable[[Rewriter, list[Tensor]], Sequence[Tensor]]) -> Graph:
    """A new graph over inputs of these specs, of the nodes that ``function`` emits."""
    rewriter = Rewriter(lambda rewriter, node, inputs: None, float_dtype)
    with recording(rewriter.trace):
        outputs = tuple(t.value for t in function(rewriter, [rewriter.trace.input("batch", f"x{i}", s) for i, s in enumerate(specs)]))
    return Graph(tuple(rewriter.trace.root.inputs.values()), live_nodes(rewriter.trace.nodes, outputs), outputs)


def float_dtype_of(graph: Graph) -> str:
    """The precision a graph was traced in: that of its float inputs; where it has none, float64 if anything in it is, else float32."""
    floats = {e.spec.dtype for e in graph.inputs if e.spec.is_float} or {v.spec.dtype for v in graph.values()}
    return "float64" if "float64" in floats else "float32"
