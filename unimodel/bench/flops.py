"""How much arithmetic a graph is: the multiplications and additions of its matrix products and convolutions.

All else (activations, norms, updates) is left out, as is usual; it moves memory rather than computes. The count is of the mathematics, core's graph
taken apart and differentiated, so it is the same for every contestant, whatever kernels it uses. A scan counts each round, a cond its larger branch, and a
while_loop, of which nobody knows how often it runs, one round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from unimodel.dim import concrete
from unimodel.graph import Graph, Node, Value
from unimodel.op import cond_op, scan_op
from unimodel.passes import prepare


def flops(graph: Graph, sizes: Mapping[str, int]) -> int:
    """Of one run of a graph, at these numbers for its symbols."""
    return _count(prepare(graph, lambda node: not node.op.composite), sizes)


def _count(graph: Graph, sizes: Mapping[str, int]) -> int:
    return sum(_of_node(node, sizes) for node in graph.nodes)


def _of_node(node: Node, sizes: Mapping[str, int]) -> int:
    def size(value: Value | None) -> int:
        return 0 if value is None else math.prod(concrete(s, sizes) for s in value.spec.shape)

    result = node.outputs[0] if node.outputs else None
    if node.op.name == "matmul" and node.inputs[0] is not None:
        return 2 * size(result) * concrete(node.inputs[0].spec.shape[-1], sizes)
    if node.op.name == "conv" and node.inputs[1] is not None:
        return 2 * size(result) * math.prod(concrete(s, sizes) for s in node.inputs[1].spec.shape[1:])
    if node.op.name == "conv_input_gradient" and node.inputs[1] is not None:
        return 2 * size(node.inputs[0]) * math.prod(concrete(s, sizes) for s in node.inputs[1].spec.shape[1:])
    if node.op.name == "conv_weight_gradient" and result is not None:
        return 2 * size(node.inputs[1]) * math.prod(concrete(s, sizes) for s in result.spec.shape[1:])
    bodies = [_count(body, sizes) for body in node.attrs.values() if isinstance(body, Graph)]
    if node.op is cond_op:
        return max(bodies)
    return sum(bodies) * (concrete(node.attrs["length"], sizes) if node.op is scan_op else 1)
