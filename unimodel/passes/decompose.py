"""Composites that a backend does not lower whole are replaced by their bodies, down to what it does lower."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel.graph import Graph, Node
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.tracing import Tensor


def decompose(graph: Graph, keep: Callable[[Node], bool]) -> Graph:
    """``keep`` says which composite nodes stay."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if not node.op.composite or keep(node):
            return None
        return rewriter.inline(node.op.decompose(node.specs, dict(node.attrs), rewriter.float_dtype), inputs)

    return rewrite(graph, visit)
