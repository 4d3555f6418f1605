"""What holds of every node that holds bodies: which of its inputs and results are which of theirs, and what depends on what through them.

A body's inputs are the node's (after a branch's predicate), in their order; its outputs are the node's results. A loop's first outputs are its first
inputs of the next round. That much is all that analyses need to know of control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from unimodel.graph import Graph, Node, Value
from unimodel.op import CONTROL_FLOW, cond_op, regions, value_and_grad_op


def bodies(node: Node) -> dict[str, Graph]:
    """The graphs that a node holds, by attribute."""
    return {name: value for name, value in node.attrs.items() if isinstance(value, Graph)} if node.op.name in regions else {}


def with_bodies(node: Node, change: Callable[[Graph], Graph]) -> dict[str, Any]:
    """A node's attributes with each body changed."""
    return {**node.attrs, **{name: change(body) for name, body in bodies(node).items()}}


def body_inputs(node: Node) -> tuple[Value | None, ...]:
    """The node's inputs that its bodies take."""
    return node.inputs[1:] if node.op is cond_op else node.inputs


def every_node(graph: Graph) -> Iterator[Node]:
    """All nodes, those of bodies included."""
    for node in graph.nodes:
        yield node
        for body in bodies(node).values():
            yield from every_node(body)


def has_control_flow(graph: Graph) -> bool:
    return any(node.op in CONTROL_FLOW for node in every_node(graph))


def active_values(graph: Graph, wrt: Iterable[int]) -> set[Value]:
    """The values that a gradient flows back from to these inputs of the graph."""
    active = {graph.inputs[i].value for i in wrt}
    for node in graph.nodes:
        if node.op.name != "stop_gradient":
            active.update(node.outputs[i] for i in active_results(node, active) if node.outputs[i].spec.is_float)
    return active


def active_results(node: Node, active: set[Value]) -> set[int]:
    """The results of a node, by place, that depend on values which are active."""
    places = {i for i, v in enumerate(body_inputs(node)) if v in active and v is not None and v.spec.is_float}
    if not places:
        return set()
    if node.op is value_and_grad_op or node.op.name not in regions:
        return set(range(len(node.outputs)))
    return loop_activity(node, places)[1]


def loop_activity(node: Node, places: set[int]) -> tuple[set[int], set[int]]:
    """The body inputs, and the results, that are active once these inputs are and all rounds have run."""
    carries = node.attrs.get("carries", 0)
    while True:
        found: set[int] = set()
        for name, body in bodies(node).items():
            if name != "condition":
                inside = active_values(body, places)
                found |= {i for i, v in enumerate(body.outputs) if v in inside}
        new = places | {i for i in found if i < carries}
        if new == places:
            return places, found | {i for i in places if i < carries}  # with no round at all, what goes in comes out
        places = new


def reached_values(nodes: Iterable[Node], targets: Iterable[Value]) -> set[Value]:
    """The values that a gradient can flow back to from these."""
    reached = set(targets)
    for node in reversed(list(nodes)):
        if node.op.name != "stop_gradient" and any(v in reached for v in node.outputs):
            reached.update(v for v in _reached_inputs(node, reached) if v is not None and v.spec.is_float)
    return reached


def _reached_inputs(node: Node, reached: set[Value]) -> list[Value | None]:
    if node.op is value_and_grad_op or node.op.name not in regions:
        return list(node.inputs)
    carries = node.attrs.get("carries", 0)
    places = {i for i, v in enumerate(node.outputs) if v in reached}
    while True:
        found = {i for i in places if i < carries}
        for name, body in bodies(node).items():
            if name != "condition":
                inside = reached_values(body.nodes, [body.outputs[i] for i in places])
                found |= {i for i, e in enumerate(body.inputs) if e.value in inside}
        new = places | {i for i in found if i < carries}
        if new == places:
            inputs = body_inputs(node)
            return [inputs[i] for i in found]
        places = new
