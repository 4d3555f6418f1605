"""The passes in the order every backend runs them: differentiate, decompose, fold; nodes that nothing needs fall away in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel.graph import Graph, Node
from unimodel.ops.definition import value_and_grad_op
from unimodel.passes.decompose import decompose
from unimodel.passes.differentiate import differentiate
from unimodel.passes.fold import fold
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.tracing import Tensor


def prepare(graph: Graph, lowers: Callable[[Node], bool], *, native_regions: bool = False) -> Graph:
    """A graph of nodes that ``lowers`` accepts.

    With ``native_regions`` the outermost ``value_and_grad`` nodes stay, their bodies prepared, for a backend that differentiates itself; regions inside them
    are expanded. Without, core's differentiation expands all.
    """
    if not native_regions:
        # every gradient has been taken: there is nothing left to stop
        return _expanded(graph, lambda node: node.op.name != "stop_gradient" and lowers(node))

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op is not value_and_grad_op:
            return None
        # taken apart, a stop would be nothing, and the framework would differentiate through it
        body = _expanded(node.attrs["body"], lambda n: n.op.name == "stop_gradient" or lowers(n))
        return rewriter.keep(node, inputs, {**node.attrs, "body": body})

    return fold(decompose(rewrite(graph, visit), lowers))


def _expanded(graph: Graph, lowers: Callable[[Node], bool]) -> Graph:
    return fold(decompose(differentiate(graph), lowers))
