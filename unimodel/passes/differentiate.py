"""Reverse-mode differentiation, graph to graph: every ``value_and_grad`` region becomes plain nodes.

The region's forward nodes are emitted as they are; then its nodes are walked backwards, each op's gradient rule (which stands beside the op) adding the
nodes for its part of the chain rule. Rules are written in ops, so a region inside a region is simply expanded first: gradients of
gradients need nothing more. Nodes that hold bodies have rules that make bodies (``control_gradients``). A backend that can only run forward ops can therefore train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Node, Value
from unimodel.op import Application, regions, value_and_grad_op
from unimodel.ops import astype, broadcast_to
from unimodel.passes.decompose import decompose
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import active_values, bodies, every_node, with_bodies
from unimodel.tracing import Tensor, trace_body


def differentiate(graph: Graph) -> Graph:
    """The same graph with every region expanded into forward and backward nodes."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op is value_and_grad_op:
            return expand_region(rewriter, node, inputs)
        return rewriter.keep(node, inputs, with_bodies(node, differentiate)) if bodies(node) else None

    if not any(node.op is value_and_grad_op for node in every_node(graph)):
        return graph
    return rewrite(graph, visit)


def expand_region(rewriter: Rewriter, region: Node, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    wrt = region.attrs["wrt"]
    tape = Tape(rewriter, region.attrs["body"], inputs, wrt)
    loss = tape.outputs[0]
    gradients = tape.pull([rewriter.trace.constant(1.0, loss.dtype), *(None for _ in tape.outputs[1:])])
    return (*tape.outputs, *(tape.dense(i, gradients) for i in wrt))


class Tape:
    """A graph's nodes, emitted by a rewriter, and how to walk them backwards. Gradients are for the inputs at the places ``wrt``."""

    def __init__(self, rewriter: Rewriter, body: Graph, inputs: Sequence[Tensor | None], wrt: Iterable[int]) -> None:
        self.rewriter = rewriter
        wrt = tuple(wrt)
        body = differentiate(body)
        self.body = body = _with_rules(body, active_values(body, wrt))
        self.active = active_values(body, wrt)
        self._environment = environment = dict(zip((e.value for e in body.inputs), (t for t in inputs if t is not None), strict=True))
        self._backward: list[tuple[Node, Callable[[list[Tensor | None]], Sequence[Any]]]] = []
        for node in body.nodes:
            arguments = [None if v is None else environment[v] for v in node.inputs]
            results: Sequence[Tensor]
            if not any(v in self.active for v in node.outputs):
                results = rewriter.keep(node, arguments)
            elif node.op.name in regions:
                results, backward = recorded(rewriter, node, arguments, self.active)
                self._backward.append((node, backward))
            else:
                results = rewriter.keep(node, arguments)
                self._backward.append((node, by_rule(node, Application(node, arguments, results))))
            environment.update(zip(node.outputs, results, strict=True))
        self.outputs = tuple(environment[v] for v in body.outputs)

    def pull(self, incoming: Sequence[Tensor | None]) -> dict[int, Tensor]:
        """The gradients that reach the inputs, by place, for these of the outputs."""
        gradients: dict[Value, Tensor] = {}

        def add(value: Value | None, gradient: Tensor | None) -> None:
            if value is not None and gradient is not None and value in self.active:
                before = gradients.get(value)
                gradients[value] = gradient if before is None else before + gradient

        for value, gradient in zip(self.body.outputs, incoming, strict=True):
            add(value, gradient)
        for node, backward in reversed(self._backward):
            found = [gradients.get(v) for v in node.outputs]
            if all(g is None for g in found):
                continue
            self.rewriter.trace.root.source = node.source
            for given, gradient in zip(node.inputs, backward(found), strict=True):
                add(given, gradient)
        return {i: gradients[e.value] for i, e in enumerate(self.body.inputs) if e.value in gradients}

    def dense(self, place: int, gradients: Mapping[int, Tensor]) -> Tensor:
        """The gradient for an input, zeros where none has reached it, of the input's own shape and dtype."""
        spec = self.body.inputs[place].spec
        gradient = gradients.get(place)
        gradient = self.rewriter.trace.constant(0.0, spec.dtype) if gradient is None else astype(gradient, spec.dtype)
        return broadcast_to(gradient, spec.shape)


def _with_rules(body: Graph, active: set[Value]) -> Graph:
    """The body with every composite that has no rule of its own, and needs one, taken apart."""
    touched = {node for node in body.nodes if any(v in active for v in node.outputs)}

    def keep(node: Node) -> bool:
        return node.op.vjp_rule is not None or (node not in touched and node in original)

    original = set(body.nodes)
    return decompose(body, keep, inside=False)


def rule_graph(node: Node) -> tuple[Graph, tuple[int, ...]]:
    """A node's gradient rule as a graph, and the inputs, by place, whose gradients are its outputs. It takes the node's inputs, its results, and the gradients of those that
    are floats: for a framework that differentiates everything else itself.
    """
    first, second = len(node.inputs), len(node.inputs) + len(node.outputs)
    places: tuple[int, ...] = ()

    def emit(tensors: Sequence[Any]) -> tuple[Tensor, ...]:
        nonlocal places
        incoming = iter(tensors[second:])
        backward = by_rule(node, Application(node, tensors[:first], tensors[first:second]))
        gradients = dict(enumerate(backward([next(incoming) if v.spec.is_float else None for v in node.outputs])))
        places = tuple(i for i, g in gradients.items() if g is not None)
        return tuple(gradients[i] for i in places)

    specs = [*node.specs, *(v.spec for v in node.outputs), *(v.spec for v in node.outputs if v.spec.is_float)]
    return trace_body(emit, specs, node.outputs[0].spec.dtype), places


def by_rule(node: Node, application: Application) -> Callable[[list[Tensor | None]], Sequence[Any]]:
    def backward(incoming: list[Tensor | None]) -> Sequence[Any]:
        if node.op.vjp_rule is None:
            raise UnsupportedError(
                f"{node.op.name} has no gradient.",
                given=repr(node),
                remedy="wrap its input in um.ops.stop_gradient if none is wanted",
                source=node.source,
            )
        result = node.op.vjp_rule(application, *incoming)
        gradients: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
        return gradients + (None,) * (len(node.inputs) - len(gradients))

    return backward


from unimodel.passes.control_gradients import recorded  # noqa: E402  at the end, because the gradient of a body is a tape's
