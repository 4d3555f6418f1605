"""Which values share memory with which."""

from __future__ import annotations

from unimodel.graph import Graph, Value
from unimodel.op import value_and_grad_op

VIEWS = frozenset(["reshape", "permute_dims", "broadcast_to", "slice", "split_sizes", "stop_gradient"])
"""Ops whose result may share memory with their input."""


def roots(graph: Graph) -> dict[Value, Value]:
    """For each result that may be a view, the value whose memory it shares; a region hands on what its body hands on, control flow gives memory of its own."""
    found: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op.name in VIEWS and node.inputs[0] is not None:
            found.update(dict.fromkeys(node.outputs, found.get(node.inputs[0], node.inputs[0])))
        elif node.op is value_and_grad_op:
            body = node.attrs["body"]
            outer = {e.value: found.get(v, v) for e, v in zip(body.inputs, node.inputs, strict=True)}
            inner = roots(body)
            for result, value in zip(node.outputs, body.outputs, strict=False):
                root = inner.get(value, value)
                if root in outer:
                    found[result] = outer[root]
    return found


def borrowed(body: Graph) -> list[bool]:
    """For each output of a body, whether it is in the memory of an input."""
    inputs, found = {e.value for e in body.inputs}, roots(body)
    return [found.get(v, v) in inputs for v in body.outputs]
