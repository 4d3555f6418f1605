"""Bodies without what nobody needs: results that nothing uses, carries that only carry themselves, inputs that are not read.

Nodes that nothing needs fall away in every pass; inside a body, what is needed depends on who uses the node's results. A scan that core differentiates keeps the
carries of all rounds, and its gradient may look at few of them, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unimodel.graph import Graph, Input, Node, Value
from unimodel.op import value_and_grad_op
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, body_inputs
from unimodel.tracing import Tensor, live_nodes


def prune(graph: Graph) -> Graph:
    """The same graph with smaller bodies."""
    kept = _kept(graph)
    if not kept:
        return graph

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor | None] | None:
        if node not in kept:
            return None
        results, read = kept[node]
        lead = len(inputs) - len(body_inputs(node))
        attrs = {**node.attrs, **{name: _narrowed(body, results if name != "condition" else {0}, read) for name, body in bodies(node).items()}}
        carries = node.attrs.get("carries", 0)
        if "carries" in attrs:
            attrs["carries"] = sum(i < carries for i in read)
        if "xs" in attrs:
            attrs["xs"] = sum(carries <= i < carries + node.attrs["xs"] for i in read)
        given = [*inputs[:lead], *(inputs[lead + i] for i in sorted(read))]
        found = iter(rewriter.trace.emit(node.op, given, attrs, tuple(node.outputs[i].spec for i in sorted(results))))
        return [next(found) if i in results else None for i in range(len(node.outputs))]

    return rewrite(graph, visit)


def _kept(graph: Graph) -> dict[Node, tuple[set[int], set[int]]]:
    """For each node with bodies that is needed: the places of the results that stay, and of the body inputs."""
    found: dict[Node, tuple[set[int], set[int]]] = {}
    needed: set[Value | None] = {*graph.outputs, *(v for _, v in graph.updates)}
    for node in reversed(graph.nodes):
        if not any(v in needed for v in node.outputs):
            continue
        if not bodies(node) or node.op is value_and_grad_op:
            needed.update(node.inputs)
            continue
        results, read = found[node] = _parts(node, {i for i, v in enumerate(node.outputs) if v in needed})
        inputs = body_inputs(node)
        needed.update(node.inputs[: len(node.inputs) - len(inputs)])
        needed.update(inputs[i] for i in read)
    return found


def _parts(node: Node, results: set[int]) -> tuple[set[int], set[int]]:
    """The results, and the body inputs, that these results need. A carry that is read must be computed, and one that is computed must be read in."""
    carries = node.attrs.get("carries", 0)
    while True:
        read = {i for i in results if i < carries}
        for name, body in bodies(node).items():
            read |= _reads(body, {0} if name == "condition" else results)
        grown = results | {i for i in read if i < carries}
        if grown == results:
            return results, read
        results = grown


def _reads(body: Graph, results: Iterable[int]) -> set[int]:
    needed: set[Value | None] = {body.outputs[i] for i in results}
    nested = _kept(Graph(body.inputs, body.nodes, tuple(body.outputs[i] for i in sorted(results))))
    for node in reversed(body.nodes):
        if any(v in needed for v in node.outputs):
            if node in nested:
                inputs = body_inputs(node)
                needed.update(node.inputs[: len(node.inputs) - len(inputs)])
                needed.update(inputs[i] for i in nested[node][1])
            else:
                needed.update(node.inputs)
    return {i for i, e in enumerate(body.inputs) if e.value in needed}


def _narrowed(body: Graph, results: set[int], read: set[int]) -> Graph:
    """A body with these of its results and inputs only, itself pruned."""
    outputs = tuple(body.outputs[i] for i in sorted(results))
    inputs = tuple(Input(e.kind, f"x{n}", e.value) for n, e in enumerate(body.inputs[i] for i in sorted(read)))
    unread = tuple(e for i, e in enumerate(body.inputs) if i not in read)
    whole = prune(Graph((*inputs, *unread), live_nodes(body.nodes, outputs), outputs))
    return Graph(whole.inputs[: len(inputs)], whole.nodes, whole.outputs)
