"""Composites that a backend does not lower whole are replaced by their bodies, down to what it does lower; and so are checkpoints that it does not keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel.graph import Graph, Node
from unimodel.op import checkpoint_op
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, with_bodies
from unimodel.tracing import Tensor


def decompose(graph: Graph, keep: Callable[[Node], bool], inside: bool = True) -> Graph:
    """``keep`` says which composite nodes stay, and which checkpoints; ``inside`` whether bodies are decomposed too."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op is checkpoint_op and inside and not keep(node):
            return rewriter.inline(node.attrs["body"], inputs)
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, lambda body: decompose(body, keep))) if inside else None
        if not node.op.composite or keep(node):
            return None
        return rewriter.inline(node.op.decompose(node.specs, dict(node.attrs), rewriter.float_dtype), inputs)

    return rewrite(graph, visit)
