"""Gradients by core's rules where a framework differentiates the rest: for those of its ops that are differentiated wrongly, or not at all.

The op is computed from stopped inputs, so that no gradient of the framework's goes through it. To its value come terms that are 0 and whose slope is the rule's: ``x - stop(x)`` times
the gradient for x, summed as the op sums. That is all there is to a gradient of ops whose every result depends on elements in its own place (elementwise ones, and reductions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from unimodel import ops
from unimodel.graph import Graph, Node
from unimodel.op import Application
from unimodel.passes.differentiate import by_rule
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import active_values
from unimodel.tracing import Tensor


def straight_through(body: Graph, wrt: Iterable[int], core_gradient: Callable[[Node], bool]) -> Graph:
    """A region's body in which the gradients of the elementwise ops and reductions of which ``core_gradient`` holds are core's."""
    active = active_values(body, wrt)
    if not any(core_gradient(n) for n in body.nodes):
        return body

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if not core_gradient(node) or node.outputs[0] not in active:
            return None
        axes = node.attrs.get("axis")
        shape = node.outputs[0].spec.shape
        given = [t if axes is not None else ops.broadcast_to(t, shape) for t in inputs if t is not None]
        stopped = [ops.stop_gradient(t) for t in given]
        (total,) = rewriter.keep(node, stopped)
        producer = total.value.producer
        assert producer is not None, "a node was made"
        gradients = by_rule(producer, Application(producer, stopped, [total]))([ops.ones_like(total)])
        for value, x, still, slope in zip(node.inputs, given, stopped, gradients, strict=False):
            if value in active and slope is not None:
                # of an infinite number there is no difference, and 0 times an infinite slope is no number: neither has a gradient
                nothing, slope = ops.where(ops.isfinite(x), x - still, 0.0), ops.where(ops.isfinite(slope), slope, 0.0)
                term = nothing * slope
                total = total + (ops.reshape(ops.sum(term, axis=axes), shape) if axes is not None else term)
        return [total]

    return rewrite(body, visit)


def varying_power(node: Node) -> bool:
    """Whether a node is a power with an exponent that is no constant: what frameworks make of its gradient at bases that are not positive is their own, and often NaN."""
    exponent = node.inputs[1] if node.op is ops.pow else None
    return exponent is not None and (exponent.producer is None or exponent.producer.op is not ops.constant)
