"""A convolution and the bias per channel that is added to it as one node, for backends whose kernels do both in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from unimodel.graph import Graph, Node
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, with_bodies
from unimodel.tracing import Tensor


def fuse_bias(graph: Graph) -> Graph:
    """The same graph with each convolution that is followed by a bias made one node of three inputs."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, fuse_bias))
        if node.op.name != "add":
            return None
        conv, bias = (None if v is None else v.producer for v in node.inputs)
        if conv is None or bias is None or conv.op.name != "conv" or bias.op.name != "reshape" or len(conv.inputs) != 2:
            return None
        (result,), (vector,), (shaped,) = conv.outputs, bias.inputs, bias.outputs
        channels, rank = result.spec.shape[1], result.spec.ndim
        if (
            len(result.users) + (result in kept) > 1
            or vector is None
            or vector.spec.shape != (channels,)
            or shaped.spec.shape != (channels, *(1,) * (rank - 2))
        ):
            return None
        made = [t.value.producer for t in inputs if t is not None]
        given = [Tensor(rewriter.trace, v) for n in made if n is not None for v in n.inputs if v is not None]  # the image, the kernel, and the bias as a vector
        return rewriter.trace.emit(conv.op, given, conv.attrs, (node.outputs[0].spec,))

    kept = {*graph.outputs, *(v for _, v in graph.updates)}
    return rewrite(graph, visit)
