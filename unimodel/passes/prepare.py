"""The passes in the order every backend runs them: exchange relu and max-pooling, join slices, differentiate, decompose, prune, merge dimensions, narrow broadcasts and reductions, fold.

What nothing needs falls away in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel.graph import Graph, Node
from unimodel.op import value_and_grad_op, while_loop_op
from unimodel.passes.decompose import decompose
from unimodel.passes.differentiate import differentiate, expand_region
from unimodel.passes.dimensions import merge_dimensions
from unimodel.passes.fold import fold
from unimodel.passes.pieces import take_apart
from unimodel.passes.pooling import pool_before_relu
from unimodel.passes.prune import prune
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.passes.straight_through import straight_through
from unimodel.passes.stretches import in_stretches
from unimodel.regions import bodies, every_node, has_control_flow, with_bodies
from unimodel.tracing import Tensor


def prepare(
    graph: Graph,
    lowers: Callable[[Node], bool],
    *,
    native_regions: bool = False,
    native_control: bool = False,
    core_gradient: Callable[[Node], bool] = lambda node: False,
) -> Graph:
    """A graph of nodes that ``lowers`` accepts, and of control flow.

    With ``native_regions`` the outermost ``value_and_grad`` nodes stay, their bodies prepared, for a backend that differentiates itself; regions inside them
    are expanded, and so are those with control flow inside unless the backend also differentiates that (``native_control``). Elementwise ops and reductions with
    a ``core_gradient`` have core's in there all the same. Without, core's differentiation expands all.
    """
    graph = take_apart(pool_before_relu(graph))
    if not native_regions:
        # every gradient has been taken: there is nothing left to stop
        return _expanded(graph, lambda node: node.op.name != "stop_gradient" and lowers(node))

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op is not value_and_grad_op:
            return rewriter.keep(node, inputs, with_bodies(node, differentiate)) if bodies(node) else None
        if has_control_flow(node.attrs["body"]) and (not native_control or any(n.op is while_loop_op for n in every_node(node.attrs["body"]))):
            return expand_region(rewriter, node, inputs)
        body = straight_through(decompose(differentiate(node.attrs["body"]), kept), node.attrs["wrt"], core_gradient)
        return rewriter.keep(node, inputs, {**node.attrs, "body": _simplest(decompose(body, kept))})

    def kept(node: Node) -> bool:
        # taken apart, a stop would be nothing, and the framework would differentiate through it
        return node.op.name == "stop_gradient" or lowers(node)

    return _simplest(decompose(rewrite(graph, visit), kept))


def _expanded(graph: Graph, lowers: Callable[[Node], bool]) -> Graph:
    return _simplest(decompose(differentiate(graph), lowers))


def _simplest(graph: Graph) -> Graph:
    return fold(in_stretches(merge_dimensions(prune(graph))))
