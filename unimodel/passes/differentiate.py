"""Reverse-mode differentiation, graph to graph: every ``value_and_grad`` region becomes plain nodes.

The region's forward nodes are emitted as they are; then its nodes are walked backwards, each op's gradient rule (which stands beside the op) adding the
nodes for its part of the chain rule. Rules are written in ops, so a region inside a region is simply expanded first: gradients of
gradients need nothing more. A backend that can only run forward ops can therefore train.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Node, Value
from unimodel.ops import astype, broadcast_to
from unimodel.ops.definition import Application, value_and_grad_op
from unimodel.passes.decompose import decompose
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.tracing import Tensor


def differentiate(graph: Graph) -> Graph:
    """The same graph with every region expanded into forward and backward nodes."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        return expand_region(rewriter, node, inputs) if node.op is value_and_grad_op else None

    if not any(node.op is value_and_grad_op for node in graph.nodes):
        return graph
    return rewrite(graph, visit)


def expand_region(rewriter: Rewriter, region: Node, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    body = differentiate(region.attrs["body"])
    wrt = region.attrs["wrt"]
    active = active_values(body, wrt)
    body = _with_rules(body, active, wrt)
    active = active_values(body, wrt)

    environment: dict[Value, Tensor] = dict(zip((e.value for e in body.inputs), (t for t in inputs if t is not None), strict=True))
    applications: list[tuple[Node, Application]] = []
    for node in body.nodes:
        arguments = [None if v is None else environment[v] for v in node.inputs]
        results = rewriter.keep(node, arguments)
        environment.update(zip(node.outputs, results, strict=True))
        if any(v in active for v in node.outputs):
            applications.append((node, Application(node, arguments, results)))

    loss = body.outputs[0]
    gradients: dict[Value, Tensor] = {loss: rewriter.trace.constant(1.0, loss.spec.dtype)}
    for node, application in reversed(applications):
        incoming = [gradients.get(v) for v in node.outputs]
        if all(g is None for g in incoming):
            continue
        rewriter.trace.root.source = node.source
        for value, gradient in zip(node.inputs, _apply_rule(node, application, incoming), strict=True):
            if value is not None and gradient is not None and value in active:
                before = gradients.get(value)
                gradients[value] = gradient if before is None else before + gradient
    answers = [environment[v] for v in body.outputs]
    for i in wrt:
        value = body.inputs[i].value
        gradient = gradients.get(value)
        zero = rewriter.trace.constant(0.0, value.spec.dtype)
        answers.append(broadcast_to(zero if gradient is None else astype(gradient, value.spec.dtype), value.spec.shape))
    return tuple(answers)


def active_values(body: Graph, wrt: Iterable[int]) -> set[Value]:
    """The values that depend on what the gradient is asked for."""
    active = {body.inputs[i].value for i in wrt}
    for node in body.nodes:
        if node.op.name != "stop_gradient" and any(v in active for v in node.inputs if v is not None):
            active.update(v for v in node.outputs if v.spec.is_float)
    return active


def _with_rules(body: Graph, active: set[Value], wrt: Iterable[int]) -> Graph:
    """The body with every composite that has no rule of its own, and needs one, taken apart."""
    touched = {node for node in body.nodes if any(v in active for v in node.outputs)}

    def keep(node: Node) -> bool:
        return node.op.vjp_rule is not None or (node not in touched and node in original)

    original = set(body.nodes)
    return decompose(body, keep)


def _apply_rule(node: Node, application: Application, incoming: list[Tensor | None]) -> tuple[Any, ...]:
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
