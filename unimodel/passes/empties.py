"""Tensors without elements: what they make is known, so a framework that cannot compute with them is not asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unimodel.graph import ArrayLiteral, Graph, Node, TensorSpec
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, every_node, with_bodies
from unimodel.tracing import Tensor

OF_NOTHING = {"sum": 0, "prod": 1, "all": 1, "any": 0, "matmul": 0, "take_gradient": 0, "conv": 0}
"""What these ops make of tensors without elements, where their results have some."""


def without_empties(graph: Graph) -> Graph:
    """The same graph with constants for such results, and for tensors without elements; what else may use one is left as it is. Sizes are numbers by now, or not 0."""
    if not any(_empty(spec) for node in every_node(graph) for spec in (*node.specs, *(v.spec for v in node.outputs))):
        return graph

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, without_empties))
        out, name = node.outputs[0].spec, node.op.name
        if all(_empty(v.spec) for v in node.outputs):
            return [_filled(rewriter, v.spec, 0) for v in node.outputs]
        if not any(map(_empty, node.specs)):
            return None
        if name == "concat":
            return rewriter.keep(node, [t for t in inputs if t is not None and not _empty(t.spec)])
        value = node.attrs["value"] if name == "pad_constant" else OF_NOTHING.get(name)
        return None if value is None else [_filled(rewriter, out, value)]

    return rewrite(graph, visit)


def _empty(spec: TensorSpec | None) -> bool:
    return spec is not None and 0 in spec.shape


def _filled(rewriter: Rewriter, spec: TensorSpec, value: float) -> Tensor:
    return rewriter.trace.constant(
        ArrayLiteral(np.full([int(s) for s in spec.shape], value, "float32" if spec.dtype == "bfloat16" else spec.dtype)), spec.dtype
    )
